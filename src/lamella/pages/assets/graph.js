// The picture of a graph: modules that open and close, nodes that tell what is known of them, and a search.

const NODES = DATA.nodes;
const [NAME, OP, MODULE, SHAPE, INPUTS, ATTRIBUTES, PARAMETERS] = [0, 1, 2, 3, 4, 5, 6];
const canvas = byId("canvas");
const USERS = NODES.map(() => []);
NODES.forEach((node, index) => node[INPUTS].forEach((from) => USERS[from].push(index)));
const { root, leaves } = canvas ? grow(DATA.tree, NODES) : { root: null, leaves: [] };
const MOST_UNFOLDED = 24;
let zoom = 1;

const short = (text) => (text.length > 34 ? `${text.slice(0, 16)}…${text.slice(-17)}` : text);
const lastStep = (name) => name.split(/[./]/).filter(Boolean).pop() ?? name;

/** The lines of text in the box of a node or a module. */
function words(item) {
  if (item.leaf !== undefined) {
    const node = NODES[item.leaf];
    const name = node[NAME].replace(/^@/, "");
    return [short(node[OP]), short(["input", "output"].includes(node[OP]) ? name : lastStep(name))];
  }
  const nodes = `${item.size.toLocaleString("en")} nodes`;
  return [short(item.label), item.times > 1 ? `${item.times} alike, ${nodes}` : nodes];
}

function render() {
  layOut(root, words);
  const picture = draw("svg", {
    viewBox: `0 0 ${root.w} ${root.h}`,
    width: Math.ceil(root.w * zoom),
    height: Math.ceil(root.h * zoom),
  });
  picture.append(...inside(root, 0, 0));
  canvas.replaceChildren(picture);
  light();
}

/** Everything in an open module whose upper left corner is at x, y: routes first, boxes upon them. */
function inside(group, x, y) {
  const parts = group.routes.map(({ route, stub }) => (stub ? stubs(route, x, y) : curve(route, x, y)));
  parts.push(...group.back.map(([from, to]) => loop(group.children[from], group.children[to], x, y)));
  for (const at of group.entries) parts.push(port(group, group.children[at], x, y, true));
  for (const at of group.exits) parts.push(port(group, group.children[at], x, y, false));
  return [...parts, ...group.children.flatMap((child) => box(child, x + child.x, y + child.y))];
}

function box(item, x, y) {
  const open = Boolean(item.open);
  const lines = words(item);
  const kind = item.leaf === undefined ? (open ? "frame" : "module") : "leaf";
  const shape = { x, y, width: item.w, height: item.h, rx: 4 };
  const behind = item.times > 1 && !open ? [draw("rect", { ...shape, x: x + 4, y: y + 4 })] : [];
  const texts = open
    ? [draw("text", { x: x + 12, y: y + 18, class: "title" }, `${lines[0]}  −`)]
    : lines.map((line, at) =>
        draw("text", { x: x + item.w / 2, y: y + 18 + 15 * at, class: at ? "second" : null, "text-anchor": "middle" }, line),
      );
  const described = item.leaf === undefined ? `${lines.join(", ")}, ${open ? "open" : "closed"}` : lines.join(" ");
  const button = draw(
    "g",
    {
      class: `box ${kind} ${["input", "output"].includes(NODES[item.leaf]?.[OP]) ? "end" : ""}`,
      tabindex: 0,
      role: "button",
      "aria-label": described,
      "aria-expanded": item.leaf === undefined ? open : null,
      "data-leaf": item.leaf ?? null,
    },
    ...behind,
    draw("rect", shape),
    ...texts,
  );
  button.addEventListener("click", () => press(item));
  button.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    press(item);
  });
  item.button = button;
  return open ? [button, ...inside(item, x, y)] : [button];
}

const middle = (item) => item.x + item.w / 2;

function wire(d, head, from, to, kind = "") {
  const [hx, hy] = head;
  const arrow = draw("path", { class: "head", d: `M${hx - 4} ${hy - 7}L${hx} ${hy}L${hx + 4} ${hy - 7}Z` });
  return draw("g", { class: `wire ${kind}`, "data-from": from?.leaf, "data-to": to?.leaf }, draw("path", { d }), arrow);
}

function curve(route, x, y) {
  const [first, last] = [route[0].item, route.at(-1).item];
  let [px, py] = [x + middle(first), y + first.y + first.h];
  let d = `M${px} ${py}`;
  for (const cell of route.slice(1)) {
    const [nx, ny] = [x + cell.x, y + cell.y];
    const half = (ny - py) / 2;
    d += `C${px} ${py + half} ${nx} ${ny - half} ${nx} ${ny}`;
    if (!cell.item) d += `V${ny + cell.h}`;
    [px, py] = [nx, cell.item ? ny : ny + cell.h];
  }
  return wire(d, [px, py], first, last);
}

/** An edge too long to be drawn: it leaves, and arrives, as a short line. */
function stubs(route, x, y) {
  const [first, last] = [route[0].item, route.at(-1).item];
  const [ax, ay, bx, by] = [x + middle(first), y + first.y + first.h, x + middle(last) - 14, y + last.y];
  return wire(`M${ax} ${ay}v12M${bx} ${by - 16}v16`, [bx, by], first, last, "cut");
}

