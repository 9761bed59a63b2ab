"""Which of some vectors became which of others: the assignment with the greatest sum of cosines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lamella.model.side import Side

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

MOST_CELLS = 1 << 24
"""Pairs that are scored at once, 64 MiB of them; a group with more is not compared all with all."""
MOST_ASSIGNED = 2048
"""Rows of an assignment, which costs up to the cube of that: half a second, seldom two. More are taken greedily."""
MOST_ROUNDS = 32
"""How often what is each other's best is taken before an assignment; the rest of so many stays unpaired."""
MOST_PARTS = 16
"""Tensors of a unit that are compared, those with most values first."""
CLEAR = 0.3
"""A best partner that is so much better than the second best is taken without an assignment."""
PLACE_WEIGHT = 0.02
"""What it counts that two are at the same place, where their weights say nothing else."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Something that became something: the tensors of a layer, or of a block, in an order that both sides have."""

    tensors: tuple[int, ...]
    place: float
    layers: tuple[int, ...]


def vectors(side: Side, units: Sequence[Unit]) -> Array:
    """Return for each unit one vector of length 1, or 0: the sketches of its parts, each by its weight."""
    import numpy

    values = side.values
    parts = sorted(range(len(units[0].tensors)), key=lambda part: (-values[units[0].tensors[part]], part))[:MOST_PARTS]
    columns = []
    for part in sorted(parts):
        tensors = [unit.tensors[part] for unit in units]
        columns.append(side.units(tensors) * numpy.sqrt(side.weights[tensors]).astype(numpy.float32)[:, None])
    joined: Array = numpy.concatenate(columns, axis=1)
    lengths = numpy.sqrt(numpy.einsum("ij,ij->i", joined, joined))
    joined /= numpy.where(lengths > 0, lengths, 1)[:, None]
    return joined


def assign(
    before: Side, olds: Sequence[Unit], after: Side, news: Sequence[Unit], least: float
) -> list[tuple[int, int, float]]:
    """Return pairs of units of one kind with their cosine, at the `least` that, the best for all of them together.

    Nothing is returned where there are too many to be compared all with all. `scipy` solves what is not clear
    (`linear_sum_assignment`, after Crouse, "On implementing 2D rectangular assignment algorithms", 2016).
    """
    import numpy

    if not olds or not news or len(olds) * len(news) > MOST_CELLS:
        return []
    cosines = vectors(before, olds) @ vectors(after, news).T
    rows, columns = (numpy.flatnonzero(cosines.max(axis=axis) >= least) for axis in (1, 0))
    places = numpy.subtract.outer(_places(olds), _places(news))
    scores = cosines + numpy.float32(PLACE_WEIGHT) * (1 - numpy.abs(places))
    found = _solved(scores, rows, columns)
    pairs = ((row, column, float(cosines[row, column])) for row, column in found)
    return sorted(pair for pair in pairs if pair[2] >= least)


def _solved(scores: Array, rows: Array, columns: Array) -> list[tuple[int, int]]:
    """Return pairs of some rows and columns with the greatest sum of scores."""
    import numpy

    found: list[tuple[int, int]] = []
    for number in range(MOST_ROUNDS):
        if number and min(len(rows), len(columns)) <= MOST_ASSIGNED:
            break
        if not len(rows) or not len(columns):
            return found
        best = _mutual(scores[numpy.ix_(rows, columns)], 0.0 if number else CLEAR)
        found += zip(rows[best[0]].tolist(), columns[best[1]].tolist(), strict=True)
        rows, columns = numpy.delete(rows, best[0]), numpy.delete(columns, best[1])
    if 0 < min(len(rows), len(columns)) <= MOST_ASSIGNED:
        from scipy.optimize import linear_sum_assignment

        chosen = linear_sum_assignment(scores[numpy.ix_(rows, columns)], maximize=True)
        found += zip(rows[chosen[0]].tolist(), columns[chosen[1]].tolist(), strict=True)
    return found


def _places(units: Sequence[Unit]) -> Array:
    import numpy

    return numpy.array([unit.place for unit in units], numpy.float32)


def _mutual(scores: Array, margin: float) -> tuple[Array, Array]:
    """Return rows and columns that are each other's best by a margin; without one, of equals the first."""
    import numpy

    best = scores.argmax(axis=1)
    rows = numpy.arange(len(scores))
    mutual = scores.argmax(axis=0)[best] == rows
    if margin:
        own = scores[rows, best]
        mutual &= own - _second(scores, 1, own) >= margin
        mutual &= own - _second(scores, 0, scores.max(axis=0))[best] >= margin
    return rows[mutual], best[mutual]


def _second(scores: Array, axis: int, best: Array) -> Array:
    """Return the second best of each row or column, far below where there is only one."""
    import numpy

    if scores.shape[axis] < 2:
        return best - 2
    made: Array = numpy.partition(scores, -2, axis=axis).take(-2, axis=axis)
    return made
