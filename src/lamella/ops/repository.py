"""The Python face of Lamella: one object for a repository, with its verbs as methods."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lamella.core.config import DEFAULT, StoreConfig
from lamella.core.errors import UsageError
from lamella.core.progress import SILENT, Progress
from lamella.model.merging.rules import Choice
from lamella.ops import add as add_op
from lamella.ops import commit as commit_op
from lamella.ops import diff as diff_op
from lamella.ops import log as log_op
from lamella.ops import merge_many as merge_op
from lamella.ops import rollback as rollback_op
from lamella.ops import status as status_op
from lamella.repo.loaded import LoadedModel
from lamella.repo.model_files import model_at
from lamella.repo.repository import Repository
from lamella.repo.settings import merge_settings
from lamella.repo.snapshot import Snapshot


class Repo:
    """A repository of models. Use it as a context manager, or `close` it.

    Paths given to `add` are relative to where the repository was opened, all others to its root. Those given to `add`,
    `log` and `diff` may be folders and patterns, as Git takes them. Errors are `lamella.core.errors.LamellaError`s.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    @classmethod
    def open(cls, path: str | Path = ".", *, config: StoreConfig = DEFAULT) -> Repo:
        """Open the repository around `path`; raise UsageError (not-a-repository) where there is none."""
        return cls(Repository.open(path, config))

    def close(self) -> None:
        """Close the store's files."""
        self._repository.close()

    def __enter__(self) -> Repo:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def root(self) -> Path:
        """The root of the worktree, or the repository itself where it is bare."""
        return self._repository.git.root

    def add(self, *paths: str | Path, progress: Progress = SILENT) -> add_op.AddReport:
        """Stage files, as `lamella add` does."""
        return add_op.add(self._repository, [os.fspath(path) for path in paths], progress)

    def commit(
        self,
        source: str | Path | Mapping[str, Any],
        path: str,
        message: str,
        *,
        branch: str | None = None,
        metadata: Mapping[str, str] | None = None,
        progress: Progress = SILENT,
    ) -> commit_op.CommitReport:
        """Commit a file, or a mapping of name to array, as `path` on `branch` without touching the worktree.

        Arrays are anything that `numpy.asarray` takes; they are stored as safetensors with `metadata` in the header.
        A branch that does not exist starts at HEAD; without `branch` the one checked out is used.
        """
        return commit_op.commit(
            self._repository, source, path, message, branch=branch, metadata=metadata, progress=progress
        )

    def rollback(
        self, path: str, revision: str, *, branch: str | None = None, message: str | None = None,
        progress: Progress = SILENT,
    ) -> rollback_op.RollbackReport:  # fmt: skip
        """Commit `path`, a file or a folder, as it is at `revision`, as `lamella rollback` does.

        Without `branch` it is the one checked out, whose index and worktree follow.
        """
        return rollback_op.rollback(
            self._repository, [path], revision, message, branch=branch, progress=progress
        )  # fmt: skip

    def merge(
        self,
        *revisions: str,
        strategy: str | None = None,
        parameters: Mapping[str, float] | None = None,
        strategies: Mapping[str, str] | None = None,
        weights: Sequence[float] = (),
        message: str | None = None,
        progress: Progress = SILENT,
    ) -> merge_op.ManyMerged:
        """Merge one revision or several into the branch checked out: models by their tensors, all else as Git does.

        Without a `strategy`, which takes `parameters`, the project's is used; `strategies` are others for tensors, by
        patterns of their names. There is a weight for each side, this branch first unless all revisions contain it.
        All is merged or, with ConflictError (merge-conflict), nothing. Raises UsageError (bad-argument) for rules that
        cannot be followed.
        """
        rules = merge_settings(self._repository.git.worktree)
        if parameters and strategy is None:
            hint = "name the strategy that takes them"
            raise UsageError("parameters without a strategy", kind="bad-argument", hint=hint)
        if strategy is not None:
            rules = replace(rules, choice=Choice(strategy, dict(parameters or {})), choices=())
        chosen = tuple((pattern, Choice(name)) for pattern, name in (strategies or {}).items())
        rules = replace(rules, choices=(*rules.choices, *chosen), weights=tuple(weights))
        return merge_op.merge_many(self._repository, revisions, rules, message=message, progress=progress)

    def log(self, *revisions: str, paths: Sequence[str] = (), limit: int | None = None) -> Iterator[log_op.LogEntry]:
        """Yield the commits that `revisions` reach, newest first, with what each changed in model files."""
        return log_op.log(self._repository, revisions, _from_root(paths), limit)

    def status(self) -> status_op.StatusReport:
        """Return what differs between HEAD, the index and the worktree."""
        return status_op.status(self._repository)

    def diff(self, *revisions: str, paths: Sequence[str] = ()) -> diff_op.DiffReport:
        """Return which tensors differ between two revisions or two ``REV:PATH``, or between one and the worktree."""
        return diff_op.diff(self._repository, revisions, _from_root(paths))

    def snapshot(self, revision: str, path: str) -> Snapshot | LoadedModel:
        """Return the model `path` at `revision`: a lazy mapping of name to array, valid while this is open.

        A folder, or the index of a sharded model, is one model. Raises NotFoundError (path-unknown) also where a file
        that belongs to it is missing.
        """
        model, label = model_at(self._repository, revision, path), f"{revision}:{path}"
        model.check_whole()
        if len(model.files) > 1:
            return LoadedModel(model)
        return Snapshot(self._repository.store, model.manifest(), label)


def _from_root(paths: Sequence[str]) -> list[str]:
    """Return pathspecs that mean the same wherever the repository was opened; one with magic says itself what it is."""
    return [path if path.startswith(":") else f":(top){path}" for path in paths]
