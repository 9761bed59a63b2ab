"""The tokens of base and sides in the commits of a merge, and when nothing is known."""

from __future__ import annotations

import json

import pytest

from lamella.core.errors import FormatError
from lamella.repo.git import Git
from lamella.repo.vocabularies import Version, versions, vocabularies_at, vocabularies_of_merge
from tests.repo.committing import commit

MODEL = "kept/model.bin"


def put(git: Git, tokens: bytes, weights: bytes) -> Version:
    made = commit(git, {"kept/vocab.json": tokens, MODEL: weights})
    return Version(made, git.resolve(f"HEAD:{MODEL}"))


def numbered(*tokens: str) -> bytes:
    return json.dumps({token: row for row, token in enumerate(tokens)}).encode()


@pytest.fixture
def found(git_repository) -> list[Version]:
    return [
        put(git_repository, numbered("a"), b"0"),
        put(git_repository, numbered("a", "b"), b"1"),
        put(git_repository, numbered("a", "c"), b"2"),
    ]


def test_each_version_has_the_tokens_of_its_commit(git_repository, found):
    assert vocabularies_at(git_repository, MODEL, found) == {-1: ("a",), 0: ("a", "b"), 1: ("a", "c")}


def test_nothing_is_known_of_a_file_that_is_elsewhere_or_of_no_commit(git_repository, found):
    base, ours, theirs = found
    assert vocabularies_at(git_repository, "kept/other.bin", found) == {}
    assert vocabularies_at(git_repository, MODEL, [base, ours, Version(theirs.commit, ours.blob)]) == {}
    assert vocabularies_at(git_repository, MODEL, [Version(None, base.blob), ours, theirs]) == {}


def test_a_tokenizer_that_no_side_changed_is_not_read(git_repository):
    broken = [put(git_repository, b"{", b"0"), put(git_repository, b"{", b"1"), put(git_repository, b"{", b"2")]
    assert vocabularies_at(git_repository, MODEL, broken) == {}
    with pytest.raises(FormatError, match=r"vocab\.json"):
        vocabularies_at(git_repository, MODEL, [*broken, put(git_repository, b"{}", b"3")])


def test_sides_without_the_file_do_not_count():
    assert versions(("c0", "c1", "c2", "c3"), ("b0", None, "b2", "b3")) == [
        Version("c0", "b0"), Version("c2", "b2"), Version("c3", "b3"),
    ]  # fmt: skip


def test_while_git_merges_ours_is_head_and_the_base_is_found(git_repository):
    base = put(git_repository, numbered("a"), b"0")
    git_repository.run("checkout", "--quiet", "-b", "other")
    theirs = put(git_repository, numbered("a", "c"), b"2")
    git_repository.run("checkout", "--quiet", "-")
    ours = put(git_repository, numbered("a", "b"), b"1")
    told = vocabularies_of_merge(git_repository, theirs.commit or "", MODEL, [one.blob for one in (base, ours, theirs)])
    assert told == {-1: ("a",), 0: ("a", "b"), 1: ("a", "c")}
