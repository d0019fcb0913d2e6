// The chart: draws a pair of axes, places labels where there is room, shows a card on hover, a row on a click.
for (const button of document.querySelectorAll("[data-go]"))
  button.addEventListener("click", () => document.dispatchEvent(new CustomEvent("trial", { detail: button.dataset.go })));
(() => {
  "use strict";
  const block = document.getElementById("chart-data");
  const box = document.getElementById("chart");
  if (!block || !box) return;
  const DATA = JSON.parse(block.textContent);
  const card = document.getElementById("chart-card");
  const byName = new Map(DATA.points.map((point) => [point.name, point]));
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const state = { cost: pressed("cost"), quality: pressed("quality"), shown: null, width: 0, view: null, turn: 0 };

  function pressed(kind) {
    return document.querySelector(`[data-${kind}]:is([aria-pressed="true"], [data-only])`).dataset[kind];
  }

  function ink(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  }

  function theme() {
    const font = getComputedStyle(document.body).fontFamily;
    const axis = {
      labelColor: ink("ink"), titleColor: ink("ink"), gridColor: ink("line"), domainColor: ink("muted"),
      tickColor: ink("muted"), labelFont: font, titleFont: font, labelFontSize: 12, titleFontSize: 12.5,
      titleFontWeight: 600, titlePadding: 8, gridOpacity: 0.7, labelOverlap: "greedy",
    };
    return {
      background: "transparent", view: { stroke: null }, axis, padding: 2, autosize: { type: "fit", contains: "padding" },
      range: { category: dark.matches ? DATA.colors.dark : DATA.colors.light },
      text: { font },
    };
  }

  // Draws the present pair of axes; an older drawing that is still under way is thrown away.
  async function draw() {
    const turn = ++state.turn;
    const key = `${state.cost} ${state.quality}`;
    if (!DATA.specs[key]) return;
    const spec = structuredClone(DATA.specs[key]);
    spec.datasets = { ...spec.datasets, points: DATA.points, labels: [] };
    if (box.clientWidth < 560) spec.height = 360;
    const set = { shown: state.shown, hot: "", ink: ink("ink"), ground: ink("paper") };
    spec.params = spec.params.map((one) => ({ ...one, value: set[one.name] }));
    const options = { mode: "vega-lite", actions: false, ast: true, renderer: "svg", tooltip: false, config: theme() };
    const result = await vegaEmbed(box, spec, options);
    if (turn !== state.turn) return result.finalize();
    state.view?.finalize();
    state.view = result.view;
    state.width = box.clientWidth;
    box.dataset.shows = key;

    await state.view.data("labels", placeLabels(state.view, DATA.labels[key])).runAsync();
    state.view.addEventListener("pointerover", (event, item) => hover(item?.datum));
    state.view.addEventListener("click", (event, item) => choose(item?.datum));
  }

  // Greedy: the most important label first, each at the first place beside its point that is free.
  function placeLabels(view, wanted) {
    const [x, y] = [view.scale("x"), view.scale("y")];
    const [width, height] = [view.signal("width"), view.signal("height")];
    const pen = document.createElement("canvas").getContext("2d");
    pen.font = `11.5px ${getComputedStyle(document.body).fontFamily}`;
    const at = (point) => [x(point[state.cost]), y(point[state.quality])];
    const taken = DATA.points.filter((point) => state.cost in point && state.quality in point).map((point) => {
      const [left, top] = at(point);
      return [left - 5, top - 5, left + 5, top + 5];
    });

    const placed = [];
    for (const [name, text] of wanted) {
      const point = byName.get(name);
      const [left, top] = at(point);
      const long = pen.measureText(text).width;
      const free = places(left, top).find(([px, py, align]) => {
        const from = align === "left" ? px : align === "right" ? px - long : px - long / 2;
        const area = [from - 2, py - 8, from + long + 2, py + 8];
        const inside = area[0] >= 0 && area[2] <= width && area[1] >= 0 && area[3] <= height;
        const clear = inside && taken.every((other) => area[2] < other[0] || area[0] > other[2] || area[3] < other[1] || area[1] > other[3]);
        if (clear) taken.push(area);
        return clear;
      });
      if (free) placed.push({ x: free[0], y: free[1], align: free[2], text, name });
    }
    return placed;
  }

  function places(left, top) {
    const found = [];
    for (const away of [9, 16, 26])
      found.push(
        [left + away, top, "left"], [left - away, top, "right"],
        [left + away * 0.7, top - away, "left"], [left + away * 0.7, top + away, "left"],
        [left - away * 0.7, top - away, "right"], [left - away * 0.7, top + away, "right"],
        [left, top - away - 4, "center"], [left, top + away + 4, "center"],
      );
    return found;
  }

  function hover(datum) {
    const point = byName.get(datum?.name);
    state.view.signal("hot", point?.name ?? "").runAsync();
    card.hidden = !point;
    box.style.cursor = point ? "pointer" : "";
    if (!point) return;

    // what is read beside the point
    card.replaceChildren();
    const title = document.createElement("b");
    title.textContent = point.name;
    const list = document.createElement("ul");
    for (const fact of [`family: ${point.family}`, ...point.facts]) {
      const line = document.createElement("li");
      line.textContent = fact;
      list.append(line);
    }
    card.append(title, list, ...strips(point.name));
    placeCard(point);
  }

  function strips(name) {
    const source = document.getElementById("report-data");
    state.details ??= source ? JSON.parse(source.textContent).details?.trials ?? {} : {};
    const address = state.details[name]?.strip;
    if (!address) return [];
    const image = new Image();
    image.src = address;
    image.alt = `Samples of ${name}`;
    return [image];
  }

  function placeCard(point) {
    const [originX, originY] = state.view.origin();
    const left = originX + state.view.scale("x")(point[state.cost]);
    const top = originY + state.view.scale("y")(point[state.quality]);
    const [room, size] = [card.parentElement.clientWidth, card.offsetWidth];
    card.style.left = `${Math.max(0, left + 18 + size < room ? left + 18 : Math.min(left - 18 - size, room - size))}px`;
    card.style.top = `${Math.max(0, top + 14)}px`;
  }

  function choose(datum) {
    if (byName.has(datum?.name)) document.dispatchEvent(new CustomEvent("trial", { detail: datum.name }));
  }

  function press(button, kind) {
    for (const other of document.querySelectorAll(`button[data-${kind}]`)) other.setAttribute("aria-pressed", String(other === button));
    state[kind] = button.dataset[kind];
    draw();
  }

  for (const kind of ["cost", "quality"])
    for (const button of document.querySelectorAll(`button[data-${kind}]`)) button.addEventListener("click", () => press(button, kind));
  document.addEventListener("filter", (event) => {
    state.shown = event.detail.length < byName.size || !event.detail.every((name) => byName.has(name)) ? event.detail : null;
    state.view?.signal("shown", state.shown).runAsync();
  });
  box.addEventListener("pointerleave", () => state.view && hover(null));
  dark.addEventListener("change", draw);
  new ResizeObserver(() => Math.abs(box.clientWidth - state.width) > 4 && draw()).observe(box);
  draw();
})();
