"""Which base every stored object should have: versions of one tensor are compared by sample, and a plan is made of it.

Objects that share a version or lean on each other are planned together. Not every pair of a long series is compared:
each version with its neighbours, and with versions spread over the series, one of which is a good root for it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from lamella.codec.delta_format import LAYOUTS
from lamella.core.ids import ObjectId
from lamella.core.limits import MAX_READ_DEPTH, MAX_TENSOR_NBYTES, MAX_WRITTEN_DEPTH
from lamella.core.progress import SILENT, Progress
from lamella.store.chain import Chain
from lamella.store.parallel import ordered_map
from lamella.store.plan import Edge, Problem, Vertex, solve_without
from lamella.store.predict import Predicted, Predictor, is_worthwhile, slack
from lamella.store.shelf import Form, Standing

FEW = 12
"""Versions of which every pair is compared."""
REACH = 2
"""How many neighbours on either side a version of a longer series is compared with."""
MOST_PIVOTS = 8
"""How many of the versions that are spread over a series each version is compared with, the nearest ones."""

_NEVER = MAX_TENSOR_NBYTES
"""More bytes than any plan saves."""


@dataclass(frozen=True, slots=True)
class Series:
    """The versions of one tensor, newest first, each once; `layout` is that of its floats, None where it has none."""

    objects: tuple[ObjectId, ...]
    layout: int | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """How an object should be stored: against which base, and with items of which width.

    `nbytes` and `cost` are what its record will take and what it will cost to restore it, predicted where the wish is
    not what there is (`is_new`).
    """

    base: ObjectId | None
    item_nbytes: int
    layout: int | None
    is_new: bool
    nbytes: int
    cost: int

    def is_met_by(self, form: Form) -> bool:
        """Say whether a copy is stored in this way, at whatever depth."""
        return form.is_plain and (form.base, form.item_nbytes) == (self.base, self.item_nbytes)


def wishes(
    standings: Mapping[ObjectId, Standing],
    series: Iterable[Series],
    needless: Set[ObjectId],
    pinned: Set[ObjectId],
    open_chain: Callable[[ObjectId], Chain],
    threads: int = 1,
    progress: Progress = SILENT,
) -> dict[ObjectId, Wish]:
    """Return how each object of `standings` should be stored, every base before what leans on it.

    What is `needless` serves as a base only where that pays; what is `pinned` stays as it is. `open_chain` opens
    objects, from several threads. Raises IntegrityError where what is sampled is damaged.
    """
    known = [Series(tuple(one for one in found.objects if one in standings), found.layout) for found in series]
    groups = _groups(standings, known, needless, pinned)
    progress.start("planning", sum(standings[identity].nbytes for group in groups for identity in group.members))
    found: dict[ObjectId, Wish] = {}
    predictor = Predictor(open_chain)
    for group in groups:
        found.update(_planned(predictor, standings, group, threads))
        progress.advance(sum(standings[identity].nbytes for identity in group.members))
    progress.finish()
    return found


@dataclass(frozen=True, slots=True)
class _Group:
    members: list[ObjectId]
    series: list[Series]
    needless: Set[ObjectId]
    pinned: Set[ObjectId]


def _groups(
    standings: Mapping[ObjectId, Standing], series: Sequence[Series], needless: Set[ObjectId], pinned: Set[ObjectId]
) -> list[_Group]:
    """Return the objects in groups that have nothing to do with each other."""
    leader = {identity: identity for identity in standings}

    def find(identity: ObjectId) -> ObjectId:
        while leader[identity] != identity:
            leader[identity] = leader[leader[identity]]
            identity = leader[identity]
        return identity

    for identity, standing in standings.items():
        if standing.form.base in leader:
            leader[find(identity)] = find(standing.form.base)
    for one in series:
        for identity in one.objects[1:]:
            leader[find(identity)] = find(one.objects[0])
    groups: dict[ObjectId, _Group] = {}
    for identity in sorted(standings):
        groups.setdefault(find(identity), _Group([], [], needless, pinned)).members.append(identity)
    for one in series:
        if one.objects:
            groups[find(one.objects[0])].series.append(one)
    return list(groups.values())


def _planned(
    predictor: Predictor, standings: Mapping[ObjectId, Standing], group: _Group, threads: int
) -> Iterator[tuple[ObjectId, Wish]]:
    """Yield what is wished for each member of a group, every base before what leans on it."""
    present = {identity: _present_base(standings, identity) for identity in group.members}
    layouts = {
        identity: one.layout
        for one in group.series
        for identity in one.objects
        if one.layout is not None and LAYOUTS[one.layout].item_nbytes == standings[identity].form.item_nbytes
    }
    pairs = list(_pairs(standings, group, present))

    def alone(identity: ObjectId) -> Predicted:
        return predictor.alone(identity, layouts.get(identity))

    def against(pair: tuple[ObjectId, ObjectId]) -> Predicted:
        return predictor.against(*pair, layouts.get(pair[0]))

    compared = group.members if pairs or any(standings[one].form.base for one in group.members) else []
    roots = dict(zip(compared, ordered_map(alone, compared, threads), strict=True))
    deltas = dict(zip(pairs, ordered_map(against, pairs, threads), strict=True))
    for (one, other), delta in list(deltas.items()):
        if standings[one].nbytes == standings[other].nbytes:
            deltas.setdefault((other, one), delta)
    bases = _solved(standings, group, present, roots, deltas) if compared else dict.fromkeys(group.members)
    below: dict[ObjectId, int] = {}
    for identity in _from_the_roots(bases):
        base, standing = bases[identity], standings[identity]
        is_new = base != standing.form.base
        predicted = None if not is_new else roots[identity] if base is None else deltas[identity, base]
        stored_nbytes = standing.stored_nbytes if predicted is None else predicted.nbytes
        link = 0 if base is None else standing.link_cost if predicted is None else predicted.cost
        below[identity] = link + (0 if base is None else below[base])
        cost = standing.nbytes + below[identity]
        yield identity, Wish(base, standing.form.item_nbytes, layouts.get(identity), is_new, stored_nbytes, cost)


def _present_base(standings: Mapping[ObjectId, Standing], identity: ObjectId) -> ObjectId | None:
    form = standings[identity].form
    base = None if form.base is None else standings.get(form.base)
    return form.base if base is not None and base.form.item_nbytes == form.item_nbytes else None


def _solved(
    standings: Mapping[ObjectId, Standing],
    group: _Group,
    present: Mapping[ObjectId, ObjectId | None],
    roots: Mapping[ObjectId, Predicted],
    deltas: Mapping[tuple[ObjectId, ObjectId], Predicted],
) -> dict[ObjectId, ObjectId | None]:
    numbers = {identity: number for number, identity in enumerate(group.members)}
    newest = {one.objects[0] for one in group.series if one.objects}
    vertices = tuple(
        # What is pinned and leans on something never pays alone, and is within all bounds.
        Vertex(roots[one].nbytes if present[one] is None else _NEVER, _NEVER, MAX_READ_DEPTH)
        if one in group.pinned
        # One level is left to the version that is to come, which will lean on the newest.
        else Vertex(roots[one].nbytes, slack(standings[one].nbytes), MAX_WRITTEN_DEPTH - (one in newest))
        for one in group.members
    )
    edges = tuple(
        Edge(numbers[one], numbers[base], delta.nbytes, delta.cost)
        for (one, base), delta in deltas.items()
        if present[one] == base or (one not in group.pinned and is_worthwhile(delta, roots[one]))
    )
    current = tuple(None if (base := present[one]) is None else numbers[base] for one in group.members)
    needless = {number for one, number in numbers.items() if one in group.needless}
    parents = solve_without(Problem(vertices, edges), current, needless)
    return {
        one: None if parent is None else group.members[parent]
        for one, parent in zip(group.members, parents, strict=True)
    }


def _pairs(
    standings: Mapping[ObjectId, Standing], group: _Group, present: Mapping[ObjectId, ObjectId | None]
) -> Iterator[tuple[ObjectId, ObjectId]]:
    """Yield the pairs to compare, once: (object, base), in both orders only where the lengths differ."""
    found: dict[tuple[ObjectId, ObjectId], None] = {}
    for one in group.series:
        for first, second in _compared(len(one.objects)):
            found[one.objects[first], one.objects[second]] = None
            found[one.objects[second], one.objects[first]] = None
    found.update(((identity, base), None) for identity, base in present.items() if base is not None)
    for identity, base in found:
        above, below = standings[identity], standings[base]
        is_possible = above.form.item_nbytes == below.form.item_nbytes and above.nbytes and below.nbytes
        is_told_by_the_other = above.nbytes == below.nbytes and identity > base and (base, identity) in found
        if is_possible and not is_told_by_the_other:
            yield identity, base


def _compared(count: int) -> Iterator[tuple[int, int]]:
    """Yield the pairs of places in a series of `count` versions that are compared, the smaller one first."""
    if count <= FEW:
        yield from itertools.combinations(range(count), 2)
        return
    spread = math.isqrt(count)
    pivots = [(2 * step + 1) * count // (2 * spread) for step in range(spread)]
    found = set()
    for place in range(count):
        near = sorted(pivots, key=lambda pivot: (abs(pivot - place), pivot))[:MOST_PIVOTS]
        for other in (*near, *range(place + 1, min(place + 1 + REACH, count))):
            if other != place:
                found.add((min(place, other), max(place, other)))
    yield from sorted(found)


def _from_the_roots(bases: Mapping[ObjectId, ObjectId | None]) -> Iterator[ObjectId]:
    leaning: dict[ObjectId | None, list[ObjectId]] = {}
    for identity, base in bases.items():
        leaning.setdefault(base, []).append(identity)
    waiting = leaning.get(None, [])
    while waiting:
        yield from waiting
        waiting = [above for identity in waiting for above in leaning.get(identity, [])]
