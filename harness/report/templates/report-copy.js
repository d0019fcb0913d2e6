// What a table shows now, in its order, as CSV, Markdown or LaTeX.
const LATEX = {
  "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "\\textless{}", ">": "\\textgreater{}",
  "|": "\\textbar{}", '"': "''", "[": "{[}", "]": "{]}", "*": "{*}", "-": "{-}", "`": "{`}", "'": "{'}", "×": "$\\times$",
  "≥": "$\\geq$", "≤": "$\\leq$", "≈": "$\\approx$", "±": "$\\pm$", "–": "--", "²": "$^2$", "σ": "$\\sigma$", "→": "$\\rightarrow$",
};
for (const mark of "{}$&#%_") LATEX[mark] = `\\${mark}`;

const plainLine = (text) => text.replace(/\p{C}/gu, " ").trim();
const ESCAPES = {
  CSV: (text) => {
    const line = plainLine(text);
    const safe = /^[=+\-@]/.test(line) && !/^-?[\d.]+$/.test(line) ? `'${line}` : line;
    return /[",]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  },
  Markdown: (text) => plainLine(text).replace(/[&<>]/g, (mark) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[mark]).replace(/[\\`*_[\]|~$]/g, "\\$&"),
  LaTeX: (text) => [...plainLine(text)].map((mark) => LATEX[mark] ?? (mark.charCodeAt(0) < 128 ? mark : "?")).join(""),
};

// The headings and rows that are shown, as texts.
function shownTexts(entry) {
  const { api, table } = entry;
  const columns = table.columns.map((_, place) => place).filter((place) => api.column(place).visible());
  const rows = [];
  api.rows({ order: "current", search: "applied" }).every(function () {
    const line = this.data();
    rows.push(columns.map((place) => cellText(lineCell(line, table.columns, place), table.columns[place])));
    if (line.trials && isOpen(entry, line))
      for (const name of passing(line)) rows.push(columns.map((place) => cellText(TRIALS[name].cells[place], table.columns[place])));
  });
  return { headings: columns.map((place) => table.columns[place].text), words: columns.map((place) => Boolean(table.columns[place].words)), rows };
}

function cellText(cell) {
  if (!cell) return "";
  return cell[3] && cell[3].ratio ? `${cell[0]}; ${cell[3].ratio}` : cell[0];
}

function writeTable(entry, form) {
  const { headings, words, rows } = shownTexts(entry);
  const escape = ESCAPES[form];
  const [head, ...body] = [headings, ...rows].map((row) => row.map(escape));
  if (form === "CSV") return `${[head, ...body].map((row) => row.join(",")).join("\n")}\n`;
  if (form === "Markdown") {
    const rule = words.map((left) => (left ? "---" : "---:"));
    return `${[head, rule, ...body].map((row) => `| ${row.join(" | ")} |`).join("\n")}\n`;
  }
  const line = (row) => `${row.join(" & ")} \\\\`;
  return [
    "\\providecommand{\\toprule}{\\hline}\\providecommand{\\midrule}{\\hline}\\providecommand{\\bottomrule}{\\hline}",
    `\\begin{tabular}{${words.map((left) => (left ? "l" : "r")).join("")}}`,
    "\\toprule", line(head), "\\midrule", ...body.map(line), "\\bottomrule", "\\end{tabular}", "",
  ].join("\n");
}

async function copyText(text, what, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = element("textarea", { class: "offscreen" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus();
  }
  announce(`copied ${what}`);
}
