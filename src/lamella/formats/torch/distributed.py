"""Checkpoints of torch.distributed: files of tensors, each as torch.save writes it, and a pickle that says where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from lamella.core.buffers import Buffer
from lamella.core.errors import FormatError
from lamella.core.limits import MAX_DIMENSIONS, MAX_PICKLE_NBYTES
from lamella.formats.arrange import arrange
from lamella.formats.base import Beside, Layout, RandomAccess, TensorSpan, TensorView
from lamella.formats.names import TensorNames
from lamella.formats.torch.archive import TorchZipFormat
from lamella.formats.torch.pickle_values import STATE, Node, Value
from lamella.formats.torch.pickle_walk import walk_pickle

_SUFFIX = ".distcp"
_METADATA = ".metadata"

_MAX_FIELDS = 16
"""Attributes of one object in `.metadata`; PyTorch has five."""

_ITEMS = TorchZipFormat()


@dataclass(frozen=True, slots=True)
class _Item:
    """A run of the file that holds a tensor, or the piece of it that begins at `origin`; `shape` is the tensor's."""

    name: str
    shape: tuple[int, ...]
    origin: tuple[int, ...]
    offset: int
    nbytes: int


class TorchDistributedFormat:
    """The `.distcp` files of a checkpoint, of which `.metadata` beside them says what each holds.

    Tensors have the names of the state dict. A piece of a tensor of which the others lie elsewhere has its place behind
    the name, as in `weight[0:512,0:64]`.
    """

    name = "torch-distributed"

    def layout(self, file: RandomAccess, beside: Beside) -> Layout | None:
        """Return where the tensors of this file lie, None where no `.metadata` lists any."""
        if not beside.name.endswith(_SUFFIX) or (metadata := beside.neighbours.open(_METADATA)) is None:
            return None
        items = sorted(_items(metadata, beside.name), key=lambda item: item.offset)
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
            raise _malformed(f"an item ends before byte {offset + nbytes}", kind="file-truncated")
        return self._file.read_at(self._offset + offset, nbytes)


def _read(file: RandomAccess, items: Sequence[_Item], foreign: set[str]) -> Iterator[tuple[_Item, Layout]]:
    """Yield the items with what lies in them, and add to `foreign`; they follow each other, so none is read twice."""
    end = 0
    for item in items:
        if item.offset < end:
            raise _malformed(f"item {item.name[:80]!r} begins inside another", kind="span-overlap")
        end = item.offset + item.nbytes
        if end > file.nbytes:
            raise _malformed(f"item {item.name[:80]!r} leaves the file", kind="span-out-of-file")
        held = _ITEMS.layout(_Part(file, item.offset, item.nbytes))
        foreign.update(held.foreign)
        yield item, held


def _named(item: _Item, held: Layout, names: TensorNames) -> Iterator[TensorSpan | TensorView]:
    """Yield the tensor of an item where it lies in the file, with the item's name; none where there is not one."""
    tensors: list[TensorSpan | TensorView] = [span for span in held.tensors if not span.part]
    tensors += held.views
    if len(tensors) == 1:
        yield _moved(tensors[0], item, names)


def _moved(one: TensorSpan | TensorView, item: _Item, names: TensorNames) -> TensorSpan | TensorView:
    name = item.name
    if one.spec.shape != item.shape:
        if len(item.origin) != len(one.spec.shape):
            raise _malformed(f"item {name[:80]!r} is not of the shape that it should be")
        extents = zip(item.origin, one.spec.shape, strict=True)
        name += f"[{','.join(f'{start}:{start + n}' for start, n in extents)}]"
    spec = replace(one.spec, name=names.take(name, len(one.spec.shape)))
    if isinstance(one, TensorSpan):
        return TensorSpan(spec, one.offset + item.offset)
    return TensorView(spec, tuple(replace(box, offset=box.offset + item.offset) for box in one.boxes), one.swapped)


def _items(metadata: RandomAccess, file_name: str) -> Iterator[_Item]:
    """Yield the tensors that `.metadata` lists for a file, as `torch/distributed/checkpoint/metadata.py` has them."""
    if metadata.nbytes > MAX_PICKLE_NBYTES:
        raise _malformed(f"it has {metadata.nbytes} bytes", kind="header-too-large")
    fields = _fields(walk_pickle(bytes(metadata.read_at(0, metadata.nbytes))).value)
    listed = _pairs(fields.get("state_dict_metadata"))
    shapes = {
        name: shape for name, held in listed if type(name) is str and (shape := _fields(held).get("size")) is not None
    }
    for key, held in _pairs(fields.get("storage_data")):
        where, stored = _fields(key), _fields(held)
        name = where.get("fqn")
        if stored.get("relative_path") != file_name or stored.get("transform_descriptors"):
            continue
        if type(name) is not str or name not in shapes:  # bytes of an object that is no tensor
            continue
        offset, nbytes = _sizes((stored.get("offset"), stored.get("length")))
        yield _Item(name, _sizes(shapes[name]), _sizes(where.get("offset") or ()), offset, nbytes)


def _pairs(value: Value) -> Iterator[tuple[Value, Value]]:
    """Yield the keys and values of a mapping."""
    if type(value) is Node:
        yield from zip(value[::2], value[1::2], strict=True)


def _fields(value: Value) -> dict[str, Value]:
    """Return the attributes of an object, by their names; many objects may be one, so that none may have many."""
    if type(value) is not Node or len(value) > 2 * _MAX_FIELDS:
        return {}
    state = next((held for key, held in _pairs(value) if key is STATE), None)
    if type(state) is not Node or len(state) > 2 * _MAX_FIELDS:
        return {}
    return {key: held for key, held in _pairs(state) if type(key) is str}


def _sizes(value: Value) -> tuple[int, ...]:
    if type(value) is not tuple or len(value) > MAX_DIMENSIONS or not all(type(n) is int and n >= 0 for n in value):
        raise _malformed("a shape or a place is not one of numbers")
    return value


def _malformed(reason: str, kind: str = "header-malformed") -> FormatError:
    return FormatError(
        f".metadata is malformed: {reason}", kind=kind, hint="save the checkpoint again, or copy it again"
    )
