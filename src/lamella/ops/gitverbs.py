"""Git's own verbs with the fast path: Git moves the manifests, then the model files are written directly."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from lamella.core.errors import UsageError
from lamella.core.progress import SILENT, Progress
from lamella.ops.init import lacks_setup
from lamella.repo.filling import Filled, fill, unfilled
from lamella.repo.repository import Repository
from lamella.repo.worktree import release_index

INSIDE = "LAMELLA_INSIDE"
"""Tells our hooks and our filter in which repository, by its Git directory, the worktree is filled after Git."""


@dataclasses.dataclass(frozen=True, slots=True)
class VerbReport:
    """Git's exit status and what was written to the worktree after it."""

    status: int
    filled: Filled


def inside(repository: Repository) -> Mapping[str, str]:
    """Return the variables under which Git leaves manifests in the worktree, for a command that fills it then."""
    return {INSIDE: os.fspath(repository.git.git_dir)}


def run_verb(
    repository: Repository,
    arguments: Sequence[str],
    progress: Progress = SILENT,
    added: Mapping[str, str] | None = None,
    *,
    to_stderr: bool = False,
) -> VerbReport:
    """Run `git ARGUMENTS` on the user's terminal and fill the model files that it put there.

    `added` are variables for Git, and for what it starts; with `to_stderr` all that Git prints goes there.
    The worktree is filled also where Git failed half way, so that what Git did move is whole. A manifest that stood
    there before, and that Git was not asked for by its path, is filled if it can be, and is no failure if it cannot.
    Raises KeyboardInterrupt where Git was interrupted, since that was meant for all of this.
    """
    release_index(repository)
    before = {} if repository.git.worktree is None else _stamps(repository)
    status = repository.git.passthrough(arguments, {**inside(repository), **(added or {})}, to_stderr=to_stderr)
    if status == 128 + signal.SIGINT:
        raise KeyboardInterrupt
    if repository.git.worktree is None:
        return VerbReport(status, Filled((), 0, ()))
    filled = fill(repository, progress)
    asked = {os.path.relpath(repository.git.directory / argument, repository.worktree) for argument in arguments}
    failed = tuple(
        (path, error)
        for path, error in filled.failed
        if before.get(path) != _stamp(repository, path) or not asked.isdisjoint(_with_folders(path))
    )
    return VerbReport(status, dataclasses.replace(filled, failed=failed))


def _stamps(repository: Repository) -> dict[str, tuple[int, ...] | None]:
    """Return the manifests that stand in place of files."""
    return {item.entry.path: _stamp(repository, item.entry.path) for item in unfilled(repository)}


def _stamp(repository: Repository, path: str) -> tuple[int, ...] | None:
    """Return what changes when Git writes the file; None where there is none."""
    try:
        state = (repository.worktree / path).lstat()
    except OSError:
        return None
    return state.st_ino, state.st_mtime_ns, state.st_ctime_ns


def _with_folders(path: str) -> set[str]:
    return {path, *map(str, PurePath(path).parents)}


def commit_staged(repository: Repository, arguments: Sequence[str]) -> int:
    """Run `git commit ARGUMENTS` on the user's terminal and return its status.

    Raises UsageError (not-set-up) where Git would commit whole models, because nobody told it of us in this clone.
    """
    if lacks_setup(repository):
        raise UsageError(
            "git does not know lamella in this clone and would commit model files whole",
            kind="not-set-up",
            hint="run `lamella init`, then `lamella add` what was staged without it",
        )
    return repository.git.passthrough(["commit", *arguments])


def fill_worktree(repository: Repository, progress: Progress = SILENT) -> Filled:
    """Write every model file of which the worktree has only the manifest."""
    return fill(repository, progress)
