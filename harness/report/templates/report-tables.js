// The tables: DataTables sorts, hides columns and keeps what unfolds with its row.
const tables = [];

// Numbers before text, what was not measured last in either direction.
function compare(left, right, sign) {
  if (left === null || right === null) return (left === null) - (right === null);
  if (typeof left !== typeof right) return typeof left === "number" ? -1 : 1;
  return sign * (typeof left === "number" ? left - right : left.localeCompare(right));
}
DataTable.type("measured", { order: { asc: (a, b) => compare(a, b, 1), desc: (a, b) => compare(a, b, -1) }, className: "" });

function passing(line) {
  return line.trials.filter(passes);
}

// The cell of a line in a column: its own, else that of the trial which stands for it.
function lineCell(line, columns, place) {
  if (!line.trials || line.cells[place]) return line.cells[place];
  const names = passing(line);
  if (columns[place].key.startsWith("fid_")) return names.map((name) => TRIALS[name].cells[place]).find(Boolean) ?? null;
  const best = bestOf(names);
  return best === null ? null : TRIALS[best].cells[place];
}

function cellNode(cell, column) {
  if (!cell) return element("span", {});
  const [text, , notes = [], bar] = cell;
  const [value, interval] = column.words ? [text, ""] : splitInterval(text);
  const marks = notes.length ? element("sup", { text: notes.map((place) => place + 1).join(", ") }) : null;
  const node = element("span", { class: bar && bar.missed ? "missed" : undefined }, element("span", { class: "value", text: value }), marks);
  if (interval) node.append(element("small", { text: interval }));
  if (bar && bar.ratio) node.append(ratioBar(bar));
  return node;
}

function ratioBar(bar) {
  const rail = element("span", { class: "rail" }, element("span", { class: "filled" }), element("span", { class: "one" }));
  rail.children[0].style.width = `${100 * bar.share}%`;
  rail.children[1].style.left = `${100 * bar.one}%`;
  return element("span", { class: "ratio" }, rail, element("small", { text: bar.ratio }));
}

function badgeNode(cell) {
  const [text] = cell ?? [""];
  const kind = text === "VALID" ? "good" : text === "disturbed" ? "warn" : "bad";
  const [, , notes = []] = cell ?? [];
  const marks = notes.length ? element("sup", { text: notes.map((place) => place + 1).join(", ") }) : null;
  return element("span", {}, element("span", { class: `badge ${kind}`, text }), marks);
}

function toggle(label, isOpen, family) {
  const dot = family === undefined ? null : element("span", { class: "dot", "aria-hidden": "true" });
  if (dot && DATA.families[family]) {
    dot.style.setProperty("--on-light", DATA.families[family][0]);
    dot.style.setProperty("--on-dark", DATA.families[family][1]);
  }
  return element("button", { type: "button", class: "toggle", "aria-expanded": String(isOpen) }, dot, element("span", { text: label }));
}

function displayCell(line, table, place) {
  const column = table.columns[place];
  if (column.key === "name") {
    const node = toggle(line.name, openMethods.has(`${table.id} ${line.name}`), line.family);
    return element("span", {}, node, line.baseline ? element("small", { text: "baseline" }) : null);
  }
  const cell = lineCell(line, table.columns, place);
  if (column.key === "badge") return badgeNode(cell);
  const node = cellNode(cell, column);
  const best = column.key === "fid" && line.trials ? bestOf(passing(line)) : null;
  if (best !== null) node.append(element("small", { text: `at ${TRIALS[best].facets[STEPS]} steps` }));
  return node;
}

function trialRow(name, table, columns) {
  const trial = TRIALS[name];
  const row = element("tr", { class: `trial${trial.place === null ? " unranked" : ""}`, "data-trial": name });
  for (const place of columns) {
    const column = table.columns[place];
    const cell = element("td", { class: cellClass(column), "data-label": column.text });
    if (column.key === "name") {
      cell.append(toggle(name, openTrials.has(name)));
      if (trial.place === null) cell.append(element("small", { class: "reason", text: DETAILS[name].reasons || "no reason was recorded" }));
    } else cell.append(column.key === "badge" ? badgeNode(trial.cells[place]) : cellNode(trial.cells[place], column));
    row.append(cell);
  }
  return row;
}

function cellClass(column) {
  return [column.words ? "words" : "", column.card ? "card" : "", `is-${column.key}`].filter(Boolean).join(" ");
}

function wholeRow(content, columns, kind) {
  return element("tr", { class: kind }, element("td", { colspan: String(columns.length) }, content));
}

// What unfolds below a line, as rows of the same columns.
function unfolded(line, table, columns) {
  if (!line.trials) return [wholeRow(targetDetails(line, table), columns, "unfolded")];
  return passing(line).flatMap((name) => [
    trialRow(name, table, columns),
    ...(openTrials.has(name) ? [wholeRow(detailsOf(name), columns, "unfolded")] : []),
  ]);
}

function targetDetails(line, table) {
  const headings = table.details.map((column) => column.text);
  const rows = line.details.map((row) => row.map((cell) => (cell ? cell[0] : "–")));
  return element("div", { class: "detail" }, plainTable(headings, rows));
}

function isOpen(entry, line) {
  return openMethods.has(`${entry.table.id} ${line.name}`);
}

// Bring every row, and what unfolds below it, up to date.
function refresh(entry) {
  const api = entry.api;
  api.rows().invalidate("data");
  api.draw();
  const columns = entry.table.columns.map((_, place) => place).filter((place) => api.column(place).visible());
  api.rows().every(function () {
    const line = this.data();
    const shown = isOpen(entry, line) && api.row(this.index(), { search: "applied" }).any();
    if (shown) this.child(unfolded(line, entry.table, columns)).show();
    else if (this.child()) this.child.remove();
    dressRow(this.node(), line, entry, shown);
  });
  fitWidth(entry);
}

