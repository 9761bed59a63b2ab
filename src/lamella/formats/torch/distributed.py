"""Checkpoints of torch.distributed: files of tensors, each as torch.save writes it, and a pickle that says where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from lamella.core.buffers import Buffer
from lamella.formats.arrange import arrange
from lamella.formats.base import Beside, Layout, RandomAccess, TensorSpan, TensorView
from lamella.formats.names import TensorNames
from lamella.formats.torch.archive import TorchZipFormat
from lamella.formats.torch.distributed_metadata import METADATA, SUFFIX, Item, malformed, piece_name, read_items

_ITEMS = TorchZipFormat()


class TorchDistributedFormat:
    """The `.distcp` files of a checkpoint, of which `.metadata` beside them says what each holds.

    Tensors have the names of the state dict. A piece of a tensor of which the others lie elsewhere has its place behind
    the name, as in `weight[0:512,0:64]`.
    """

    name = "torch-distributed"

    def layout(self, file: RandomAccess, beside: Beside) -> Layout | None:
        """Return where the tensors of this file lie, None where no `.metadata` lists any."""
        if not beside.name.endswith(SUFFIX) or (metadata := beside.neighbours.open(METADATA)) is None:
            return None
        items = sorted(read_items(metadata).get(beside.name, ()), key=lambda item: item.offset)
        foreign: set[str] = set()
        names = TensorNames()
        tensors = [one for item, held in _read(file, items, foreign) for one in _named(item, held, names)]
        return arrange(self.name, file.nbytes, tensors, sorted(foreign), sealed=True) if items else None


class _Part:
    """A run of a file, as a file."""

    def __init__(self, file: RandomAccess, offset: int, nbytes: int) -> None:
        self._file = file
        self._offset = offset
        self.nbytes = nbytes

    def read_at(self, offset: int, nbytes: int) -> Buffer:
        """Return exactly `nbytes` bytes; raise FormatError (file-truncated) where the run ends before them."""
        if not 0 <= offset <= offset + nbytes <= self.nbytes:
            raise malformed(f"an item ends before byte {offset + nbytes}", kind="file-truncated")
        return self._file.read_at(self._offset + offset, nbytes)


def _read(file: RandomAccess, items: Sequence[Item], foreign: set[str]) -> Iterator[tuple[Item, Layout]]:
    """Yield the items with what lies in them, and add to `foreign`; they follow each other, so none is read twice."""
    end = 0
    for item in items:
        if item.offset < end:
            raise malformed(f"item {item.name[:80]!r} begins inside another", kind="span-overlap")
        end = item.offset + item.nbytes
        if end > file.nbytes:
            raise malformed(f"item {item.name[:80]!r} leaves the file", kind="span-out-of-file")
        held = _ITEMS.layout(_Part(file, item.offset, item.nbytes))
        foreign.update(held.foreign)
        yield item, held


def _named(item: Item, held: Layout, names: TensorNames) -> Iterator[TensorSpan | TensorView]:
    """Yield the tensor of an item where it lies in the file, with the item's name; none where there is not one."""
    tensors: list[TensorSpan | TensorView] = [span for span in held.tensors if not span.part]
    tensors += held.views
    if len(tensors) == 1:
        yield _moved(tensors[0], item, names)


def _moved(one: TensorSpan | TensorView, item: Item, names: TensorNames) -> TensorSpan | TensorView:
    name = item.name
    if one.spec.shape != item.shape:
        if len(item.origin) != len(one.spec.shape):
            raise malformed(f"item {name[:80]!r} is not of the shape that it should be")
        name = piece_name(name, item.origin, one.spec.shape)
    spec = replace(one.spec, name=names.take(name, len(one.spec.shape)))
    if isinstance(one, TensorSpan):
        return TensorSpan(spec, one.offset + item.offset)
    return TensorView(spec, tuple(replace(box, offset=box.offset + item.offset) for box in one.boxes), one.swapped)
