"""The smallest part that is bad by itself of many that together are: delta debugging, after Zeller and Hildebrandt.

"Simplifying and Isolating Failure-Inducing Input", IEEE Transactions on Software Engineering 28 (2002), algorithm
ddmin. Before it, the common case is tried first: that a single item is guilty takes one test for each halving, since a
half is believed to be bad without a test where the other one is not, and one test at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

Item = TypeVar("Item")


def smallest_bad(items: Sequence[Item], is_bad: Callable[[Sequence[Item]], bool]) -> tuple[Item, ...]:
    """Return items, in their order, that together are bad and without any one of them are not; () where all are good.

    `is_bad` is asked for no set twice, and never for the empty one, which is taken for good; of `items` the neighbours
    should be those that are likely to be guilty together. One guilty item of n takes ceil(log2 n) + 1 tests, more of
    them at most some n^2.
    """
    known: dict[tuple[int, ...], bool] = {}

    def bad(chosen: Sequence[int]) -> bool:
        key = tuple(chosen)
        if key not in known:
            known[key] = bool(key) and is_bad([items[number] for number in key])
        return known[key]

    everything = range(len(items))
    found = _one_guilty(everything, bad) or (_minimal(everything, bad) if bad(everything) else ())
    return tuple(items[number] for number in found)


Tested = Callable[[Sequence[int]], bool]


def _one_guilty(items: Sequence[int], bad: Tested) -> Sequence[int]:
    """Return the guilty one, if it is one; () where none is bad by itself in the half that was left."""
    while len(items) > 1:
        middle = (len(items) + 1) // 2
        items = items[:middle] if bad(items[:middle]) else items[middle:]
    return items if bad(items) else ()


def _minimal(items: Sequence[int], bad: Tested) -> Sequence[int]:
    """Return a part of `items`, which are bad, from which none can be left out: ddmin."""
    count = 2
    while len(items) > 1:
        parts = _divided(items, count)
        smaller = next((part for part in parts if bad(part)), None)
        if smaller is not None:
            items, count = smaller, 2
            continue
        rests = ([one for one in items if one not in set(part)] for part in parts)
        smaller = next((rest for rest in rests if bad(rest)), None)
        if smaller is not None:
            items, count = smaller, max(count - 1, 2)
        elif count < len(items):
            count = min(2 * count, len(items))
        else:
            break
    return items


def _divided(items: Sequence[int], count: int) -> Sequence[Sequence[int]]:
    """Return `items` in `count` runs of nearly one length."""
    bounds = [len(items) * number // count for number in range(count + 1)]
    return [items[start:stop] for start, stop in pairwise(bounds)]
