"""The datatypes of HDF5: which of them are dtypes of tensors."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

from lamella.core.dtypes import DTYPES, DType
from lamella.formats.hdf5.blocks import malformed, number

_FIXED, _FLOAT, _STRING, _OPAQUE, _COMPOUND, _ENUM, _VLEN = 0, 1, 3, 5, 6, 8, 9

_HEAD = Struct("<B3sI")
_INTEGER = Struct("<HH")
_LAYOUT = Struct("<HHBBBBI")

_FLOATS = {
    (2, 0, 16, 10, 5, 0, 10, 15, 15): "f16",
    (2, 0, 16, 7, 8, 0, 7, 127, 15): "bf16",
    (4, 0, 32, 23, 8, 0, 23, 127, 31): "f32",
    (8, 0, 64, 52, 11, 0, 52, 1023, 63): "f64",
    (1, 0, 8, 3, 4, 0, 3, 7, 7): "f8_e4m3",
    (1, 0, 8, 2, 5, 0, 2, 15, 7): "f8_e5m2",
}
"""Floats by size, first bit, bits, where exponent and mantissa begin and how long they are, bias, and sign."""

_PARTS = {"f32": "c64", "f64": "c128"}
_COMPLEX_NAMES = {b"r": 0, b"i": 1}
_BOOLEANS = {b"FALSE": 0, b"TRUE": 1}


@dataclass(frozen=True, slots=True)
class Datatype:
    """What the elements of a dataset or an attribute are.

    `dtype` is None where they are no elements of a tensor. `text` says that they are strings: of `nbytes` bytes each,
    or anywhere in the file where they are `variable`.
    """

    nbytes: int
    dtype: DType | None = None
    swapped: bool = False
    text: bool = False
    variable: bool = False
    opaque: bool = False


def read_datatype(data: bytes) -> Datatype:
    """Return the datatype that a datatype message describes; raise FormatError where it is cut short."""
    head, bits, nbytes = _HEAD.unpack_from(data)
    version, kind = head >> 4, head & 15
    if kind == _STRING:
        return Datatype(nbytes, text=True)
    if kind == _VLEN:
        return Datatype(nbytes, text=bits[0] & 15 == 1, variable=True)
    if kind == _OPAQUE:
        return Datatype(nbytes, opaque=True)
    if kind == _ENUM:
        return _enum(data, version, int.from_bytes(bits[:2], "little"), nbytes)
    if kind == _COMPOUND:
        return Datatype(nbytes, *_complex(data, version, int.from_bytes(bits[:2], "little"), nbytes))
    return Datatype(nbytes, *_number(data))


def _number(data: bytes) -> tuple[DType | None, bool]:
    """Return the dtype of an integer or a float, and whether its most significant byte comes first."""
    head, bits, nbytes = _HEAD.unpack_from(data)
    kind = head & 15
    name = None
    if kind == _FIXED:
        first, count = _INTEGER.unpack_from(data, 8)
        if (first, count) == (0, 8 * nbytes):
            name = f"{'i' if bits[0] & 8 else 'u'}{count}"
    elif kind == _FLOAT and bits[0] & 0x70 == 0x20:
        first, count, exponent, exponent_bits, mantissa, mantissa_bits, bias = _LAYOUT.unpack_from(data, 8)
        key = (nbytes, first, count, exponent, exponent_bits, mantissa, mantissa_bits, bias, bits[1])
        name = _FLOATS.get(key)
    return DTYPES.get(name or ""), bool(bits[0] & 1)


def _enum(data: bytes, version: int, count: int, nbytes: int) -> Datatype:
    """Return bool for the two members that h5py writes for it, and the integers that they are for any others."""
    base, swapped = _number(data[8:])
    if nbytes == 1 and count == 2:
        names, at = [], 20
        for _ in range(2):
            name = _name(data, at)
            names.append(name)
            at += len(name) + 1 if version >= 3 else (len(name) + 8) // 8 * 8
        if dict(zip(names, data[at : at + 2], strict=False)) == _BOOLEANS:
            return Datatype(1, DTYPES["bool"])
    return Datatype(nbytes, base, swapped)


def _complex(data: bytes, version: int, count: int, nbytes: int) -> tuple[DType | None, bool]:
    """Return the complex dtype of a real and an imaginary part, as h5py writes it."""
    if count != 2 or nbytes not in (8, 16):
        return None, False
    at, found = 8, []
    for _ in range(2):
        name = _name(data, at)
        at += len(name) + 1 if version >= 3 else (len(name) + 8) // 8 * 8
        place = number(data, at, 1 if version >= 3 else 4)
        at += {1: 32, 2: 4}.get(version, 1)
        part, swapped = _number(data[at:])
        at += _HEAD.size + _LAYOUT.size
        found.append((_COMPLEX_NAMES.get(name), place, part, swapped))
    (first, first_at, part, swapped), other = found
    if part is None or (first, first_at) != (0, 0) or other != (1, nbytes // 2, part, swapped):
        return None, False
    return DTYPES.get(_PARTS.get(part.name, "")), swapped


def _name(data: bytes, at: int) -> bytes:
    end = data.find(b"\0", at)
    if end < 0:
        raise malformed("the name of a member does not end")
    return data[at:end]
