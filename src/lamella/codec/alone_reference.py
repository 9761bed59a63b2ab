"""Floats by themselves in plain Python: the definition of what the compiled kernels return.

An item is rotated by one bit, so that its sign is the lowest bit and its highest byte begins with the exponent. That
byte is coded, the others are kept as they are. docs/spec/codecs.md has the format.
"""

from __future__ import annotations

import struct
from array import array

from lamella.codec.delta_fit_reference import frequencies_of
from lamella.codec.rans_reference import ESCAPE, LANES, LEAST_STATE, SYMBOLS, Table, are_states, interval_of, pop, push
from lamella.core.buffers import Buffer

TRAILER = struct.Struct(f"<I{LANES}I")
_WIDTHS = (1, 2, 4, 8)


def _rotated(item_nbytes: int, chunk: Buffer) -> list[bytes]:
    """Return the items of `chunk`, each rotated, lowest byte first."""
    if item_nbytes not in _WIDTHS:
        raise ValueError("item_nbytes must be 1, 2, 4 or 8")
    data = bytes(chunk)
    if len(data) % item_nbytes:
        raise ValueError("the chunk must be whole items")
    bits = 8 * item_nbytes
    items = (int.from_bytes(data[at : at + item_nbytes], "little") for at in range(0, len(data), item_nbytes))
    return [((item << 1 | item >> (bits - 1)) & ((1 << bits) - 1)).to_bytes(item_nbytes, "little") for item in items]


def count_alone(item_nbytes: int, chunk: Buffer, counts: bytearray | memoryview) -> None:
    """Add how often each highest byte occurs to `counts`, 256 32-bit numbers."""
    items = _rotated(item_nbytes, chunk)
    numbers = memoryview(counts).cast("B").cast("I")
    if len(numbers) != SYMBOLS:
        raise ValueError("counts must be 256 numbers")
    for item in items:
        numbers[item[-1]] += 1


def fit_alone(counts: Buffer) -> bytes:
    """Return the frequencies that suit `counts`, 256 16-bit numbers."""
    histogram = list(memoryview(counts).cast("B").cast("I"))
    if len(histogram) != SYMBOLS:
        raise ValueError("counts must be 256 numbers")
    return array("H", frequencies_of(histogram, 0)).tobytes()


class AloneModel:
    """The table of an object: what its chunks are encoded and decoded with."""

    def __init__(self, item_nbytes: int, frequencies: Buffer) -> None:
        if item_nbytes not in _WIDTHS:
            raise ValueError("item_nbytes must be 1, 2, 4 or 8")
        self._item_nbytes = item_nbytes
        self._table = Table(array("H", bytes(frequencies)), ESCAPE)

    def encode(self, chunk: Buffer) -> bytes:
        """Return the payload of `chunk`."""
        items = _rotated(self._item_nbytes, chunk)
        planes = b"".join(bytes(item[plane] for item in items) for plane in range(self._item_nbytes - 1))
        highest = [item[-1] for item in items]
        symbols = [byte if self._table.holds(byte) else ESCAPE for byte in highest]
        escapes = bytes(byte for byte, symbol in zip(highest, symbols, strict=True) if symbol == ESCAPE)
        words: list[int] = []
        states = [LEAST_STATE] * LANES
        push([interval_of(self._table, symbol) for symbol in symbols], states, words)
        packed = struct.pack(f"<{len(words)}H", *reversed(words))
        return planes + packed + escapes + TRAILER.pack(len(escapes), *states)

    def decode(self, payload: Buffer, out: bytearray | memoryview) -> bool:
        """Fill `out` and return True; return False for a payload that `encode` cannot have made."""
        nbytes, width = memoryview(out).nbytes, self._item_nbytes
        if nbytes % width:
            raise ValueError("the chunk must be whole items")
        count = nbytes // width
        data = bytes(payload)
        planes_nbytes = count * (width - 1)
        if len(data) < planes_nbytes + TRAILER.size:
            return False
        escape_count, *states = TRAILER.unpack(data[-TRAILER.size :])
        words_nbytes = len(data) - planes_nbytes - TRAILER.size - escape_count
        if words_nbytes < 0 or words_nbytes % 2 or not are_states(states):
            return False
        words = iter(struct.unpack_from(f"<{words_nbytes // 2}H", data, planes_nbytes))
        escapes = iter(data[planes_nbytes + words_nbytes : -TRAILER.size])
        items = []
        try:
            for index in range(count):
                symbol = pop(self._table, index, states, words)
                highest = next(escapes) if symbol == ESCAPE else symbol
                items.append(bytes([*data[index:planes_nbytes:count], highest]))
        except StopIteration:
            return False
        bits = 8 * width
        rotated = (int.from_bytes(item, "little") for item in items)
        memoryview(out).cast("B")[:] = b"".join(
            (item >> 1 | (item & 1) << (bits - 1)).to_bytes(width, "little") for item in rotated
        )
        return next(words, None) is None and next(escapes, None) is None and states == [LEAST_STATE] * LANES
