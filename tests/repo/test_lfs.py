"""A pointer is understood letter by letter or not at all."""

from __future__ import annotations

import pytest

from lamella.repo.lfs import LfsStorage, Pointer, parse_pointer, pointers_below
from tests.e2e.lfsbench import pointer
from tests.repo.committing import commit

GOOD = pointer(b"content")
DIGEST = GOOD.split(b"sha256:")[1][:64]


def test_a_pointer_says_digest_and_length():
    assert parse_pointer(GOOD) == Pointer(DIGEST.decode(), 7)


@pytest.mark.parametrize(
    "text",
    [
        *(b"", GOOD[:-1], GOOD + b"\n", b" " + GOOD, GOOD.replace(b"\n", b"\r\n"), GOOD + b"x 1\n"),
        *(GOOD.replace(b"sha256", b"sha512"), GOOD.replace(b"size 7", b"size 07"), GOOD.replace(b"size 7", b"size -7")),
        *(
            GOOD.replace(b"size 7", b"size " + b"9" * 19),
            GOOD.replace(b"size 7", b"size"),
            GOOD.replace(b"/v1", b"/v2"),
        ),
        GOOD.replace(DIGEST, DIGEST.upper()),
        GOOD.replace(DIGEST, DIGEST[1:]),
        GOOD.replace(b"oid", b"ext-0-foo sha256:" + DIGEST + b"\noid"),
    ],
)
def test_what_is_nearly_a_pointer_is_none(text):
    assert parse_pointer(text) is None


def test_every_pointer_of_a_history_is_found_once(git_repository):
    commit(git_repository, {"a": GOOD, "b/c": GOOD, "d": b"text", "e": GOOD + b"x"})
    tip = commit(git_repository, {"a": pointer(b"other"), "big": GOOD + b"\0" * 2000})
    found = dict(pointers_below(git_repository, [tip]))
    assert sorted(one.nbytes for one in found.values()) == [5, 7]


def test_the_storage_may_lie_elsewhere(git_repository, tmp_path):
    one = Pointer("ab" * 32, 1)
    (place,) = LfsStorage(git_repository).content(one).places
    assert place == git_repository.common_dir / "lfs/objects/ab/ab" / one.sha256
    git_repository.run("config", "lfs.storage", str(tmp_path / "shared"))
    (place,) = LfsStorage(git_repository).content(one).places
    assert place == tmp_path / "shared/objects/ab/ab" / one.sha256
