"""Tensors as streams of pieces: what a source has to give, cut anew, and cropped to a box."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import Protocol

from lamella.core.buffers import Buffer
from lamella.core.errors import FormatError
from lamella.core.limits import MIB
from lamella.core.tensors import TensorSource, TensorSpec

SLAB_NBYTES = 4 * MIB
"""What is held of a tensor while it is cropped."""


class StreamedSource(TensorSource, Protocol):
    """A TensorSource that also yields whole tensors in bounded memory."""

    def stream(self, names: Sequence[str]) -> Iterator[Iterator[Buffer]]:
        """Yield for each tensor named, in that order, its bytes in pieces of some MiB at most.

        Each is gone through to its end before the next is asked for. Raises as `read` does.
        """
        ...


def cut(pieces: Iterator[Buffer], lengths: Iterator[int]) -> Iterator[Buffer]:
    """Yield the bytes again, in pieces of these lengths, without a copy where a piece holds one; read to the end.

    Raises FormatError (file-truncated) where there are fewer bytes, or more.
    """
    rest = memoryview(b"")
    for length in lengths:
        held: list[memoryview] = []
        missing = length
        while missing:
            if not rest:
                piece = next(pieces, None)
                if piece is None:
                    raise _other_length()
                rest = memoryview(piece).cast("B")
                continue
            held.append(rest[:missing])
            rest = rest[missing:]
            missing -= len(held[-1])
        yield held[0] if len(held) == 1 else b"".join(held)
    if rest or any(len(piece) for piece in pieces):
        raise _other_length()


def _other_length() -> FormatError:
    return FormatError(
        "a tensor has another length than its shape says", kind="file-truncated", hint="read the file again"
    )


def lengths_of(total: int, length: int) -> Iterator[int]:
    """Yield the lengths of equal parts of a total, the last one shorter."""
    for at in range(0, total, length):
        yield min(length, total - at)


def cropped(pieces: Iterator[Buffer], spec: TensorSpec, box: tuple[int, ...]) -> Iterator[Buffer]:
    """Yield the elements of a tensor that lie in a box at its origin, row-major; elements are whole bytes.

    What lies around the box is read and let go, so that the stream is verified to its end.
    """
    import numpy

    nbytes = spec.dtype.bits // 8
    outer, rows, inner = _slabs(spec.shape, nbytes)
    per_index = list(lengths_of(spec.shape[len(outer)], rows))
    row_nbytes = prod(inner) * nbytes
    found = cut(pieces, (count * row_nbytes for _ in product(*map(range, outer)) for count in per_index))
    within = tuple(slice(0, n) for n in box[len(outer) + 1 :])
    for index in product(*map(range, outer)):
        inside = all(place < n for place, n in zip(index, box, strict=False))
        for number, count in enumerate(per_index):
            slab = next(found)
            kept = min(count, box[len(outer)] - number * rows)
            if inside and kept > 0:
                whole = numpy.frombuffer(slab, f"V{nbytes}").reshape(count, *inner)
                yield numpy.ascontiguousarray(whole[(slice(0, kept), *within)]).view(numpy.uint8).data
    next(found, None)


def _slabs(shape: tuple[int, ...], nbytes: int) -> tuple[tuple[int, ...], int, tuple[int, ...]]:
    """Return the axes gone through index by index, how many rows of the next make a slab, and the axes of a row."""
    axis = 0
    while axis < len(shape) - 1 and prod(shape[axis + 1 :]) * nbytes > SLAB_NBYTES:
        axis += 1
    return shape[:axis], max(1, SLAB_NBYTES // max(1, prod(shape[axis + 1 :]) * nbytes)), shape[axis + 1 :]
