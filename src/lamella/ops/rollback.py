"""`rollback`: a new commit in which some paths are what they were at a revision, and all others stay as they are."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from lamella.core.errors import LamellaError, NotFoundError, UsageError
from lamella.core.progress import SILENT, Progress
from lamella.ops.gitverbs import INSIDE
from lamella.repo.branches import branch_reference, head_reference, message_bytes, move_branch, tip_of
from lamella.repo.checkout import split_path
from lamella.repo.commits import CommitSummary, summaries
from lamella.repo.filling import Filled, fill
from lamella.repo.git import Git, GitOid
from lamella.repo.gitpack import ObjectWriter
from lamella.repo.localchanges import Versions, refuse_local_changes
from lamella.repo.objects import TreeEntry, list_tree
from lamella.repo.refmove import ensure_at_rest
from lamella.repo.repository import Repository, manifest_at
from lamella.repo.trees import changed_tree
from lamella.repo.worktree import release_index

TRAILER = "Lamella-Rollback"
"""Names in the message, in full, the commit that was gone back to."""

RESTORED, ADDED, REMOVED = "restored", "added", "removed"
"""What becomes of a path: it has the content or the mode that it had; it is there again; it is gone again."""

_SHOWN_ID = 10


@dataclass(frozen=True, slots=True)
class ChangedPath:
    """A file that the new commit has otherwise than the one before, and what became of it."""

    path: str
    state: str


@dataclass(frozen=True, slots=True)
class RollbackReport:
    """What was done: `commit` is the new one on `branch`, None where every path was as it shall be already.

    `revision` is the commit that was gone back to, `subject` the first line of its message. `filled` are the model
    files that were written to the worktree.
    """

    commit: str | None
    branch: str
    revision: str
    subject: str
    paths: tuple[str, ...]
    changed: tuple[ChangedPath, ...]
    filled: Filled


def rollback(
    repository: Repository,
    paths: Sequence[str],
    revision: str,
    message: str | None = None,
    *,
    branch: str | None = None,
    progress: Progress = SILENT,
) -> RollbackReport:
    """Commit `paths`, files or folders from the root, as they are at `revision`, mode and all, on `branch`.

    Without `branch` it is the one checked out, and its index and worktree follow; what is staged of other paths stays
    staged. Of a folder goes what `revision` does not have. Killed at any moment, the branch has the old commit or the
    new one, and doing it again finishes.

    Raises NotFoundError: revision-unknown; path-unknown for a path that `revision` lacks; object-missing where weights
    are not in the store. Raises ConflictError (version-staged, local-changes) where changes of these paths would be
    lost, and (lock-held) where the branch moves meanwhile. Raises UsageError: git-refused in the middle of a merge and
    the like, bad-argument for a path below what is a file on the branch. Nothing is changed then.
    """
    git = repository.git
    reference = branch_reference(git, branch)
    follows = git.worktree is not None and reference == head_reference(git)
    if follows:
        ensure_at_rest(git)
    target = summaries(git, [_commit(git, revision)])
    (goal,) = target.values()
    tip = tip_of(git, reference)
    if tip is None:
        name = reference.removeprefix("refs/heads/")
        raise NotFoundError(f"{name!r} has no commits", kind="revision-unknown", hint="name a branch that has")
    named = list(dict.fromkeys("/".join((*folders, name)) for folders, name in map(_split, paths)))
    change = _Change.between(git, tip, goal.commit, named, revision)
    changed = change.listed()
    filled = Filled((), 0, ())
    created = None
    if changed:
        _ensure_weights(repository, change, [one.path for one in changed])
        text = _message(git, message, named, goal)
        if follows:
            refuse_local_changes(repository, change.before, change.after, [one.path for one in changed])
        created = _commit_tree(git, change, tip, text)
        _move(repository, reference, tip, created, follows=follows)
    if follows:
        filled = fill(repository, progress)
    return RollbackReport(
        created, reference.removeprefix("refs/heads/"), goal.commit, goal.subject, tuple(named), changed, filled
    )


def _commit(git: Git, revision: str) -> GitOid:
    """Return the commit that `revision` names."""
    git.resolve(revision)
    return git.resolve(f"{revision}^{{commit}}")


def _split(path: str) -> tuple[tuple[str, ...], str]:
    return ((), "") if path in ("", ".") else split_path(path)


@dataclass(frozen=True, slots=True)
class _Change:
    """What is at some paths in two commits: all files, and the entries that are taken over, folders as they are."""

    before: Versions
    after: Versions
    taken: dict[str, TreeEntry]

    @classmethod
    def between(cls, git: Git, tip: str, goal: str, paths: Sequence[str], revision: str) -> _Change:
        below = () if "" in paths else _outermost(paths)
        taken = {entry.path: entry for entry in list_tree(git, goal, *below, recursive=False)}
        missing = next((path for path in below if path not in taken), None)
        if missing is not None:
            hint = f"`git log -- {missing}` lists the commits that changed it; `git rm` removes a file"
            raise NotFoundError(f"{revision} has no {missing!r}", kind="path-unknown", hint=hint)
        _refuse_files_above(git, tip, below)
        if "" in paths:
            root = TreeEntry("", stat.S_IFDIR, "tree", git.resolve(f"{goal}^{{tree}}"))
            taken = {"": root}
        before, after = (
            {entry.path: entry for entry in list_tree(git, commit, *below) if entry.type != "tree"}
            for commit in (tip, goal)
        )
        return cls(before, after, taken)

    def listed(self) -> tuple[ChangedPath, ...]:
        """Return the files that are not the same in both."""
        found = []
        for path in sorted({*self.before, *self.after}):
            if self.before.get(path) != self.after.get(path):
                state = REMOVED if path not in self.after else RESTORED if path in self.before else ADDED
                found.append(ChangedPath(path, state))
        return tuple(found)


def _outermost(paths: Sequence[str]) -> tuple[str, ...]:
    """Return the paths that lie below no other of them: Git lists no folder of which it is asked for a part, too."""
    named = set(paths)
    return tuple(path for path in paths if named.isdisjoint(map(os.fspath, PurePosixPath(path).parents)))


def _refuse_files_above(git: Git, tip: str, paths: Sequence[str]) -> None:
    above = {"/".join(path.split("/")[:n]) for path in paths for n in range(1, path.count("/") + 1)}
    if not above:
        return
    for entry in list_tree(git, tip, *above, recursive=False):
        if entry.type != "tree":
            hint = f"nothing can lie below it; name {entry.path!r} instead"
            raise UsageError(f"{entry.path!r} is a file on that branch", kind="bad-argument", hint=hint)


def _ensure_weights(repository: Repository, change: _Change, paths: Sequence[str]) -> None:
    """Raise NotFoundError (object-missing) where the store lacks what one of `paths` is to be made of."""
    with repository.reader() as reader:
        for path in paths:
            entry = change.after.get(path)
            manifest = None if entry is None or not stat.S_ISREG(entry.mode) else manifest_at(reader, entry.oid)
            if manifest is None:
                continue
            missing = repository.existing_store().missing(set(manifest.objects()))
            if missing:
                raise NotFoundError(
                    f"{len(missing)} of the objects that {path} needs are not in this repository's store",
                    kind="object-missing",
                    hint="copy the packs of a clone that has them from its .git/lamella/packs, then run this again",
                )


def _message(git: Git, message: str | None, paths: Sequence[str], goal: CommitSummary) -> bytes:
    shown = ", ".join(path or "everything" for path in paths)
    text = message_bytes(
        f"rollback {shown} to {goal.commit[:_SHOWN_ID]} ({goal.subject})" if message is None else message
    )
    if not text.strip():
        raise UsageError(
            "the message is empty", kind="bad-argument", hint="leave `-m` out for one that tells what was done"
        )
    return git.run("interpret-trailers", "--no-divider", "--trailer", f"{TRAILER}: {goal.commit}", input=text)


def _commit_tree(git: Git, change: _Change, tip: str, message: bytes) -> GitOid:
    """Write trees and commit, and return the commit."""
    with ObjectWriter(git) as writer:
        if "" in change.taken:
            tree: GitOid | None = change.taken[""].oid
        else:
            entries = {os.fsencode(path): (b"%o" % one.mode, one.oid) for path, one in change.taken.items()}
            tree = changed_tree(writer, git.resolve(f"{tip}^{{tree}}"), entries)
        writer.flush()
    assert tree is not None
    return GitOid(git.run("commit-tree", tree, "-p", tip, "-F", "-", input=message).decode().strip())


def _move(repository: Repository, reference: str, tip: GitOid, created: GitOid, *, follows: bool) -> None:
    """Let the branch end at the new commit, and before that index and worktree, where they follow it.

    Both happen or neither: while the branch has not moved, what is staged is what the commit would have.
    """
    if not follows:
        move_branch(repository.git, reference, tip, created, "rollback")
        return
    _read_tree(repository, tip, created)
    try:
        move_branch(repository.git, "HEAD", tip, created, "rollback")
    except LamellaError:
        _read_tree(repository, created, tip)
        fill(repository)
        raise


def _read_tree(repository: Repository, before: str, after: str) -> None:
    """Take index and worktree from one commit to another as Git does when it switches, manifests for models."""
    release_index(repository)
    inside = {INSIDE: os.fspath(repository.git.git_dir), "LAMELLA_CLEAN": "identify"}
    repository.git.run("read-tree", "-m", "-u", before, after, env=inside)
