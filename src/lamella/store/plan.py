"""What should lean on what: the least storage under a bound on what it costs to restore any single version.

The problem is "bounded max retrieval" of Bhattacherjee et al. ("Principles of Dataset Versioning", VLDB 2015), which is
NP-hard. Solved here by a local search over the moves that versions in a series ask for: lean on another, become a
root that others lean on, take the place of a root (as Guo et al., "To Store or Not to Store", 2024, argue for moves
that are judged with all that they entail). Nothing here knows a store: vertices are numbers, and so are sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass
from heapq import heappop, heappush

LEAST_GAIN = 0.01
"""The share of its bytes that a plan must save over what there is, so that a store is not rewritten for nothing."""

MOST_MOVED = 256
"""Vertices that are moved together at most, since a root that so many lean on would be tried below each of them."""
MOST_EVICTED = 1 << 16
"""Vertices that a pass drives away from one root to put others in its place: all that 256 can be tried with."""

Parents = tuple[int | None, ...]
"""A plan: for each vertex the one that it leans on, None where it stands alone."""


@dataclass(frozen=True, slots=True)
class Vertex:
    """An object: the bytes that it takes alone, and what it may cost and how deep it may lie.

    `slack` is what the deltas on the way to it may cost together, in any unit; `most_bases` how many there may be.
    """

    alone_nbytes: int
    slack: int
    most_bases: int


@dataclass(frozen=True, slots=True)
class Edge:
    """An object against a base: the bytes that it takes then, and what its delta adds to the cost of restoring."""

    vertex: int
    base: int
    nbytes: int
    cost: int


@dataclass(frozen=True, slots=True)
class Problem:
    """The objects, and every pair of them that may be stored as a delta, each at most once."""

    vertices: tuple[Vertex, ...]
    edges: tuple[Edge, ...]


def solve(problem: Problem, current: Parents) -> Parents:
    """Return a plan that keeps every vertex within its bounds; `current` itself where it does and little is to be won.

    The plan is never larger than a `current` that is within the bounds, and the same for the same input; solved again
    from its own answer, a problem gives that answer. Every pair of `current` has to be an edge of the problem.
    """
    forests = [_Forest(problem), _Forest(problem)]
    kept = forests[0].adopt(current)
    before = forests[0].nbytes
    forests[1].open_greedily()
    for forest in forests:
        forest.improve()
    best = min(forests, key=lambda forest: forest.nbytes)
    if kept and best.nbytes >= (1 - LEAST_GAIN) * before:
        return current
    return best.parents()


class _Forest:
    """A plan in the making that is within all bounds at any time; every change can be taken back."""

    def __init__(self, problem: Problem) -> None:
        count = len(problem.vertices)
        self._vertices = problem.vertices
        self._edge: list[Edge | None] = [None] * count
        self._children: list[dict[int, None]] = [{} for _ in range(count)]
        self._below = [0] * count
        self._bases = [0] * count
        self._above: list[list[Edge]] = [[] for _ in range(count)]
        self._options: list[list[Edge]] = [[] for _ in range(count)]
        self._undo: list[tuple[int, Edge | None]] = []
        self._evicted = [0] * count
        self._before = 0
        self.nbytes = sum(vertex.alone_nbytes for vertex in problem.vertices)
        for edge in sorted(problem.edges, key=lambda edge: (edge.nbytes, edge.base)):
            self._options[edge.vertex].append(edge)
            self._above[edge.base].append(edge)

    def options(self, vertex: int) -> list[Edge]:
        """Return what a vertex may lean on, the smallest first."""
        return self._options[vertex]

    def cost_of_opening(self, vertex: int) -> int:
        """Return the bytes that a vertex takes more where it stands alone."""
        return self._vertices[vertex].alone_nbytes - self._stored(vertex)

    def most_worthwhile(self, vertex: int) -> int:
        """Return the size below which a delta would make a vertex smaller, 0 where others lean on it."""
        return 0 if self._children[vertex] else self._stored(vertex)

    def parents(self) -> Parents:
        return tuple(None if edge is None else edge.base for edge in self._edge)

    def adopt(self, current: Parents) -> bool:
        """Take over what there is, as far as it is within the bounds; return whether that is all of it."""
        leaning: list[list[int]] = [[] for _ in current]
        for vertex, base in enumerate(current):
            if base is not None:
                leaning[base].append(vertex)
        kept = True
        waiting = [vertex for vertex, base in enumerate(current) if base is None]
        while waiting:
            base = waiting.pop()
            for vertex in leaning[base]:
                edge = next((edge for edge in self._options[vertex] if edge.base == base), None)
                if edge is not None and self._fits(edge):
                    self._move(vertex, edge)
                else:
                    kept = False
                waiting.append(vertex)
        self._undo.clear()
        return kept and self.parents() == current

    def open_greedily(self) -> None:
        """Make roots of those that save most where all others stand alone or lean on the cheapest root so far."""
        gains = _Gains(self, len(self._vertices))
        while (vertex := gains.pop()) is not None:
            self._attempt(self.open, vertex)
            changed = {moved for moved, _ in self._undo}
            bases = {edge.base for moved, before in self._undo for edge in (before, self._edge[moved]) if edge}
            gains.update(changed | bases)

    def improve(self) -> None:
        """Move as long as anything is saved."""
        moves: tuple[Callable[[int], None], ...] = (self._settle, self.open, self._close, self._replace)
        before = self.nbytes + 1
        while self.nbytes < before:
            before = self.nbytes
            self._evicted = [0] * len(self._vertices)
            for move in moves:
                for vertex in range(len(self._vertices)):
                    self._attempt(move, vertex)

    def _attempt(self, move: Callable[[int], None], vertex: int) -> None:
        self._before = self.nbytes
        self._undo.clear()
        move(vertex)
        if self.nbytes >= self._before:
            changes, self._undo = self._undo, []
            for changed, edge in reversed(changes):
                self._move(changed, edge)

    def _settle(self, vertex: int) -> None:
        """Lean on whatever makes the vertex smallest."""
        for edge in self._options[vertex]:
            if edge.nbytes >= self._stored(vertex):
                break
            if self._fits(edge):
                self._move(vertex, edge)
                break

    def open(self, vertex: int) -> None:
        """Store a vertex alone, and let lean on it whatever is smaller then."""
        self._move(vertex, None)
        for edge in self._above[vertex]:
            if edge.nbytes < self._stored(edge.vertex) and self._fits(edge):
                self._move(edge.vertex, edge)

    def _close(self, vertex: int) -> None:
        """Let nothing lean on a vertex, and let it lean on something; stop where twice what that saves is lost."""
        least = min([self._stored(vertex), *(edge.nbytes for edge in self._options[vertex][:1])])
        enough = self._before + 2 * (self._stored(vertex) - least)
        for child in list(self._children[vertex]):
            if self.nbytes >= enough:
                return
            self._evict(child)
        self._settle(vertex)

    def _replace(self, vertex: int) -> None:
        """Store a vertex alone in place of the root that it leans on, as long as that root is not tried too often."""
        root = vertex
        while (edge := self._edge[root]) is not None:
            root = edge.base
        self._evicted[root] += len(self._children[root])
        if root != vertex and self._evicted[root] <= MOST_EVICTED:
            self.open(vertex)
            self._close(root)

    def _evict(self, vertex: int) -> None:
        """Lean on something else than now, be it larger."""
        edge = self._edge[vertex]
        self._move(vertex, None)
        for other in self._options[vertex]:
            if (edge is None or other.base != edge.base) and self._fits(other):
                self._move(vertex, other)
                break

    def _stored(self, vertex: int) -> int:
        edge = self._edge[vertex]
        return self._vertices[vertex].alone_nbytes if edge is None else edge.nbytes

    def _fits(self, edge: Edge) -> bool:
        """Say whether a vertex and all above it, few enough, stay within their bounds where it leans as `edge` says."""
        more_cost = self._below[edge.base] + edge.cost - self._below[edge.vertex]
        more_bases = self._bases[edge.base] + 1 - self._bases[edge.vertex]
        for moved, vertex in enumerate(self._tree(edge.vertex)):
            bound = self._vertices[vertex]
            if (
                moved + len(self._children[vertex]) >= MOST_MOVED
                or vertex == edge.base
                or self._below[vertex] + more_cost > bound.slack
            ):
                return False
            if self._bases[vertex] + more_bases > bound.most_bases:
                return False
        return True

    def _tree(self, vertex: int) -> Iterator[int]:
        waiting = [vertex]
        while waiting:
            found = waiting.pop()
            yield found
            waiting.extend(self._children[found])

    def _move(self, vertex: int, edge: Edge | None) -> None:
        old = self._edge[vertex]
        self._undo.append((vertex, old))
        self.nbytes -= self._stored(vertex)
        if old is not None:
            del self._children[old.base][vertex]
        below, bases = -self._below[vertex], -self._bases[vertex]
        if edge is not None:
            self._children[edge.base][vertex] = None
            below += self._below[edge.base] + edge.cost
            bases += self._bases[edge.base] + 1
        self._edge[vertex] = edge
        self.nbytes += self._stored(vertex)
        for moved in self._tree(vertex):
            self._below[moved] += below
            self._bases[moved] += bases


class _Gains:
    """What each vertex of a forest saves as a root, the most first; kept up at the cost of what changes."""

    def __init__(self, forest: _Forest, count: int) -> None:
        self._forest = forest
        self._limits = [0] * count
        self._saved = [0] * count
        self._closed = set(range(count))
        self._heap: list[tuple[int, int]] = []
        self.update(self._closed)

    def pop(self) -> int | None:
        """Take out the vertex that saves most, and return it; None where nothing is saved any more."""
        while self._heap:
            loss, number = heappop(self._heap)
            if -number in self._closed and -loss == self._gain(-number):
                self._closed.remove(-number)
                return -number
        return None

    def update(self, changed: Iterable[int]) -> None:
        """Take notice of vertices that lean on something else, or that others have come to lean on or ceased to."""
        touched = set(changed)
        for vertex in list(touched):
            before, now = self._limits[vertex], self._forest.most_worthwhile(vertex)
            self._limits[vertex] = now
            if before == now:
                continue
            for edge in self._forest.options(vertex):
                if edge.nbytes >= max(before, now):
                    break
                self._saved[edge.base] += max(0, now - edge.nbytes) - max(0, before - edge.nbytes)
                touched.add(edge.base)
        for vertex in touched & self._closed:
            gain = self._gain(vertex)
            if gain > 0:
                heappush(self._heap, (-gain, -vertex))

    def _gain(self, vertex: int) -> int:
        return self._saved[vertex] - self._forest.cost_of_opening(vertex)


def total_nbytes(problem: Problem, parents: Parents, needed: Iterable[int] | None = None) -> int:
    """Return the bytes that a plan takes: of all vertices, or of those `needed` and what they lean on.

    Every pair of the plan has to be an edge.
    """
    sizes = {(edge.vertex, edge.base): edge.nbytes for edge in problem.edges}
    counted: set[int] = set()
    total = 0
    for vertex in range(len(parents)) if needed is None else needed:
        current: int | None = vertex
        while current is not None and current not in counted:
            counted.add(current)
            base = parents[current]
            total += problem.vertices[current].alone_nbytes if base is None else sizes[current, base]
            current = base
    return total


def solve_without(problem: Problem, current: Parents, needless: Set[int]) -> Parents:
    """Return a plan as `solve` does, in which nothing leans on `needless` vertices unless that pays.

    What nobody needs can be dropped once nothing leans on it; until then it takes its bytes.
    """
    whole = solve(problem, current)
    if not needless:
        return whole
    edges = tuple(edge for edge in problem.edges if edge.base not in needless)
    spared = solve(Problem(problem.vertices, edges), tuple(None if base in needless else base for base in current))
    needed = set(range(len(problem.vertices))) - needless
    best = min(whole, spared, key=lambda parents: total_nbytes(problem, parents, needed))
    if _Forest(problem).adopt(current):
        least = (1 - LEAST_GAIN) * total_nbytes(problem, current, needed)
        return best if total_nbytes(problem, best, needed) < least else current
    return best