function port(group, item, x, y, entry) {
  const edge = entry ? group.ranks[item.at] === 0 : group.ranks[item.at] === Math.max(...group.ranks);
  const px = x + middle(item) - (entry && !edge ? 14 : 0);
  const [top, bottom] = entry
    ? [edge ? y + HEAD : y + item.y - 16, y + item.y]
    : [y + item.y + item.h, edge ? y + group.h : y + item.y + item.h + 14];
  const line = wire(`M${px} ${top}V${bottom}`, [px, bottom], entry ? null : item, entry ? item : null, "port");
  if (!entry) line.lastChild.remove();
  return line;
}

function loop(from, to, x, y) {
  const side = x + Math.max(from.x + from.w, to.x + to.w);
  const [ay, by] = [y + from.y + from.h / 2, y + to.y + to.h / 2];
  const d = `M${x + from.x + from.w} ${ay}C${side + 40} ${ay} ${side + 40} ${by} ${x + to.x + to.w} ${by}`;
  return wire(d, [x + to.x + to.w, by], from, to, "loop");
}

function press(item) {
  if (item.leaf !== undefined) return choose("node", String(item.leaf)), tell();
  item.open = !item.open;
  render();
  item.button.focus({ preventScroll: true });
}

/** Open all modules around a node, show it and tell of it. */
function reveal(index) {
  for (let group = leaves[index].parent; group; group = group.parent) group.open = true;
  choose("node", String(index));
  render();
  tell();
  const [box, field] = [leaves[index].button, canvas].map((part) => part.getBoundingClientRect());
  canvas.scrollTop += box.top - field.top - (field.height - box.height) / 2;
  canvas.scrollLeft += box.left - field.left - (field.width - box.width) / 2;
}

function light() {
  const index = chosen.get("node");
  for (const lit of canvas.querySelectorAll(".lit")) lit.classList.remove("lit");
  if (index === null) return;
  const near = `[data-leaf="${CSS.escape(index)}"], [data-from="${CSS.escape(index)}"], [data-to="${CSS.escape(index)}"]`;
  for (const part of canvas.querySelectorAll(near)) part.classList.add("lit");
}

function tell() {
  const node = NODES[Number(chosen.get("node"))];
  light();
  if (!chosen.has("node") || !node) return byId("node").replaceChildren();
  const close = make("button", { type: "button", "aria-label": "Close", class: "close" }, "×");
  close.addEventListener("click", () => {
    choose("node", "");
    tell();
  });
  const facts = [["module", node[MODULE]], ["shape", node[SHAPE]]].filter(([, text]) => text);
  byId("node").replaceChildren(
    make("h3", {}, node[OP], close),
    make("p", { class: "name" }, ...broken(node[NAME].replace(/^@/, ""))),
    pairs("", facts),
    pairs("attributes", node[ATTRIBUTES]),
    pairs("parameters", node[PARAMETERS]),
    links("takes", node[INPUTS]),
    links("feeds", USERS[Number(chosen.get("node"))]),
  );
}

function pairs(title, rows) {
  if (!rows.length) return "";
  const lines = rows.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, ...broken(text))]);
  return make("div", {}, title ? make("h4", {}, title) : null, make("dl", {}, ...lines));
}

function links(title, indexes) {
  if (!indexes.length) return "";
  const items = indexes.slice(0, 40).map((index) => make("li", {}, jump(index)));
  if (indexes.length > 40) items.push(make("li", {}, `and ${indexes.length - 40} more`));
  return make("div", {}, make("h4", {}, title), make("ul", {}, ...items));
}

function jump(index) {
  const button = make("button", { type: "button" }, make("b", {}, NODES[index][OP]), " ", ...broken(NODES[index][NAME]));
  button.addEventListener("click", () => reveal(index));
  return button;
}

function seek() {
  const query = chosen.get("g");
  const hits = query ? NODES.flatMap((node, at) => ([NAME, OP, MODULE].some((field) => matches(query, node[field])) ? [at] : [])) : [];
  byId("nodes").textContent = query ? `${hits.length.toLocaleString("en")} nodes found` : hint;
  byId("hits").replaceChildren(...hits.slice(0, 30).map(jump));
}

const hint = byId("nodes")?.textContent;

if (canvas) {
  byId("g").value = chosen.get("g") ?? "";
  byId("g").addEventListener("input", (event) => {
    choose("g", event.target.value.trim());
    seek();
  });
  const zoomed = { in: 1.25, out: 0.8 };
  for (const button of document.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => {
      zoom = Math.min(4, Math.max(0.2, zoom * (zoomed[button.dataset.zoom] ?? 1)));
      if (button.dataset.zoom === "fold") fold(root);
      render();
    });
  }
  const fold = (group) => group.children.filter((child) => child.children).forEach((child) => ((child.open = false), fold(child)));
  for (const path of chosen.getAll("open")) openPath(root, path);
  unfold();
  seek();
  if (chosen.has("node") && NODES[Number(chosen.get("node"))]) reveal(Number(chosen.get("node")));
  else render();
}

/** Open modules that are not repeated, from the top, as long as the picture stays small. */
function unfold() {
  const waiting = [root];
  for (let boxes = 0; waiting.length; ) {
    const group = waiting.shift();
    if (boxes + group.children.length > MOST_UNFOLDED) continue;
    boxes += group.children.length;
    group.open = true;
    waiting.push(...group.children.filter((child) => child.children && child.times === 1));
  }
}

function openPath(group, path) {
  for (const child of group.children.filter((child) => child.children)) {
    if (child.path === path) child.open = true;
    openPath(child, path);
  }
}
