// The table of all tensors: searched, filtered, sorted, and written a hundred rows at a time.

const TENSORS = DATA.tensors;
const [NAME, EARLIER, FIRST_NUMBER, STATE, FLAGS] = [0, 1, 4, 10, 11];
const COLUMN_FIELDS = [0, 2, 3, 4, 5, 6, 7, 8, 9, 10];
const STATES = ["changed", "slight", "rounding", "same", "unread", "added", "removed"];
const BATCH = 100;

const table = byId("table");
const opened = new Set();
let order = [];
let written = 0;

function wanted(row) {
  const what = chosen.get("what");
  const query = chosen.get("q");
  const flag = TENSORS.flags.indexOf(what);
  if (what && (flag >= 0 ? !((row[FLAGS] >> flag) & 1) : STATES[row[STATE]] !== what)) return false;
  return !query || matches(query, row[NAME]) || (row[EARLIER] && matches(query, row[EARLIER]));
}

function number(text) {
  const value = parseFloat(text.replaceAll(",", ""));
  return Number.isNaN(value) ? -1 : value;
}

/** Compare two rows by a field, what is missing last; equal ones keep the order of the model. */
function compare(field, descending) {
  const sign = descending ? -1 : 1;
  if (field < FIRST_NUMBER) return (a, b) => sign * a[field].localeCompare(b[field], "en", { numeric: true });
  if (field === STATE) return (a, b) => sign * (b[field] - a[field]);
  return (a, b) => sign * (number(a[field]) - number(b[field]));
}

function sorted(rows) {
  const sort = chosen.get("sort");
  const field = COLUMN_FIELDS[Math.abs(parseInt(sort, 10)) - 1];
  return field === undefined ? rows : rows.sort((a, b) => compare(field, sort.startsWith("-"))(a.row, b.row));
}

function refresh() {
  order = sorted(TENSORS.rows.map((row, index) => ({ row, index })).filter(({ row }) => wanted(row)));
  table.tBodies[0].replaceChildren();
  written = 0;
  write(BATCH);
  describe();
}

function write(count) {
  const next = order.slice(written, written + count);
  const rows = next.flatMap(({ row, index }) => (opened.has(index) ? [line(row, index), more(index)] : [line(row, index)]));
  table.tBodies[0].append(...rows);
  written += next.length;
  byId("beyond").hidden = written >= order.length;
  byId("all").textContent = `Show all ${order.length.toLocaleString("en")}`;
}

function describe() {
  const [some, all] = [order.length, TENSORS.rows.length].map((value) => value.toLocaleString("en"));
  byId("found").textContent = some === all ? `${all} tensors` : `${some} of ${all} tensors`;
  for (const button of document.querySelectorAll("[data-what]")) {
    button.setAttribute("aria-pressed", button.dataset.what === (chosen.get("what") ?? ""));
  }
  const sort = chosen.get("sort") ?? "";
  for (const button of table.querySelectorAll("[data-column]")) {
    const mine = Math.abs(parseInt(sort, 10)) - 1 === Number(button.dataset.column);
    const way = sort.startsWith("-") ? "descending" : "ascending";
    button.parentElement.setAttribute("aria-sort", mine ? way : "none");
  }
}

function line(row, index) {
  const detailed = TENSORS.details[index] !== undefined;
  const name = make("span", { class: "name" }, ...broken(row[NAME]));
  const was = row[EARLIER] ? make("small", {}, "was ", ...broken(row[EARLIER])) : null;
  const first = detailed
    ? make("button", { type: "button", "data-row": index, "aria-expanded": opened.has(index) }, name)
    : name;
  const cells = row.slice(FIRST_NUMBER, STATE).map((text) => make("td", { class: "n" }, text));
  const flags = TENSORS.flags.filter((_, bit) => (row[FLAGS] >> bit) & 1).map((flag) => make("small", {}, ` ${flag}`));
  return make(
    "tr",
    { class: STATES[row[STATE]] },
    make("th", { scope: "row", class: detailed ? null : "plain" }, first, was),
    make("td", {}, row[2]),
    make("td", {}, row[3]),
    ...cells,
    make("td", { class: "verdict" }, TENSORS.labels[row[STATE]], ...flags),
  );
}

function search(query, what = "") {
  byId("q").value = query;
  choose("q", query);
  choose("what", what);
  refresh();
  byId("tensors").scrollIntoView();
}

if (table) {
  byId("q").value = chosen.get("q") ?? "";
  byId("q").addEventListener("input", (event) => {
    choose("q", event.target.value.trim());
    refresh();
  });
  for (const button of document.querySelectorAll("[data-what]")) {
    button.addEventListener("click", () => {
      choose("what", button.dataset.what);
      refresh();
    });
  }
  for (const button of table.querySelectorAll("[data-column]")) {
    button.addEventListener("click", () => {
      const column = Number(button.dataset.column) + 1;
      const firstWay = button.parentElement.classList.contains("n") ? -column : column;
      const now = parseInt(chosen.get("sort"), 10);
      choose("sort", now === firstWay ? String(-firstWay) : now === -firstWay ? "" : String(firstWay));
      refresh();
    });
  }
  table.tBodies[0].addEventListener("click", (event) => {
    const button = event.target.closest("[data-row]");
    if (button) toggle(button, Number(button.dataset.row));
  });
  byId("all").addEventListener("click", () => write(order.length));
  new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting)) write(BATCH);
  }, { rootMargin: "600px" }).observe(byId("beyond"));
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.target.closest("input")) {
      event.preventDefault();
      byId("q").focus();
    }
  });
  if (chosen.has("open")) opened.add(Number(chosen.get("open")));
  refresh();
}
