"""Sides of a merge that keep a tensor in another dtype, and changed nothing else about it."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from lamella.core.buffers import Buffer
from lamella.core.tensors import TensorSpec
from lamella.model import kernels
from lamella.model.measure_reference import parts
from lamella.model.merging.models import Models
from lamella.model.merging.plan import Place
from lamella.model.streams import cut

ELEMENTS = 1 << 18
"""Elements that are held at once, of which every part of a complex number is one; a multiple of 8, for packed ones."""


def is_mere_cast(models: Models, base: Place, side: Place) -> bool:
    """Say whether a side has the numbers of the base, rounded to its dtype, bit for bit."""
    import numpy

    one, other = models.spec(base), models.spec(side)
    if one.dtype == other.dtype or one.shape != other.shape or parts(one.dtype.name) != parts(other.dtype.name):
        return False
    pieces = [_pieces(models, place) for place in (base, side)]
    alike = True
    for (count, before), (_, after) in zip(*pieces, strict=True):
        if alike:
            values = numpy.empty(count, numpy.float64)
            kernels.decode(before, one.dtype.name, count, values)
            cast = bytearray(len(after))
            kernels.encode(values.data, other.dtype.name, count, cast)
            alike = cast == bytes(after)
    return alike


def _pieces(models: Models, place: Place) -> Iterator[tuple[int, Buffer]]:
    spec = models.spec(place)
    counts = list(_counts(spec))
    bits = spec.dtype.bits // parts(spec.dtype.name)
    stream = next(models.stream(place.side, [place.name]))
    yield from zip(counts, cut(stream, ((count * bits + 7) // 8 for count in counts)), strict=True)


def _counts(spec: TensorSpec) -> Iterator[int]:
    total = prod(spec.shape) * parts(spec.dtype.name)
    for at in range(0, total, ELEMENTS):
        yield min(ELEMENTS, total - at)
