"""From a manifest back to the file, wholly or not at all, and never outside the worktree."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamella.core.dtypes import DTYPES
from lamella.core.errors import ConflictError, FormatError, IntegrityError, LamellaError, NotFoundError, UsageError
from lamella.core.ids import ObjectId
from lamella.formats.file import BytesFile
from lamella.repo.checkin import check_in
from lamella.repo.checkout import file_nbytes, file_pieces, restore_file, split_path
from lamella.repo.manifest import Manifest, Row
from lamella.store.objects import ObjectStore
from lamella.testing.models import model, network, spec


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObjectStore]:
    with ObjectStore(tmp_path / "store", create=True) as store:
        yield store


@pytest.fixture
def worktree(tmp_path: Path) -> Path:
    (tmp_path / "worktree").mkdir()
    return tmp_path / "worktree"


def stored(store: ObjectStore, content: bytes) -> Manifest:
    return check_in(store, BytesFile(content), ()).manifest


CONTENTS = {
    "small": network(),
    "large": model([spec("a", 200_000), spec("empty", 0, 4), spec("scalar"), spec("b", 70_001, dtype="u8")]),
    "no tensors": model([]),
    "only empty tensors": model([spec("a", 0), spec("b", 0)]),
    "plain": bytes(range(256)) * 9000,
    "nothing": b"",
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_the_file_comes_back_bit_for_bit(store, worktree, content):
    manifest = stored(store, content)
    assert b"".join(bytes(piece) for piece in file_pieces(store, manifest)) == content
    assert file_nbytes(store, manifest) == len(content)
    state = restore_file(store, manifest, worktree, "new/folder/file")
    assert (worktree / "new/folder/file").read_bytes() == content
    assert os.path.samestat((worktree / "new/folder/file").stat(), state)
    assert state.st_size == len(content)


def test_only_a_backdated_file_is_older_than_now(store, worktree):
    manifest = stored(store, network())
    began = int(time.time())
    assert restore_file(store, manifest, worktree, "file").st_mtime >= began
    backdated = restore_file(store, manifest, worktree, "file", backdated=True)
    assert began - 1 <= backdated.st_mtime <= time.time() - 1


def test_an_existing_file_is_replaced_and_a_link_is_replaced_itself(store, worktree, tmp_path):
    manifest = stored(store, network())
    (tmp_path / "target").write_bytes(b"target")
    (worktree / "link").symlink_to(tmp_path / "target")
    (worktree / "file").write_bytes(b"old")
    for name in ("link", "file"):
        restore_file(store, manifest, worktree, name)
        assert (worktree / name).read_bytes() == network()
        assert not (worktree / name).is_symlink()
    assert (tmp_path / "target").read_bytes() == b"target"


def test_a_folder_that_is_a_link_is_not_entered(store, worktree, tmp_path):
    (worktree / "folder").symlink_to(tmp_path)
    with pytest.raises(UsageError) as caught:
        restore_file(store, stored(store, network()), worktree, "folder/file")
    assert caught.value.kind == "path-unsafe"
    assert not (tmp_path / "file").exists()


def broken(manifest: Manifest, index: int, **changes: object) -> Manifest:
    rows = list(manifest.rows)
    rows[index] = dataclasses.replace(rows[index], **changes)
    return dataclasses.replace(manifest, rows=tuple(rows))


def lies(manifest: Manifest) -> dict[str, tuple[Manifest, type[LamellaError]]]:
    """Return manifests that say something else than what is stored, and what they are refused with."""
    gone = ObjectId(b"\7" * 32)
    first: Row = manifest.rows[0]
    return {
        "a missing tensor": (broken(manifest, 2, object=gone), NotFoundError),
        "a missing skeleton": (dataclasses.replace(manifest, skeleton=gone), NotFoundError),
        "another skeleton": (dataclasses.replace(manifest, skeleton=first.object), FormatError),
        "no skeleton": (dataclasses.replace(manifest, skeleton=None), ConflictError),
        "a tensor too few": (dataclasses.replace(manifest, rows=manifest.rows[:-1]), ConflictError),
        "a tensor too many": (dataclasses.replace(manifest, rows=(*manifest.rows, first)), ConflictError),
        "another order": (dataclasses.replace(manifest, rows=manifest.rows[::-1]), ConflictError),
        "another name": (broken(manifest, 0, spec=dataclasses.replace(first.spec, name="x")), ConflictError),
        "another dtype": (
            broken(manifest, 0, spec=dataclasses.replace(first.spec, dtype=DTYPES["i32"])),
            ConflictError,
        ),
        "another shape": (
            broken(manifest, 0, spec=dataclasses.replace(first.spec, shape=(1, *first.spec.shape))),
            ConflictError,
        ),
        "a tensor of a length that no disk has": (broken(manifest, 3, spec=spec("x", 1 << 60)), ConflictError),
        "an opaque file with a skeleton": (dataclasses.replace(manifest, format="opaque"), ConflictError),
        "a format of later, a tensor too few": (
            dataclasses.replace(manifest, format="later", rows=manifest.rows[1:]),
            ConflictError,
        ),
    }


@pytest.mark.parametrize("lie", lies(Manifest("x", None, (Row(spec("a"), ObjectId(bytes(32))),) * 4)))
def test_a_manifest_that_lies_is_refused_and_nothing_is_written(store, worktree, lie):
    manifest, error = lies(stored(store, network()))[lie]
    (worktree / "file").write_bytes(b"before")
    with pytest.raises(error) as caught:
        restore_file(store, manifest, worktree, "file")
    assert caught.value.kind == "manifest-mixed" or error is not ConflictError
    assert (worktree / "file").read_bytes() == b"before"
    assert [path.name for path in worktree.iterdir()] == ["file"]


@pytest.mark.parametrize("content", [b"a shorter object", bytes(1000)])
def test_an_object_of_another_length_is_refused_and_nothing_is_written(store, worktree, content):
    manifest = broken(stored(store, network()), 3, object=stored(store, content).rows[0].object)
    with pytest.raises(IntegrityError):
        restore_file(store, manifest, worktree, "file")
    assert list(worktree.iterdir()) == []


def test_a_file_of_a_format_that_only_a_later_version_reads_is_restored(store, worktree):
    manifest = dataclasses.replace(stored(store, network()), format="later")
    restore_file(store, manifest, worktree, "file")
    assert (worktree / "file").read_bytes() == network()


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("a", ((), "a")),
        ("a/b/c", (("a", "b"), "c")),
        (".gitattributes", ((), ".gitattributes")),
        ("a/...", (("a",), "...")),
        ("a b/c\nd", (("a b",), "c\nd")),
    ],
)
def test_a_path_is_split_at_its_slashes(path, parts):
    assert split_path(path) == parts


@pytest.mark.parametrize(
    "path", ["", "/", "/a", "..", "a/..", "../a", ".git", "a/.git/b", ".GIT/a", "a\0b", "//a", "."]
)
def test_a_path_that_leads_elsewhere_is_refused(path):
    with pytest.raises(UsageError) as caught:
        split_path(path)
    assert caught.value.kind == "path-unsafe"
