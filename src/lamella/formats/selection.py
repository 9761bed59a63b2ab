"""Parts of a tensor as NumPy writes them, `[0:2, :, 3]`: read by a grammar of their own and applied to a view."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from types import EllipsisType
from typing import TypeAlias

from lamella.core.errors import UsageError
from lamella.core.limits import MAX_DIMENSIONS
from lamella.formats.base import Box, TensorView

Item: TypeAlias = int | slice | EllipsisType
"""What stands for one axis, or for all that are not named."""

_NUMBER = r"([+-]?\d{1,19})"
_INDEX = re.compile(rf"\s*{_NUMBER}\s*\Z", re.ASCII)
_SLICE = re.compile(rf"\s*{_NUMBER}?\s*:\s*{_NUMBER}?\s*(?::\s*{_NUMBER}?\s*)?\Z", re.ASCII)
_GRAMMAR = "write integers, start:stop, start:stop:step and `...`, as in [0:2, :, -1]"


def parse_selection(text: str) -> tuple[Item, ...]:
    """Return what `text`, without its brackets, selects; raise UsageError (bad-argument) for anything else.

    Integers, also negative ones, slices whose step is positive, and one ellipsis at most; no masks and no new axes.
    """
    if not text.strip():
        return ()
    items = tuple(_item(part) for part in text.split(",", MAX_DIMENSIONS + 1))
    if items.count(...) > 1:
        raise UsageError(f"[{text}] has more than one ellipsis", kind="bad-argument", hint=_GRAMMAR)
    return items


def _item(text: str) -> Item:
    if text.strip() == "...":
        return ...
    index = _INDEX.match(text)
    if index is not None:
        return int(index[1])
    found = _SLICE.match(text)
    if found is None:
        raise UsageError(f"{text.strip()[:40]!r} selects nothing of a tensor", kind="bad-argument", hint=_GRAMMAR)
    start, stop, step = (None if number is None else int(number) for number in found.groups())
    if step is not None and step < 1:
        raise UsageError(f"a step of {step} is not possible", kind="bad-argument", hint="a step is 1 or more")
    return slice(start, stop, step)


def select(view: TensorView, items: Sequence[Item]) -> TensorView:
    """Return the part of a tensor that `items` select, as a tensor of its own; an integer takes its axis away.

    Raises UsageError (bad-argument) for an index that is not there, or more of them than the tensor has axes.
    """
    shape = view.spec.shape
    named = len(items) - (... in items)
    if named > len(shape):
        raise UsageError(
            f"{named} indices are too many for a tensor of {len(shape)} dimensions",
            kind="bad-argument",
            hint=f"its shape is {list(shape)}",
        )
    where = items.index(...) if ... in items else len(items)
    whole = [slice(None)] * (len(shape) - named)
    axes = [*items[:where], *whole, *items[where + 1 :]]
    taken = [_taken(item, axis, extent) for axis, (item, extent) in enumerate(zip(axes, shape, strict=True))]
    kept = [axis for axis, item in enumerate(axes) if isinstance(item, slice)]
    boxes = tuple(box for old in view.boxes if (box := _within(old, taken, kept)) is not None)
    return TensorView(replace(view.spec, shape=tuple(len(taken[axis]) for axis in kept)), boxes, view.swapped)


def _taken(item: Item, axis: int, extent: int) -> range:
    if isinstance(item, slice):
        return range(*item.indices(extent))
    assert isinstance(item, int)
    index = item + extent if item < 0 else item
    if not 0 <= index < extent:
        raise UsageError(
            f"index {item} is outside of axis {axis}, which has {extent}",
            kind="bad-argument",
            hint="indices count from 0, or from the end with -1",
        )
    return range(index, index + 1)


def _within(box: Box, taken: Sequence[range], kept: Sequence[int]) -> Box | None:
    """Return what of a box is taken, seen from what is taken of the tensor; None where nothing is."""
    origin, shape, offset, strides = [], [], box.offset, []
    for indices, first, extent, stride in zip(taken, box.origin, box.shape, box.strides, strict=True):
        begin = max(0, -(-(first - indices.start) // indices.step))
        end = min(len(indices), -(-(first + extent - indices.start) // indices.step))
        if begin >= end:
            return None
        offset += (indices.start + begin * indices.step - first) * stride
        origin.append(begin)
        shape.append(end - begin)
        strides.append(stride * indices.step)
    return Box(
        tuple(origin[axis] for axis in kept),
        tuple(shape[axis] for axis in kept),
        offset,
        tuple(strides[axis] for axis in kept),
    )
