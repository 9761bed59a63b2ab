"""What Git's hooks tell the user: files that are still manifests, and pushes whose weights go nowhere."""

from __future__ import annotations

from collections.abc import Sequence

from lamella.repo.filling import unfilled
from lamella.repo.repository import Repository
from lamella.repo.worktree import model_entries


def after_checkout(repository: Repository) -> tuple[str, ...]:
    """Return what to tell after Git changed the worktree: a sentence where it left manifests in place of files."""
    waiting = [item.entry.path for item in unfilled(repository)]
    if not waiting:
        return ()
    names = ", ".join(waiting[:3]) + (", ..." if len(waiting) > 3 else "")
    count = "1 model file is" if len(waiting) == 1 else f"{len(waiting)} model files are"
    return (
        f"{count} only a manifest here: {names}",
        "`lamella checkout` writes what it stands for, once the weights are in this repository's store",
    )


def before_push(repository: Repository, arguments: Sequence[str]) -> tuple[str, ...]:
    """Return what to tell before a push: Git sends the manifests, and nothing sends the weights."""
    remote = arguments[0] if arguments else "the remote"
    if (repository.store_directory / "packs").is_dir() and repository.store.index.pack_names():
        return (
            f"THE WEIGHTS STAY HERE: git pushes the history and the manifests to {remote}, not the model files",
            f"whoever clones {remote} gets readable manifests and no weights; "
            f"this store is their only copy: {repository.store_directory}",
            "back it up, or copy its packs into the .git/lamella/packs of the other clone",
        )
    if model_entries(repository):
        return (f"git pushes the history and the manifests to {remote}; the weights are not in this clone",)
    return ()
