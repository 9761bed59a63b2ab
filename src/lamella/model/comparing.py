"""Whether and how two tensors are compared: whole, where their shapes overlap, or not at all and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from lamella.core.buffers import Buffer
from lamella.core.tensors import TensorSpec
from lamella.model.measure_reference import parts
from lamella.model.streams import cropped, cut, lengths_of

SPAN_ELEMENTS = 1 << 18
"""What is measured at once. Sums are made span by span, so it is part of what a sum is, to the last bit."""

_COMPLEX = ("c64", "c128")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two tensors and the shape in which they are compared; `unread` says in a few words why they are not."""

    before: TensorSpec
    after: TensorSpec
    shape: tuple[int, ...] = ()
    unread: str = ""

    @property
    def overlap(self) -> tuple[int, ...] | None:
        """The shape that is compared where the two shapes differ."""
        return None if self.unread or self.before.shape == self.after.shape else self.shape

    @property
    def count(self) -> int:
        """How many elements are compared, the parts of complex numbers being two."""
        return prod(self.shape) * parts(self.after.dtype.name)

    @property
    def row_items(self) -> int:
        """How many elements have one index along the first axis."""
        return prod(self.shape[1:]) * parts(self.after.dtype.name)

    def spans(self, pieces: Iterator[Buffer], side: TensorSpec) -> Iterator[Buffer]:
        """Yield the elements of one side that are compared, SPAN_ELEMENTS at once, reading `pieces` to the end."""
        if not _same_elements(side.shape, self.shape):
            pieces = cropped(pieces, side, self.shape) if side.dtype.bits % 8 == 0 else _first(pieces, side, self.shape)
        bits = side.dtype.bits // parts(side.dtype.name)
        return cut(pieces, lengths_of((self.count * bits + 7) // 8, SPAN_ELEMENTS * bits // 8))


def compare_specs(before: TensorSpec, after: TensorSpec) -> Comparison:
    """Say how two tensors are compared: element by element from the origin, as far as both go along every axis.

    Axes of one element may be missing on a side where all others are alike.
    """

    def unread(reason: str) -> Comparison:
        return Comparison(before, after, unread=reason)

    for spec in (before, after):
        if spec.dtype.block_elements != 1:
            return unread(f"quantised blocks of {spec.dtype.name}")
    if (before.dtype.name in _COMPLEX) != (after.dtype.name in _COMPLEX):
        return unread("complex numbers on one side only")
    if _same_elements(before.shape, after.shape):
        return Comparison(before, after, after.shape)
    if len(before.shape) != len(after.shape):
        return unread("another number of axes")
    shape = tuple(min(extents) for extents in zip(before.shape, after.shape, strict=True))
    if not prod(shape):
        return unread("no overlap")
    for spec in (before, after):
        if spec.dtype.bits % 8 and spec.shape[1:] != shape[1:]:
            return unread(f"packed elements of {spec.dtype.name} in rows of another length")
    return Comparison(before, after, shape)


def _same_elements(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return [n for n in one if n != 1] == [n for n in other if n != 1]


def _first(pieces: Iterator[Buffer], spec: TensorSpec, box: tuple[int, ...]) -> Iterator[Buffer]:
    """Yield the bytes of the first rows of a tensor of packed elements, whose shape differs along the first axis."""
    left = spec.dtype.nbytes(box)
    for piece in pieces:
        yield memoryview(piece)[:left]
        left -= min(left, len(piece))
