"""What Git's hooks tell the user: files that are still manifests, and pushes whose weights go nowhere."""

from __future__ import annotations

from collections.abc import Sequence

from lamella.repo.repository import Repository
from lamella.repo.worktree import model_entries, unfilled


def after_checkout(repository: Repository) -> tuple[str, ...]:
    """Return what to tell after Git changed the worktree: a sentence where it left manifests in place of files."""
    waiting = unfilled(repository)
    if not waiting:
        return ()
    names = ", ".join(item.entry.path for item in waiting[:3]) + (", ..." if len(waiting) > 3 else "")
    return (
        f"{len(waiting)} model files are only manifests here: {names}",
        "`lamella checkout` writes the files, once their weights are in this repository's store",
    )


def before_push(repository: Repository, arguments: Sequence[str]) -> tuple[str, ...]:
    """Return what to tell before a push: Git sends the manifests, and nothing sends the weights."""
    if not model_entries(repository):
        return ()
    remote = arguments[0] if arguments else "the remote"
    return (
        f"THE WEIGHTS STAY HERE: git pushes the history and the manifests to {remote}, not the model files",
        f"whoever clones {remote} gets readable manifests and no weights; this store is their only copy: "
        f"{repository.store_directory}",
        "back it up, or copy it into the other clone's .git/lamella",
    )
