"""The map of a comparison as tables whose cells are shaded and say their number."""

from __future__ import annotations

from lamella.ops.comparison import ModelComparison
from lamella.pages.heatmap import STEPS, Cell, Grid, HeatMap, Row, heat_map
from lamella.pages.markup import Markup, broken, element, joined, shown
from lamella.pages.numbers import counted, percent
from lamella.pages.states import ADDED, REMOVED, UNREAD

_SIGNS = {ADDED: "+", REMOVED: "−", UNREAD: "?"}


def map_section(comparison: ModelComparison) -> Markup | None:
    """Return the map and what its shades mean, None where there is no tensor."""
    found = heat_map(comparison)
    if not found.grids and not found.others:
        return None
    return joined(
        [
            _legend(found),
            *(_grid(found, grid) for grid in found.grids),
            _others(found) if found.others else None,
        ]
    )


def _legend(found: HeatMap) -> Markup:
    shades = [element("i", class_=f"s{step}") for step in range(1, STEPS + 1)]
    signs = "· the same   + added   − removed   ? not compared"
    return element(
        "p",
        "Relative change in %, a block a row, a module a column. ",
        element("span", percent(found.low), " ", *shades, " ", percent(found.high), class_="scale"),
        element("span", signs, class_="signs"),
        class_="small legend",
    )


def _grid(found: HeatMap, grid: Grid) -> Markup:
    heads = [element("th", broken(column), scope="col") for column in grid.columns]
    rows = [
        element("tr", _label(row), *(_cell(found, row.cells.get(column)) for column in grid.columns))
        for row in grid.rows
    ]
    table = element(
        "table",
        element("caption", "Relative change of every module of every block", class_="unseen"),
        element("thead", element("tr", element("td"), *heads)),
        element("tbody", *rows),
        class_="heat",
    )
    return element("div", table, class_="wide", role="group", aria_label="Map of blocks and modules", tabindex=0)


def _label(row: Row) -> Markup:
    earlier = element("small", "was ", broken(row.earlier)) if row.earlier else None
    return element("th", broken(row.block), earlier, scope="row")


def _cell(found: HeatMap, cell: Cell | None) -> Markup:
    if cell is None:
        return element("td", class_="none")
    text, told, shade = _said(found, cell)
    button = element(
        "button",
        text,
        type="button",
        data_q=shown(cell.pattern),
        aria_label=f"{shown(cell.pattern)}: {told}",
        title=f"{shown(cell.pattern)}\n{told}".replace("\n", " — "),
    )
    return element("td", button, class_=shade)


def _said(found: HeatMap, cell: Cell) -> tuple[str, str, str]:
    """Return what a cell shows, what it says at length, and its shade."""
    relative, tensors = cell.relative, counted(len(cell.states), "tensor")
    if cell.alone:
        word = "not compared" if cell.alone == UNREAD else cell.alone
        return _SIGNS[cell.alone], f"{word}, {tensors}", "alone"
    if relative is None:
        return "new", f"all zeros before, {tensors}", f"s{STEPS}"
    if not relative:
        return "·", f"the same, {tensors}", "s0"
    return brief(100 * relative), f"{percent(relative)}, {tensors}", f"s{found.step(relative)}"


def brief(value: float) -> str:
    """Return a positive number with two significant digits, in five characters at most."""
    if value >= 9.95:
        return f"{value:.0f}" if value < 99_999.5 else f"{value:.0e}".replace("e+0", "e").replace("e+", "e")
    if value >= 0.00095:
        return f"{value:.{1 if value >= 0.995 else 2 if value >= 0.0995 else 3}f}".removeprefix("0")
    return f"{value:.0e}".replace("e-0", "e-")


def _others(found: HeatMap) -> Markup:
    items = []
    for cell in found.others:
        text, told, shade = _said(found, cell)
        button = element("button", text, type="button", data_q=shown(cell.pattern), class_=shade, aria_label=told)
        items.append(element("li", button, element("span", broken(cell.pattern))))
    title = "Outside the blocks" if found.grids else "Tensor by tensor"
    beyond = f"and {counted(found.left_out, 'other')} in the table below" if found.left_out else None
    return joined(
        [
            element("h3", title),
            element("ul", *items, class_="others"),
            element("p", beyond, class_="small") if beyond else None,
        ]
    )
