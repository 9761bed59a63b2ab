"""`cat`: the values of a tensor, or of a part of it, decoding only what was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from blake3 import blake3

from lamella.core.errors import IntegrityError, UsageError
from lamella.core.tensors import TensorSpec
from lamella.formats.base import RandomAccess, TensorView
from lamella.formats.selection import Item, parse_selection, select
from lamella.formats.strided import read_view
from lamella.repo.joined_model import Model
from lamella.repo.stored_model_file import StoredModelFile

_MOST_CORNERS = 4096
"""Pieces of a tensor of many dimensions from which its summary is made."""


@dataclass(frozen=True, slots=True)
class Selected:
    """A tensor, or a part of one: `spec` has the whole tensor's name and the part's shape. Nothing is read yet.

    `wanted` is the id of what it holds where the whole tensor is taken from a store.
    """

    spec: TensorSpec
    _file: RandomAccess
    _view: TensorView
    wanted: bytes | None

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes, row-major and little-endian, in pieces of some MiB.

        Raises IntegrityError as they are found damaged; a whole tensor is held against its id after the last piece.
        """
        hasher = blake3()
        for piece in read_view(self._file, self._view):
            if self.wanted is not None:
                hasher.update(piece)
            yield piece
        if self.wanted is not None and hasher.digest() != self.wanted:
            raise IntegrityError(
                f"tensor {self.spec.name!r} does not hold what its id says",
                kind="object-wrong-id",
                hint="`lamella fsck` finds what is damaged",
            )

    def read(self) -> bytes:
        """Return all bytes at once."""
        return b"".join(self.pieces())

    def corners(self, edge: int) -> Iterator[tuple[tuple[slice, ...], bytes]]:
        """Yield the first and the last `edge` indices of each axis that has more than twice as many, as pieces.

        Each with where it goes in an array whose long axes are cut to ``2 * edge + 1``. Raises UsageError
        (bad-argument) for a tensor of too many axes.
        """
        axes = [_ends(extent, edge) for extent in self._view.spec.shape]
        if prod(map(len, axes)) > _MOST_CORNERS:
            hint = "name a part, as in `name[0, 0]`"
            raise UsageError("the tensor has too many dimensions to sum it up", kind="bad-argument", hint=hint)
        for chosen in product(*axes):
            part = select(self._view, [taken for taken, _ in chosen])
            yield tuple(where for _, where in chosen), b"".join(read_view(self._file, part))


def _ends(extent: int, edge: int) -> Sequence[tuple[slice, slice]]:
    if extent <= 2 * edge:
        return [(slice(0, extent), slice(0, extent))]
    return [(slice(0, edge), slice(0, edge)), (slice(extent - edge, extent), slice(edge + 1, 2 * edge + 1))]


def cat(model: Model, text: str) -> Selected:
    """Return what ``NAME`` or ``NAME[SELECTION]`` names in a model.

    A name that has brackets itself is taken as it is where there is such a tensor. Raises NotFoundError
    (tensor-unknown, object-missing) and UsageError: bad-argument for what cannot be selected, dtype-unsupported for a
    part of a tensor whose elements share bytes.
    """
    name, items = _split(model, text)
    file, inner = model.find(name)
    spec = model.spec(name)
    source, view = file.locate(inner)
    if not items:
        wanted = file.object_ids([inner])[0] if isinstance(file, StoredModelFile) else None
        return Selected(spec, source, view, wanted)
    if spec.dtype.bits % 8:
        raise UsageError(
            f"elements of {spec.dtype.name} share bytes and cannot be taken one by one",
            kind="dtype-unsupported",
            hint="name the whole tensor",
        )
    part = select(view, items)
    return Selected(TensorSpec(name, spec.dtype, part.spec.shape), source, part, None)


def _split(model: Model, text: str) -> tuple[str, tuple[Item, ...]]:
    name, bracket, inside = text.rpartition("[")
    if text in model.names or not bracket or not inside.endswith("]"):
        return text, ()
    return name, parse_selection(inside[:-1])
