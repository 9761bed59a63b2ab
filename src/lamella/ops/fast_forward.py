"""Moving HEAD's branch, its index and its worktree to a commit that contains it, as `git merge --ff-only` does."""

from __future__ import annotations

import os

from lamella.core.errors import ConflictError, UsageError
from lamella.core.progress import SILENT, Progress
from lamella.ops.gitverbs import INSIDE
from lamella.repo.filling import Filled, fill
from lamella.repo.git import GitOid
from lamella.repo.localchanges import refuse_local_changes
from lamella.repo.objects import TreeEntry
from lamella.repo.refmove import ensure_at_rest
from lamella.repo.repository import Repository
from lamella.repo.sided_files import Entry, list_sided
from lamella.repo.unmerged import under_way, unmerged
from lamella.repo.worktree import release_index


def ensure_free(repository: Repository) -> None:
    """Raise where nothing can be merged into the worktree.

    UsageError (bad-argument) in a bare repository; ConflictError: merge-open where a verb of Git's, or a conflict,
    waits for the user, lock-held where Git is at work.
    """
    if repository.git.worktree is None:
        hint = "run this in a worktree; `lamella merge REV --into BRANCH --ema 0.99` needs none"
        raise UsageError("a bare repository has no files to merge into", kind="bad-argument", hint=hint)
    verb = under_way(repository.git)
    if verb is not None:
        hint = "`lamella merge --continue` goes on, `lamella merge --abort` takes it back"
        raise ConflictError(f"a {verb} is under way", kind="merge-open", hint=hint)
    waiting = unmerged(repository.git)
    if waiting:
        raise ConflictError(f"{waiting[0].path} is in conflict", kind="merge-open", hint="`lamella conflicts` says why")
    release_index(repository)
    lock = repository.git.index_path.with_name(f"{repository.git.index_path.name}.lock")
    if lock.exists():
        raise ConflictError(
            f"{lock} exists: another git process is at work",
            kind="lock-held",
            hint="wait for it to end, then run again; if it crashed, remove that file",
        )


def ensure_ready(repository: Repository) -> None:
    """Raise as `ensure_free` does, and UsageError (git-refused) in the middle of a bisect."""
    ensure_free(repository)
    ensure_at_rest(repository.git)


def fast_forward(repository: Repository, commit: GitOid, reason: str, progress: Progress = SILENT) -> Filled:
    """Go to `commit` and write the model files that it changes; `reason` stands in the reflog.

    The branch moves once all other files are in place. Raises ConflictError (version-staged, local-changes), with
    nothing moved, where local changes would be lost, and UsageError (git-refused) where Git refuses for its own reason.
    """
    git = repository.git
    release_index(repository)
    files = list_sided(git, git.resolve("HEAD^{tree}"), [git.resolve(f"{commit}^{{tree}}")])
    before = {one.path: one for file in files for one in _listed(file.path, file.base)}
    after = {one.path: one for file in files for one in _listed(file.path, file.sides[0])}
    refuse_local_changes(repository, before, after, [os.fsdecode(file.path) for file in files])
    env = {INSIDE: os.fspath(git.git_dir), "GIT_REFLOG_ACTION": reason, "LAMELLA_CLEAN": "identify"}
    git.run("merge", "--ff-only", "--quiet", "--no-verify-signatures", commit, env=env)
    return fill(repository, progress)


def _listed(path: bytes, entry: Entry | None) -> tuple[TreeEntry, ...]:
    return () if entry is None else (TreeEntry(os.fsdecode(path), int(entry[0], 8), "blob", entry[1]),)
