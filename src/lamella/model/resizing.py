"""Tensors that got another size: whether the old one lies in the new one, or some rows of it do."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from lamella.core.limits import MIB
from lamella.model.alignment import RESIZED
from lamella.model.following import Surroundings
from lamella.model.layers import role
from lamella.model.ledger import SILENT_CONFIDENCE, UNLIKE_CONFIDENCE, Ledger, by_key
from lamella.model.sequences import increasing
from lamella.model.side import Side
from lamella.model.sketch import to_values, value_dtype
from lamella.model.tensor_names import family

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

MOST_SEARCHED = 500
"""Tensors that are searched for where no name says what they may be, those with most values first."""
MOST_LISTED = 512
"""Tensors of one rank among which candidates are looked for."""
MOST_CANDIDATES = 8
"""Tensors that one is then held against, some KiB of each being read: all of it takes a second or two."""
MOST_COMPARED = 20_000
"""Pairs that are held against each other in all; beyond, only names speak for what got another size."""
ROWS, COLUMNS = 16, 256
"""What is read of an overlap: so many rows, and as much of each."""
FEATURES = 64
"""Values by which a row, or a column, is told from others where some were dropped."""
MOST_ROWS_NBYTES = 16 * MIB
"""A larger tensor is not searched for rows that were dropped."""
LEAST_COMPARED = 100
"""Values that have to be common to two tensors, of which strangers have a cosine of .5 once in a million."""
OVERLAPS = 0.5
"""A cosine of what two tensors have in common from which on it is the same."""
LEAST_ROWS = 8
"""Rows, and values in each, below which some are found in order by chance."""
SAME_ROW = 0.9
KEPT_SHARE = 0.6
"""Rows of the smaller tensor, of those that are looked for, that are found in the larger one, in their order."""


def pair_resized(ledger: Ledger) -> None:
    """Pair tensors that are left over and agree where they overlap; then those that only names speak for."""
    scored: list[tuple[float, int, int]] = []
    scores: dict[tuple[int, int], float | None] = {}
    for old, own, others in _proposals(ledger):
        for new in [*own, *others] if len(scores) < MOST_COMPARED else ():
            score = scores[old, new] = agreement(ledger.before, old, ledger.after, new)
            if score is not None and score >= OVERLAPS:
                scored.append((score, old, new))
                if new in own and score >= SAME_ROW:
                    break
    for score, old, new in sorted(scored, key=lambda one: -one[0]):
        _enter(ledger, old, new, score)
    # What is known of layers and blocks by now says more than the names did before.
    for old, own, _ in _proposals(ledger):
        for new in own:
            silent = scores.get((old, new)) is None
            _enter(ledger, old, new, SILENT_CONFIDENCE if silent else UNLIKE_CONFIDENCE)


def _enter(ledger: Ledger, old: int, new: int, confidence: float) -> None:
    if old not in ledger.found and new not in ledger.taken:
        ledger.pair(old, new, RESIZED, confidence)


def _proposals(ledger: Ledger) -> list[tuple[int, list[int], list[int]]]:
    """Return what left over tensors may be in another size, those with most values first.

    Of each, first what names speak for, and then others, the likeliest first.
    """
    before, after = ledger.before, ledger.after
    surroundings, layers = Surroundings(ledger), ledger.layer_pairs()
    named = {layer.name: number for number, layer in enumerate(after.layers)}
    opened = ledger.open_after(range(len(after.specs)))
    groups = by_key(opened, lambda tensor: _gate(after, tensor))
    found: list[tuple[int, list[int], list[int]]] = []
    for old in sorted(ledger.open_before(range(len(before.specs))), key=lambda tensor: -before.values[tensor]):
        number = before.layer_of[old]
        names = [named[name] for name in surroundings.names(before.layers[number]) if name in named]
        places = [layers[number]] if number in layers else names
        beside = [new for place in places for new in ledger.open_after(after.layers[place].tensors)]
        own = [new for new in beside if _same_role(before, old, after, new) and _could_be(before, old, after, new)]
        others: list[int] = []
        if len(found) < MOST_SEARCHED:
            others = _likeliest(ledger, old, groups.get(_gate(before, old), [])[:MOST_LISTED], own)
        if own or others:
            found.append((old, own, others))
    return found


def _likeliest(ledger: Ledger, old: int, candidates: list[int], own: list[int]) -> list[int]:
    before, after = ledger.before, ledger.after
    like, place = family(before.names[old]), before.place(before.layer_of[old])
    fitting = [new for new in candidates if new not in own and _could_be(before, old, after, new)]
    fitting.sort(key=lambda new: (family(after.names[new]) != like, abs(place - after.place(after.layer_of[new]))))
    return fitting[:MOST_CANDIDATES]


def _gate(side: Side, tensor: int) -> tuple[str, int]:
    family, shape = side.kinds[tensor]
    return family, len(shape)


def _same_role(before: Side, old: int, after: Side, new: int) -> bool:
    return role(before.specs[old]) == role(after.specs[new])


def _could_be(before: Side, old: int, after: Side, new: int) -> bool:
    """Say whether two tensors have shapes of one rank, none of them empty, packed, or many times the other's extent."""
    one, other = before.specs[old], after.specs[new]
    if _gate(before, old) != _gate(after, new) or one.shape == other.shape or 0 in one.shape + other.shape:
        return False
    if any(dtype.bits % 8 or dtype.block_elements > 1 for dtype in (one.dtype, other.dtype)):
        return False
    return all(max(a, b) <= 16 * min(a, b) for a, b in zip(one.shape, other.shape, strict=True))


