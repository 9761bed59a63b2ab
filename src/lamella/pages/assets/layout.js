// Where everything in the picture of a graph goes: modules within modules, each laid out in layers on its own
// (longest paths for layers, barycentres for orders, after Sugiyama, Tagawa and Toda 1981).

const ROW = 42;
const GAP = { x: 22, y: 30 };
const PAD = 18;
const HEAD = 28;
const LETTER = 7.3;
const LONGEST_SPAN = 16;
const SWEEPS = 8;

/** Return the tree with parents, sizes and what feeds what among the children of each module. */
function grow(written, nodes) {
  const leaves = [];
  const plant = (node, parent, at) => {
    if (typeof node === "number") return (leaves[node] = { leaf: node, parent, at, depth: parent.depth + 1, size: 1 });
    const [label, path, times, ...below] = node;
    const group = { label, path, times, parent, at, depth: parent ? parent.depth + 1 : 0, open: !parent, links: new Map() };
    group.entries = new Set();
    group.exits = new Set();
    group.children = below.map((child, index) => plant(child, group, index));
    group.size = group.children.reduce((sum, child) => sum + child.size, 0);
    return group;
  };
  const root = plant(written, null, 0);
  nodes.forEach(([, , , , inputs], index) => inputs.forEach((from) => link(leaves[from], leaves[index])));
  return { root, leaves };
}

/** Note an edge where its two ends are in the same module, and in all others that it leaves or enters. */
function link(from, to) {
  while (from.parent !== to.parent) {
    if (from.depth >= to.depth) {
      from.parent.exits.add(from.at);
      from = from.parent;
    } else {
      to.parent.entries.add(to.at);
      to = to.parent;
    }
  }
  if (from === to) return;
  const key = `${from.at} ${to.at}`;
  from.parent.links.set(key, [from.at, to.at]);
}

/** Lay a module out: give it a width, a height and routes, and each child a place within it. */
function layOut(group, words) {
  for (const child of group.children) {
    if (child.open) layOut(child, words);
    else [child.w, child.h] = [boxWidth(words(child)), ROW];
  }
  const links = [...group.links.values()];
  const forward = links.filter(([from, to]) => from < to);
  const ranks = links.length ? layers(group, forward) : group.children.map((_, at) => at % 12);
  const { rows, routes } = cells(group, forward, ranks);
  if (links.length) untangle(rows);
  place(rows);
  let y = HEAD + (group.parent ? 8 : 0);
  for (const row of rows) {
    const height = Math.max(...row.map((cell) => cell.h));
    for (const cell of row) {
      if (!cell.item) cell.h = height;
      cell.y = y + (height - cell.h) / 2;
    }
    y += height + GAP.y;
  }
  const all = rows.flat();
  const left = Math.min(...all.map((cell) => cell.x - cell.w / 2)) - PAD;
  const title = group.parent ? boxWidth(words(group).slice(0, 1)) + 40 : 0;
  group.w = Math.max(title, Math.max(...all.map((cell) => cell.x + cell.w / 2)) - left + PAD);
  group.h = y - GAP.y + PAD;
  for (const cell of all) cell.x -= left;
  group.cells = all.filter((cell) => cell.item);
  for (const cell of group.cells) [cell.item.x, cell.item.y] = [cell.x - cell.w / 2, cell.y];
  group.routes = routes;
  group.back = links.filter(([from, to]) => from > to);
  group.ranks = ranks;
}

function boxWidth(lines) {
  return Math.max(64, Math.ceil(LETTER * Math.max(...lines.map((line) => Math.min(line.length, 34)))) + 22);
}

/** Return the layer of each child: one below the last that it needs; what needs nothing stands above its first use. */
function layers(group, forward) {
  const ranks = group.children.map(() => 0);
  const before = group.children.map(() => []);
  const after = group.children.map(() => []);
  for (const [from, to] of forward) {
    before[to].push(from);
    after[from].push(to);
  }
  group.children.forEach((_, at) => before[at].forEach((from) => (ranks[at] = Math.max(ranks[at], ranks[from] + 1))));
  group.children.forEach((_, at) => {
    if (!before[at].length && after[at].length) ranks[at] = Math.min(...after[at].map((to) => ranks[to])) - 1;
  });
  return ranks;
}

/** Return rows of cells, one for each child and one for each layer that an edge passes, and the edges as cells. */
function cells(group, forward, ranks) {
  const rows = Array.from({ length: Math.max(...ranks) + 1 }, () => []);
  const made = group.children.map((item, at) => ({ item, w: item.w, h: item.h, near: [[], []], row: ranks[at] }));
  for (const cell of made) rows[cell.row].push(cell);
  const routes = forward.map(([from, to]) => {
    const stub = ranks[to] - ranks[from] > LONGEST_SPAN;
    const passed = [];
    for (let row = ranks[from] + 1; row < ranks[to] && !stub; row += 1) passed.push({ w: 10, h: ROW, near: [[], []], row });
    for (const cell of passed) rows[cell.row].push(cell);
    const route = [made[from], ...passed, made[to]];
    for (let at = 1; at < route.length && !stub; at += 1) {
      route[at].near[0].push(route[at - 1]);
      route[at - 1].near[1].push(route[at]);
    }
    return { route, stub };
  });
  return { rows: rows.filter((row) => row.length), routes };
}

/** Order each row by the mean places of its neighbours, down and up in turn. */
function untangle(rows) {
  const number = (row) => row.forEach((cell, at) => (cell.at = at));
  rows.forEach(number);
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const way = sweep % 2;
    for (const row of way ? [...rows].reverse() : rows) {
      for (const cell of row) cell.mean = cell.near[way].length ? mean(cell.near[way].map((near) => near.at)) : cell.at;
      row.sort((a, b) => a.mean - b.mean);
      number(row);
    }
  }
}

/** Place the cells of each row as near to the middle of their neighbours as the order lets them. */
function place(rows) {
  for (const row of rows) {
    const width = row.reduce((sum, cell) => sum + cell.w + GAP.x, -GAP.x);
    let x = -width / 2;
    for (const cell of row) {
      cell.x = x + cell.w / 2;
      x += cell.w + GAP.x;
    }
  }
  for (let sweep = 0; sweep <= SWEEPS; sweep += 1) {
    const way = sweep % 2;
    for (const row of way ? [...rows].reverse() : rows) {
      for (const cell of row) {
        const near = cell.near[way].length ? cell.near[way] : cell.near[1 - way];
        cell.wanted = near.length ? mean(near.map((other) => other.x)) : cell.x;
      }
      settle(row);
    }
  }
}

/** Move the cells of a row to what they want, apart as they must be, with the least sum of squares: pooled neighbours. */
function settle(row) {
  let offset = 0;
  const pools = [];
  row.forEach((cell, at) => {
    if (at) offset += (row[at - 1].w + cell.w) / 2 + GAP.x;
    cell.offset = offset;
    pools.push({ cells: [cell], sum: cell.wanted - offset });
    while (pools.length > 1 && value(pools.at(-1)) < value(pools.at(-2))) {
      const last = pools.pop();
      pools.at(-1).cells.push(...last.cells);
      pools.at(-1).sum += last.sum;
    }
  });
  for (const pool of pools) for (const cell of pool.cells) cell.x = value(pool) + cell.offset;
}

const value = (pool) => pool.sum / pool.cells.length;
const mean = (values) => values.reduce((sum, one) => sum + one, 0) / values.length;
