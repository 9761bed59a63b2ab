"""The longest common subsequence of two sequences, and the longest increasing one of numbers."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

Pairs = list[tuple[int, int]]
"""Places in two sequences, both increasing."""


def common(before: Sequence[int], after: Sequence[int], most_steps: int) -> Pairs:
    """Return the places of a longest common subsequence, found as in Myers, "An O(ND) Difference Algorithm" (1986).

    Where that takes more than `most_steps`, beyond looking at each item, the sequences are cut at items that occur once
    in both, and where there are none, the first, second... of each kind are put beside each other: common still, but
    not the longest.
    """
    found: Pairs = []
    left = most_steps
    waiting = [(0, len(before), 0, len(after))]
    while waiting:
        start_a, stop_a, start_b, stop_b = waiting.pop()
        while start_a < stop_a and start_b < stop_b and before[start_a] == after[start_b]:
            found.append((start_a, start_b))
            start_a, start_b = start_a + 1, start_b + 1
        while start_a < stop_a and start_b < stop_b and before[stop_a - 1] == after[stop_b - 1]:
            stop_a, stop_b = stop_a - 1, stop_b - 1
            found.append((stop_a, stop_b))
        if start_a == stop_a or start_b == stop_b:
            continue
        part_a, part_b = before[start_a:stop_a], after[start_b:stop_b]
        pairs, cost = _shortest_edit(part_a, part_b, left)
        left -= cost
        if pairs is None:
            pairs = _once_in_both(part_a, part_b)
            corners = [(-1, -1), *pairs, (len(part_a), len(part_b))]
            if pairs:
                waiting += [
                    (start_a + a + 1, start_a + next_a, start_b + b + 1, start_b + next_b)
                    for (a, b), (next_a, next_b) in pairwise(corners)
                ]
            else:
                pairs = _by_rank(part_a, part_b)
        found += [(start_a + a, start_b + b) for a, b in pairs]
    return sorted(found)


def _shortest_edit(before: Sequence[int], after: Sequence[int], most_steps: int) -> tuple[Pairs | None, int]:
    """Return the common places along a shortest edit, None where it takes more steps; and the steps that it took."""
    frontier = {1: 0}
    trace: list[dict[int, int]] = []
    steps = 0
    for depth in range(len(before) + len(after) + 1):
        trace.append({})
        steps += depth + 1
        if steps > most_steps:
            return None, steps
        for diagonal in range(-depth, depth + 1, 2):
            down = diagonal == -depth or (
                diagonal != depth and frontier.get(diagonal - 1, -1) < frontier.get(diagonal + 1, -1)
            )
            a = frontier[diagonal + 1] if down else frontier[diagonal - 1] + 1
            b = a - diagonal
            while a < len(before) and b < len(after) and before[a] == after[b]:
                a, b, steps = a + 1, b + 1, steps + 1
            frontier[diagonal] = trace[depth][diagonal] = a
            if a == len(before) and b == len(after):
                return _walk_back(trace, len(before), len(after)), steps
    raise AssertionError("an edit that drops everything and adds everything always ends")


def _walk_back(trace: list[dict[int, int]], a: int, b: int) -> Pairs:
    pairs: Pairs = []
    for depth in range(len(trace) - 1, 0, -1):
        diagonal, above = a - b, trace[depth - 1]
        down = diagonal == -depth or (diagonal != depth and above.get(diagonal - 1, -1) < above.get(diagonal + 1, -1))
        before_a = above[diagonal + 1] if down else above[diagonal - 1]
        before_b = before_a - (diagonal + 1 if down else diagonal - 1)
        start = before_a if down else before_a + 1
        pairs += [(place, place - diagonal) for place in range(start, a)]
        a, b = before_a, before_b
    pairs += [(place, place) for place in range(a)]
    return pairs


def _once_in_both(before: Sequence[int], after: Sequence[int]) -> Pairs:
    counts = Counter(before), Counter(after)
    places = {item: place for place, item in enumerate(after)}
    candidates = [(place, places[item]) for place, item in enumerate(before) if counts[0][item] == 1 == counts[1][item]]
    return [candidates[number] for number in increasing([place for _, place in candidates])]


def _by_rank(before: Sequence[int], after: Sequence[int]) -> Pairs:
    places: dict[int, list[int]] = {}
    for place in range(len(after) - 1, -1, -1):
        places.setdefault(after[place], []).append(place)
    candidates = [(place, places[item].pop()) for place, item in enumerate(before) if places.get(item)]
    return [candidates[number] for number in increasing([place for _, place in candidates])]


def increasing(numbers: Sequence[int]) -> list[int]:
    """Return the places of a longest strictly increasing subsequence of `numbers`, in n log n steps."""
    ends: list[int] = []
    last: list[int] = []
    previous: list[int] = []
    for place, number in enumerate(numbers):
        at = bisect_left(ends, number)
        previous.append(last[at - 1] if at else -1)
        if at == len(ends):
            ends.append(number)
            last.append(place)
        else:
            ends[at], last[at] = number, place
    chain = []
    place = last[-1] if last else -1
    while place >= 0:
        chain.append(place)
        place = previous[place]
    return chain[::-1]
