"""Which base every stored object should have: versions of one tensor are compared by sample, and a plan is made of it.

Objects that lean on each other, or would do so with profit, are planned together. Not every pair of a long series is
compared: each version with its neighbours, and with versions spread over the series, one of which is a good root.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from lamella.codec.delta_format import LAYOUTS
from lamella.core.ids import ObjectId
from lamella.core.limits import MAX_READ_DEPTH, MAX_TENSOR_NBYTES, MAX_WRITTEN_DEPTH
from lamella.core.parallel import ordered_map
from lamella.core.progress import SILENT, Progress
from lamella.store.chain import Chain
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
    clans = _clans(standings, known, needless, pinned)
    progress.start("planning", sum(standing.nbytes for standing in standings.values()))
    found: dict[ObjectId, Wish] = {}
    predictor = Predictor(open_chain)
    for clan in clans:
        found.update(_planned(predictor, standings, clan, threads, progress))
    progress.finish()
    return found


@dataclass(frozen=True, slots=True)
class _Clan:
    members: list[ObjectId]
    series: list[Series]
    needless: Set[ObjectId]
    pinned: Set[ObjectId]


def _clans(
    standings: Mapping[ObjectId, Standing], series: Sequence[Series], needless: Set[ObjectId], pinned: Set[ObjectId]
) -> list[_Clan]:
    """Return the objects in clans, of which none is compared with another, nor leans on it."""
    links = [(one, standing.form.base) for one, standing in standings.items() if standing.form.base in standings]
    links += [(identity, one.objects[0]) for one in series for identity in one.objects[1:]]
    clans = [_Clan(members, [], needless, pinned) for members in _joined(sorted(standings), links)]
    clan_of = {identity: clan for clan in clans for identity in clan.members}
    for one in series:
        if one.objects:
            clan_of[one.objects[0]].series.append(one)
    return clans


def _joined(members: Sequence[ObjectId], links: Iterable[tuple[ObjectId, ObjectId | None]]) -> Iterable[list[ObjectId]]:
    """Return the members in groups that no link connects, each in their order."""
    leader = {identity: identity for identity in members}

    def find(identity: ObjectId) -> ObjectId:
        while leader[identity] != identity:
            leader[identity] = leader[leader[identity]]
            identity = leader[identity]
        return identity

    for one, other in links:
        if other is not None:
            leader[find(one)] = find(other)
    groups: dict[ObjectId, list[ObjectId]] = {}
    for identity in members:
        groups.setdefault(find(identity), []).append(identity)
    return groups.values()


@dataclass(frozen=True, slots=True)
class _Measured:
    """What samples say of a clan: of objects alone, and of the pairs of which one may lean on the other."""

    roots: dict[ObjectId, Predicted]
    deltas: dict[tuple[ObjectId, ObjectId], Predicted]
    layouts: dict[ObjectId, int]
    newest: set[ObjectId]


def _planned(
    predictor: Predictor,
    standings: Mapping[ObjectId, Standing],
    clan: _Clan,
    threads: int,
    progress: Progress,
) -> Iterator[tuple[ObjectId, Wish]]:
    """Yield what is wished for each member of a clan, every base before what leans on it."""
    present = {identity: _present_base(standings, identity) for identity in clan.members}
    measured = _measured(predictor, standings, clan, present, threads, progress)
    bases: dict[ObjectId, ObjectId | None] = {}
    above: dict[ObjectId, list[ObjectId]] = {}
    for upper, lower in measured.deltas:
        above.setdefault(lower, []).append(upper)
    for group in _joined(clan.members, measured.deltas):
        pairs = [(upper, lower) for lower in group for upper in above.get(lower, ())]
        bases.update(_solved(standings, clan, group, pairs, present, measured) if pairs else dict.fromkeys(group))
    below: dict[ObjectId, int] = {}
    for identity in _from_the_roots(bases):
        base, standing = bases[identity], standings[identity]
        is_new = base != standing.form.base
        predicted = (
            None if not is_new else measured.roots[identity] if base is None else measured.deltas[identity, base]
        )
        stored_nbytes = standing.stored_nbytes if predicted is None else predicted.nbytes
        link = 0 if base is None else standing.link_cost if predicted is None else predicted.cost
        below[identity] = link + (0 if base is None else below[base])
        cost = standing.nbytes + below[identity]
        layout = measured.layouts.get(identity)
        yield identity, Wish(base, standing.form.item_nbytes, layout, is_new, stored_nbytes, cost)


def _measured(
    predictor: Predictor,
    standings: Mapping[ObjectId, Standing],
    clan: _Clan,
    present: Mapping[ObjectId, ObjectId | None],
    threads: int,
    progress: Progress,
) -> _Measured:
    """Compare the versions of each series, and then what leans on each other; keep the pairs that save something."""
    layouts = {
        identity: one.layout
        for one in clan.series
        for identity in one.objects
        if one.layout is not None and LAYOUTS[one.layout].item_nbytes == standings[identity].form.item_nbytes
    }
    measured = _Measured({}, {}, layouts, {one.objects[0] for one in clan.series if one.objects})

    def alone(identity: ObjectId) -> Predicted:
        return predictor.alone(identity, layouts.get(identity))

    def against(pair: tuple[ObjectId, ObjectId]) -> Predicted:
        return predictor.against(*pair, layouts.get(pair[0]))

    passed: set[ObjectId] = set()
    leaning = [identity for identity in clan.members if standings[identity].form.base is not None]
    for members, pairs in _comparisons(standings, clan, present):
        lonely = () if members is not clan.members else leaning
        compared = [one for one in dict.fromkeys((*itertools.chain(*pairs), *lonely)) if one not in measured.roots]
        measured.roots.update(zip(compared, ordered_map(alone, compared, threads), strict=True))
        for (one, base), delta in zip(pairs, ordered_map(against, pairs, threads), strict=True):
            is_mutual = standings[one].nbytes == standings[base].nbytes
            for upper, lower in ((one, base), (base, one))[: 1 + is_mutual]:
                is_free = upper not in clan.pinned and is_worthwhile(delta, measured.roots[upper])
                if is_free or present[upper] == lower:
                    measured.deltas.setdefault((upper, lower), delta)
        progress.advance(sum(standings[one].nbytes for one in set(members) - passed))
        passed.update(members)
    return measured


def _present_base(standings: Mapping[ObjectId, Standing], identity: ObjectId) -> ObjectId | None:
    form = standings[identity].form
    base = None if form.base is None else standings.get(form.base)
    return form.base if base is not None and base.form.item_nbytes == form.item_nbytes else None


def _solved(
    standings: Mapping[ObjectId, Standing],
    clan: _Clan,
    group: Sequence[ObjectId],
    pairs: Iterable[tuple[ObjectId, ObjectId]],
    present: Mapping[ObjectId, ObjectId | None],
    measured: _Measured,
) -> dict[ObjectId, ObjectId | None]:
    numbers = {identity: number for number, identity in enumerate(group)}
    vertices = tuple(
        # What is pinned and leans on something never pays alone, and is within all bounds.
        Vertex(measured.roots[one].nbytes if present[one] is None else _NEVER, _NEVER, MAX_READ_DEPTH)
        if one in clan.pinned
        # One level is left to the version that is to come, which will lean on the newest.
        else Vertex(
            measured.roots[one].nbytes, slack(standings[one].nbytes), MAX_WRITTEN_DEPTH - (one in measured.newest)
        )
        for one in group
    )
    deltas = ((one, base, measured.deltas[one, base]) for one, base in pairs)
    edges = tuple(Edge(numbers[one], numbers[base], delta.nbytes, delta.cost) for one, base, delta in deltas)
    current = tuple(None if (base := present[one]) is None else numbers[base] for one in group)
    needless = {number for one, number in numbers.items() if one in clan.needless}
    parents = solve_without(Problem(vertices, edges), current, needless)
    return {one: None if parent is None else group[parent] for one, parent in zip(group, parents, strict=True)}


def _comparisons(
    standings: Mapping[ObjectId, Standing], clan: _Clan, present: Mapping[ObjectId, ObjectId | None]
) -> Iterator[tuple[Sequence[ObjectId], list[tuple[ObjectId, ObjectId]]]]:
    """Yield each series, and at last all members, with the pairs (object, base) to compare.

    Each pair comes once, in both orders only where the lengths differ.
    """
    known: set[tuple[ObjectId, ObjectId]] = set()

    def is_new(one: ObjectId, base: ObjectId) -> bool:
        above, below = standings[one], standings[base]
        is_possible = above.form.item_nbytes == below.form.item_nbytes and above.nbytes and below.nbytes
        is_told_by_the_other = above.nbytes == below.nbytes and (base, one) in known
        if not is_possible or is_told_by_the_other or (one, base) in known:
            return False
        known.add((one, base))
        return True

    for series in clan.series:
        ways = ((series.objects[first], series.objects[second]) for first, second in _compared(len(series.objects)))
        yield series.objects, [pair for one, base in ways for pair in ((one, base), (base, one)) if is_new(*pair)]
    yield clan.members, [(one, base) for one, base in present.items() if base is not None and is_new(one, base)]


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
