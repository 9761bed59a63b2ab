"""The kernels in plain Python: slow, obvious, and the definition of what the compiled ones return.

All take C-contiguous buffers and raise ValueError where a length or a number is not as described. An output overlaps
no input. Importing this module costs nothing that the compiled kernels would save.
"""

from __future__ import annotations

import struct

from blake3 import blake3

from lamella.core.buffers import Buffer

WINDOW_NBYTES = 64
"""The bytes before a position that decide whether it may be a cut; the width of the rolling hash."""

GEAR = blake3(b"lamella gear").digest(length=256 * 8)
"""The hash's number for each value of a byte: 256 little-endian integers of 64 bits. Part of the format for ever."""

_GEAR_FORMAT = struct.Struct("<256Q")
_HASH_MASK = (1 << 64) - 1


def split_planes(source: Buffer, item_nbytes: int, base: Buffer | None, out: bytearray | memoryview) -> None:
    """Write byte 0 of every item of `source` XOR `base` to `out`, then byte 1 of every item, and so on.

    The bytes after the last whole item follow the planes. `base` and `out` are as long as `source`; `item_nbytes` is
    1, 2, 4 or 8.
    """
    data, target = _checked(source, item_nbytes, base, out)
    data = _combined(data, base)
    count = len(data) // item_nbytes
    body = count * item_nbytes
    for plane in range(item_nbytes):
        target[plane * count : (plane + 1) * count] = data[plane:body:item_nbytes]
    target[body:] = data[body:]


def join_planes(planes: Buffer, item_nbytes: int, base: Buffer | None, out: bytearray | memoryview) -> None:
    """Undo `split_planes` with the same `item_nbytes` and `base`."""
    data, target = _checked(planes, item_nbytes, base, out)
    count = len(data) // item_nbytes
    body = count * item_nbytes
    joined = bytearray(len(data))
    for plane in range(item_nbytes):
        joined[plane:body:item_nbytes] = data[plane * count : (plane + 1) * count]
    joined[body:] = data[body:]
    target[:] = _combined(memoryview(joined), base)


def find_cut(data: Buffer, gear: Buffer, minimum: int, average: int, maximum: int) -> int:
    """Return the length of the first content-defined chunk of `data`.

    That is the least length from `minimum` on at which the hash of the 64 bytes before it is small: below
    2**62 / `average` for lengths under `average`, which is a power of two, and below 2**66 / `average` from there on.
    Where there is none, it is `maximum` or, if that is less, the length of `data`.

    64 <= minimum <= average <= maximum. The two bounds follow Xia et al., "FastCDC", USENIX ATC 2016.
    """
    view, table = _bytes_of(data, "data"), _bytes_of(gear, "gear")
    if len(table) != _GEAR_FORMAT.size:
        raise ValueError("gear must be 256 numbers of 8 bytes")
    if not WINDOW_NBYTES <= minimum <= average <= maximum:
        raise ValueError("64 <= minimum <= average <= maximum must hold")
    if average.bit_count() != 1:
        raise ValueError("average must be a power of two")
    numbers = _GEAR_FORMAT.unpack(table)
    stop = min(len(view), maximum)
    if stop <= minimum:
        return stop
    hashed = 0
    for byte in view[minimum - WINDOW_NBYTES : minimum]:
        hashed = ((hashed << 1) + numbers[byte]) & _HASH_MASK
    for length in range(minimum, stop):
        if hashed < (1 << 62 if length < average else 1 << 66) // average:
            return length
        hashed = ((hashed << 1) + numbers[view[length]]) & _HASH_MASK
    return stop


def _combined(data: memoryview, base: Buffer | None) -> memoryview:
    if base is None:
        return data
    changed = int.from_bytes(data, "little") ^ int.from_bytes(_bytes_of(base, "the base"), "little")
    return memoryview(changed.to_bytes(len(data), "little"))


def _checked(
    source: Buffer, item_nbytes: int, base: Buffer | None, out: bytearray | memoryview
) -> tuple[memoryview, memoryview]:
    data, target = _bytes_of(source, "the input"), _bytes_of(out, "out")
    if item_nbytes not in (1, 2, 4, 8):
        raise ValueError("item_nbytes must be 1, 2, 4 or 8")
    if target.readonly:
        raise ValueError("out must be a writable contiguous buffer")
    if len(target) != len(data):
        raise ValueError("out must be as long as the input")
    if base is not None and len(_bytes_of(base, "the base")) != len(data):
        raise ValueError("the base must be as long as the input")
    return data, target


def _bytes_of(buffer: Buffer, name: str) -> memoryview:
    view = memoryview(buffer)
    if not view.c_contiguous:
        raise ValueError(f"{name} must be a contiguous buffer")
    return view.cast("B")
