"""Branches for who commits to them: which one is meant, where it ends, moving it, and what a message is."""

from __future__ import annotations

import os

from lamella.core.errors import ConflictError, NotFoundError, UsageError
from lamella.repo.git import Git, GitOid


def head_reference(git: Git) -> str:
    """Return the reference that HEAD stands for: a branch, or HEAD itself where it is detached."""
    return git.run("symbolic-ref", "--quiet", "HEAD", check=False).decode().strip() or "HEAD"


def branch_reference(git: Git, branch: str | None) -> str:
    """Return the reference of a branch, None for the one checked out; it need not exist.

    Raises UsageError: bad-argument for what cannot be a branch, git-refused for one that another worktree has.
    """
    head = head_reference(git)
    if branch is None:
        return head
    if not branch or git.run("check-ref-format", "--branch", branch, check=False).decode().strip() != branch:
        hint = "`git help check-ref-format` has the rules"
        raise UsageError(f"{branch!r} cannot be a branch", kind="bad-argument", hint=hint)
    reference = f"refs/heads/{branch}"
    if reference != head:
        for worktree in git.run("worktree", "list", "--porcelain").decode("utf-8", "replace").split("\n\n"):
            where, *state = worktree.split("\n")
            if f"branch {reference}" in state:
                place = where.removeprefix("worktree ")
                hint = "its files and its index would be left behind; commit there, or on another branch"
                raise UsageError(f"{branch!r} is checked out at {place}", kind="git-refused", hint=hint)
    return reference


def commit_named(git: Git, revision: str) -> GitOid:
    """Return the commit that a revision names; raise NotFoundError (revision-unknown) where it names none."""
    oid = git.resolve(revision)  # so that a name that is unknown is told as it was given
    try:
        return git.resolve(f"{oid}^{{commit}}")
    except NotFoundError as exc:
        raise NotFoundError(f"{revision!r} is no commit", kind="revision-unknown", hint=exc.hint) from exc


def head_commit(git: Git) -> GitOid:
    """Return the commit that HEAD is; raise NotFoundError (revision-unknown) on a branch without one."""
    found = tip_of(git, "HEAD")
    if found is None:
        hint = "`git merge REV` lets it begin with those of REV"
        raise NotFoundError("the branch has no commits yet", kind="revision-unknown", hint=hint)
    return found


def tip_of(git: Git, reference: str) -> GitOid | None:
    """Return the commit at which a reference ends, None where it does not exist."""
    try:
        return git.resolve(f"{reference}^{{commit}}")
    except NotFoundError:
        return None


def move_branch(git: Git, reference: str, before: GitOid, after: GitOid, reason: str) -> None:
    """Let a reference go from one commit to another; raise ConflictError (lock-held) where it is no longer there."""
    try:
        git.run("update-ref", "-m", reason, reference, after, before)
    except UsageError as exc:
        if tip_of(git, reference) == before:
            raise
        hint = "run the command again; it goes on from there"
        raise ConflictError(f"{reference} moved meanwhile", kind="lock-held", hint=hint) from exc


def message_bytes(message: str) -> bytes:
    """Return a message as Git keeps it; raise UsageError (bad-argument) for what is not text."""
    try:
        text = os.fsencode(message)
    except UnicodeEncodeError:
        text = b"\0"
    if b"\0" in text:
        hint = "leave out zeros and halves of surrogate pairs"
        raise UsageError("the message is not text", kind="bad-argument", hint=hint)
    return text if text.endswith(b"\n") else text + b"\n"
