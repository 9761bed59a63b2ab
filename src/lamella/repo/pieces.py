"""Tensors of which several files have a piece each, read as the whole tensors that they are pieces of."""

from __future__ import annotations

import functools
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, product

from lamella.core.buffers import Buffer
from lamella.core.errors import FormatError
from lamella.core.limits import MAX_DIVIDED_AXES
from lamella.core.tensors import TensorSpec
from lamella.formats.arrange import row_major, strided
from lamella.formats.base import Box, RandomAccess, TensorSpan, TensorView
from lamella.formats.strided import read_view
from lamella.repo.located import LocatedTensors
from lamella.repo.model_file import TensorHolder

_MOST_OPEN_PIECES = 8
"""Pieces that are kept open while one tensor is read, some MiB each."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The box of a tensor that begins at `origin`: the tensor `name` of `holder`, of the shape `extents`."""

    holder: TensorHolder
    name: str
    origin: tuple[int, ...]
    extents: tuple[int, ...]


class JoinedPieces(LocatedTensors):
    """Tensors that are put together from pieces, which make up each of them."""

    def __init__(self, path: str, tensors: Mapping[str, tuple[TensorSpec, Sequence[Piece]]]) -> None:
        super().__init__(path, {name: spec for name, (spec, _) in tensors.items()})
        self._tensors = tensors

    def find(self, name: str) -> tuple[TensorHolder, str]:
        """Return the file of a tensor that lies whole in one, and its name there; this for any other."""
        spec, (first, *_) = self._tensors[name]
        return (first.holder, first.name) if first.extents == spec.shape else (self, name)

    def locate(self, name: str) -> tuple[RandomAccess, TensorView]:
        """Return where the elements of a tensor lie: in its pieces, one behind the other."""
        spec, pieces = self._tensors[name]
        one = _OneBehindTheOther(spec.dtype.bits // 8, pieces)
        boxes = tuple(
            Box(piece.origin, piece.extents, offset, row_major(TensorSpec(name, spec.dtype, piece.extents)))
            for piece, offset in zip(pieces, one.offsets, strict=True)
            if 0 not in piece.extents
        )
        return one, TensorView(spec, boxes)


class _OneBehindTheOther:
    """The pieces of a tensor as a file in which each lies row by row. Not for use by two threads at once."""

    def __init__(self, element_nbytes: int, pieces: Sequence[Piece]) -> None:
        lengths = [functools.reduce(int.__mul__, piece.extents, element_nbytes) for piece in pieces]
        *self.offsets, self.nbytes = accumulate(lengths, initial=0)
        self._opened: Callable[[int], tuple[RandomAccess, TensorView]] = functools.lru_cache(_MOST_OPEN_PIECES)(
            lambda number: pieces[number].holder.locate(pieces[number].name)
        )

    def read_at(self, offset: int, nbytes: int) -> Buffer:
        """Return exactly `nbytes` bytes, which lie in one piece; raise as reading that does."""
        if not nbytes:
            return b""
        number = bisect_right(self.offsets, offset) - 1
        file, view = self._opened(number)
        start = offset - self.offsets[number]
        if _is_plain(view):
            return file.read_at(view.boxes[0].offset + start, nbytes)
        return b"".join(read_view(file, view, start, start + nbytes))


def _is_plain(view: TensorView) -> bool:
    if len(view.boxes) != 1:
        return False
    box = view.boxes[0]
    return isinstance(strided(view.spec, box.offset, box.strides, swapped=view.swapped), TensorSpan)


def make_up(shape: Sequence[int], pieces: Sequence[Piece]) -> bool:
    """Say whether the boxes of `pieces` are all of a tensor of this shape, and no element is in two of them.

    Boxes are known by their corners: the indicator functions of the boxes add up to that of the whole exactly where
    their differences along every axis do, and of one box these are signs at its corners, 1 and -1 by turns. Axes that
    no box divides are left out. Raises FormatError (header-malformed) where too many are.
    """
    boxes = [tuple(zip(piece.origin, piece.extents, strict=True)) for piece in pieces]
    if any(start + n > extent for box in boxes for (start, n), extent in zip(box, shape, strict=True)):
        return False
    if 0 in shape:
        return True
    divided = [axis for axis, extent in enumerate(shape) if any(box[axis] != (0, extent) for box in boxes)]
    if len(divided) > MAX_DIVIDED_AXES:
        hint = "save it with fewer dimensions to the mesh"
        raise FormatError(f"a tensor is divided along {len(divided)} axes", kind="header-malformed", hint=hint)
    whole = tuple((0, extent) for extent in shape)
    corners: Counter[tuple[int, ...]] = Counter()
    for box, weight in [*((box, 1) for box in boxes), (whole, -1)]:
        ends = [((box[axis][0], 1), (sum(box[axis]), -1)) for axis in divided]
        for corner in product(*ends):
            sign = functools.reduce(int.__mul__, (one for _, one in corner), weight)
            corners[tuple(at for at, _ in corner)] += sign
    return not any(corners.values())
