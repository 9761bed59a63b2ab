"""Git's trees, byte for byte: finding what is in them, and making others with some files changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from lamella.core.errors import UsageError
from lamella.core.limits import MAX_COMMIT_FILES, MAX_FOLDER_DEPTH
from lamella.repo.git import GitOid
from lamella.repo.gitfaults import damaged
from lamella.repo.gitpack import ObjectWriter

FILE = b"100644"
FOLDER = b"40000"
_REMEMBERED = 200_000
"""Folders of which is remembered what was found in them: the versions of a large project's folders."""


@dataclass(frozen=True, slots=True)
class File:
    """A file in a tree: its path from the root, its mode in Git's digits, and its blob."""

    path: bytes
    mode: bytes
    oid: GitOid

    @property
    def regular(self) -> bool:
        """Whether it is a file, and no symbolic link or submodule."""
        return self.mode.startswith(b"100")


Changes = Mapping[bytes, tuple[bytes, GitOid] | None]
"""Paths with the mode and blob that they get, None for those that go."""


def entries_of(writer: ObjectWriter, oid: GitOid) -> dict[bytes, tuple[bytes, GitOid]]:
    """Return mode and id of every name in the tree `oid`, in the tree's order; raise BackendError where it is none."""
    kind, data = writer.read(oid)
    if kind != "tree":
        raise damaged(f"object {oid} is no tree")
    nbytes, found, at = len(oid) // 2, dict[bytes, tuple[bytes, GitOid]](), 0
    while at < len(data):
        space, end = data.find(b" ", at), data.find(b"\0", at)
        if not at < space < end or end + 1 + nbytes > len(data):
            raise damaged(f"tree {oid} is malformed")
        found[data[space + 1 : end]] = data[at:space], GitOid(data[end + 1 : end + 1 + nbytes].hex())
        at = end + 1 + nbytes
    return found


def is_folder(mode: bytes) -> bool:
    """Say whether a mode is that of a tree; old programs wrote it with a zero before it."""
    return mode.lstrip(b"0") == FOLDER


def find(writer: ObjectWriter, tree: GitOid, path: bytes) -> GitOid | None:
    """Return the blob at `path` below `tree`, None where there is no file."""
    *folders, name = path.split(b"/")
    for folder in folders:
        below = find_folder(writer, tree, folder)
        if below is None:
            return None
        tree = below
    mode, oid = entries_of(writer, tree).get(name, (b"", GitOid("")))
    return oid if mode.startswith(b"100") else None


def find_folder(writer: ObjectWriter, tree: GitOid, name: bytes) -> GitOid | None:
    """Return the folder called `name` in `tree`, None where there is none."""
    mode, oid = entries_of(writer, tree).get(name, (b"", tree))
    return oid if is_folder(mode) else None


def changed_tree(writer: ObjectWriter, tree: GitOid | None, changes: Changes) -> GitOid | None:
    """Return `tree` with `changes`, the same where they change nothing, None where nothing is left of it.

    What stands in the way of a path is replaced; removing what is not there changes nothing.
    """
    entries = {} if tree is None else entries_of(writer, tree)
    before = dict(entries)
    below: dict[bytes, dict[bytes, tuple[bytes, GitOid] | None]] = {}
    for path, change in changes.items():
        name, slash, rest = path.partition(b"/")
        if slash:
            below.setdefault(name, {})[rest] = change
        elif change is not None:
            entries[name] = change
        else:
            entries.pop(name, None)
    for name, inner in below.items():
        mode, oid = entries.get(name, (b"", None))
        folder = oid if is_folder(mode) else None
        changed = changed_tree(writer, folder, inner)
        if changed is not None:
            entries[name] = (mode if folder else FOLDER), changed
        elif folder is not None:
            del entries[name]
    if entries == before:
        return tree
    return _write(writer, entries) if entries else None


def _write(writer: ObjectWriter, entries: Mapping[bytes, tuple[bytes, GitOid]]) -> GitOid:
    in_order = sorted(entries.items(), key=lambda item: item[0] + (b"/" if is_folder(item[1][0]) else b""))
    return writer.add(
        "tree", b"".join(b"%s %s\0" % (mode, name) + bytes.fromhex(oid) for name, (mode, oid) in in_order)
    )


class Scanner:
    """Finds the files of trees that somebody asks for, and remembers what is in a folder until it changes."""

    def __init__(self, writer: ObjectWriter, wanted: Callable[[File], bool]) -> None:
        self._writer = writer
        self._wanted = wanted
        self._known: dict[tuple[bytes, GitOid], tuple[tuple[File, ...], int]] = {}
        self._left = 0

    def files(self, tree: GitOid) -> tuple[File, ...]:
        """Return the wanted files of `tree`.

        Raises BackendError (git-failed) for damaged trees, and UsageError (bad-argument) for too many files.
        """
        self._left = MAX_COMMIT_FILES
        return self._below(tree, b"")

    def _below(self, tree: GitOid, prefix: bytes) -> tuple[File, ...]:
        """Return the wanted files of a folder, whose own path ends with a slash."""
        before = self._left
        if (prefix, tree) in self._known:
            found, count = self._known[prefix, tree]
            self._take(count)
            return found
        found = tuple(self._look(tree, prefix))
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[prefix, tree] = found, before - self._left
        return found

    def _look(self, tree: GitOid, prefix: bytes) -> Iterator[File]:
        if prefix.count(b"/") > MAX_FOLDER_DEPTH:
            raise damaged(f"folders nest too deeply below {prefix[:40]!r}")
        for name, (mode, oid) in entries_of(self._writer, tree).items():
            self._take(1)
            if is_folder(mode):
                yield from self._below(oid, prefix + name + b"/")
            elif self._wanted(file := File(prefix + name, mode, oid)):
                yield file

    def _take(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            hint = "leave out the branches and tags that have it"
            raise UsageError(f"a commit has more than {MAX_COMMIT_FILES} files", kind="bad-argument", hint=hint)
