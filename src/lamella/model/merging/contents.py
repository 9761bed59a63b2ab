"""One tensor as base and sides have it, span by span: read once where one pass is enough, held or read again else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cached_property
from math import prod
from typing import TypeVar

from blake3 import blake3

from lamella.core.buffers import Buffer
from lamella.core.dtypes import DTYPES
from lamella.core.limits import MIB
from lamella.core.parallel import ordered_map
from lamella.core.tensors import TensorSpec
from lamella.model import kernels
from lamella.model.measure_reference import parts
from lamella.model.merging.models import Models
from lamella.model.merging.plan import Compute, Place
from lamella.model.merging.strategy import Contents, Span
from lamella.model.streams import cut, lengths_of

Found = TypeVar("Found")
Companions = Callable[[str, Place], Place | None]
"""Finds the tensor that a side keeps beside another, by a kind of companions, and its place."""

SPAN_ELEMENTS = 1 << 18
"""Elements of a span. Sums are made span by span, so it is part of what a sum is, to the last bit."""

HELD_NBYTES = 64 * MIB
"""A tensor whose sides take no more is kept once it was read, for a strategy that goes through it again."""

ALONE_NBYTES = MIB
"""What is so small is done before a thread has started."""


class PlacedContents:
    """The contents of the tensor that an action computes. Close it when it was gone through for the last time."""

    def __init__(
        self, spec: TensorSpec, action: Compute, models: Models, threads: int, companions: Companions | None = None
    ) -> None:
        self.spec = spec
        self._action = action
        self._models = models
        self._places = action.sides if action.base is None else (action.base, *action.sides)
        self._specs = [models.spec(place) for place in self._places]
        self.dtype = max((one.dtype for one in self._specs), key=lambda dtype: dtype.bits).name
        self._count = prod(spec.shape) * parts(self.dtype)
        nbytes = sum(one.nbytes for one in self._specs)
        self._threads = 1 if nbytes <= ALONE_NBYTES else threads
        self._held: list[Span] | None = None
        self._holds = nbytes <= HELD_NBYTES
        self._find = companions

    @property
    def sides(self) -> int:
        """How many sides take part."""
        return len(self._action.sides)

    @property
    def has_base(self) -> bool:
        """Whether spans have a base."""
        return self._action.base is not None

    @cached_property
    def seed(self) -> int:
        """A number of 64 bits that follows from what base and sides hold, in whatever order the sides are."""
        base, sides = self._places[: self.has_base], self._places[self.has_base :]
        digests = (*map(self._models.digest, base), *sorted(map(self._models.digest, sides)))
        return int.from_bytes(blake3(b"".join(digests)).digest(8))

    def each(self, function: Callable[[Span], Found], *, last: bool = False) -> Iterator[Found]:
        """Yield `function(span)` for all spans, in order; what is read in the `last` pass is not held for another."""
        with closing(ordered_map(function, self._spans(holds=self._holds and not last), self._threads)) as found:
            yield from found

    def companions(self, kind: str) -> Contents | None:
        """Return what the sides keep beside this tensor, None where one of them does not."""
        if self._find is None:
            return None
        found = [self._find(kind, place) for place in self._action.sides]
        if any(place is None for place in found):
            return None
        action = Compute(self._action.strategy, self._action.settings, None, tuple(one for one in found if one))
        return PlacedContents(self.spec, action, self._models, self._threads, None)

    def narrowed(self, data: bytearray, count: int) -> bytearray:
        """Return elements of the working dtype as those of the result, rounded where these are narrower."""
        return data if self.spec.dtype.name == self.dtype else _recast(data, self.dtype, self.spec.dtype.name, count)

    def close(self) -> None:
        """Let go of what is held."""
        self._held = None

    def _spans(self, *, holds: bool) -> Iterator[Span]:
        if self._held is not None:
            yield from self._held
            return
        held = []
        for span in self._read():
            if holds:
                held.append(span)
            yield span
        self._held = held if holds else None

    def _read(self) -> Iterator[Span]:
        streams = [next(self._models.stream(place.side, [place.name])) for place in self._places]
        cuts = [
            cut(pieces, lengths_of(spec.nbytes, SPAN_ELEMENTS * spec.dtype.bits // parts(spec.dtype.name) // 8))
            for pieces, spec in zip(streams, self._specs, strict=True)
        ]
        for number, buffers in enumerate(zip(*cuts, strict=True)):
            first = number * SPAN_ELEMENTS
            count = min(SPAN_ELEMENTS, self._count - first)
            same = tuple(self._widened(data, spec, count) for data, spec in zip(buffers, self._specs, strict=True))
            yield Span(first, count, self.dtype, same[0] if self.has_base else None, same[self.has_base :])

    def _widened(self, data: Buffer, spec: TensorSpec, count: int) -> Buffer:
        return data if spec.dtype.name == self.dtype else _recast(data, spec.dtype.name, self.dtype, count)


def _recast(data: Buffer, before: str, after: str, count: int) -> bytearray:
    import numpy

    doubles = numpy.empty(count, numpy.float64)
    kernels.decode(data, before, count, doubles)
    made = bytearray((count * (DTYPES[after].bits // parts(after)) + 7) // 8)
    kernels.encode(doubles.data, after, count, made)
    return made