function dressRow(row, line, entry, shown) {
  if (!row) return;
  const best = line.trials ? bestOf(passing(line)) : null;
  row.classList.toggle("unranked", best !== null && TRIALS[best].place === null);
  row.classList.toggle("baseline", Boolean(line.baseline));
  row.classList.add("method");
  if (best !== null) row.dataset.trial = best;
  const button = row.querySelector("button.toggle");
  if (button) button.setAttribute("aria-expanded", String(shown));
}

// A table that is wider than the page scrolls by itself; its headings stay in view only where it does not.
function fitWidth(entry) {
  const frame = entry.frame;
  frame.classList.remove("scrolls");
  const scrolls = frame.scrollWidth > frame.clientWidth + 1;
  frame.classList.toggle("scrolls", scrolls);
  if (scrolls) frame.setAttribute("tabindex", "0");
  else frame.removeAttribute("tabindex");
}

function makeTable(table) {
  const node = element("table", { class: `report-table ${table.kind}`, id: table.id });
  const frame = element("div", { class: "frame" }, node);
  const entry = { table, frame, api: null };
  entry.api = new DataTable(node, {
    data: table.rows,
    paging: false,
    info: false,
    autoWidth: false,
    order: [],
    layout: { topStart: null, topEnd: null, bottomStart: null, bottomEnd: null },
    columns: table.columns.map((column, place) => ({
      title: column.text,
      className: cellClass(column),
      type: "measured",
      visible: Boolean(column.shown),
      data: null,
      render: (_, type, line) => (type === "display" ? displayCell(line, table, place) : (lineCell(line, table.columns, place) ?? [null, null])[1]),
      createdCell: (cell) => cell.setAttribute("data-label", column.text),
    })),
  });
  entry.api.search.fixed("page", (_, line) => (line.trials ? passing(line).length > 0 : linePasses(line.name)));
  entry.api.columns().every(function (place) {
    const heading = this.header();
    heading.dataset.tip = table.columns[place].tip;
    heading.setAttribute("aria-describedby", "tip");
  });
  node.addEventListener("click", (event) => clicked(event, entry));
  tables.push(entry);
  return frame;
}

// A line without trials of its own passes with the method of the same name.
function linePasses(name) {
  return tables.some(({ table }) => table.rows.some((line) => line.trials && line.name === name && passing(line).length > 0));
}

function clicked(event, entry) {
  const row = event.target.closest("tr");
  const button = event.target.closest("button");
  if (!row || !row.closest("tbody") || row.classList.contains("unfolded") || event.target.closest("tr.unfolded")) return;
  if ((button && !button.classList.contains("toggle")) || String(window.getSelection())) return;
  const names = row.classList.contains("trial") ? [openTrials, row.dataset.trial] : [openMethods, null];
  if (names[1] !== null) flip(...names);
  else openLine(entry, entry.api.row(row).data());
  const focused = row.classList.contains("trial") ? row.dataset.trial : null;
  refresh(entry);
  if (focused !== null) entry.frame.querySelector(`tr.trial[data-trial="${CSS.escape(focused)}"] button`)?.focus();
  else row.querySelector("button.toggle")?.focus();
}

function flip(names, name) {
  if (!names.delete(name)) names.add(name);
}

// A method of one trial opens that trial with itself.
function openLine(entry, line) {
  const key = `${entry.table.id} ${line.name}`;
  flip(openMethods, key);
  if (line.trials && line.trials.length === 1 && openMethods.has(key)) openTrials.add(line.trials[0]);
}

function reveal(name) {
  const trial = TRIALS[name];
  if (!trial) return;
  if (!passes(name)) resetChoice();
  const entry = tables.find(({ table }) => table.id === trial.table);
  const line = entry.table.rows.find(({ trials }) => trials.includes(name));
  openMethods.add(`${entry.table.id} ${line.name}`);
  openTrials.add(name);
  refresh(entry);
  const row = entry.frame.querySelector(`tr.trial[data-trial="${CSS.escape(name)}"]`);
  row.scrollIntoView({ block: "center" });
  row.querySelector("button").focus({ preventScroll: true });
}

function showTables() {
  const place = document.getElementById("tables");
  let shown = null;
  const ordered = [...DATA.tables].sort((a, b) => order(a) - order(b));
  for (const table of ordered) {
    const title = table.class < 0 ? "" : DATA.classes[table.class].title;
    if (title && title !== shown) place.append(element("h3", { text: title }));
    shown = title || shown;
    const notes = table.notes.length
      ? element("details", { class: "notes" }, element("summary", { text: `Notes (${table.notes.length})` }), element("ol", {}, ...table.notes.map((text) => element("li", { text }))))
      : null;
    const about = element("details", { class: "about" }, element("summary", { text: "How to read it" }), ...table.conditions.map((text) => element("p", { text })));
    const section = element("section", { class: "table", "data-table": table.id }, element("h4", { text: table.title }));
    place.append(section);
    const frame = element("div", {});
    section.append(frame, element("div", { class: "below" }, table.conditions.length ? about : null, notes));
    frame.replaceWith(makeTable(table));
  }
  if (!DATA.tables.length) place.append(element("p", { text: "No trial has been measured yet: there is nothing to rank." }));
  for (const entry of tables) refresh(entry);
}

function order(table) {
  const place = table.class < 0 ? DATA.classes.length : table.class;
  return place * 2 * DATA.tables.length + DATA.tables.indexOf(table);
}
