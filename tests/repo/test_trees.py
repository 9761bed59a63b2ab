"""Trees and packs that we write are those that Git would write."""

from __future__ import annotations

import pytest

from lamella.core.errors import BackendError, NotFoundError, UsageError
from lamella.core.limits import MAX_FOLDER_DEPTH
from lamella.repo import trees
from lamella.repo.git import GitOid
from lamella.repo.gitpack import ObjectWriter
from lamella.repo.trees import File, Scanner, changed_tree, entries_of, find
from tests.repo.committing import commit


@pytest.fixture
def writer(git_repository):
    with ObjectWriter(git_repository) as writer:
        yield writer


def tree_of(git, revision: str = "HEAD") -> GitOid:
    return git.resolve(f"{revision}^{{tree}}")


@pytest.mark.parametrize("option", ["sha1", "sha256"])
def test_objects_of_every_kind_and_length_are_those_of_git(make_repository, option):
    git = make_repository("hashed", f"--object-format={option}")
    with ObjectWriter(git) as writer:
        blobs = [bytes(nbytes) for nbytes in (0, 1, 15, 16, 2047, 2048, 300_000)]
        names = [writer.add("blob", blob) for blob in blobs]
        tree = writer.add("tree", b"100644 a\0" + bytes.fromhex(names[1]))
        writer.flush()
        writer.add("blob", blobs[0])
        writer.flush()
    assert [git.run("cat-file", "blob", name) for name in names] == blobs
    assert git.run("ls-tree", tree).decode() == f"100644 blob {names[1]}\ta\n"
    assert names == [git.run("hash-object", "--stdin", input=blob).decode().strip() for blob in blobs]


def test_what_was_not_flushed_can_be_read_and_is_not_in_git(git_repository, writer):
    name = writer.add("blob", b"pending")
    assert writer.read(name) == ("blob", b"pending")
    with pytest.raises(NotFoundError):
        git_repository.run("cat-file", "-e", f"{name}^{{blob}}")
    with pytest.raises(BackendError, match="missing"):
        writer.read("1" * 40)


def test_changes_make_the_tree_that_git_makes(git_repository, writer):
    before = tree_of_commit(git_repository, {"a": b"1", "d/e/f": b"2", "d.x": b"3", "d/g": b"4", "z": b"5"})
    blob = writer.add("blob", b"new")
    changes = {
        b"d/e/f": None, b"d0": (b"100755", blob), b"n/o/p": (b"100644", blob), b"a/b": (b"100644", blob),
        b"gone/x": None, b"z": None,
    }  # fmt: skip
    after = changed_tree(writer, before, changes)
    writer.flush()
    git_repository.run("read-tree", after)
    listing = git_repository.run("ls-files").decode().split()
    assert listing == sorted(["a/b", "d.x", "d/g", "d0", "n/o/p"])
    assert git_repository.run("write-tree").decode().strip() == after
    assert git_repository.run("fsck", "--strict", "--no-dangling") == b""


def tree_of_commit(git, files: dict[str, bytes]) -> GitOid:
    commit(git, files)
    return tree_of(git)


def test_nothing_changed_is_the_same_tree_and_nothing_left_is_none(git_repository, writer):
    tree = tree_of_commit(git_repository, {"a/b": b"1"})
    assert changed_tree(writer, tree, {b"x": None, b"a/c/d": None}) == tree
    assert changed_tree(writer, tree, {b"a/b": None}) is None


def test_files_are_found_by_path_and_by_wish(git_repository, writer):
    tree = tree_of_commit(git_repository, {"a/b.pt": b"1", "a/c": b"2", "d.pt": b"3"})
    assert find(writer, tree, b"a/b.pt") == git_repository.resolve("HEAD:a/b.pt")
    assert [find(writer, tree, path) for path in (b"a", b"x", b"a/x", b"d.pt/x", b"x/y")] == [None] * 5
    scanner = Scanner(writer, lambda file: file.path.endswith(b".pt"))
    assert [file.path for file in scanner.files(tree)] == [b"a/b.pt", b"d.pt"]
    assert scanner.files(tree) is scanner.files(tree)


def test_modes_that_no_git_writes_today_are_kept(git_repository, writer):
    blob = writer.add("blob", b"1")
    inner = writer.add("tree", b"100664 x\0" + bytes.fromhex(blob))
    tree = writer.add("tree", b"040000 d\0" + bytes.fromhex(inner))
    after = changed_tree(writer, tree, {b"d/y": (b"100644", blob)})
    assert after is not None
    (mode, folder) = entries_of(writer, after)[b"d"]
    assert (mode, entries_of(writer, folder)[b"x"][0]) == (b"040000", b"100664")


@pytest.mark.parametrize("data", [b"100644", b"100644 a", b"100644 a\0short", b" a\0" + bytes(20)[:19], b"x\0 "])
def test_a_malformed_tree_is_told(writer, data):
    with pytest.raises(BackendError, match="malformed"):
        entries_of(writer, writer.add("tree", data))


def test_folders_that_nest_without_an_end_are_told(writer):
    tree = writer.add("tree", b"100644 a\0" + bytes.fromhex(writer.add("blob", b"1")))
    for _ in range(MAX_FOLDER_DEPTH + 2):
        tree = writer.add("tree", b"40000 d\0" + bytes.fromhex(tree))
    with pytest.raises(BackendError, match="too deeply"):
        Scanner(writer, lambda file: True).files(tree)


def test_few_trees_that_stand_for_many_files_are_refused(writer, monkeypatch):
    tree = writer.add("tree", b"100644 a\0" + bytes.fromhex(writer.add("blob", b"1")))
    for _ in range(7):
        tree = writer.add("tree", b"".join(b"40000 %d\0" % n + bytes.fromhex(tree) for n in range(10)))
    monkeypatch.setattr(trees, "MAX_COMMIT_FILES", 20_000)
    looked = []
    with pytest.raises(UsageError, match="more than 20000 files"):
        Scanner(writer, lambda file: bool(looked.append(file))).files(tree)
    assert len(looked) < 20_000


def test_files_that_are_remembered_count_again(git_repository, writer, monkeypatch):
    tree = tree_of_commit(git_repository, {"a/b": b"1", "a/c": b"2", "d": b"3"})
    more = tree_of_commit(git_repository, {"a/b": b"1", "a/c": b"2", "d": b"3", "e": b"4"})
    monkeypatch.setattr(trees, "MAX_COMMIT_FILES", 4)
    scanner = Scanner(writer, lambda file: True)
    assert len(scanner.files(tree)) == len(scanner.files(tree)) == 3
    with pytest.raises(UsageError):
        scanner.files(more)


def test_a_link_is_no_regular_file():
    assert [File(b"a", mode, GitOid("")).regular for mode in (b"100644", b"120000", b"160000")] == [True, False, False]
