"""A whole history handed over to Lamella: what another tool kept outside of Git becomes manifests in every commit."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from lamella.repo.checkins import Absent, Intake
from lamella.repo.contents import Content, WholeBlob
from lamella.repo.git import Git, GitOid
from lamella.repo.gitpack import ObjectWriter
from lamella.repo.history import Commit, Ref, Rewritten, list_commits, read_commit, rewrite_commits, rewrite_target
from lamella.repo.trees import FILE, File, Scanner, changed_tree, entries_of, find_folder


@dataclass(frozen=True, slots=True)
class Model:
    """A file that shall be a model file: its mode and where its bytes are."""

    mode: bytes
    content: Content


class Origin(Protocol):
    """A way to keep large files beside Git, read from the trees of a history.

    All methods are functions of what they are given: a commit that is looked at again gives the same.
    """

    @property
    def unread(self) -> Sequence[Absent]:
        """What of the other tool's could not be understood so far, and stays as it is."""
        ...

    def wanted(self, file: File) -> bool:
        """Say whether a file of a tree matters."""
        ...

    def models(self, files: Sequence[File]) -> Mapping[bytes, Model]:
        """Return the model files, by their paths, that the wanted files of a tree stand for."""
        ...

    def texts(
        self, files: Sequence[File], taken: Collection[bytes], left: Collection[bytes]
    ) -> Mapping[bytes, bytes | None]:
        """Return the other files of that tree that change with them, None for those that go.

        `taken` are the models that became manifests, `left` those whose bytes could not be had.
        """
        ...


@dataclass(frozen=True, slots=True)
class Transfer:
    """What a rewriting made of the references: each with its new object, and what happened to the commits."""

    targets: Mapping[Ref, GitOid]
    history: Rewritten


def transfer(git: Git, writer: ObjectWriter, origin: Origin, intake: Intake, refs: Sequence[Ref]) -> Transfer:
    """Make every commit that `refs` reach anew, as `origin` says, with model files going through `intake`.

    No reference moves; what was made is in Git once `writer` was flushed.
    """
    trees = _Trees(git, writer, origin, intake)
    history = rewrite_commits(writer, list_commits(git, [ref.oid for ref in refs]), trees.new_tree)
    targets = {ref: rewrite_target(writer, ref, history) for ref in refs}
    return Transfer(targets, history)


class _Around:
    """A commit as it was, with model files in the place of what stands for them. For `lamella.repo.checkins.Around`."""

    def __init__(
        self, git: Git, writer: ObjectWriter, tree: GitOid, models: Mapping[bytes, Model], parents: Sequence[GitOid]
    ) -> None:
        self._git = git
        self._writer = writer
        self._tree = tree
        self._parents = parents
        self._models: dict[bytes, dict[bytes, Content]] = {}
        for path, model in models.items():
            folder, _, name = path.rpartition(b"/")
            self._models.setdefault(folder, {})[name] = model.content
        self._folders: dict[bytes, Mapping[str, Content]] = {}

    def parents(self) -> Sequence[GitOid]:
        """Return the new trees of the parents."""
        return [read_commit(self._writer, parent).tree for parent in self._parents]

    def beside(self, path: bytes) -> Mapping[str, Content]:
        """Return the files of a folder: models as they are to be kept, and what Git has."""
        folder = path.rpartition(b"/")[0]
        if folder not in self._folders:
            self._folders[folder] = self._listed(folder)
        return self._folders[folder]

    def _listed(self, folder: bytes) -> Mapping[str, Content]:
        tree: GitOid | None = self._tree
        for name in folder.split(b"/") if folder else ():
            tree = None if tree is None else find_folder(self._writer, tree, name)
        entries = {} if tree is None else entries_of(self._writer, tree)
        found: dict[bytes, Content] = {
            name: WholeBlob(self._git, oid) for name, (mode, oid) in entries.items() if File(name, mode, oid).regular
        }
        found.update(self._models.get(folder, {}))
        return {os.fsdecode(name): content for name, content in found.items()}


class _Trees:
    """The new tree of each old one; versions of a history that have the same tree share it."""

    def __init__(self, git: Git, writer: ObjectWriter, origin: Origin, intake: Intake) -> None:
        self._git = git
        self._writer = writer
        self._origin = origin
        self._intake = intake
        self._scanner = Scanner(writer, origin.wanted)
        self._made: dict[GitOid, GitOid] = {}

    def new_tree(self, commit: Commit, parents: Sequence[GitOid]) -> GitOid:
        tree = self._made.get(commit.tree)
        if tree is None:
            tree = self._made[commit.tree] = self._make(commit.tree, parents)
        return tree

    def _make(self, tree: GitOid, parents: Sequence[GitOid]) -> GitOid:
        files = self._scanner.files(tree)
        if not files:
            return tree

        models = self._origin.models(files)
        around = _Around(self._git, self._writer, tree, models, parents)
        blobs = {path: self._intake.blob(path, model.content, around) for path, model in models.items()}
        changes = {path: (models[path].mode, oid) for path, oid in blobs.items() if oid is not None}
        left = [path for path in blobs if path not in changes]
        modes = {file.path: file.mode for file in files}
        texts = self._origin.texts(files, list(changes), left)
        written = {
            path: None if text is None else (modes.get(path, FILE), self._writer.add("blob", text))
            for path, text in texts.items()
        }
        return changed_tree(self._writer, tree, {**changes, **written}) or self._writer.add("tree", b"")
