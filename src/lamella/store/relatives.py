"""Relatives: stored objects that an object about to be stored may lean on, found by their sketches alone.

For whatever comes without a history: a model that was copied in, renamed or moved. One pass over the sketches of a size
class serves many objects at once, so a search costs what is stored and not what is stored times what is added.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from heapq import nlargest
from itertools import chain
from operator import contains

from lamella.core.ids import ObjectId
from lamella.store.index import Index
from lamella.store.record import Head
from lamella.store.sketch import LEAST_SHARED, PLACES, SKETCH

MOST_FOUND = 3
"""Relatives of one object that are compared further, on samples: sketches cannot tell close ones apart."""
MOST_COMPARED = 1 << 18
"""Sketches that one pass looks at, the newest first, where few are alike: a second's work.

What shares something by chance with what is asked for uses up a part: with `ASKED_AT_ONCE` objects, 110,000 are seen.
"""
ASKED_AT_ONCE = 512
"""Objects that one pass serves; more would meet too many by chance, and so look less far back."""
MEETINGS_A_SKETCH = 8
"""Objects that share something with a sketch and cost as much as to look at another one."""


class Relatives:
    """Finds the relatives of objects about to be stored. Not safe for several threads.

    `heads` are those of all objects that may be asked for, in the order in which they will be.
    """

    def __init__(self, index: Index, heads: Iterable[Head]) -> None:
        self._index = index
        self._waiting: dict[int, deque[Head]] = {}
        self._found: dict[ObjectId, list[ObjectId]] = {}
        self._is_ready = False
        for head in heads:
            if head.sketch:
                self._waiting.setdefault(head.size_class, deque()).append(head)

    def of(self, head: Head) -> list[ObjectId]:
        """Return the ids of at most `MOST_FOUND` objects, the likeliest first; some may be stored no more."""
        if head.sketch and head.id not in self._found:
            if not self._is_ready:
                self._index.read_sketches()
                self._is_ready = True
            self._search_from(head)
        return self._found.get(head.id, [])

    def _search_from(self, head: Head) -> None:
        """Search for an object and those behind it."""
        waiting = self._waiting[head.size_class]
        while waiting[0] is not head:
            waiting.popleft()
        asked = [waiting.popleft() for _ in range(min(len(waiting), ASKED_AT_ONCE))]
        self._found.update((one.id, []) for one in asked)
        self._found.update(search({one.id: one.sketch for one in asked}, self._index.sketches(head.size_class)))


def search(
    asked: Mapping[ObjectId, bytes], stored: Iterable[tuple[ObjectId, tuple[int, ...]]]
) -> dict[ObjectId, list[ObjectId]]:
    """Return for the objects `asked` for, which have sketches, those of `stored` that share most, most alike first.

    An object without any is left out. `stored` has the numbers of sketches; of equals, those that come first are taken,
    and where very much is alike, the last are not looked at.
    """
    tables: list[dict[int, list[ObjectId]]] = [{} for _ in range(PLACES)]
    for identity, sketch in asked.items():
        for table, number in zip(tables, SKETCH.unpack(sketch), strict=True):
            if number:
                table.setdefault(number, []).append(identity)
    found: dict[ObjectId, dict[ObjectId, int]] = {}
    allowance = MOST_COMPARED * MEETINGS_A_SKETCH
    for candidate, numbers in stored:
        if allowance <= 0:
            break
        allowance -= MEETINGS_A_SKETCH
        if sum(map(contains, tables, numbers)) < LEAST_SHARED:
            continue
        met = chain.from_iterable(table.get(number, ()) for table, number in zip(tables, numbers, strict=True))
        alike = Counter(met)
        allowance -= alike.total()
        for identity, count in alike.items():
            if count >= LEAST_SHARED and candidate != identity:
                found.setdefault(identity, {})[candidate] = count
    return {identity: nlargest(MOST_FOUND, counts, key=counts.__getitem__) for identity, counts in found.items()}
