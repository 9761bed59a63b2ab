"""The tables of an object as bytes: frequencies of symbols for the entropy coder, in the parameters of its record.

docs/spec/codecs.md describes them. A table is 256 frequencies that add up to 2048.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

from lamella.codec.rans_reference import PROBABILITY_TOTAL, SYMBOLS
from lamella.core.buffers import Buffer
from lamella.core.errors import IntegrityError


def pack_tables(frequencies: Buffer) -> bytes:
    """Return the packed form of tables, 16-bit numbers one behind the other."""
    return b"".join(_packed(bytes(frequencies)))


def unpack_tables(data: bytes, needed: Sequence[int]) -> bytes:
    """Return the tables in `data`, one for each symbol of `needed`, which that table has to hold.

    Raises IntegrityError (payload-malformed) for what `pack_tables` cannot have made.
    """
    numbers = _numbers(data)
    frequencies = array("H")
    try:
        for symbol in needed:
            frequencies.extend(_table(numbers, symbol))
    except StopIteration:
        raise malformed("the tables of an object end too early") from None
    if next(numbers, None) is not None:
        raise malformed("the parameters of an object go on behind their tables")
    return frequencies.tobytes()


def _packed(frequencies: bytes) -> Iterator[bytes]:
    """Yield how many symbols are absent, how many present and their frequencies, and so on to the last."""
    numbers = array("H", frequencies)
    either = int.from_bytes(frequencies[::2], "little") | int.from_bytes(frequencies[1::2], "little")
    are_present = either.to_bytes(len(numbers), "little")
    for start in range(0, len(numbers), SYMBOLS):
        at, stop = start, start + SYMBOLS
        while at < stop:
            present = stop - len(are_present[at:stop].lstrip(b"\0"))
            absent = are_present.find(0, present, stop) if present < stop else stop
            absent = stop if absent < 0 else absent
            yield _packed_number(present - at)
            if present < stop:
                yield _packed_number(absent - present)
                yield from map(_packed_number, numbers[present:absent])
            at = absent


def _packed_number(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number & 127 | 128, number >> 7])


def _numbers(data: bytes) -> Iterator[int]:
    """Yield numbers of one byte, or of two where the first has its highest bit set; the second is never zero."""
    view = iter(data)
    for low in view:
        if low < 128:
            yield low
            continue
        high = next(view, 0)
        if not high:
            raise malformed("a number in the tables of an object is not in its shortest form")
        yield low & 127 | high << 7


def _table(numbers: Iterator[int], needed: int) -> list[int]:
    table: list[int] = []
    while len(table) < SYMBOLS:
        absent = next(numbers)
        if absent == 0 and table:
            raise malformed("the tables of an object are not in their shortest form")
        table += [0] * min(absent, SYMBOLS + 1)
        if len(table) < SYMBOLS:
            present = next(numbers)
            table += [next(numbers) for _ in range(min(present, SYMBOLS + 1))]
            if not present or not all(table[-present:]):
                raise malformed("the tables of an object are not in their shortest form")
    if len(table) != SYMBOLS or sum(table) != PROBABILITY_TOTAL or not table[needed] or PROBABILITY_TOTAL in table:
        raise malformed("a table of an object does not add up")
    return table


def malformed(reason: str) -> IntegrityError:
    """Return the error for parameters or a payload that no encoder made."""
    return IntegrityError(reason, kind="payload-malformed", hint="restore the object from another copy of the store")
