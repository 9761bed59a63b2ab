"""Which node of one computation graph became which of another: by tensors, by what is beside it, by order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import heappop, heappush

from lamella.core.graphs import Graph, Node
from lamella.model.sequences import common, increasing
from lamella.model.wiring import Wiring

FREE = -1
"""In the place of the node that a node became, where it became none."""

_MOST_OWNERS = 8
"""Nodes that take one tensor; what more of them share, as a constant, tells nothing of any one."""

_MOST_USERS = 64
"""Nodes that take one value and are alike; among more of them each is put beside the one of its rank only."""

_STEPS, _STEPS_OF_A_GAP = 1_000_000, 2_000
"""What comparing what lies between matched nodes may cost, all together and each; a second or two."""

_ONLY_USER, _FEEDS, _A_USER = 3, 2, 1
"""What it counts for two nodes that they alone take what became each other, that they feed it, or that they and others
take it."""
_BY_TENSORS = 2
"""How often it counts where that is known from what tensors hold."""

_RADIUS = 2
"""How far around a node things have to be alike for it to be found by order, at first."""


def match_graphs(before: Graph, after: Graph, tensors: Mapping[str, str] | None = None) -> GraphMatch:
    """Return which node became which, in a time of some microseconds a node and edge.

    `tensors` are those of `before` with what they became, where that is known from what they hold; without it the same
    name is taken for the same tensor where its node looks alike. Leave out tensors that many others equal, as scalars
    are. A node is found by its tensors, else by its place among nodes that were found, the operator, the attributes and
    the roles of its tensors being the same, else by the order of such nodes, and last by its place alone.
    """
    found = GraphMatch(Wiring(before), Wiring(after))
    found.pair_ports()
    tokens = [_tokens(found)]
    for _ in range(_RADIUS):
        tokens.append(_wider(found, tokens[-1]))
    wired = any(map(any, found.after.users)) or any(map(any, found.before.users))
    if tensors is None:
        whole = _whole(found, tokens[0])
        if Counter(whole[0]) == Counter(whole[1]):
            _where_unique(found, whole)
            _by_neighbours(found, whole)
    _by_tensors(found, tensors, tokens[1])
    if tensors is None:
        _by_order(found, tokens[-1])
    _by_neighbours(found, tokens[0])
    if wired or tensors is None:
        for wide in reversed(tokens):
            pairs = _by_order(found, wide)
            if wired and wide is tokens[0]:
                _drop_unsupported(found, pairs)
            _by_neighbours(found, tokens[0])
    _by_place(found)
    if wired:
        _where_unique(found, tokens[1])
    names = ([(node.name, node.op) for node in side.nodes] for side in (found.before, found.after))
    _where_unique(found, (next(names), next(names)))
    _by_neighbours(found, tokens[0])
    return found


class GraphMatch:
    """Two graphs, and for each number of one side that of the other, or FREE.

    `by_tensors` are numbers before that were matched by what their tensors hold.
    """

    def __init__(self, before: Wiring, after: Wiring) -> None:
        self.before = before
        self.after = after
        self.partner = [FREE] * before.total
        self.mate = [FREE] * after.total
        self.by_tensors: set[int] = set()

    @property
    def matched(self) -> int:
        """How many nodes were matched, inputs and outputs left out."""
        return sum(other != FREE for other in self.partner[: self.before.count])

    def pair(self, a: int, b: int) -> None:
        """Match two numbers that are free."""
        self.partner[a], self.mate[b] = b, a

    def free(self, a: int, b: int) -> bool:
        """Say whether neither number is matched."""
        return self.partner[a] == FREE and self.mate[b] == FREE

    def pair_ports(self) -> None:
        """Match inputs and outputs by name, and those that are left in their order."""
        for ports_a, ports_b, first_a, first_b in (
            (self.before.graph.inputs, self.after.graph.inputs, self.before.count, self.after.count),
            (self.before.graph.outputs, self.after.graph.outputs, self.before.first_output, self.after.first_output),
        ):
            places = {port.name: first_b + number for number, port in enumerate(ports_b)}
            for number, port in enumerate(ports_a, first_a):
                if port.name in places:
                    self.pair(number, places[port.name])
            left_a = [a for a in range(first_a, first_a + len(ports_a)) if self.partner[a] == FREE]
            left_b = [b for b in range(first_b, first_b + len(ports_b)) if self.mate[b] == FREE]
            for a, b in zip(left_a, left_b, strict=False):
                self.pair(a, b)

    def same_feeds(self, a: int, b: int) -> bool:
        """Say whether two nodes take the same values, slot by slot."""
        feeds = self.before.feeds[a]
        return len(feeds) == len(self.after.feeds[b]) and all(
            output == other and (self.partner[source] == number != FREE if source >= 0 else number == source)
            for (source, output), (number, other) in zip(feeds, self.after.feeds[b], strict=True)
        )

    def same_users(self, a: int, b: int) -> bool:
        """Say whether the same nodes take what two nodes give, each in the same slot."""
        if len(self.before.users[a]) != len(self.after.users[b]):
            return False  # said before they are gone through: one that very many take may stand beside very many
        users = sorted((self.partner[user], slot) for user, slot in self.before.users[a])
        return users == sorted(self.after.users[b])


Tokens = tuple[list[int], list[int]]
"""A number for each number of both sides, the same for what is alike."""


def _tokens(found: GraphMatch) -> Tokens:
    known: dict[object, int] = {}
    sides = []
    for side in (found.before, found.after):
        keys: list[object] = [
            (node.op, node.attributes, tuple(sorted(role for role, _ in node.parameters))) for node in side.nodes
        ]
        before = side is found.before
        for number in range(side.count, side.total):
            matched = number if before else found.mate[number]
            keys.append(("port", before and found.partner[number] == FREE, matched if matched != FREE else -number))
        sides.append([known.setdefault(key, len(known)) for key in keys])
    return sides[0], sides[1]


def _wider(found: GraphMatch, tokens: Tokens) -> Tokens:
    """Return tokens that tell nodes apart by what is one step further around them, as Weisfeiler and Lehman do."""
    known: dict[object, int] = {}
    sides = []
    for side, own in ((found.before, tokens[0]), (found.after, tokens[1])):
        keys = (
            (
                own[number],
                tuple((own[source] if source >= 0 else FREE, output) for source, output in side.feeds[number]),
                tuple(sorted((own[user], slot) for user, slot in side.users[number])),
            )
            for number in range(side.total)
        )
        sides.append([known.setdefault(key, len(known)) for key in keys])
    return sides[0], sides[1]


def _whole(found: GraphMatch, tokens: Tokens) -> Tokens:
    """Return tokens that tell nodes apart by all that leads to them and all that they lead to, save in circles."""
    known: dict[object, int] = {}
    sides = []
    for side, own in ((found.before, tokens[0]), (found.after, tokens[1])):
        above, below = list(own), list(own)
        for number in range(side.count):
            feeds = tuple((above[source] if source >= 0 else FREE, output) for source, output in side.feeds[number])
            above[number] = known.setdefault((own[number], feeds), ~len(known))
        for number in reversed(range(side.count)):
            users = tuple(sorted((below[user], slot) for user, slot in side.users[number]))
            below[number] = known.setdefault((own[number], "taken by", users), ~len(known))
        sides.append([known.setdefault(both, ~len(known)) for both in zip(above, below, strict=True)])
    return sides[0], sides[1]


def _by_tensors(found: GraphMatch, tensors: Mapping[str, str] | None, alike: Tokens) -> None:
    owners = _owners(found.after.nodes)
    counts = Counter(name for node in found.before.nodes for _, name in node.parameters)
    candidates = []
    for a, node in enumerate(found.before.nodes):
        votes: Counter[int] = Counter()
        for _, name in node.parameters:
            becomes = tensors.get(name) if tensors is not None else name
            if becomes is not None and counts[name] <= _MOST_OWNERS and len(owners.get(becomes, ())) <= _MOST_OWNERS:
                votes.update(owners.get(becomes, ()))
        for b, count in votes.items():
            other = found.after.nodes[b]
            if tensors is not None or (alike[0][a] == alike[1][b] and node.name == other.name):
                unlike = node.op != other.op, alike[0][a] != alike[1][b], node.name != other.name
                candidates.append((-count, *unlike, a, b))
    for *_, a, b in sorted(candidates):
        if found.free(a, b):
            found.pair(a, b)
            if tensors is not None:
                found.by_tensors.add(a)


def _owners(nodes: Iterable[Node]) -> dict[str, list[int]]:
    owners: dict[str, list[int]] = {}
    for number, node in enumerate(nodes):
        for name in {name for _, name in node.parameters}:
            owners.setdefault(name, []).append(number)
    return owners


def _by_neighbours(found: GraphMatch, tokens: Tokens) -> None:
    """Match what is alike and beside what is matched, in the order of how much of it is matched, then by name."""
    support: dict[tuple[int, int], int] = {}
    heap: list[tuple[int, bool, int, int]] = []
    names = found.before.names, found.after.names

    def bump(a: int, b: int, weight: int) -> None:
        total = support[a, b] = support.get((a, b), 0) + weight
        heappush(heap, (-total, names[0][a] != names[1][b], a, b))

    for a, b in enumerate(found.partner):
        if b != FREE:
            _around(found, tokens, a, b, bump)
    while heap:
        *_, a, b = heappop(heap)
        if found.free(a, b):
            found.pair(a, b)
            _around(found, tokens, a, b, bump)


def _around(found: GraphMatch, tokens: Tokens, a: int, b: int, bump: Callable[[int, int, int], None]) -> None:
    """Give `bump` every pair of free nodes that are alike and stand in one relation to a matched pair."""
    surer = _BY_TENSORS if a in found.by_tensors else 1
    for (source, output), (other, number) in zip(found.before.feeds[a], found.after.feeds[b], strict=False):
        if source < 0 or other < 0 or output != number or not found.free(source, other):
            continue
        if tokens[0][source] == tokens[1][other]:
            bump(source, other, surer * _FEEDS)
    users: dict[tuple[int, int, int], tuple[list[int], list[int]]] = {}
    for side, wiring, number, matched in (
        (0, found.before, a, found.partner),
        (1, found.after, b, found.mate),
    ):
        for user, slot in wiring.users[number]:
            if matched[user] == FREE:
                key = tokens[side][user], slot, wiring.feeds[user][slot][1]
                users.setdefault(key, ([], []))[side].append(user)
    for here, there in users.values():
        weight = _ONLY_USER if len(here) == len(there) == 1 else _A_USER
        if len(here) * len(there) <= _MOST_USERS:
            pairs = [(one, other) for one in here for other in there]
        else:
            pairs = list(zip(here, there, strict=False))
        for one, other in pairs:
            bump(one, other, surer * weight)


def _by_order(found: GraphMatch, tokens: Tokens) -> list[tuple[int, int]]:
    """Match what is alike in the same order, between nodes that are matched in order; return the new pairs."""
    new = []
    gaps = _gaps(found)
    left = sum(len(gap_a) + len(gap_b) for gap_a, gap_b in gaps)
    for gap_a, gap_b in gaps:
        here, there = [tokens[0][a] for a in gap_a], [tokens[1][b] for b in gap_b]
        share = _STEPS * (len(gap_a) + len(gap_b)) // left + _STEPS_OF_A_GAP
        new += [(gap_a[one], gap_b[other]) for one, other in common(here, there, share)]
    for a, b in new:
        found.pair(a, b)
    return new


def _gaps(found: GraphMatch) -> list[tuple[list[int], list[int]]]:
    """Return the free nodes of both sides between the matched ones that are in the same order on both."""
    matched = [(a, b) for a, b in enumerate(found.partner[: found.before.count]) if b != FREE]
    corners = [matched[place] for place in increasing([b for _, b in matched])]
    gaps = []
    start_a = start_b = 0
    for stop_a, stop_b in (*corners, (found.before.count, found.after.count)):
        gap_a = [a for a in range(start_a, stop_a) if found.partner[a] == FREE]
        gap_b = [b for b in range(start_b, stop_b) if found.mate[b] == FREE]
        if gap_a and gap_b:
            gaps.append((gap_a, gap_b))
        start_a, start_b = stop_a + 1, stop_b + 1
    return gaps


def _drop_unsupported(found: GraphMatch, pairs: Iterable[tuple[int, int]]) -> None:
    """Undo pairs that have nothing in common but their operator."""
    for a, b in [pair for pair in pairs if not _supported(found, *pair)]:
        found.partner[a] = found.mate[b] = FREE


def _supported(found: GraphMatch, a: int, b: int) -> bool:
    if found.before.nodes[a].name == found.after.nodes[b].name:
        return True
    feeds = zip(found.before.feeds[a], found.after.feeds[b], strict=False)
    if any(source >= 0 and found.partner[source] == other != FREE for (source, _), (other, _) in feeds):
        return True
    there = {user for user, _ in found.after.users[b]}
    return any(found.partner[user] in there for user, _ in found.before.users[a])


def _by_place(found: GraphMatch) -> None:
    """Match what has another operator, attributes or tensors in the same place.

    That is where all that it takes and all that takes from it is the same; or where what it takes is, and between nodes
    that are matched as many are left on both sides.
    """
    for a in range(found.before.count):
        for b in _at_the_place_of(found, a):
            if found.free(a, b) and found.same_feeds(a, b) and found.same_users(a, b):
                found.pair(a, b)
    for gap_a, gap_b in _gaps(found):
        if len(gap_a) == len(gap_b):
            for a, b in zip(gap_a, gap_b, strict=True):
                if found.before.feeds[a] and found.same_feeds(a, b):
                    found.pair(a, b)


def _at_the_place_of(found: GraphMatch, a: int) -> list[int]:
    """Return nodes after that take what the first matched feed of a node became, or give what its first user takes."""
    if found.partner[a] != FREE:
        return []
    for slot, (source, _) in enumerate(found.before.feeds[a]):
        if source >= 0 and found.partner[source] != FREE:
            users = found.after.users[found.partner[source]][:_MOST_USERS]
            here = [user for user, other in users if other == slot and user < found.after.count]
            return here[:_MOST_OWNERS]
    for user, slot in found.before.users[a][:1]:
        feeds = found.after.feeds[found.partner[user]] if found.partner[user] != FREE else ()
        return [source for source, _ in feeds[slot : slot + 1] if 0 <= source < found.after.count]
    return []


def _where_unique(found: GraphMatch, keys: tuple[Sequence[object], Sequence[object]]) -> None:
    """Match free nodes of which each side has one that is so."""
    left = [
        {key: numbers[0] for key, numbers in _grouped(keys[side][:count], matched).items() if len(numbers) == 1}
        for side, count, matched in (
            (0, found.before.count, found.partner),
            (1, found.after.count, found.mate),
        )
    ]
    for key, a in left[0].items():
        if key in left[1]:
            found.pair(a, left[1][key])


def _grouped(keys: Iterable[object], matched: list[int]) -> dict[object, list[int]]:
    groups: dict[object, list[int]] = {}
    for number, key in enumerate(keys):
        if matched[number] == FREE:
            groups.setdefault(key, []).append(number)
    return groups
