// What is known of one tensor beside its row: facts, charts, the rows that moved most.

function toggle(button, index) {
  const open = !opened.delete(index);
  const row = button.closest("tr");
  if (open) {
    opened.add(index);
    row.after(more(index));
  } else {
    row.nextElementSibling.remove();
  }
  button.setAttribute("aria-expanded", open);
  choose("open", open ? String(index) : "");
}

function more(index) {
  const details = TENSORS.details[index];
  if (details === undefined) return make("tr", { class: "more" });
  const facts = details.facts.flatMap(([label, text]) => [make("dt", {}, label), make("dd", {}, text)]);
  const parts = [make("dl", {}, ...facts), ...details.charts.map(figureOf)];
  if (details.moved) parts.push(moved(details.moved));
  return make("tr", { class: "more" }, make("td", { colspan: 10 }, make("div", {}, ...parts)));
}

function figureOf(chart) {
  const paths = ["before", "after", "bars"].filter((part) => chart[part]).map((part) => draw("path", { class: part, d: chart[part] }));
  const field = draw("svg", { viewBox: "0 0 400 100", preserveAspectRatio: "none", role: "img", "aria-label": chart.title }, ...paths);
  const key = chart.before ? [make("i", { class: "before" }), "before", make("i", { class: "after" }), "after"] : [chart.note];
  return make(
    "figure",
    {},
    make("figcaption", {}, chart.title),
    field,
    make("p", { class: "ends" }, make("span", {}, chart.left), make("span", {}, chart.right)),
    make("p", { class: "small" }, ...key),
  );
}

function moved({ note, rows }) {
  const lines = rows.map(([index, text, share]) =>
    make(
      "tr",
      {},
      make("th", { scope: "row", class: "n" }, index),
      make("td", {}, bar(share)),
      make("td", { class: "n" }, text),
    ),
  );
  const table = make("table", { class: "bars" }, make("tbody", {}, ...lines));
  return make("figure", {}, make("figcaption", {}, "rows that moved most"), table, make("p", { class: "small" }, note));
}

function bar(share) {
  return draw(
    "svg",
    { class: "gauge", "aria-hidden": "true" },
    draw("rect", { class: "track", width: "100%", height: "100%" }),
    draw("rect", { class: "filled", width: `${share}%`, height: "100%" }),
  );
}
