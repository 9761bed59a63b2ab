"""What is kept of a merge in conflict: it comes back as it was, and of anything else nothing is taken."""

from __future__ import annotations

import json

import pytest

from lamella.model.merging.rules import Choice, Rules
from lamella.model.merging.score import Score
from lamella.repo.git import Git
from lamella.repo.merge_state import FileMerge, TensorConflict, forget_states, read_state, states, write_state

BLOBS = ("1" * 40, None, "3" * 40)
FOUND = FileMerge(
    "a folder/n\udcff\nmodel.safetensors",
    BLOBS,
    Rules(Choice("ties", {"density": 0.5}), (("h.*", Choice("ours")),), {"w": Choice("theirs")}),
    "4" * 40,
    None,
    (
        TensorConflict("w", "opposed", "at odds", (0, 1), ("ours", "theirs"), Score(1.0, 0.5, -0.5, 1.0, (3, 4))),
        TensorConflict("v", "not-averaged", "integers", (), ()),
    ),
    {"ours": 2},
    {"ties": 1},
    ("a warning",),
)


def kept(git: Git, change) -> list[FileMerge]:
    """Keep what was found, change its text, and return what is found then."""
    write_state(git, FOUND)
    (place,) = (git.git_dir / "lamella/merging").glob("*.json")
    place.write_text(change(place.read_text()))
    return list(states(git))


def test_what_was_found_comes_back_and_only_for_its_own_versions(git_repository):
    assert kept(git_repository, str) == [FOUND]
    assert read_state(git_repository, FOUND.path, BLOBS) == FOUND
    assert read_state(git_repository, FOUND.path, (None, None, "3" * 40)) is None
    forget_states(git_repository)
    assert list(states(git_repository)) == []


@pytest.mark.parametrize("change", [lambda text: text[:-9], lambda _: "[" * 100_000, lambda _: "[]", lambda _: "\0"])
def test_what_is_no_such_text_is_passed_over(git_repository, change):
    assert kept(git_repository, change) == []


WRONG = (None, 1, 1.5, "text", [], [1], {}, {"a": "b"}, True)
PLACES = (
    *((key,) for key in ("version", "path", "blobs", "merged", "failure", "conflicts", "counts", "strategies")),
    *(("warnings",), ("rules",), ("counts", "ours"), ("warnings", 0), ("blobs", 0)),
    *(("conflicts", 0), ("conflicts", 0, "score"), ("conflicts", 0, "score", "moved")),
    *(("conflicts", 0, key) for key in ("name", "kind", "reason", "changed_by", "choices")),
    *(("conflicts", 0, "score", key) for key in ("overlap", "clash", "cosine", "ratio")),
)


@pytest.mark.parametrize("place", PLACES)
def test_of_what_is_of_another_kind_only_what_is_understood_is_taken(git_repository, place):
    for value in WRONG:
        ensure_understood(git_repository, place, value)


def ensure_understood(git_repository, place, value):
    """Put a value in the place of another, and hold all that is taken of it against the kinds that it should have."""

    def change(text: str) -> str:
        fields = json.loads(text)
        inner = fields
        for step in place[:-1]:
            inner = inner[step]
        inner[place[-1]] = value
        return json.dumps(fields)

    forget_states(git_repository)
    for found in kept(git_repository, change):
        write_state(git_repository, found)
        assert found in states(git_repository)
        assert all(isinstance(one, str) for one in (found.path, *found.warnings, *found.counts, *found.strategies))
        assert all(isinstance(one, int) for one in (*found.counts.values(), *found.strategies.values()))
        assert all(isinstance(one, str | None) for one in (*found.blobs, found.merged, found.failure))
        for one in found.conflicts:
            assert all(isinstance(text, str) for text in (one.name, one.kind, one.reason, *one.choices))
            assert all(isinstance(number, int) for number in one.changed_by)
            assert one.score is None or all(isinstance(x, float) for x in (one.score.cosine, one.score.overlap))
