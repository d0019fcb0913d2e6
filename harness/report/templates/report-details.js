// What unfolds below a trial, built when it is first opened.
const SVG = "http://www.w3.org/2000/svg";

function detailsOf(name) {
  const one = DETAILS[name];
  return element(
    "div",
    { class: "detail" },
    one.reasons ? block("Why it does not rank", element("p", { class: "reason", text: one.reasons })) : null,
    block("Remake it", commandLine(one.command)),
    one.steps.sigma ? block("Cost by step", stepChart(one.steps)) : null,
    block("Parameters", parameterTable(one.parameters)),
    one.strip ? block("Samples, of the same initial noise", sampleRows(name, one), "wide") : null,
    one.controls.length ? block("Controls", controlTable(one.controls), "wide") : null,
    versionBlock(one),
  );
}

function block(title, content, kind = "") {
  return element("section", { class: `block ${kind}`.trim() }, element("h5", { text: title }), content);
}

function commandLine(command) {
  const button = element("button", { type: "button", class: "small", text: "Copy" });
  button.addEventListener("click", () => copyText(command, "the command", button));
  return element("p", { class: "command" }, element("code", { text: command }), button);
}

function sampleRows(name, one) {
  const rows = element("div", { class: "strips" });
  const own = DETAILS[one.baseline];
  if (own && one.baseline !== name) rows.append(strip(`${one.baseline} (baseline)`, [own.strip]));
  rows.append(strip(name, [one.strip]));
  if (own && one.baseline !== name) rows.append(strip("difference, brightened", [own.strip, one.strip]));
  return rows;
}

// One strip, or two laid over each other so that the browser shows their difference.
function strip(label, addresses) {
  const pictures = addresses.map((address) => element("img", { src: address, alt: addresses.length > 1 ? "" : `Samples of ${label}` }));
  const scale = () => {
    const factor = Math.max(1, Math.round(64 / (pictures[0].naturalHeight || 64)));
    for (const picture of pictures) picture.style.width = `${picture.naturalWidth * factor}px`;
  };
  for (const picture of pictures) picture.addEventListener("load", scale);
  const kind = pictures.length > 1 ? "pictures difference" : "pictures";
  return element("figure", {}, element("figcaption", { text: label }), element("div", { class: kind }, ...pictures));
}

function stepChart(steps) {
  const costs = steps.flops_per_image.map((value, place) => value ?? steps.nfe[place] ?? 0);
  const what = steps.flops_per_image.some((value) => value !== null) ? "GFLOPs/image" : "evaluations";
  const [width, height] = [360, 64];
  const most = Math.max(...costs, 1e-12);
  const each = width / costs.length;
  const chart = document.createElementNS(SVG, "svg");
  chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
  chart.setAttribute("class", "costs");
  chart.setAttribute("role", "img");
  chart.setAttribute("aria-label", `${what} of each of ${costs.length} steps, at most ${most.toPrecision(3)}`);
  costs.forEach((cost, step) => {
    const bar = document.createElementNS(SVG, "rect");
    const tall = Math.max(1, (cost / most) * height);
    for (const [name, value] of Object.entries({ x: step * each, y: height - tall, width: Math.max(0.5, each * 0.85), height: tall }))
      bar.setAttribute(name, value.toFixed(2));
    const title = document.createElementNS(SVG, "title");
    const share = steps.network_share[step];
    title.textContent = `step ${step}, σ ${steps.sigma[step]}: ${cost} ${what}, NFE ${steps.nfe[step] ?? "–"}, network's share ${share ?? "–"}`;
    bar.append(title);
    chart.append(bar);
  });
  const digits = (value) => String(Number(value.toPrecision(3)));
  const shares = steps.network_share.filter((value) => value !== null);
  const shared = shares.length ? `; network's share ${digits(shares[0])} → ${digits(shares[shares.length - 1])}` : "";
  const text = `${costs.length} steps, σ from ${steps.sigma[0]}; ${digits(Math.min(...costs))} to ${digits(most)} ${what} a step${shared}`;
  return element("div", {}, chart, element("p", { class: "note", text }));
}

function controlTable(controls) {
  const table = plainTable(["Against", "Name", "FID minus the other's", "Time ratio", "Finding"], controls);
  table.classList.add("words");
  return table;
}

function parameterTable(parameters) {
  return plainTable(["Part", "Method", "Parameters"], parameters, "words");
}

function versionBlock(one) {
  const facts = { ...one.own, ...DATA.details.versions[one.versions] };
  const rows = Object.entries(facts);
  const folded = element("details", {}, element("summary", { text: "Versions and hashes" }), plainTable(["What", "Value"], rows, "words"));
  return element("section", { class: "block" }, folded);
}

function plainTable(headings, rows, kind = "") {
  const head = element("tr", {}, ...headings.map((text) => element("th", { scope: "col", text })));
  const body = rows.map((row) => element("tr", {}, ...row.map((text, place) => element("td", { text, "data-label": headings[place] }))));
  return element("table", { class: `inner ${kind}`.trim() }, element("thead", {}, head), element("tbody", {}, ...body));
}
