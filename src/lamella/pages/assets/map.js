// The map and the bars lead to the table; in the map the arrow keys go from cell to cell, and Tab passes it by.

for (const link of document.querySelectorAll("[data-q]")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    search(link.dataset.q);
  });
}

for (const grid of document.querySelectorAll(".heat")) {
  const rows = [...grid.tBodies[0].rows].map((row) => [...row.cells].slice(1).map((cell) => cell.firstElementChild));
  const buttons = rows.flat().filter(Boolean);
  for (const button of buttons.slice(1)) button.tabIndex = -1;
  grid.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    let row = rows.findIndex((cells) => cells.includes(event.target));
    if (!step || row < 0) return;
    event.preventDefault();
    let column = rows[row].indexOf(event.target);
    do [row, column] = [row + step[0], column + step[1]];
    while (rows[row]?.[column] === null);
    const next = rows[row]?.[column];
    if (!next) return;
    for (const button of buttons) button.tabIndex = button === next ? 0 : -1;
    next.focus();
  });
}
