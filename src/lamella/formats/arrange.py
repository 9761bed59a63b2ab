"""Tensors that point anywhere into a file as a layout: what lies whole and alone is a span, the others are views."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from math import prod
from operator import mul

from lamella.core.dtypes import dtype_named
from lamella.core.errors import FormatError
from lamella.core.limits import (
    LEAST_PART_NBYTES,
    LEAST_VIEWS_NBYTES,
    MAX_DIMENSIONS,
    MAX_NAME_NBYTES,
    MAX_TENSOR_NBYTES,
    MAX_VIEW_FACTOR,
)
from lamella.core.tensors import TensorSpec
from lamella.formats.base import Box, Layout, TensorSpan, TensorView


def row_major(spec: TensorSpec) -> tuple[int, ...]:
    """Return the strides, in bytes, of a tensor whose elements lie as NumPy lays them out; whole bytes each."""
    strides = accumulate(reversed((*spec.grid[1:], 1)), mul, initial=spec.dtype.bits // 8)
    return tuple(reversed(list(strides)[1:])) if spec.shape else ()


def strided(spec: TensorSpec, offset: int, strides: Sequence[int], *, swapped: bool = False) -> TensorSpan | TensorView:
    """Return a tensor whose elements lie `strides` bytes apart: a span where that is as spans lie, a view else."""
    steps = tuple(strides)
    plain = all(step == usual for step, usual, n in zip(steps, row_major(spec), spec.grid, strict=True) if n != 1)
    if not spec.nbytes or (plain and not (swapped and spec.dtype.item_nbytes > 1)):
        return TensorSpan(spec, offset)
    return TensorView(spec, (Box((0,) * len(spec.grid), spec.grid, offset, steps),), swapped)


def arrange(
    container: str,
    nbytes: int,
    tensors: Iterable[TensorSpan | TensorView],
    foreign: Iterable[str] = (),
    *,
    sealed: bool = False,
) -> Layout:
    """Return the layout of a file of `nbytes` bytes in which `tensors`, in any order, may overlap.

    Of spans that overlap, the one that begins first has its bytes, the longest where two begin together, and the
    first given where these are alike; the others become views, which stand in the order given. Bytes of views that no
    span has become parts, where they are not few.

    Raises FormatError: span-out-of-file; name-duplicate; span-overlap for tensors of packed elements that overlap, and
    for views that claim much more than the file holds.
    """
    given = list(tensors)
    _check_names(given)
    _check_specs(one.spec for one in given)
    spans = sorted(
        (one for one in given if isinstance(one, TensorSpan)), key=lambda one: (one.offset, -one.spec.nbytes)
    )
    views = [one for one in given if isinstance(one, TensorView)]
    placed: list[TensorSpan] = []
    end = 0
    for span in spans:
        if not 0 <= span.offset <= span.offset + span.spec.nbytes <= nbytes:
            raise _outside(span.spec.name, nbytes)
        if span.spec.nbytes and span.offset < end:
            views.append(_as_view(span))
        else:
            placed.append(span)
            end = max(end, span.offset + span.spec.nbytes)
    order = {one.spec.name: number for number, one in enumerate(given) if isinstance(one, TensorView) or not one.part}
    views.sort(key=lambda view: order[view.spec.name])
    _check_views(views, nbytes)
    placed += _parts(views, placed)
    placed.sort(key=lambda one: (one.offset, one.spec.nbytes > 0))
    return Layout(container, nbytes, tuple(_disjoint(placed)), tuple(views), tuple(foreign), sealed)


def _disjoint(spans: Iterable[TensorSpan]) -> Iterator[TensorSpan]:
    """Yield spans with the empty ones, which lie anywhere, moved behind what they lie in."""
    end = 0
    for span in spans:
        yield span if span.offset >= end else replace(span, offset=end)
        end = max(end, span.offset + span.spec.nbytes)


def extent(box: Box, element_nbytes: int) -> tuple[int, int]:
    """Return the first byte of a box and the one behind its last; both the first where it is empty."""
    if 0 in box.shape:
        return box.offset, box.offset
    last = sum((n - 1) * step for n, step in zip(box.shape, box.strides, strict=True))
    return box.offset, box.offset + last + element_nbytes


def _as_view(span: TensorSpan) -> TensorView:
    spec = span.spec
    if spec.dtype.bits % 8:
        raise FormatError(f"tensor {spec.name[:80]!r} begins inside another", kind="span-overlap")
    return TensorView(spec, (Box((0,) * len(spec.grid), spec.grid, span.offset, row_major(spec)),))


def _check_names(tensors: Sequence[TensorSpan | TensorView]) -> None:
    names: set[str] = set()
    for one in tensors:
        if one.spec.name in names and not (isinstance(one, TensorSpan) and one.part):
            raise FormatError(f"file lists tensor {one.spec.name[:80]!r} twice", kind="name-duplicate")
        names.add(one.spec.name)


def _check_specs(specs: Iterable[TensorSpec]) -> None:
    """Refuse what a manifest cannot say."""
    for spec in specs:
        extents = (*spec.shape, spec.nbytes)
        if len(spec.shape) > MAX_DIMENSIONS or min(extents) < 0 or max(extents) > MAX_TENSOR_NBYTES:
            raise FormatError(f"tensor {spec.name[:80]!r} has a shape that none can have", kind="header-malformed")
        if len(spec.name) > MAX_NAME_NBYTES:
            raise FormatError("the name of a tensor is longer than any", kind="header-malformed")


def _cost_nbytes(view: TensorView) -> int:
    """Return what has to be read, or made, to gather a view."""
    extents = (extent(box, view.spec.dtype.bits // 8) for box in view.boxes)
    return max(view.spec.nbytes, sum(stop - start for start, stop in extents))


def _check_views(views: Sequence[TensorView], nbytes: int) -> None:
    if sum(map(_cost_nbytes, views)) > max(LEAST_VIEWS_NBYTES, MAX_VIEW_FACTOR * nbytes):
        raise FormatError("tensors claim far more bytes than the file has", kind="span-overlap")
    for view in views:
        if view.spec.dtype.bits % 8 or sum(prod(box.shape) for box in view.boxes) != prod(view.spec.grid):
            raise FormatError(f"the elements of tensor {view.spec.name[:80]!r} are not all there", kind="span-overlap")
        for box in view.boxes:
            start, stop = extent(box, view.spec.dtype.bits // 8)
            if not 0 <= start <= stop <= nbytes or min(box.strides, default=0) < 0:
                raise _outside(view.spec.name, nbytes)


def _parts(views: Sequence[TensorView], placed: Sequence[TensorSpan]) -> Iterator[TensorSpan]:
    """Yield the runs that views have and no span has, as parts named after the first view there."""
    runs = sorted(
        ((*extent(box, view.spec.dtype.bits // 8), view) for view in views for box in view.boxes),
        key=lambda run: run[:2],
    )
    taken = iter([(span.offset, span.offset + span.spec.nbytes) for span in placed if span.spec.nbytes])
    busy = next(taken, None)
    end = 0
    for first, stop, view in runs:
        start = max(first, end)
        while start < stop:
            while busy is not None and busy[1] <= start:
                busy = next(taken, None)
            free = stop if busy is None else min(stop, max(start, busy[0]))
            if free - start >= LEAST_PART_NBYTES:
                yield _part(view, start, free - start)
            start = free if busy is None or free < busy[0] else min(stop, busy[1])
        end = max(end, stop)


def _part(view: TensorView, offset: int, nbytes: int) -> TensorSpan:
    dtype = view.spec.dtype
    if view.swapped or nbytes % (dtype.bits // 8):
        dtype = dtype_named("u8")
    elements = nbytes // (dtype.bits // 8) * dtype.block_elements
    return TensorSpan(TensorSpec(view.spec.name, dtype, (elements,)), offset, part=True)


def _outside(name: str, nbytes: int) -> FormatError:
    return FormatError(
        f"tensor {name[:80]!r} leaves the file, which ends at byte {nbytes}",
        kind="span-out-of-file",
        hint="the file was probably cut short; copy it again",
    )