def agreement(before: Side, old: int, after: Side, new: int) -> float | None:
    """Return how alike two tensors of one rank are where both have something, None where that says nothing.

    That is the cosine of some of the box from the origin that both have, or else, where they differ along one axis
    alone, the share of positions of the smaller one along it that the larger one has too, in their order.
    """
    one, other = before.specs[old].shape, after.specs[new].shape
    box = tuple(map(min, one, other))
    values = [_corner(side, tensor, box) for side, tensor in ((before, old), (after, new))]
    cosine = _cosine(*values)
    if cosine is not None and cosine >= OVERLAPS:
        return cosine
    axes = [axis for axis, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
    if len(axes) == 1 and cosine is not None:
        kept = _kept(before, old, after, new, axes[0])
        if kept is not None:
            return max(kept, cosine)
    return cosine


def _cosine(one: Array, other: Array) -> float | None:
    import numpy

    if one.size < LEAST_COMPARED:
        return None
    one, other = _centred(one), _centred(other)
    squares = float((one * one).sum()) * float((other * other).sum())
    return float((one * other).sum()) / float(numpy.sqrt(squares)) if squares > 0 else None


def _centred(values: Array) -> Array:
    """Return values less the mean of each row, scaled together so that no square overflows."""
    values = values / (abs(values).max() or 1.0)
    made: Array = values - values.mean(axis=-1, keepdims=True)
    return made


def _corner(side: Side, tensor: int, box: tuple[int, ...]) -> Array:
    """Return some values of a tensor within a box from its origin: the beginnings of rows that lie evenly."""
    import numpy

    shape, rows = side.specs[tensor].shape, prod(box[:-1])
    if len(box) == 1:
        return _values(side, tensor, 0, min(box[0], ROWS * COLUMNS))
    taken = numpy.arange(min(rows, ROWS)) * rows // min(rows, ROWS)
    starts = numpy.ravel_multi_index(numpy.unravel_index(taken, box[:-1]), shape[:-1]) * shape[-1]
    return numpy.concatenate([_values(side, tensor, at, at + min(box[-1], COLUMNS)) for at in starts.tolist()])


def _values(side: Side, tensor: int, start: int, stop: int) -> Array:
    """Return elements of a tensor as float64; of complex numbers, both parts."""
    spec = side.specs[tensor]
    nbytes = spec.dtype.bits // 8
    data = side.source.read(spec.name, start * nbytes, stop * nbytes)
    return to_values(spec.dtype, data, value_dtype(spec.dtype)[0])


def _kept(before: Side, old: int, after: Side, new: int, axis: int) -> float | None:
    """Return which share of the smaller tensor's positions along an axis the larger one has, in their order."""
    import numpy

    sides = sorted([(before, old), (after, new)], key=lambda one: one[0].specs[one[1]].shape[axis])
    if any(side.specs[tensor].nbytes > MOST_ROWS_NBYTES for side, tensor in sides):
        return None
    small, large = (_features(side, tensor, axis) for side, tensor in sides)
    if min(small.shape) < LEAST_ROWS:
        return None
    looked_for = numpy.unique(numpy.linspace(0, len(small) - 1, min(len(small), FEATURES)).astype(int))
    cosines = small[looked_for] @ large.T
    best = cosines.argmax(axis=1)
    found = best[cosines.max(axis=1) >= SAME_ROW]
    share = len(increasing(found.tolist())) / len(looked_for)
    return share if share >= KEPT_SHARE else None


def _features(side: Side, tensor: int, axis: int) -> Array:
    """Return for each position along an axis some of its values, less their mean and of length 1."""
    import numpy

    spec = side.specs[tensor]
    values = _values(side, tensor, 0, prod(spec.shape)).reshape(*spec.shape, -1)
    rows = numpy.moveaxis(values, axis, 0).reshape(spec.shape[axis], -1)
    rows = rows[:, numpy.unique(numpy.linspace(0, rows.shape[1] - 1, min(rows.shape[1], FEATURES)).astype(int))]
    rows = _centred(rows)
    lengths = numpy.sqrt((rows * rows).sum(axis=1, keepdims=True))
    made: Array = (rows / numpy.where(lengths > 0, lengths, 1)).astype(numpy.float32)
    return made
