"""A tiny writer of protocol buffers, and ONNX models made with it."""

from __future__ import annotations

import struct
from collections.abc import Mapping

CODES = {
    "f32": 1, "u8": 2, "i8": 3, "u16": 4, "i16": 5, "i32": 6, "i64": 7, "bool": 9, "f16": 10, "f64": 11, "u32": 12,
    "u64": 13, "c64": 14, "c128": 15, "bf16": 16, "f8_e4m3": 17, "f8_e4m3fnuz": 18, "f8_e5m2": 19, "f8_e5m2fnuz": 20,
    "u4": 21, "i4": 22, "f4_e2m1": 23, "f8_e8m0": 24, "u2": 25, "i2": 26, "f6_e2m3": 27, "f6_e3m2": 28,
}  # fmt: skip


def varint(number: int) -> bytes:
    """Encode a number, a negative one in two's complement."""
    number &= (1 << 64) - 1
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def field(number: int, value: int | bytes | str | float) -> bytes:
    """Encode a field: a varint, a run of bytes, or a float of 32 bits."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def message(*fields: tuple[int, int | bytes | str | float]) -> bytes:
    """Encode a message."""
    return b"".join(field(number, value) for number, value in fields)


def entry(key: str, value: str) -> bytes:
    """A StringStringEntryProto."""
    return message((1, key), (2, value))


def tensor(
    name: str,
    dtype: str | int,
    shape: tuple[int, ...],
    data: bytes | None = None,
    *extra: tuple[int, bytes | int | float],
) -> bytes:
    """A TensorProto with `raw_data`, or only with `extra` fields."""
    raw = [] if data is None else [(9, data)]
    code = CODES[dtype] if isinstance(dtype, str) else dtype
    return message(*((1, extent) for extent in shape), (2, code), (8, name), *raw, *extra)


def outside(name: str, dtype: str, shape: tuple[int, ...], entries: Mapping[str, str]) -> bytes:
    """A TensorProto whose bytes are external data."""
    return tensor(name, dtype, shape, None, *((13, entry(*pair)) for pair in entries.items()), (14, 1))


def node(operator: str, output: str = "", name: str = "", *attributes: bytes, inputs: tuple[str, ...] = ()) -> bytes:
    """A NodeProto."""
    return message(
        *((1, one) for one in inputs), (2, output), (3, name), (4, operator), *((5, one) for one in attributes)
    )


def attribute(name: str, number: int, *values: bytes | int | float) -> bytes:
    """An AttributeProto whose field of that number holds the values."""
    return message((1, name), *((number, value) for value in values))


def graph(*tensors: bytes, nodes: tuple[bytes, ...] = (), extra: tuple[tuple[int, bytes | str], ...] = ()) -> bytes:
    """A GraphProto."""
    return message(*((1, one) for one in nodes), (2, "main"), *((5, one) for one in tensors), *extra)


def value(name: str, code: int, *extents: int | str) -> bytes:
    """A ValueInfoProto of a tensor."""
    dims = [(1, message((2 if isinstance(extent, str) else 1, extent))) for extent in extents]
    return message((1, name), (2, message((1, message((1, code), (2, message(*dims)))))))


def model(whole: bytes, *extra: tuple[int, bytes | int | str]) -> bytes:
    """A ModelProto of a graph."""
    return message((1, 8), (2, "by hand"), (7, whole), (8, message((2, 17))), *extra)
