// Two graphs beside each other, in one column of lines, so that they scroll together; what is as before is folded.

const GRAPH = DATA.graph;
const SIGNS = ["+", "−", "~", "↕", "→", "⤳"];
const LONGEST_RUN = 4;
const MOST_OPEN = 4;
const FEW_LINES = 40;
const RENAMED = 1 << GRAPH?.marks.indexOf("renamed");

function marksOf(bits) {
  return GRAPH.marks.filter((_, bit) => (bits >> bit) & 1);
}

function side(node, sign) {
  if (!node) return make("div", { class: "node none" });
  const [op, name, shape] = node;
  return make(
    "div",
    { class: "node" },
    make("i", { "aria-hidden": "true" }, sign),
    make("b", {}, op),
    make("span", { class: "name" }, ...broken(name)),
    make("small", {}, shape),
  );
}

function lineOf(row) {
  if (typeof row === "number") return make("p", { class: "run" }, `${row.toLocaleString("en")} as before`);
  const [bits, before, after, notes] = row;
  const marks = marksOf(bits);
  const sign = SIGNS[GRAPH.marks.indexOf(marks[0])] ?? "";
  const right = after === 1 ? before : after;
  const told = [...marks.map((mark) => make("em", {}, mark)), ...(notes ?? []).map((note) => make("span", {}, note))];
  return make(
    "div",
    { class: `pair ${marks.join(" ")}` },
    side(before, before && bits ? sign : ""),
    side(right, right && bits ? sign : ""),
    told.length ? make("p", { class: "told" }, ...told) : null,
  );
}

/** Return lines, long runs of what is as before, or only renamed, folded into a button that shows them. */
function folded(rows) {
  const parts = [];
  let run = [];
  const flush = () => {
    if (run.length > LONGEST_RUN) parts.push(folder(run));
    else parts.push(...run.map(lineOf));
    run = [];
  };
  for (const row of rows) {
    const quiet = row[0] === 0 || row[0] === RENAMED;
    if (!quiet || (run.length && run[0][0] !== row[0])) flush();
    if (quiet) run.push(row);
    else parts.push(lineOf(row));
  }
  flush();
  return parts;
}

function folder(run) {
  const label = `${run.length.toLocaleString("en")} ${run[0][0] ? "only renamed" : "as before"}`;
  const button = make("button", { type: "button", class: "run" }, label);
  button.addEventListener("click", () => button.replaceWith(...run.map(lineOf)));
  return button;
}

/** Whether more happened to a group than other names. */
function telling(group) {
  return group.counts.some((count, at) => count && GRAPH.marks[at] !== "renamed");
}

function groupOf(group, open) {
  const counts = GRAPH.marks
    .map((mark, at) => (group.counts[at] ? make("em", { class: mark }, `${SIGNS[at]} ${group.counts[at]} ${mark}`) : null))
    .filter(Boolean);
  const size = `${group.nodes.toLocaleString("en")} ${group.nodes === 1 ? "node" : "nodes"}`;
  const title = make("summary", {}, make("span", { class: "name" }, ...broken(group.name || "top")), make("small", {}, size), ...counts);
  const details = make("details", { open }, title);
  const show = () => details.childElementCount === 1 && details.append(...folded(group.rows));
  details.addEventListener("toggle", show);
  if (open) show();
  return details;
}

function found(query) {
  const rows = GRAPH.groups.flatMap((group) => {
    const whole = matches(query, group.name);
    const holds = (node) => Array.isArray(node) && (matches(query, node[0]) || matches(query, node[1]));
    return group.rows.filter((row) => typeof row !== "number" && (whole || holds(row[1]) || holds(row[2])));
  });
  byId("nodes").textContent = `${rows.length.toLocaleString("en")} lines found`;
  const kept = rows.slice(0, 500).map(lineOf);
  return rows.length > 500 ? [...kept, make("p", { class: "run" }, `${rows.length - 500} more`)] : kept;
}

function show() {
  const query = chosen.get("g");
  const only = chosen.has("only");
  byId("only").setAttribute("aria-pressed", only);
  const groups = GRAPH.groups.filter((group) => !only || group.counts.some(Boolean));
  const few = groups.reduce((sum, group) => sum + group.rows.length, 0) <= FEW_LINES;
  const open = new Set(few ? groups : groups.filter(telling).slice(0, MOST_OPEN));
  const parts = query ? found(query) : groups.map((group) => groupOf(group, open.has(group)));
  const heads = make("div", { class: "pair heads" }, ...GRAPH.sides.map((name) => make("div", {}, ...broken(name))));
  byId("columns").replaceChildren(heads, ...parts);
}

if (GRAPH) {
  const told = byId("nodes").textContent;
  byId("g").value = chosen.get("g") ?? "";
  byId("g").addEventListener("input", (event) => {
    choose("g", event.target.value.trim());
    byId("nodes").textContent = told;
    show();
  });
  byId("only").addEventListener("click", () => {
    choose("only", chosen.has("only") ? "" : "1");
    show();
  });
  show();
}
