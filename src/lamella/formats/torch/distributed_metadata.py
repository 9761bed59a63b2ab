"""The `.metadata` of a checkpoint of torch.distributed: which run of which file holds what box of which tensor."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lamella.core.errors import FormatError
from lamella.core.limits import MAX_DIMENSIONS, MAX_PICKLE_NBYTES, MIB
from lamella.formats.base import RandomAccess
from lamella.formats.torch.pickle_values import STATE, Node, Value
from lamella.formats.torch.pickle_walk import walk_pickle

METADATA = ".metadata"
SUFFIX = ".distcp"

_MAX_FIELDS = 16
"""Attributes of one object in `.metadata`; PyTorch has five."""

_REMEMBERED_NBYTES = 16 * MIB
"""A longer one is read again for every file: what it lists takes some four times its bytes."""


@dataclass(frozen=True, slots=True)
class Item:
    """A run of `file` that holds a tensor, or the box of it that begins at `origin`; `shape` is the tensor's.

    `extents` are those of the box, None where nobody says.
    """

    file: str
    name: str
    shape: tuple[int, ...]
    origin: tuple[int, ...]
    extents: tuple[int, ...] | None
    offset: int
    nbytes: int


def read_items(metadata: RandomAccess) -> Mapping[str, Sequence[Item]]:
    """Return the tensors that `.metadata` lists, by the file that has them.

    It is the pickle of a `Metadata` of `torch/distributed/checkpoint/metadata.py`. What is no tensor, and what was
    transformed before it was written, is passed over. Raises FormatError (header-malformed, header-too-large).
    """
    if metadata.nbytes > MAX_PICKLE_NBYTES:
        raise malformed(f"it has {metadata.nbytes} bytes", kind="header-too-large")
    data = bytes(metadata.read_at(0, metadata.nbytes))
    return _remembered(data) if len(data) <= _REMEMBERED_NBYTES else _by_file(data)


@functools.lru_cache(maxsize=1)
def _remembered(data: bytes) -> Mapping[str, Sequence[Item]]:
    """Remember the one that is asked for again for every file of a checkpoint."""
    return _by_file(data)


def _by_file(data: bytes) -> Mapping[str, Sequence[Item]]:
    found: dict[str, list[Item]] = {}
    for item in _items(data):
        found.setdefault(item.file, []).append(item)
    return found


def _items(data: bytes) -> Iterator[Item]:
    fields = _fields(walk_pickle(data).value)
    tensors: dict[str, tuple[Value, Value]] = {}
    for name, held in _pairs(fields.get("state_dict_metadata")):
        about = _fields(held)
        if type(name) is str and about.get("size") is not None:
            tensors[name] = about["size"], about.get("chunks")
    extents: dict[int, dict[Value, Value]] = {}  # by the list that many names may share
    for key, held in _pairs(fields.get("storage_data")):
        where, stored = _fields(key), _fields(held)
        name, file = where.get("fqn"), stored.get("relative_path")
        if type(file) is not str or stored.get("transform_descriptors"):
            continue
        if type(name) is not str or name not in tensors:  # bytes of an object that is no tensor
            continue
        shape, chunks = tensors[name]
        if id(chunks) not in extents:
            extents[id(chunks)] = _extents(chunks)
        origin = sizes(where.get("offset") or ())
        offset, nbytes = sizes((stored.get("offset"), stored.get("length")))
        yield Item(file, name, sizes(shape), origin, extents[id(chunks)].get(origin), offset, nbytes)


def piece_name(name: str, origin: tuple[int, ...], extents: tuple[int, ...]) -> str:
    """Return what a piece of the tensor `name` is called."""
    boxes = (f"{start}:{start + n}" for start, n in zip(origin, extents, strict=True))
    return f"{name}[{','.join(boxes)}]"


def _extents(chunks: Value) -> dict[Value, Value]:
    """Return the extents of the chunks of a tensor by their origins."""
    listed = (_fields(chunk) for chunk in chunks) if type(chunks) is list else ()
    return {sizes(one.get("offsets")): sizes(one.get("sizes")) for one in listed}


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


def sizes(value: Value) -> tuple[int, ...]:
    """Return a value that is a tuple of sizes; raise FormatError (header-malformed) for any other."""
    if type(value) is not tuple or len(value) > MAX_DIMENSIONS or not all(type(n) is int and n >= 0 for n in value):
        raise malformed("a shape or a place is not one of numbers")
    return value


def malformed(reason: str, kind: str = "header-malformed") -> FormatError:
    """Return the error of a `.metadata` for which `reason` holds."""
    return FormatError(
        f".metadata is malformed: {reason}", kind=kind, hint="save the checkpoint again, or copy it again"
    )
