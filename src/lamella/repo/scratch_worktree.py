"""A worktree beside the user's, in which versions are put one after the other for somebody to look at them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from lamella.core import fsio
from lamella.core.errors import LamellaError
from lamella.core.progress import SILENT, Progress
from lamella.repo.filling import fill
from lamella.repo.git import Git, GitOid
from lamella.repo.objects import tracked
from lamella.repo.repository import Repository

_WHOLE = ("-c", "core.sparseCheckout=false", "-c", f"core.hooksPath={os.devnull}", "-c", "advice.detachedHead=false")
"""The user's own worktree may leave files out, and his hooks are about that one."""

_LOCAL = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_NAMESPACE")
"""Variables by which the user's repository was found, and by which this worktree would not be."""


class ScratchWorktree:
    """A linked worktree at `path`, in a `with` block; one that a killed process left there is replaced.

    Nothing in it is of value: whatever somebody changed is overwritten by the next version.
    """

    def __init__(self, repository: Repository, path: Path) -> None:
        self.path = path
        self._git = repository.git
        self._config = repository.config
        self._opened: Repository | None = None

    def __enter__(self) -> ScratchWorktree:
        remove_scratch(self._git, self.path)
        fsio.make_directory(self.path.parent, durable=False)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._opened is not None:
            self._opened.close()
        # What cannot be removed now is replaced by the next one; the reason for which the block ended matters more.
        with contextlib.suppress(LamellaError):
            remove_scratch(self._git, self.path)

    def put(
        self, commit: GitOid, paths: Sequence[str], progress: Progress = SILENT
    ) -> Sequence[tuple[str, LamellaError]]:
        """Put a version there, and write its model files at and below `paths`; others stay manifests.

        Returns the files that could not be written, with why. Files of the version before stay where they are the same.
        """
        if self._opened is None or not (self.path / ".git").is_file():
            self._add(commit)
        assert self._opened is not None
        git = self._opened.git
        inside = {"LAMELLA_INSIDE": os.fspath(git.git_dir)}
        git.run(*_WHOLE, "checkout", "--quiet", "--force", "--detach", commit, env=inside)
        return fill(self._opened, progress, tracked(git, paths)).failed

    def _add(self, commit: GitOid) -> None:
        if self._opened is not None:
            self._opened.close()
            remove_scratch(self._git, self.path)
        self._git.run(*_WHOLE, "worktree", "add", "--detach", "--no-checkout", "--force", os.fspath(self.path), commit)
        environment = self._git.environment
        if environment is not None:
            environment = {name: value for name, value in environment.items() if name not in _LOCAL}
        self._opened = Repository.open(self.path, self._config, environment)


def remove_scratch(git: Git, path: Path) -> None:
    """Remove the worktree at `path`, whatever is left of it, and what Git knows of it."""
    forget = ("worktree", "remove", "--force", "--force", os.fspath(path))
    git.run(*forget, check=False)
    if path.exists():
        fsio.remove_tree(path)
        git.run(*forget, check=False)
