"""The texts of an ONNX graph: types of values, and attributes of nodes in one canonical form."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from lamella.core.graph_builder import attribute_text, float_text
from lamella.core.graphs import Extent
from lamella.core.limits import MAX_DIMENSIONS
from lamella.formats.onnx.metadata import dtype_text, type_text
from lamella.formats.protobuf import FIXED32, VARINT, Field, WireReader, signed

_SHOWN_NBYTES = 4096
"""Longer attributes are shown as their digest: their length is not bounded."""

_EXTENT_NBYTES = 256
_ELEMENTS = frozenset({4, 5, 6, 7, 9, 10, 11})
_VARINTS = frozenset({5, 7, 11})
"""The fields of a TensorProto that hold elements, and those that hold varints."""

Type = tuple[str | None, tuple[Extent, ...] | None]
"""A dtype, or a type in words, and a shape."""

UNKNOWN: Type = (None, None)


def read_type(reader: WireReader, field: Field) -> Type:
    """Return dtype and shape of the tensors of a TypeProto; of anything else what it is, in words, and None."""
    tensor = reader.last(field, 1).get(1)
    if tensor is None:
        return type_text(reader, field, 0), None
    parts = reader.last(tensor, 1, 2)
    shape = _shape(reader, parts[2]) if 2 in parts else None
    dtype = dtype_text(parts.get(1))
    return None if dtype == "?" else dtype, shape


def _shape(reader: WireReader, field: Field) -> tuple[Extent, ...] | None:
    found: list[Extent] = []
    for dimension in reader.inside(field):
        if dimension.number == 1:
            parts = reader.last(dimension, 1, 2)
            if 2 in parts:
                found.append(attribute_text(reader.shown(parts[2], _EXTENT_NBYTES)) or None)
            else:
                found.append(signed(parts[1].value) if 1 in parts else None)
    return tuple(found) if len(found) <= MAX_DIMENSIONS else None


def read_attribute(reader: WireReader, fields: Iterable[Field]) -> str:
    """Return the value that the fields of an AttributeProto hold, unless that is a tensor or a graph."""
    kinds: dict[int, list[Field]] = {}
    for field in fields:
        kinds.setdefault(field.number, []).append(field)
    if 21 in kinds:
        return f"attribute {attribute_text(reader.shown(kinds[21][-1], _SHOWN_NBYTES))} of the function"
    for number in (2, 3, 4):
        if number in kinds:
            return _single(reader, kinds[number][-1])
    for number in (7, 8, 9):
        if number in kinds:
            return _several(reader, number, kinds[number])
    if 14 in kinds or 15 in kinds:
        return ", ".join(type_text(reader, one, 0) for one in (kinds.get(14) or kinds[15])[:MAX_DIMENSIONS])
    which = kinds[20][-1].value if 20 in kinds else 0
    return {1: "0.0", 2: "0", 3: ""}.get(which, "[]" if which else "")


def _single(reader: WireReader, field: Field) -> str:
    if field.wire == FIXED32:
        return float_text(struct.unpack("<f", reader.encoded(field, 4))[0])
    if field.wire == VARINT:
        return str(signed(field.value))
    if field.stop - field.start > _SHOWN_NBYTES:
        return reader.digest_text([field])
    data = reader.payload(field, _SHOWN_NBYTES)
    try:
        return attribute_text(data.decode())
    except UnicodeDecodeError:
        return reader.digest_text([field])


def _several(reader: WireReader, number: int, fields: list[Field]) -> str:
    """Return a list as JSON writes it, or the digest of a long one."""
    if sum(field.stop - field.start + 1 for field in fields) > _SHOWN_NBYTES:
        return reader.digest_text(fields)
    if number == 9:
        return attribute_text([reader.shown(field, _SHOWN_NBYTES) for field in fields])
    texts: list[str] = []
    for field in fields:
        if number == 8:
            texts += map(str, reader.numbers(field, _SHOWN_NBYTES))
        else:
            data = reader.encoded(field, _SHOWN_NBYTES)
            texts += [float_text(value) for (value,) in struct.iter_unpack("<f", data[: len(data) // 4 * 4])]
    return attribute_text(f"[{', '.join(texts)}]")


def read_elements(reader: WireReader, tensor: Field) -> str:
    """Return dtype and shape of a TensorProto that no run of the file holds, with its elements or their digest."""
    parts = reader.last(tensor, 2)
    dims: list[int] = []
    held: list[Field] = []
    for field in reader.inside(tensor):
        if field.number == 1 and len(dims) < MAX_DIMENSIONS:
            dims += reader.numbers(field, MAX_DIMENSIONS)
        elif field.number in _ELEMENTS:
            held.append(field)
    kind = f"{dtype_text(parts.get(2))}[{','.join(map(str, dims))}]"
    if len(held) == 1 and held[0].number in _VARINTS and held[0].stop - held[0].start <= _EXTENT_NBYTES:
        return f"{kind} {reader.numbers(held[0], _EXTENT_NBYTES)}"
    return f"{kind} {reader.digest_text(held)}"
