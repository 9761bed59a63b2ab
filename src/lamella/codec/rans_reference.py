"""Static range asymmetric numeral systems (Duda, arXiv:1311.2540) in 64 lanes, in plain Python.

Number i of a run of symbols belongs to lane i mod 64; all lanes share one stream of 16-bit words. docs/spec/codecs.md
has the arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

SYMBOLS = 256
ESCAPE = 255
LANES = 64
PROBABILITY_BITS = 11
PROBABILITY_TOTAL = 1 << PROBABILITY_BITS
FLAG_BITS = 15
FLAG_TOTAL = 1 << FLAG_BITS
LEAST_STATE = 1 << 15


class Table:
    """The frequencies of the symbols in one context."""

    def __init__(self, frequencies: Sequence[int], needed: int) -> None:
        if (
            len(frequencies) != SYMBOLS
            or sum(frequencies) != PROBABILITY_TOTAL
            or max(frequencies) == PROBABILITY_TOTAL
            or not frequencies[needed]
        ):
            raise ValueError("the frequencies of a context must add up")
        self.frequencies = list(frequencies)
        self.starts = [0, *accumulate(frequencies)]
        self.slots = b"".join(bytes([symbol]) * frequency for symbol, frequency in enumerate(frequencies))

    def holds(self, symbol: int) -> bool:
        """Say whether the symbol can be coded."""
        return self.frequencies[symbol] > 0


def are_states(states: Sequence[int]) -> bool:
    """Say whether an encoder can have ended with these states."""
    return all(LEAST_STATE <= state < 1 << 31 for state in states)


@dataclass(frozen=True, slots=True)
class Interval:
    """What a symbol takes of 2**bits: `frequency` from `start` up."""

    bits: int
    start: int
    frequency: int


def interval_of(table: Table, symbol: int) -> Interval:
    """Return what a symbol takes of its context."""
    return Interval(PROBABILITY_BITS, table.starts[symbol], table.frequencies[symbol])


def flag_interval(clear: int, *, is_set: bool) -> Interval:
    """Return what a flag takes that is clear `clear` times in FLAG_TOTAL."""
    return Interval(FLAG_BITS, clear, FLAG_TOTAL - clear) if is_set else Interval(FLAG_BITS, 0, clear)


def push(run: Sequence[Interval], states: list[int], words: list[int]) -> None:
    """Push a run of symbols, from the last to the first, and append the words that are given off."""
    for index in reversed(range(len(run))):
        taken = run[index]
        state = states[index % LANES]
        if state >= taken.frequency << (31 - taken.bits):
            words.append(state & 0xFFFF)
            state >>= 16
        states[index % LANES] = (state // taken.frequency << taken.bits) + state % taken.frequency + taken.start


def pop(table: Table, index: int, states: list[int], words: Iterator[int]) -> int:
    """Return symbol number `index` of a run; raises StopIteration where a word is wanted and there is none."""
    symbol = table.slots[states[index % LANES] & (PROBABILITY_TOTAL - 1)]
    _popped(interval_of(table, symbol), index, states, words)
    return symbol


def pop_flag(clear: int, index: int, states: list[int], words: Iterator[int]) -> bool:
    """Return flag number `index` of a run, which is clear `clear` times in FLAG_TOTAL; raises as `pop` does."""
    is_set = states[index % LANES] & (FLAG_TOTAL - 1) >= clear
    _popped(flag_interval(clear, is_set=is_set), index, states, words)
    return is_set


def _popped(taken: Interval, index: int, states: list[int], words: Iterator[int]) -> None:
    state = states[index % LANES]
    state = taken.frequency * (state >> taken.bits) + (state & ((1 << taken.bits) - 1)) - taken.start
    states[index % LANES] = state << 16 | next(words) if state < LEAST_STATE else state
