// What the tables show: trials by name, what is chosen, and which rows pass.
const DATA = JSON.parse(document.getElementById("report-data").textContent);
const TRIALS = DATA.trials;
const DETAILS = DATA.details.trials;
const state = { words: [], chosen: DATA.facets.map(() => new Set()), all: false };
const openMethods = new Set();
const openTrials = new Set();
const STEPS = DATA.facets.indexOf("Steps");

for (const [name, trial] of Object.entries(TRIALS)) {
  const reasons = DETAILS[name].reasons;
  trial.text = [name, ...trial.facets, trial.place === null ? `does not rank ${reasons}` : "valid"].join(" ").toLowerCase();
}

function passes(name) {
  const trial = TRIALS[name];
  return (
    state.chosen.every((values, place) => !values.size || values.has(trial.facets[place])) &&
    state.words.every((word) => trial.text.includes(word))
  );
}

// The trial whose figures stand in the line of its method: the best of those that pass.
function bestOf(names) {
  const place = (name) => TRIALS[name].place ?? Infinity;
  return names.reduce((best, name) => (best === null || place(name) < place(best) ? name : best), null);
}

function isChosen() {
  return state.words.length > 0 || state.chosen.some((values) => values.size > 0);
}

function element(tag, options = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || value === false) continue;
    if (name === "text") made.textContent = value;
    else if (name === "class") made.className = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// An interval stands below its value: "12.3 [11.0, 13.5] (NFE 9)" in parts.
function splitInterval(text) {
  const found = /^(.*?) (\[[^\]]*\])(.*)$/.exec(text);
  return found ? [found[1] + found[3], found[2]] : [text, ""];
}
