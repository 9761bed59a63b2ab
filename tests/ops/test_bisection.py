"""Halving a history: the first bad version is found, in as few tests as can be, also where some cannot be tested."""

from __future__ import annotations

import random
import re
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.ops.bisection import Bisection

Graph = dict[str, tuple[str, ...]]


def line(length: int) -> Graph:
    """Return a history without branches, newest first."""
    return {str(number): (str(number - 1),) for number in range(length, 0, -1)}


@st.composite
def graphs(draw: st.DrawFn, longest: int = 24) -> Graph:
    """Draw a history with merges, of which the newest version comes from all others."""
    length = draw(st.integers(1, longest))
    parents: dict[int, set[int]] = {0: set()}
    for number in range(1, length):
        parents[number] = draw(st.sets(st.integers(0, number - 1), min_size=1, max_size=3))
    merged = set().union(*parents.values())
    tips = {number for number in parents if number not in merged}
    if len(tips) > 1:
        parents[length] = tips
    return {str(one): tuple(map(str, sorted(parents[one]))) for one in sorted(parents, reverse=True)}


def ancestors(graph: Graph, commit: str) -> set[str]:
    found, waiting = set(), [commit]
    while waiting:
        one = waiting.pop()
        if one in graph and one not in found:
            found.add(one)
            waiting += graph[one]
    return found


def searched(graph: Graph, guilty: str, untestable: frozenset[str] = frozenset()) -> tuple[Bisection, list[str]]:
    """Search with `guilty` as the version that broke it, and return the search with what was tested, in order."""
    search, tested = Bisection(graph), []
    while (one := search.next()) is not None:
        assert one not in tested
        tested.append(one)
        if one in untestable:
            search.skip(one)
        elif guilty in ancestors(graph, one):
            search.bad(one)
        else:
            search.good(one)
    return search, tested


@given(graphs(), st.data())
def test_the_first_bad_version_is_found_in_any_history(graph, data):
    guilty = data.draw(st.sampled_from(sorted(graph)))
    search, tested = searched(graph, guilty)
    assert search.suspects == [guilty]
    assert search.first_known_bad == guilty
    assert next(iter(graph)) not in tested


@pytest.mark.parametrize("length", [1, 2, 3, 16, 17, 999, 1000, 1024])
def test_a_line_takes_as_many_tests_as_it_can_be_halved(length):
    graph = line(length)
    most = 0
    for guilty in range(1, length + 1):
        search, tested = searched(graph, str(guilty)) if length < 100 or guilty % 37 == 1 else (None, [])
        assert search is None or search.suspects == [str(guilty)]
        most = max(most, len(tested))
    assert most <= (length - 1).bit_length()


def test_the_newest_of_999_is_found_with_a_test_to_spare():
    assert len(searched(line(999), "999")[1]) == 9


@given(graphs(), st.data())
def test_the_version_that_is_tested_halves_best(graph, data):
    search = Bisection(graph)
    guilty = data.draw(st.sampled_from(sorted(graph)))
    while (one := search.next()) is not None:
        suspects = {commit: graph[commit] for commit in search.suspects}
        sizes = {commit: len(ancestors(suspects, commit)) for commit in suspects}
        halves = {commit: min(size, len(suspects) - size) for commit, size in sizes.items()}
        assert halves[one] == max(halves.values())
        search.bad(one) if guilty in ancestors(graph, one) else search.good(one)


@given(graphs(), st.data())
def test_with_versions_that_cannot_be_tested_the_guilty_one_stays_a_suspect(graph, data):
    guilty = data.draw(st.sampled_from(sorted(graph)))
    untestable = data.draw(st.frozensets(st.sampled_from(sorted(graph))))
    search, tested = searched(graph, guilty, untestable)
    assert guilty in search.suspects
    assert set(search.suspects) - untestable <= {search.first_known_bad}
    assert len(tested) == len(set(tested))


def test_a_region_that_cannot_be_tested_is_left_soon():
    region = frozenset(str(number) for number in range(400, 601))
    _, tested = searched(line(1000), "150", region)
    assert len(tested) < 20


def test_steps_that_are_left_are_told():
    search = Bisection(line(999))
    assert search.steps == 10
    for number in count(1):
        one = search.next()
        if one is None:
            break
        search.good(one)
        assert search.steps <= 10 - number + 1
    assert search.steps == 0


def test_nothing_to_search_is_no_fault():
    assert Bisection({}).next() is None
    assert not Bisection({}).suspects


def test_a_long_history_is_halved_in_little_time_and_memory():
    graph = line(50_000)
    assert Bisection(graph).next() in ("25000", "25001")


@pytest.mark.parametrize("seed", range(3))
def test_a_version_is_as_good_a_half_as_the_one_that_git_takes(git_repository, seed):
    rng = random.Random(seed)
    stream = []
    for number in range(60):
        parents = rng.sample(range(max(0, number - 8), number), min(number, rng.choice((1, 1, 1, 2, 3))))
        named = "".join(f"{'merge' if at else 'from'} :{parent + 1}\n" for at, parent in enumerate(parents))
        who = f"A <a@example.org> {1_700_000_000 + number} +0000"
        stream.append(f"commit refs/heads/{number}\nmark :{number + 1}\ncommitter {who}\ndata 0\n{named}\n")
    git_repository.run("fast-import", "--quiet", input="".join(stream).encode())
    rows = git_repository.run("rev-list", "--topo-order", "--parents", "59", "^0").decode().splitlines()
    search = Bisection({commit: parents for commit, *parents in (row.split() for row in rows)})
    ranked = git_repository.run("rev-list", "--bisect-all", "59", "^0").decode().splitlines()
    distances = {row.split()[0]: int(re.search(r"dist=(\d+)", row)[1]) for row in ranked}
    assert distances.keys() == set(search.suspects)
    assert distances[search.next()] == max(distances.values())
