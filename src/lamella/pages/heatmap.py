"""The map of a comparison: how far each module of each block moved, blocks as rows and modules as columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import inf, isfinite, log, sqrt

from lamella.model.difference import TensorDifference
from lamella.ops.comparison import ModelComparison
from lamella.pages.places import Place, place
from lamella.pages.states import ADDED, REMOVED, SAME, UNREAD, state

STEPS = 8
"""Shades of change, the last the strongest."""

_MOST_SPAN = 1e4
_MOST_GRIDS, _MOST_COLUMNS, _MOST_CELLS, _MOST_OTHERS = 4, 24, 4000, 48


@dataclass(slots=True)
class Cell:
    """Tensors that are shown as one: where they are found, what became of them, and how far they moved together."""

    pattern: str
    states: list[str] = field(default_factory=list)
    squares_before: float = 0.0
    squares_difference: float = 0.0

    @property
    def relative(self) -> float | None:
        """The norm of b - a over the norm of a, of those that were read; None where nothing was, or a is all zeros."""
        if not self.squares_difference:
            return 0.0 if SAME in self.states else None
        ratio = self.squares_difference / self.squares_before if self.squares_before else inf
        return sqrt(ratio) if isfinite(ratio) else None

    @property
    def alone(self) -> str:
        """ADDED, REMOVED or UNREAD where that holds for all of them, else nothing."""
        first = self.states[0]
        return first if first in (ADDED, REMOVED, UNREAD) and set(self.states) == {first} else ""


@dataclass(slots=True)
class Row:
    """One block: its name, what the same block was called before where that is another name, its cells by module."""

    block: str
    number: int
    earlier: str
    cells: dict[str, Cell] = field(default_factory=dict)


@dataclass(slots=True)
class Grid:
    """Blocks that have most modules in common, and the names of those."""

    columns: list[str]
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Grids, the tensors that stand in none, how many of these are not listed, and the ends of the scale."""

    grids: tuple[Grid, ...]
    others: tuple[Cell, ...]
    left_out: int
    low: float
    high: float

    def step(self, relative: float) -> int:
        """Return the shade of a change, from 1 to STEPS, equal ratios apart; 0 is none."""
        if relative <= 0:
            return 0
        span = log(self.high / self.low)
        return min(STEPS, 1 + int(STEPS * max(0.0, log(min(relative, self.high) / self.low)) / span))


@dataclass(frozen=True, slots=True)
class _Found:
    """One tensor on its way into a cell."""

    name: str
    state: str
    earlier: str
    difference: TensorDifference | None = None


def heat_map(comparison: ModelComparison) -> HeatMap:
    """Return the map of a comparison.

    A stack becomes a grid, or rows of one, where it has two blocks at least. The scale reaches from the least to the
    greatest change in the grids, one decade at least and four at most; what is outside has the shade of its end.
    """
    stacks: dict[str, dict[tuple[str, bool], Row]] = {}
    others: list[Cell] = []
    found = list(_all(comparison))
    places = {item.name: place(item.name) for item in found}
    blocks: dict[str, set[str]] = {}
    for where in places.values():
        if where is not None:
            blocks.setdefault(where.stack, set()).add(where.block)
    for item in found:
        where = places[item.name]
        if where is None or len(blocks[where.stack]) < 2:
            others.append(_filled(Cell(item.name), item))
        else:
            rows = stacks.setdefault(where.stack, {})
            row = rows.setdefault((where.block, item.state == REMOVED), _row(where, item))
            _filled(row.cells.setdefault(where.kind, Cell(where.inside)), item)
    grids, beyond = _grids([sorted(rows.values(), key=lambda row: row.number) for rows in stacks.values()])
    others = [*others, *beyond]
    values = [cell.relative for cell in (_cells(grids) if grids else others) if cell.relative]
    high = max(values, default=1.0)
    return HeatMap(
        tuple(grids),
        tuple(others[:_MOST_OTHERS]),
        max(0, len(others) - _MOST_OTHERS),
        min(high / 10, max(high / _MOST_SPAN, min(values, default=0.0))),
        high,
    )


def _all(comparison: ModelComparison) -> Iterator[_Found]:
    for difference in comparison.tensors:
        earlier = difference.pair.before if difference.pair.renamed else ""
        yield _Found(difference.after.name, state(difference), earlier, difference)
    yield from (_Found(name, ADDED, "") for name in comparison.alignment.added)
    yield from (_Found(name, REMOVED, "") for name in comparison.alignment.removed)


def _row(where: Place, item: _Found) -> Row:
    earlier = place(item.earlier) if item.earlier else None
    return Row(where.block, where.number, earlier.block if earlier and earlier.block != where.block else "")


def _filled(cell: Cell, item: _Found) -> Cell:
    cell.states.append(item.state)
    found = item.difference.measures if item.difference else None
    if found is not None:
        cell.squares_before += found.squares_before
        cell.squares_difference += found.squares_difference
    return cell


def _grids(stacks: list[list[Row]]) -> tuple[list[Grid], list[Cell]]:
    """Return stacks as grids, those with mostly the same modules as one, and the cells of what has no room."""
    grids: list[Grid] = []
    beyond: list[Cell] = []
    for rows in stacks:
        kinds = list(dict.fromkeys(kind for row in rows for kind in row.cells))
        grid = next((grid for grid in grids if _alike(grid.columns, kinds)), None)
        columns = list(dict.fromkeys([*(grid.columns if grid else ()), *kinds]))
        cells = len(columns) * len(rows) + sum(len(other.columns) * len(other.rows) for other in grids)
        full = cells > _MOST_CELLS or (grid is None and len(grids) == _MOST_GRIDS)
        if full or len(columns) > _MOST_COLUMNS:
            beyond += [cell for row in rows for cell in row.cells.values()]
        elif grid is None:
            grids.append(Grid(columns, list(rows)))
        else:
            grid.columns = columns
            grid.rows += rows
    return grids, beyond


def _alike(some: Iterable[str], others: Iterable[str]) -> bool:
    first, second = set(some), set(others)
    return 2 * len(first & second) >= len(first | second)


def _cells(grids: Iterable[Grid]) -> Iterator[Cell]:
    return (cell for grid in grids for row in grid.rows for cell in row.cells.values())
