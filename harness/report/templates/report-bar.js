// The bar: search, chips, best or all, columns, copies; tooltips; events of the chart.
const byId = (id) => document.getElementById(id);
let announced = 0;

function announce(text) {
  byId("count").textContent = text;
  clearTimeout(announced);
  announced = setTimeout(showCount, 2500);
}

function showCount() {
  const names = Object.keys(TRIALS);
  const lines = tables.flatMap(({ table }) => table.rows.filter((line) => line.trials));
  const shown = lines.filter((line) => passing(line).length > 0).length;
  byId("count").textContent = `${shown} of ${lines.length} methods, ${names.filter(passes).length} of ${names.length} trials`;
}

function update() {
  for (const entry of tables) refresh(entry);
  for (const [place, menu] of facetMenus) labelFacet(place, menu);
  byId("show-best").setAttribute("aria-pressed", String(!state.all));
  byId("show-all").setAttribute("aria-pressed", String(state.all));
  byId("reset").hidden = !isChosen();
  showCount();
  document.dispatchEvent(new CustomEvent("filter", { detail: Object.keys(TRIALS).filter(passes) }));
}

function resetChoice() {
  state.words = [];
  byId("search").value = "";
  for (const values of state.chosen) values.clear();
  for (const box of byId("facets").querySelectorAll("input")) box.checked = false;
  update();
}

// Chips: one per facet of which there are two values or more.
const facetMenus = new Map();

function makeFacets() {
  DATA.facets.forEach((facet, place) => {
    const counts = new Map();
    for (const trial of Object.values(TRIALS)) counts.set(trial.facets[place], (counts.get(trial.facets[place]) ?? 0) + 1);
    if (counts.size < 2) return;
    const values = [...counts.keys()].sort((a, b) => a - b || a.localeCompare(b, "en", { numeric: true }));
    const panel = element("div", { class: "panel" });
    for (const value of values) panel.append(checkBox(value || "none", counts.get(value), false, (on) => choose(place, value, on)));
    const menu = element("details", { class: "menu chip", "data-facet": facet }, element("summary", { text: facet }), panel);
    facetMenus.set(place, menu);
    byId("facets").append(menu);
  });
}

function choose(place, value, on) {
  if (on) state.chosen[place].add(value);
  else state.chosen[place].delete(value);
  update();
}

function labelFacet(place, menu) {
  const values = [...state.chosen[place]];
  const text = values.length > 2 ? `${values.length} of them` : values.join(", ");
  menu.classList.toggle("on", values.length > 0);
  menu.querySelector("summary").textContent = values.length ? `${DATA.facets[place]}: ${text}` : DATA.facets[place];
}

function checkBox(label, count, checked, changed) {
  const box = element("input", { type: "checkbox", checked, value: label });
  box.addEventListener("change", () => changed(box.checked));
  const number = count === null ? null : element("small", { text: String(count) });
  return element("label", {}, box, element("span", { text: label }), number);
}

// The column chooser: a list for the tables of methods, one for those of targets.
function makeColumns() {
  const panel = byId("columns").querySelector(".panel");
  for (const [kind, title] of [["methods", "FID and costs"], ["targets", "Time to quality"]]) {
    const own = tables.filter(({ table }) => table.kind === kind);
    const columns = new Map(own.flatMap(({ table }) => table.columns.map((column) => [column.text, column])));
    if (!columns.size) continue;
    panel.append(element("h5", { text: title }));
    for (const column of columns.values()) {
      if (column.key === "name") continue;
      const label = checkBox(column.text, null, Boolean(column.shown), (on) => setColumn(own, column.text, on));
      label.dataset.tip = column.tip;
      panel.append(label);
    }
  }
}

function setColumn(entries, text, on) {
  for (const entry of entries) {
    const place = entry.table.columns.findIndex((column) => column.text === text);
    if (place < 0) continue;
    entry.api.column(place).visible(on);
    refresh(entry);
  }
}

function makeCopies() {
  const panel = byId("copy").querySelector(".panel");
  for (const entry of tables) {
    const { table } = entry;
    const place = DATA.classes.length > 1 && table.class >= 0 ? `, ${DATA.classes[table.class].title}` : "";
    const buttons = Object.keys(ESCAPES).map((form) => {
      const button = element("button", { type: "button", class: "small", text: form, "data-copy": `${table.id} ${form}` });
      button.addEventListener("click", () => copyText(writeTable(entry, form), `${table.title} as ${form}`, button));
      return button;
    });
    panel.append(element("h5", { text: `${table.title}${place}` }), element("p", { class: "buttons" }, ...buttons));
  }
}

// Menus close by Escape, by a click elsewhere, and when another opens.
function watchMenus() {
  const menus = [...byId("bar").querySelectorAll("details.menu")];
  for (const menu of menus)
    menu.addEventListener("toggle", () => {
      if (!menu.open) return;
      for (const other of menus) if (other !== menu) other.open = false;
      const panel = menu.querySelector(".panel");
      panel.classList.remove("to-left");
      panel.classList.toggle("to-left", panel.getBoundingClientRect().right > document.documentElement.clientWidth);
    });
  document.addEventListener("click", (event) => {
    for (const menu of menus) if (!menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    hideTip();
    const open = menus.find((menu) => menu.open);
    if (open) {
      open.open = false;
      open.querySelector("summary").focus();
    }
  });
}

// Tooltips of headings: by the pointer and by the keyboard, inside the window.
function showTip(target) {
  const tip = byId("tip");
  tip.textContent = target.dataset.tip;
  tip.hidden = false;
  const [at, own] = [target.getBoundingClientRect(), tip.getBoundingClientRect()];
  const room = document.documentElement.clientWidth;
  tip.style.left = `${Math.max(8, Math.min(at.left, room - own.width - 8))}px`;
  tip.style.top = `${at.bottom + own.height + 6 < window.innerHeight ? at.bottom + 6 : Math.max(4, at.top - own.height - 6)}px`;
}

// Scrolling takes a tooltip away, but not that of what has the focus: coming to it may have scrolled.
function followTip() {
  const focused = document.activeElement?.closest("[data-tip]");
  if (focused && !byId("tip").hidden) showTip(focused);
  else hideTip();
}

function hideTip() {
  byId("tip").hidden = true;
}

function watchTips() {
  for (const kind of ["mouseover", "focusin"])
    document.addEventListener(kind, (event) => {
      const target = event.target.closest("[data-tip]");
      if (target) showTip(target);
      else hideTip();
    });
  document.addEventListener("scroll", followTip, { passive: true });
}

// A link to a folded part unfolds it.
function unfoldTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) target.open = true;
}

function start() {
  makeFacets();
  showTables();
  makeColumns();
  makeCopies();
  watchMenus();
  watchTips();
  byId("search").addEventListener("input", (event) => {
    state.words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    update();
  });
  byId("show-best").addEventListener("click", () => setAll(false));
  byId("show-all").addEventListener("click", () => setAll(true));
  byId("reset").addEventListener("click", resetChoice);
  document.addEventListener("trial", (event) => reveal(event.detail));
  const bar = byId("bar");
  const measure = () => document.documentElement.style.setProperty("--bar-height", `${bar.offsetHeight}px`);
  new ResizeObserver(measure).observe(bar);
  window.addEventListener("resize", () => tables.forEach(fitWidth));
  window.addEventListener("hashchange", unfoldTarget);
  unfoldTarget();
  showCount();
}

function setAll(all) {
  state.all = all;
  openMethods.clear();
  if (all) for (const { table } of tables) for (const line of table.rows) if (line.trials) openMethods.add(`${table.id} ${line.name}`);
  update();
}

start();
