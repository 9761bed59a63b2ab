"""The conditional delta in plain Python: slow, obvious, and the definition of what the compiled kernels return.

docs/spec/codecs.md has the format; the names here are those of `native/delta.hpp`.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from lamella.codec.delta_format import (
    BLOCK_ITEMS,
    CLASSES,
    FIRST_WIDE,
    LAYOUTS,
    MAX_CHUNK_ITEMS,
    MEANINGLESS,
    MOST_CODE,
    MOST_STEP,
    NO_STEP,
    SAME_BLOCK,
    TRAILER,
    Layout,
)
from lamella.codec.rans_reference import (
    ESCAPE,
    FLAG_TOTAL,
    LANES,
    LEAST_STATE,
    SYMBOLS,
    Interval,
    Table,
    are_states,
    flag_interval,
    interval_of,
    pop,
    pop_flag,
    push,
)
from lamella.core.buffers import Buffer

_UNIT_CLASS = 16
# That of a zero, which tells nothing of its update: what was pruned stays, and is expected to.
_NO_EXPONENT = 1 << 20
_MOST_CLASS = 127
_EXACT_CODES = 32
_MOST_LOW_BITS = 39


@dataclass(frozen=True, slots=True)
class _Expected:
    """What is known of an item before it is read."""

    sign: int
    exponent: int
    magnitude: int


def _expected(layout: Layout, base: int, growth: int) -> _Expected:
    magnitude = base & ((1 << (layout.bits - 1)) - 1)
    sign = base >> (layout.bits - 1)
    if not magnitude:
        return _Expected(sign, _NO_EXPONENT, 0)
    exponent = max(magnitude >> layout.mantissa_bits, 1)
    if layout.grows:
        kept = layout.bits // 2
        hidden = 1 << layout.mantissa_bits
        mantissa = (magnitude & (hidden - 1) | hidden) >> (layout.mantissa_bits + 1 - kept)
        magnitude += (mantissa * growth) >> (23 - layout.mantissa_bits + kept)
        magnitude &= (1 << (layout.bits - 1)) - 1
    return _Expected(sign, exponent, magnitude)


def items_of(layout: Layout, data: Buffer) -> list[int]:
    """Return the items of `data` as unsigned integers."""
    return list(array({1: "B", 2: "H", 4: "I", 8: "Q"}[layout.item_nbytes], bytes(data)))


def checked_layout(number: int, chunk: Buffer, base: Buffer) -> Layout:
    """Return the layout of that number; raise ValueError unless chunk and base are equally many whole items."""
    if number not in LAYOUTS:
        raise ValueError("layout must be from 1 to 6")
    layout = LAYOUTS[number]
    nbytes = memoryview(chunk).nbytes
    if nbytes != memoryview(base).nbytes:
        raise ValueError("the base must be as long as the chunk")
    if nbytes % layout.item_nbytes:
        raise ValueError("the chunk must be whole items")
    if nbytes // layout.item_nbytes > MAX_CHUNK_ITEMS:
        raise ValueError("the chunk is too long")
    return layout


def _class_and_low_bits(layout: Layout, scale: int, exponent: int) -> tuple[int, int]:
    found = min(max(scale - 2 * exponent, 0), _MOST_CLASS)
    beyond = max(found - FIRST_WIDE, 0)
    low_bits = min(beyond >> 1, layout.bits - 2, _MOST_LOW_BITS)
    return (found if found < FIRST_WIDE else FIRST_WIDE + (beyond & 1)), low_bits


def _rounded(number: int) -> int:
    """Return a number as a float32 holds it: 24 bits, ties to even."""
    shift = max(number.bit_length() - 24, 0)
    kept, rest = number >> shift, number & ((1 << shift) - 1)
    half = 1 << shift >> 1
    return (kept + (rest > half or (rest == half and shift > 0 and kept & 1))) << shift


def _logarithm(difference: int) -> int:
    """Return log2(|difference| + 1/2) in units of 2**-13, as the bits of a float32 tell it, rounded down."""
    doubled = _rounded(2 * _rounded(abs(difference)) + 1)
    exponent = doubled.bit_length() - 1
    return ((exponent - 1) << 13) + ((doubled << 13 >> exponent) & 8191)


def _scale(layout: Layout, items: Sequence[int], expected: Sequence[_Expected], before: int) -> int:
    """Return the scale of a block; that before it where all its base is zeros."""
    mask = (1 << (layout.bits - 1)) - 1
    sizes = [
        _logarithm((item & mask) - known.magnitude) + (known.exponent << 13)
        for item, known in zip(items, expected, strict=True)
        if known.exponent != _NO_EXPONENT
    ]
    unit = len(sizes) << 12
    return (sum(sizes) + unit // 2) // unit + _UNIT_CLASS if sizes else before


@dataclass(frozen=True, slots=True)
class _Token:
    """An item as a symbol, and the bits of its difference that stand apart."""

    symbol: int
    value: int
    bits: int


def _token(layout: Layout, item: int, known: _Expected, low_bits: int) -> _Token:
    difference = (item & ((1 << (layout.bits - 1)) - 1)) - known.magnitude
    size = ~difference if difference < 0 else difference
    high = size >> low_bits
    apart = 0
    code = high
    if high >= _EXACT_CODES:
        octave = high.bit_length()
        apart = octave - 2
        code = _EXACT_CODES + 2 * (octave - 6) + (high >> apart & 1)
    if code > MOST_CODE:
        return _Token(ESCAPE, 0, 0)
    bits = low_bits + apart
    flip = (item >> (layout.bits - 1)) ^ known.sign
    return _Token(code | (difference < 0) << 6 | flip << 7, size & ((1 << bits) - 1), bits)


def _blocks(
    layout: Layout, growth: int, items: Sequence[int], base: Sequence[int]
) -> Iterator[tuple[Sequence[int], Sequence[int], list[_Expected]]]:
    for at in range(0, len(items), BLOCK_ITEMS):
        bases = base[at : at + BLOCK_ITEMS]
        yield items[at : at + BLOCK_ITEMS], bases, [_expected(layout, item, growth) for item in bases]


def count_delta(layout: int, growth: int, chunk: Buffer, base: Buffer, counts: bytearray | memoryview) -> None:
    """Add how often each symbol would occur to `counts`: 256 32-bit numbers a class, and the steps of scales behind."""
    shape = checked_layout(layout, chunk, base)
    numbers = memoryview(counts).cast("B").cast("I")
    if len(numbers) != (CLASSES + 1) * SYMBOLS:
        raise ValueError("counts must have room for every class")
    scale: int | None = None
    for items, bases, expected in _blocks(shape, growth, items_of(shape, chunk), items_of(shape, base)):
        if items == bases:
            numbers[CLASSES * SYMBOLS + SAME_BLOCK] += 1
            continue
        wanted = _scale(shape, items, expected, scale or 0)
        step = 0 if scale is None else min(max(wanted - scale, -MOST_STEP), MOST_STEP)
        scale = wanted if scale is None else scale + step
        numbers[CLASSES * SYMBOLS + NO_STEP + step] += 1
        for item, known in zip(items, expected, strict=True):
            number, low_bits = _class_and_low_bits(shape, scale, known.exponent)
            numbers[number * SYMBOLS + _token(shape, item, known, low_bits).symbol] += 1


class DeltaModel:
    """The tables of an object: what its chunks are encoded and decoded with."""

    def __init__(self, layout: int, growth: int, bounds: Buffer, stays: Buffer, frequencies: Buffer) -> None:
        if layout not in LAYOUTS:
            raise ValueError("layout must be from 1 to 6")
        if not -(1 << 15) <= growth < 1 << 15:
            raise ValueError("growth must have 16 bits")
        self._number, self._layout, self._growth = layout, LAYOUTS[layout], growth
        self._bounds = bytes(bounds)
        if len(self._bounds) >= CLASSES:
            raise ValueError("there are more bounds than classes")
        if any(low >= high for low, high in zip(b"\0" + self._bounds, self._bounds + bytes([CLASSES]), strict=True)):
            raise ValueError("bounds must rise and be classes")
        self._stays = array("H", bytes(stays))
        if len(self._stays) != CLASSES:
            raise ValueError("there must be a share for each class")
        if not all(0 < share < FLAG_TOTAL for share in self._stays):
            raise ValueError("a share must be a part of the whole")
        numbers = array("H", bytes(frequencies))
        if len(numbers) != (len(self._bounds) + 2) * SYMBOLS:
            raise ValueError("there must be 256 frequencies for each context")
        tables = [numbers[at : at + SYMBOLS] for at in range(0, len(numbers), SYMBOLS)]
        if any(table[symbol] for table in tables[:-1] for symbol in MEANINGLESS):
            raise ValueError("a context must have no symbols that stand for nothing")
        needed = [ESCAPE] * (len(tables) - 1) + [NO_STEP]
        self._tables = [Table(table, symbol) for table, symbol in zip(tables, needed, strict=True)]

    def _table(self, number: int) -> Table:
        """Return the table of a class."""
        return self._tables[sum(number >= bound for bound in self._bounds)]

    def _step(self, wanted: int) -> int:
        """Return the step of the scale that the table holds and comes nearest to the one wanted, towards none."""
        step = min(max(wanted, -MOST_STEP), MOST_STEP)
        while step and not self._tables[-1].holds(NO_STEP + step):
            step += 1 if step < 0 else -1
        return step

    def encode(self, chunk: Buffer, base: Buffer) -> bytes:
        """Return the payload of `chunk` against `base`."""
        layout = checked_layout(self._number, chunk, base)
        steps: list[int] = []
        stays: list[Interval] = []
        symbols: list[Interval] = []
        escapes: list[int] = []
        low, low_bits_count = 0, 0
        scale: int | None = None
        first_scale = 0
        for items, bases, expected in _blocks(layout, self._growth, items_of(layout, chunk), items_of(layout, base)):
            if items == bases and self._tables[-1].holds(SAME_BLOCK):
                steps.append(SAME_BLOCK)
                continue
            wanted = _scale(layout, items, expected, scale or 0)
            if scale is None:
                scale = first_scale = wanted
            step = self._step(wanted - scale)
            scale += step
            steps.append(NO_STEP + step)
            for item, known in zip(items, expected, strict=True):
                number, low_bits = _class_and_low_bits(layout, scale, known.exponent)
                token = _token(layout, item, known, low_bits)
                table = self._table(number)
                stays.append(flag_interval(self._stays[number], is_set=token.symbol != 0))
                if token.symbol and (token.symbol == ESCAPE or not table.holds(token.symbol)):
                    token = _Token(ESCAPE, 0, 0)
                    escapes.append(item)
                if token.symbol:
                    symbols.append(interval_of(table, token.symbol))
                low |= token.value << low_bits_count
                low_bits_count += token.bits
        words: list[int] = []
        states = [LEAST_STATE] * LANES
        push(symbols, states, words)
        push(stays, states, words)
        push([interval_of(self._tables[-1], step) for step in steps], states, words)
        low_bytes = low.to_bytes((low_bits_count + 7) // 8, "little")
        return b"".join(
            (
                low_bytes,
                struct.pack(f"<{len(words)}H", *reversed(words)),
                b"".join(item.to_bytes(layout.item_nbytes, "little") for item in escapes),
                TRAILER.pack(len(escapes), len(low_bytes), first_scale, *states),
            )
        )

    def decode(self, payload: Buffer, base: Buffer, out: bytearray | memoryview) -> bool:
        """Fill `out` and return True; return False for a payload that `encode` cannot have made."""
        layout = checked_layout(self._number, out, base)
        view = memoryview(payload).cast("B")
        if len(view) < TRAILER.size:
            return False
        escapes, low_nbytes, scale, *states = TRAILER.unpack(view[-TRAILER.size :])
        words_nbytes = len(view) - TRAILER.size - low_nbytes - escapes * layout.item_nbytes
        if words_nbytes < 0 or words_nbytes % 2 or not are_states(states):
            return False
        reader = _Reader(
            bytes(view[:low_nbytes]),
            0,
            iter(struct.unpack_from(f"<{words_nbytes // 2}H", view, low_nbytes)),
            iter(items_of(layout, bytes(view[low_nbytes + words_nbytes : -TRAILER.size]))),
        )
        items = items_of(layout, base)
        try:
            found = list(self._decoded(layout, items, scale, states, reader))
        except StopIteration:
            return False
        memoryview(out).cast("B")[:] = b"".join(item.to_bytes(layout.item_nbytes, "little") for item in found)
        return reader.is_empty() and all(state == LEAST_STATE for state in states)

    def _decoded(self, layout: Layout, base: list[int], scale: int, states: list[int], reader: _Reader) -> list[int]:
        blocks = -(-len(base) // BLOCK_ITEMS)
        steps = [pop(self._tables[-1], index, states, reader.words) for index in range(blocks)]
        coded = [index for index in range(len(base)) if steps[index // BLOCK_ITEMS] != SAME_BLOCK]
        scales = [scale + total for total in accumulate(0 if step == SAME_BLOCK else step - NO_STEP for step in steps)]
        expected = [_expected(layout, base[index], self._growth) for index in coded]
        classes = [
            _class_and_low_bits(layout, scales[index // BLOCK_ITEMS], known.exponent)
            for index, known in zip(coded, expected, strict=True)
        ]
        moved = [
            pop_flag(self._stays[number], index, states, reader.words) for index, (number, _) in enumerate(classes)
        ]
        tables = [self._table(number) for (number, _), has_moved in zip(classes, moved, strict=True) if has_moved]
        symbols = iter([pop(table, index, states, reader.words) for index, table in enumerate(tables)])
        found = list(base)
        for index, known, (_, low_bits), has_moved in zip(coded, expected, classes, moved, strict=True):
            symbol = next(symbols) if has_moved else 0
            if symbol == ESCAPE:
                found[index] = next(reader.escapes)
                continue
            code = symbol & 63
            exact = code < _EXACT_CODES
            bits = low_bits + (0 if exact else 4 + (code - _EXACT_CODES) // 2)
            size = (code if exact else 2 + (code & 1)) << bits | reader.take(bits)
            difference = ~size if symbol >> 6 & 1 else size
            magnitude = (known.magnitude + difference) & ((1 << (layout.bits - 1)) - 1)
            found[index] = magnitude | (known.sign ^ symbol >> 7) << (layout.bits - 1)
        return found


@dataclass(slots=True)
class _Reader:
    """What is left of the parts of a payload; taking more than there is raises StopIteration."""

    low: bytes
    bit: int
    words: Iterator[int]
    escapes: Iterator[int]

    def take(self, bits: int) -> int:
        first, self.bit = self.bit, self.bit + bits
        if self.bit > 8 * len(self.low):
            raise StopIteration
        window = int.from_bytes(self.low[first // 8 : (self.bit + 7) // 8], "little")
        return window >> first % 8 & ((1 << bits) - 1)

    def is_empty(self) -> bool:
        left = self.low[self.bit // 8 :]
        has_bits = len(left) > (self.bit % 8 > 0) or any(byte >> self.bit % 8 for byte in left)
        return not has_bits and next(self.words, None) is None and next(self.escapes, None) is None
