"""Static range asymmetric numeral systems (Duda, arXiv:1311.2540) in 32 lanes, in plain Python.

Symbol i belongs to lane i mod 32; all lanes share one stream of 16-bit words. docs/spec/codecs.md has the arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

SYMBOLS = 256
ESCAPE = 255
LANES = 32
PROBABILITY_BITS = 12
PROBABILITY_TOTAL = 1 << PROBABILITY_BITS
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


def push(symbols: Sequence[tuple[Table, int]], states: list[int], words: list[int]) -> None:
    """Push `symbols`, from the last to the first, and append the words that are given off."""
    for index in reversed(range(len(symbols))):
        table, symbol = symbols[index]
        frequency, start = table.frequencies[symbol], table.starts[symbol]
        state = states[index % LANES]
        if state >= frequency << (31 - PROBABILITY_BITS):
            words.append(state & 0xFFFF)
            state >>= 16
        states[index % LANES] = (state // frequency << PROBABILITY_BITS) + state % frequency + start


def pop(table: Table, index: int, states: list[int], words: Iterator[int]) -> int:
    """Return the symbol numbered `index`; raises StopIteration where a word is wanted and there is none."""
    state = states[index % LANES]
    slot = state & (PROBABILITY_TOTAL - 1)
    symbol = table.slots[slot]
    state = table.frequencies[symbol] * (state >> PROBABILITY_BITS) + slot - table.starts[symbol]
    if state < LEAST_STATE:
        state = state << 16 | next(words)
    states[index % LANES] = state
    return symbol
