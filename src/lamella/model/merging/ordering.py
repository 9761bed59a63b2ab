"""The order of the tensors of a merge: that of the side that changed it, with what the others added in its place."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise


def merge_orders(base: Sequence[int], sides: Sequence[Sequence[int]]) -> list[int]:
    """Return all that the sides and the base list, each once.

    The order is that of the first side that put what the base lists into another one, else of the first side. What
    another lists comes behind what is before it there, and behind what was added at that place already.
    """
    places = {item: at for at, item in enumerate(base)}
    leading = next((side for side in sides if not _is_ascending(side, places)), sides[0])
    following: dict[int | None, int | None] = dict(pairwise([None, *leading, None]))
    for other in (*sides, base):
        held = set(other)
        last: int | None = None
        for item in other:
            if item not in following:
                if item not in places:
                    last = _behind_added(following, last, places, held)
                following[item] = following[last]
                following[last] = item
            last = item
    made: list[int] = []
    at = following[None]
    while at is not None:
        made.append(at)
        at = following[at]
    return made


def _is_ascending(side: Sequence[int], places: dict[int, int]) -> bool:
    found = [places[item] for item in side if item in places]
    return all(one < other for one, other in pairwise(found))


def _behind_added(
    following: Mapping[int | None, int | None], last: int | None, places: Collection[int], held: Collection[int]
) -> int | None:
    """Return the last of what others added behind an item."""
    while (behind := following[last]) is not None and behind not in places and behind not in held:
        last = behind
    return last
