"""A plan keeps every bound, has no circle, is never larger than what was there, and is close to the best there is."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamella.store import plan
from lamella.store.plan import Edge, Parents, Problem, Vertex, solve, solve_without, total_nbytes


@st.composite
def problems(draw: st.DrawFn, most: int = 8) -> Problem:
    count = draw(st.integers(1, most))
    sizes = st.integers(0, 100)
    vertices = [Vertex(draw(sizes), draw(st.integers(0, 40)), draw(st.integers(0, 3))) for _ in range(count)]
    pairs = [(one, base) for one in range(count) for base in range(count) if one != base]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    return Problem(tuple(vertices), tuple(Edge(*pair, draw(sizes), draw(st.integers(0, 20))) for pair in chosen))


def ways(problem: Problem, parents: Parents) -> list[list[Edge]]:
    """Return the edges from each vertex to its root, or raise where there is a circle."""
    edges = {(edge.vertex, edge.base): edge for edge in problem.edges}
    found = []
    for vertex in range(len(parents)):
        way: list[Edge] = []
        while (base := parents[vertex]) is not None:
            way.append(edges[vertex, base])
            vertex = base
            assert len(way) < len(parents), "a circle"
        found.append(way)
    return found


def is_within_bounds(problem: Problem, parents: Parents) -> bool:
    return all(
        sum(edge.cost for edge in way) <= vertex.slack and len(way) <= vertex.most_bases
        for vertex, way in zip(problem.vertices, ways(problem, parents), strict=True)
    )


def every_plan(problem: Problem) -> list[Parents]:
    options = [
        [None, *(edge.base for edge in problem.edges if edge.vertex == vertex)]
        for vertex in range(len(problem.vertices))
    ]
    found = []
    for parents in itertools.product(*options):
        try:
            found += [parents] if is_within_bounds(problem, parents) else []
        except AssertionError:
            continue
    return found


def series(count: int, slack: int, seed: int) -> Problem:
    """Return versions that drift apart, each pair the larger the further they are from each other."""
    drawn = random.Random(seed)
    places = list(itertools.accumulate(drawn.uniform(0.1, 2) for _ in range(count)))
    edges = []
    for one, base in itertools.permutations(range(count), 2):
        nbytes = 60 + round(60 * abs(places[one] - places[base]) ** 0.5)
        edges.append(Edge(one, base, nbytes, 500 + nbytes))
    return Problem(tuple(Vertex(700, slack, 2) for _ in range(count)), tuple(edges))


@given(problem=problems(), chosen=st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=300)
def test_a_plan_is_within_its_bounds_whatever_there_was(problem, chosen):
    count = len(problem.vertices)
    current: list[int | None] = [None] * count
    for edge in problem.edges:
        if chosen.random() < 0.5 and edge.base < edge.vertex:
            current[edge.vertex] = edge.base
    parents = solve(problem, tuple(current))
    assert is_within_bounds(problem, parents)
    if is_within_bounds(problem, tuple(current)):
        assert total_nbytes(problem, parents) <= total_nbytes(problem, tuple(current))


@given(problem=problems())
@settings(deadline=None, max_examples=300)
def test_a_plan_that_is_planned_again_is_the_same(problem):
    parents = solve(problem, (None,) * len(problem.vertices))
    assert solve(problem, parents) == parents
    assert solve(problem, (None,) * len(problem.vertices)) == parents


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("slack", [700, 1300], ids=["one-base", "two-bases"])
def test_a_short_series_is_planned_as_well_as_it_can_be(seed, slack):
    problem = series(5, slack, seed)
    best = min(total_nbytes(problem, parents) for parents in every_plan(problem))
    assert total_nbytes(problem, solve(problem, (None,) * 5)) <= 1.01 * best


@given(problem=problems(most=4))
@settings(deadline=None)
def test_no_plan_is_far_from_the_best(problem):
    best = min(total_nbytes(problem, parents) for parents in every_plan(problem))
    alone = sum(vertex.alone_nbytes for vertex in problem.vertices)
    found = total_nbytes(problem, solve(problem, (None,) * len(problem.vertices)))
    assert found <= alone
    assert found - best <= 0.7 * (alone - best) + 0.01 * alone


def test_a_long_series_leans_on_few_roots_in_its_middle():
    problem = series(50, 1000, 1)
    parents = solve(problem, tuple(None if number == 0 else 0 for number in range(50)))
    roots = [number for number, base in enumerate(parents) if base is None]
    assert 1 <= len(roots) <= 4
    assert 0 not in roots
    star = [None if number == 0 else 0 for number in range(50)]
    assert total_nbytes(problem, parents) < 0.8 * total_nbytes(problem, star)


def test_what_is_over_the_bound_is_planned_anew_though_it_gets_larger():
    chain = tuple(Edge(number, number - 1, 10, 60) for number in range(1, 6))
    problem = Problem(tuple(Vertex(100, 100, 5) for _ in range(6)), chain)
    parents = solve(problem, (None, 0, 1, 2, 3, 4))
    assert is_within_bounds(problem, parents)
    assert total_nbytes(problem, parents) == 330


def test_little_to_be_won_is_left():
    problem = Problem((Vertex(1000, 9, 1), Vertex(1000, 9, 1)), (Edge(1, 0, 500, 1), Edge(0, 1, 495, 1)))
    assert solve(problem, (None, 0)) == (None, 0)
    assert solve(problem, (None, None)) == (1, None)


@given(problem=problems(), needless=st.sets(st.integers(0, 7)))
@settings(deadline=None)
def test_what_is_needless_is_leaned_on_only_where_that_pays(problem, needless):
    count = len(problem.vertices)
    nobody, needless = (None,) * count, {number for number in needless if number < count}
    parents = solve_without(problem, nobody, needless)
    assert is_within_bounds(problem, parents)
    needed = set(range(count)) - needless
    assert total_nbytes(problem, parents, needed) <= total_nbytes(problem, solve(problem, nobody), needed)
    assert solve_without(problem, parents, needless) == parents


def test_a_needless_root_gives_way_to_one_that_is_needed():
    sizes = {(1, 0): 10, (2, 0): 10, (1, 2): 12, (2, 1): 12, (0, 1): 10, (0, 2): 10}
    problem = Problem((Vertex(100, 9, 1),) * 3, tuple(Edge(*pair, nbytes, 1) for pair, nbytes in sizes.items()))
    assert solve_without(problem, (None, 0, 0), set()) == (None, 0, 0)
    assert 0 not in solve_without(problem, (None, 0, 0), {0})


def around_a_hub(count: int) -> Problem:
    """Return `count` series of five versions each, which have their first one in common."""
    drawn = random.Random(count)
    edges = []
    for one in range(count):
        versions = (0, *range(5 * one + 1, 5 * one + 6))
        for vertex, base in itertools.permutations(versions, 2):
            nbytes = drawn.randrange(400, 600)
            edges.append(Edge(vertex, base, nbytes, 500 + nbytes // 2))
    return Problem((Vertex(1000, 950, 2),) * (5 * count + 1), tuple(edges))


def test_a_version_that_is_everywhere_makes_no_plan_slow(monkeypatch):
    looks = 0
    stored = plan._Forest._stored

    def counted(forest: plan._Forest, vertex: int) -> int:
        nonlocal looks
        looks += 1
        return stored(forest, vertex)

    monkeypatch.setattr(plan._Forest, "_stored", counted)
    needed = []
    for count in (100, 200, 400):
        looks = 0
        problem = around_a_hub(count)
        parents = solve(problem, (None,) * len(problem.vertices))
        assert is_within_bounds(problem, parents)
        assert total_nbytes(problem, parents) < 0.6 * 1000 * len(parents)
        needed.append(looks)
    assert needed[1] < 3 * needed[0]
    assert needed[2] < 3 * needed[1]


def test_nothing_is_planned_for_nothing():
    assert solve(Problem((), ()), ()) == ()
