"""One tensor as base and sides have it, span by span: read once where one pass is enough, held or read again else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import cached_property, partial
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
from lamella.model.merging.averaging import is_averaged
from lamella.model.merging.models import Models
from lamella.model.merging.plan import Compute, Place
from lamella.model.merging.strategy import Contents, Span
from lamella.model.streams import cut

Found = TypeVar("Found")
Companions = Callable[[str, Place], Place | None]
"""Finds the tensor that a side keeps beside another, by a kind of companions, and its place."""

SPAN_ELEMENTS = 1 << 18
"""Elements of a span, at most. Sums are made span by span, so it is part of what a sum is, to the last bit."""

HELD_NBYTES = 64 * MIB
"""A tensor whose sides take no more is kept once it was read, for a strategy that goes through it again."""

FLIGHT_NBYTES = 64 * MIB
"""What spans in flight take together, unless it is one: of many sides a span takes many MiB, and is not cut smaller."""

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
        self.dtype = _working([spec, *self._specs])
        self._count = prod(spec.shape) * parts(spec.dtype.name)
        self._step = _step(spec)
        self._threads = threads
        self._held: list[Span] | None = None
        self._find = companions
        self._joined: tuple[Place, ...] = ()

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
        element_bits = len(self._places) * _bits(self.dtype) + 64 * len(self._joined)
        nbytes, span_nbytes = self._count * element_bits // 8, self._step * element_bits // 8
        threads = 1 if nbytes <= ALONE_NBYTES else self._threads
        spans = self._spans(holds=nbytes <= HELD_NBYTES and not last)
        with closing(ordered_map(function, spans, threads, most=FLIGHT_NBYTES // max(1, span_nbytes))) as found:
            yield from found

    def companions(self, kind: str) -> Contents | None:
        """Return what the sides keep beside this tensor, None where one of them does not, or where shapes differ."""
        places = self._beside(kind)
        if not places:
            return None
        action = Compute(self._action.strategy, self._action.settings, None, places)
        return PlacedContents(self._models.spec(places[0]), action, self._models, self._threads)

    def join(self, kind: str) -> bool:
        """Have spans come with companions of that kind; say False where there are none of the tensor's own shape."""
        places = self._beside(kind) if parts(self.spec.dtype.name) == 1 else ()
        if places and self._models.spec(places[0]).shape == self.spec.shape:
            self._joined, self._held = places, None
        return bool(self._joined)

    def _beside(self, kind: str) -> tuple[Place, ...]:
        found = [self._find(kind, place) for place in self._action.sides] if self._find else []
        places = tuple(place for place in found if place is not None)
        specs = [self._models.spec(place) for place in places]
        floats = all(is_averaged(spec.dtype, named=False) and parts(spec.dtype.name) == 1 for spec in specs)
        alike = len({spec.shape for spec in specs}) == 1
        return places if len(places) == len(self._action.sides) and floats and alike else ()

    def narrowed(self, data: bytearray, count: int) -> bytearray:
        """Return elements of the working dtype as those of the result, rounded where these are narrower."""
        after = self.spec.dtype.name
        return data if after == self.dtype else _converted(data, self.dtype, after, count)

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
            del span
        self._held = held if holds else None

    def _read(self) -> Iterator[Span]:
        places = (*self._places, *self._joined)
        specs = [self._models.spec(place) for place in places]
        counts = [min(self._step, self._count - first) for first in range(0, self._count, self._step)]
        cuts = [
            cut(next(self._models.stream(place.side, [place.name])), map(partial(_nbytes, spec), counts))
            for place, spec in zip(places, specs, strict=True)
        ]
        first = 0
        for count, *buffers in zip(counts, *cuts, strict=True):
            kept = len(self._places)
            own = [_in(self.dtype, data, spec, count) for data, spec in zip(buffers[:kept], specs, strict=False)]
            joined = [_in("f64", data, spec, count) for data, spec in zip(buffers[kept:], specs[kept:], strict=True)]
            base = own.pop(0) if self.has_base else None
            yield Span(first, count, self.dtype, base, tuple(own), tuple(joined))
            first += count
            # Of many sides a span takes many MiB: it is not kept while the next one is read.
            del buffers, own, joined, base


def _working(specs: Sequence[TensorSpec]) -> str:
    """Return the dtype of spans: that of all, where elements of it are whole bytes, else one that holds any exactly."""
    dtypes = {spec.dtype for spec in specs}
    return specs[0].dtype.name if len(dtypes) == 1 and specs[0].dtype.bits >= 8 else "f64"


def _step(spec: TensorSpec) -> int:
    """Return how many elements a span has: whole rows, eight of them or more where elements are packed."""
    row = (spec.shape[-1] if spec.shape else 1) * parts(spec.dtype.name)
    unit = max(1, row * (1 if spec.dtype.bits >= 8 else 8))
    return SPAN_ELEMENTS // unit * unit or SPAN_ELEMENTS


def _bits(dtype: str) -> int:
    return DTYPES[dtype].bits // parts(dtype)


def _nbytes(spec: TensorSpec, count: int) -> int:
    return (count * _bits(spec.dtype.name) + 7) // 8


def _in(dtype: str, data: Buffer, spec: TensorSpec, count: int) -> Buffer:
    """Return elements in a dtype, the same buffer where it is theirs."""
    return data if spec.dtype.name == dtype else _converted(data, spec.dtype.name, dtype, count)


def _converted(data: Buffer, before: str, after: str, count: int) -> bytearray:
    import numpy

    doubles = numpy.empty(count, numpy.float64)
    kernels.decode(data, before, count, doubles)
    made = bytearray((count * _bits(after) + 7) // 8)
    kernels.encode(doubles.data, after, count, made)
    return made
