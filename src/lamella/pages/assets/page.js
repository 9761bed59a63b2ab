// What every page needs: its data, elements made without markup, the state in the address, light and dark.

const DATA = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

/** Return an element with attributes and children; text stays text. */
function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Return the same of SVG. */
function draw(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("aria-") && value !== null) element.setAttribute(name, value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== ""));
  return element;
}

/** A name that may be broken behind its dots, slashes and underscores. */
function broken(name) {
  return name.split(/(?<=[./_])/).flatMap((piece, at) => (at ? [make("wbr"), piece] : [piece]));
}

/** What a reader chose, kept in the fragment of the address so that a link says it again. */
const chosen = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");

function choose(name, value) {
  if (value) chosen.set(name, value);
  else chosen.delete(name);
  history.replaceState(null, "", `${location.href.split("#")[0]}#${chosen}`);
}

const dark = matchMedia("(prefers-color-scheme: dark)");

function paint() {
  document.documentElement.dataset.theme = chosen.get("theme") ?? (dark.matches ? "dark" : "light");
}

byId("theme").addEventListener("click", () => {
  choose("theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  paint();
});
dark.addEventListener("change", paint);
paint();

/** Whether a name matches: a glob as a whole where it has * or ?, else any part of it; in time that is linear twice. */
function matches(query, name) {
  const [wanted, text] = [query.toLowerCase(), name.toLowerCase()];
  if (!/[*?]/.test(wanted)) return text.includes(wanted);
  let [at, from, star, mark] = [0, 0, -1, 0];
  while (from < text.length) {
    if (wanted[at] === "*") [star, mark, at] = [at, from, at + 1];
    else if (at < wanted.length && (wanted[at] === "?" || wanted[at] === text[from])) [at, from] = [at + 1, from + 1];
    else if (star >= 0) [at, mark, from] = [star + 1, mark + 1, mark + 1];
    else return false;
  }
  while (wanted[at] === "*") at += 1;
  return at === wanted.length;
}
