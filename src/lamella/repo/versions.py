"""The versions of one model file: the commits that made it what it is, through renames of the file and merges."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from lamella.core.errors import FormatError
from lamella.core.limits import MAX_FILE_RENAMES, MAX_KEPT_ROWS
from lamella.repo.git import Git, GitOid
from lamella.repo.manifest import OPAQUE, KnownRows, Manifest, Row
from lamella.repo.objects import ObjectReader
from lamella.repo.repository import manifest_at

_SIMILARITY = "--find-renames=40%"
"""Names, types and shapes are half of a manifest: a file that was trained and renamed at once is still found."""

_LITERALLY = {"GIT_LITERAL_PATHSPECS": "1"}

Source = tuple[GitOid, str]
"""A commit, and the path of a file in it."""


@dataclass(frozen=True, slots=True)
class Version:
    """A commit that changed a model file, or merged two versions of it, and where the file is in it.

    `parents` are the versions it came from: one, several for a merge, none where the file began.
    """

    commit: GitOid
    path: str
    parents: tuple[GitOid, ...]

    @property
    def specification(self) -> str:
        """How Git names the manifest."""
        return f"{self.commit}:{self.path}"


def list_versions(git: Git, revision: str, path: str) -> Mapping[GitOid, Version]:
    """Return the versions of `path` that `revision` comes from, by commit, each before those that it came from.

    Where a merge took the file from one side, only that side is followed, as `git log PATH` does. A file that came
    under another name is followed under that, on each side of a merge. Raises NotFoundError (revision-unknown).
    """
    found: dict[GitOid, Version] = {}
    waiting = [(git.resolve(revision + "^{commit}"), path)]
    left = MAX_FILE_RENAMES
    while waiting:
        start, name = waiting.pop()
        walked = list(_walk(git, start, name))
        began = _began(git, walked) if left else set()
        reached = {version.commit for version in walked[:1]}
        for version in walked:
            if version.commit not in reached or version.commit in found:
                continue
            if version.commit in began and left:
                left -= 1
                sources = {source: _newest(git, *source) for source in _sources(git, version)}
                waiting += (source for source in sources if source[1] != name)
                reached.update(*(newest for source, newest in sources.items() if source[1] == name))
                version = replace(version, parents=tuple(dict.fromkeys(chain.from_iterable(sources.values()))))
            else:
                reached.update(version.parents)
            found[version.commit] = version
    return {
        commit: replace(version, parents=tuple(parent for parent in version.parents if parent in found))
        for commit, version in found.items()
    }


def _walk(git: Git, start: GitOid, path: str) -> Iterator[Version]:
    """Yield the commits at which `path` changed, with parents among themselves."""
    args = ("rev-list", "--topo-order", "--parents", start, "--", path)
    for line in git.run(*args, env=_LITERALLY).decode().splitlines():
        commit, *parents = line.split(" ")
        yield Version(GitOid(commit), path, tuple(map(GitOid, parents)))


def _began(git: Git, versions: Sequence[Version]) -> set[GitOid]:
    """Return the commits among `versions`, all of one path, that have the file where a parent of theirs has not."""
    if not versions:
        return set()
    listed = "".join(f"{version.commit}\n" for version in versions).encode()
    args = ("diff-tree", "--stdin", "-m", "-r", "--raw", "--no-renames", "--diff-filter=A", "--", versions[0].path)
    lines = git.run(*args, input=listed, env=_LITERALLY).splitlines()
    return {GitOid(line.decode()) for line in lines if not line.startswith(b":")}


def _sources(git: Git, version: Version) -> list[Source]:
    """Return for each parent of the commit `version` where in it the file is that became this one."""
    args = ("diff-tree", "-r", "-z", "--raw", "--no-commit-id", _SIMILARITY, "--diff-filter=R")
    found = []
    for parent in map(GitOid, git.run("rev-parse", f"{version.commit}^@").decode().split()):
        fields = iter(git.run(*args, parent, version.commit).split(b"\0")[:-1])
        renamed = {os.fsdecode(after): before for _, before, after in zip(fields, fields, fields, strict=False)}
        before = renamed.get(version.path)
        found.append((parent, version.path if before is None else os.fsdecode(before)))
    return found


def _newest(git: Git, start: GitOid, path: str) -> tuple[GitOid, ...]:
    """Return the first version that `_walk` yields, the one that `start` has."""
    args = ("rev-list", "--topo-order", "--parents", "--max-count=1", start, "--", path)
    return tuple(map(GitOid, git.run(*args, env=_LITERALLY).decode().split()[:1]))


class Manifests:
    """The manifests of versions, as many kept as there is room for.

    `unread` are the commits whose manifest this program cannot read: edited by hand, or made by a later one.
    """

    def __init__(self, reader: ObjectReader, versions: Mapping[GitOid, Version]) -> None:
        self._reader = reader
        self._versions = versions
        self._kept: OrderedDict[GitOid, tuple[Manifest | None, Mapping[str, Row]]] = OrderedDict()
        self._kept_rows = 0
        self._known: KnownRows = {}
        self.unread: set[GitOid] = set()

    def __getitem__(self, commit: GitOid) -> Manifest | None:
        """Return the manifest of a version; None where the file is not there, or is none that this program reads."""
        return self._find(commit)[0]

    def rows(self, commit: GitOid) -> Mapping[str, Row]:
        """Return the tensors of a version by name; a file that is missing, or of no known format, has none."""
        return self._find(commit)[1]

    def _find(self, commit: GitOid) -> tuple[Manifest | None, Mapping[str, Row]]:
        if commit in self._kept:
            self._kept.move_to_end(commit)
            return self._kept[commit]
        manifest = self._read(commit)
        self._kept[commit] = manifest, rows_by_name(manifest)
        self._kept_rows += len(self._kept[commit][1])
        while self._kept_rows > MAX_KEPT_ROWS and len(self._kept) > 1:
            _, (_, rows) = self._kept.popitem(last=False)
            self._kept_rows -= len(rows)
        return self._kept[commit]

    def _read(self, commit: GitOid) -> Manifest | None:
        try:
            if len(self._known) > MAX_KEPT_ROWS:
                self._known = {}
            return manifest_at(self._reader, self._versions[commit].specification, self._known)
        except FormatError:
            self.unread.add(commit)
            return None


def rows_by_name(manifest: Manifest | None) -> Mapping[str, Row]:
    """Return the tensors of a manifest; those of a file that is missing, or of no known format, are none."""
    if manifest is None or manifest.format == OPAQUE:
        return {}
    return {row.spec.name: row for row in manifest.tensors}
