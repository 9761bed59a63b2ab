"""Merging the files that are no models, as Git merges them, side by side, outside of index and worktree."""

from __future__ import annotations

import os
from collections.abc import Sequence

from lamella.core.errors import ConflictError, LamellaError
from lamella.repo.git import Git, GitOid
from lamella.repo.gitfaults import failure
from lamella.repo.gitpack import ObjectWriter

_NOBODY = b"lamella <> 0 +0000"
_SHOWN_PATHS = 5
_USAGE = 129


def merge_files(git: Git, writer: ObjectWriter, base: GitOid, sides: Sequence[GitOid], names: Sequence[str]) -> GitOid:
    """Return the tree that the trees `sides` give, which come from the tree `base`.

    The first two are merged, then the third into that, and so on. What only one of them changed, or all alike, is
    known without Git. Raises ConflictError (merge-conflict) for files that Git cannot merge by itself.
    """
    changed = list(dict.fromkeys(tree for tree in sides if tree != base))
    if len(changed) < 2:
        return changed[0] if changed else base
    root = _commit(writer, base, ())
    commits = [_commit(writer, tree, (root,)) for tree in changed]
    writer.flush()
    merged, *rest = changed
    shown = dict(zip(sides, names, strict=True))
    into = [shown[merged]]
    for tree, commit in zip(rest, commits[1:], strict=True):
        first = _commit(writer, merged, (root,))
        writer.flush()
        merged = _merged(git, first, commit, (into, shown[tree]))
        into.append(shown[tree])
    return merged


def _commit(writer: ObjectWriter, tree: GitOid, parents: Sequence[GitOid]) -> GitOid:
    """Return a commit that nothing refers to, which is how Git is told what comes from what."""
    lines = [f"tree {tree}".encode(), *(f"parent {parent}".encode() for parent in parents)]
    return writer.add("commit", b"\n".join((*lines, b"author " + _NOBODY, b"committer " + _NOBODY, b"", b"merging")))


def conflicting_files(git: Git, theirs: str) -> tuple[str, ...] | None:
    """Return the paths in conflict where Git merges `theirs` into HEAD, less model files that a driver would merge.

    Nothing is touched. None stands for a Git before 2.38, which cannot tell. Raises what `failure` makes of a refusal.
    """
    settled = ("-c", "merge.lamella.driver=true")
    options = ("--write-tree", "--no-messages", "--name-only", "-z", "--allow-unrelated-histories")
    ended = git.attempt(*settled, "merge-tree", *options, "HEAD", theirs)
    if ended.returncode == _USAGE:
        return None
    if ended.returncode not in (0, 1):
        raise failure(("merge-tree",), ended.returncode, ended.stderr)
    return tuple(dict.fromkeys(os.fsdecode(path) for path in ended.stdout.split(b"\0")[1:-1] if path))


def _merged(git: Git, ours: GitOid, theirs: GitOid, shown: tuple[Sequence[str], str]) -> GitOid:
    command = ("merge-tree", "--write-tree", "--no-messages", "--name-only", "-z", ours, theirs)
    try:
        answer = git.run(*command)
    except LamellaError:
        answer = git.run(*command, check=False)
        paths = [os.fsdecode(path) for path in answer.split(b"\0")[1:-1] if path]
        if not paths:
            raise
        raise _conflict(paths, shown) from None
    return GitOid(answer.rstrip(b"\0\n").decode())


def _conflict(paths: Sequence[str], shown: tuple[Sequence[str], str]) -> ConflictError:
    listed = list(dict.fromkeys(paths))
    more = f" and {len(listed) - _SHOWN_PATHS} more" if len(listed) > _SHOWN_PATHS else ""
    into, other = shown
    return ConflictError(
        f"{other} and {', '.join(into)} disagree about {', '.join(listed[:_SHOWN_PATHS])}{more}",
        kind="merge-conflict",
        hint=f"Git cannot merge them by itself; merge {other} alone first, and then the others",
    )
