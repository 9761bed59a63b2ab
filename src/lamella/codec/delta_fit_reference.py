"""What an encoder chooses once an object, in plain Python: the growth that it expects, its contexts and their tables.

No reader depends on any of it; that both twins choose alike is what makes their payloads comparable.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from lamella.codec.delta_format import CLASSES, NO_STEP, SAME_BLOCK, Layout
from lamella.codec.delta_reference import checked_layout, items_of
from lamella.codec.rans_reference import ESCAPE, FLAG_TOTAL, PROBABILITY_TOTAL, SYMBOLS
from lamella.core.buffers import Buffer

_SAMPLED_ITEMS = 4096
_MOST_CONTEXTS = 8
_SYMBOL_BITS, _TABLE_BITS = 10, 16
_MERGED_SHARE = 1024


def fit_growth(layout: int, chunk: Buffer, base: Buffer) -> int:
    """Return the median, over evenly spread items, of what each grew by in units of 2**-24; 0 for short mantissas."""
    shape = checked_layout(layout, chunk, base)
    items, bases = items_of(shape, chunk), items_of(shape, base)
    sampled = min(len(items), _SAMPLED_ITEMS)
    if not shape.grows or not sampled:
        return 0
    at = [index * len(items) // sampled for index in range(sampled)]
    growths = sorted(_growth(shape, items[index], bases[index]) for index in at)
    return round(min(max(growths[sampled // 2] * (1 << 24), -32768.0), 32767.0))


def _growth(layout: Layout, item: int, base: int) -> float:
    mask = (1 << (layout.bits - 1)) - 1
    hidden = 1 << layout.mantissa_bits
    return float((item & mask) - (base & mask)) / float(base & (hidden - 1) | hidden)


@dataclass(frozen=True, slots=True)
class _Context:
    first_class: int
    histogram: tuple[int, ...]
    coded: int
    table: int


def _logarithm(number: int) -> int:
    """Return log2 of a number from 1 up in units of 2**-16, a hundredth too small or large."""
    exponent = number.bit_length() - 1
    fraction = (number << 16 >> exponent) - 65536
    return (exponent << 16) + fraction + ((fraction * (65536 - fraction) >> 16) * 22525 >> 16)


def _context(first_class: int, histogram: tuple[int, ...]) -> _Context:
    total = sum(histogram)
    present = [count for count in histogram if count]
    coded = sum(count * (_logarithm(total) - _logarithm(count)) for count in present)
    return _Context(first_class, histogram, coded, (_TABLE_BITS + _SYMBOL_BITS * len(present)) << 16)


def _merged(lower: _Context, upper: _Context) -> _Context:
    return _context(lower.first_class, tuple(map(sum, zip(lower.histogram, upper.histogram, strict=True))))


def _merge(contexts: list[_Context]) -> list[_Context]:
    """Merge neighbours, always the two that lose least by it, while they lose next to nothing or are too many."""
    allowed = sum(context.coded for context in contexts) // _MERGED_SHARE
    while len(contexts) > 1:
        losses = []
        for lower, upper in pairwise(contexts):
            both = _merged(lower, upper)
            losses.append(both.coded + both.table - lower.coded - lower.table - upper.coded - upper.table)
        best = losses.index(min(losses))
        if len(contexts) <= _MOST_CONTEXTS and losses[best] > allowed:
            break
        contexts[best : best + 2] = [_merged(contexts[best], contexts[best + 1])]
    return contexts


def _frequencies(histogram: list[int]) -> list[int]:
    """Return numbers in proportion to `histogram`, at least one for what occurs, that add up to the total."""
    total = sum(histogram)
    shares = [max(1, count * PROBABILITY_TOTAL // total) if count else 0 for count in histogram]
    excess = sum(shares) - PROBABILITY_TOTAL
    while excess:
        largest = shares.index(max(shares))
        taken = min(excess, shares[largest] // 2)
        shares[largest] -= taken
        excess -= taken
    return shares


def frequencies_of(histogram: Sequence[int], other: int) -> list[int]:
    """Return the frequencies that suit `histogram`, the escape and symbol `other` always among them."""
    counts = list(histogram)
    # Every table has two symbols at least, so that no frequency is the whole.
    counts[ESCAPE] += 1
    counts[other] = max(counts[other], 1)
    return _frequencies(counts)


def _share(stayed: int, moved: int) -> int:
    """Return the share of those that stayed; half where there are none, and what was never seen is thought possible."""
    return min(max((2 * stayed + 1) * FLAG_TOTAL // (2 * (stayed + moved) + 2), 1), FLAG_TOTAL - 1)


def fit_contexts(counts: Buffer) -> tuple[bytes, bytes, bytes]:
    """Return the bounds of contexts, the share of each class that stays, and frequencies.

    Those are of the other symbols in each context and, behind them, of the steps of scales. `counts` is what
    `count_delta` filled. Classes are merged where a table of their own would not pay.
    """
    numbers = memoryview(counts).cast("B").cast("I")
    if len(numbers) != (CLASSES + 1) * SYMBOLS:
        raise ValueError("counts must have room for every class")
    rows = [tuple(numbers[at : at + SYMBOLS]) for at in range(0, len(numbers), SYMBOLS)]
    stays = array("H", (_share(row[0], sum(row[1:])) for row in rows[:-1]))
    contexts = _merge([_context(number, (0, *row[1:])) for number, row in enumerate(rows[:-1])])
    frequencies = array("H")
    for context in contexts:
        frequencies.extend(frequencies_of(context.histogram, 1))
    steps = [count + (abs(step - NO_STEP) <= 8 or step == SAME_BLOCK) for step, count in enumerate(rows[-1])]
    frequencies.extend(_frequencies(steps))
    bounds = bytes(context.first_class for context in contexts if context.first_class)
    return bounds, stays.tobytes(), frequencies.tobytes()
