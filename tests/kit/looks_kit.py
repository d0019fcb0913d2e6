"""Scripts that look at a page in a browser: texts that are cut off, texts that hardly stand out."""

from __future__ import annotations

CUT = """
() => {
  const wide = document.documentElement.clientWidth;
  const found = [];
  for (const one of document.querySelectorAll("body *")) {
    if (!one.checkVisibility({visibilityProperty: true}) || one.closest("svg, canvas, script")) continue;
    if (![...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
    const box = one.getBoundingClientRect();
    if (!box.width || one.closest(".scroll, .panel, .frame.scrolls")) continue;
    const style = getComputedStyle(one);
    const clipped = one.scrollWidth > one.clientWidth + 1 && one.clientWidth > 0 && style.overflowX !== "visible";
    const outside = box.right > wide + 1 || box.left < -1;
    if (outside || clipped) found.push([one.tagName, one.className, one.textContent, box.right]);
  }
  return found;
}
"""
CONTRAST = """
() => {
  const parse = (text) => {
    const numbers = text.match(/[\\d.]+(e-?\\d+)?/g).map(Number);
    const unit = text.startsWith("color(srgb") ? 255 : 1;
    return [...numbers.slice(0, 3).map((value) => value * unit), numbers[3] ?? 1];
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3]));
  const ground = (one) => {
    const layers = [];
    for (let at = one; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const light = (color) => {
    const [r, g, b] = color.map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  for (const one of document.querySelectorAll("body *")) {
    if (!one.checkVisibility({visibilityProperty: true}) || one.closest("svg, canvas, script")) continue;
    if (![...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
    const below = ground(one);
    const [a, b] = [light(over(parse(getComputedStyle(one).color), below)), light(below)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) found.push([one.tagName, one.className, one.textContent.slice(0, 40), ratio.toFixed(2)]);
  }
  return found;
}
"""
