"""Some rows of each of several tensors, as if they were all that there is."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from math import prod

from blake3 import blake3

from lamella.core.buffers import Buffer
from lamella.core.limits import MIB
from lamella.core.tensors import TensorSpec
from lamella.model.merging.models import Models
from lamella.model.merging.plan import Compute, Place, Rows, Take
from lamella.model.streams import cut, lengths_of

PIECE_NBYTES = 4 * MIB
"""What is read at once of rows that are not the first."""


def row_nbytes(spec: TensorSpec) -> int | None:
    """Return of how many bytes each row of a tensor is, None where rows do not begin at whole bytes, or blocks."""
    if not spec.shape or (spec.dtype.block_elements > 1 and len(spec.shape) == 1):
        return None
    nbits = prod(spec.grid[1:]) * spec.dtype.bits
    return None if nbits % 8 else nbits // 8


def places_of(action: Take | Compute) -> tuple[Place, ...]:
    """Return where an action reads, the base first."""
    if isinstance(action, Take):
        return (action.place,)
    return action.sides if action.base is None else (action.base, *action.sides)


class Windows(Models):
    """The rows that a part of a stack is made of, under the names of the tensors that they are of."""

    def __init__(self, models: Models, rows: Rows) -> None:
        self._models = models
        self._count = rows.count
        self._starts = dict(zip(places_of(rows.action), rows.starts, strict=True))

    def spec(self, place: Place) -> TensorSpec:
        """Return the spec of the rows of one tensor."""
        spec = self._models.spec(place)
        return TensorSpec(spec.name, spec.dtype, (self._count, *spec.shape[1:]))

    def digest(self, place: Place) -> bytes:
        """Return a digest of which rows these are of which bytes."""
        which = f" {self._starts[place]} {self._count}".encode()
        return blake3(self._models.digest(place) + which).digest()

    def stream(self, side: int, names: Sequence[str]) -> Iterator[Iterator[Buffer]]:
        """Yield the rows of tensors of one model, each in pieces."""
        for name in names:
            yield self._rows(Place(side, name))

    def _rows(self, place: Place) -> Iterator[Buffer]:
        spec = self._models.spec(place)
        nbytes = spec.nbytes // max(1, spec.shape[0])
        start, length = self._starts[place] * nbytes, self._count * nbytes
        if not start:
            with closing(head_and_rest(self._models, place, length)) as pieces:
                yield from (piece for piece, is_head in pieces if is_head)
            return
        source = self._models.numbered(place.side)
        at = start
        for part in lengths_of(length, PIECE_NBYTES):
            yield source.read(place.name, at, at + part)
            at += part


def head_and_rest(models: Models, place: Place, length: int) -> Generator[tuple[Buffer, bool], None, None]:
    """Yield a tensor in pieces, and whether each is of the first `length` bytes, verified to its end."""
    total = models.spec(place).nbytes
    stream = next(models.stream(place.side, [place.name]))
    lengths = [*lengths_of(length, PIECE_NBYTES)]
    rest = lengths_of(total - length, PIECE_NBYTES)
    for number, piece in enumerate(cut(stream, iter([*lengths, *rest]))):
        yield piece, number < len(lengths)
