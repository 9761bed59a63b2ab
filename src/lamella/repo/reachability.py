"""Every blob that Git could still show somebody: the roots from which garbage is told apart."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path

from lamella.core.errors import BackendError, UsageError
from lamella.repo.git import Git, GitOid, Running
from lamella.repo.gitfaults import damaged
from lamella.repo.objects import GitObject, ObjectReader

_PSEUDO_REFS = (
    "HEAD",
    "ORIG_HEAD",
    "MERGE_HEAD",
    "CHERRY_PICK_HEAD",
    "REVERT_HEAD",
    "REBASE_HEAD",
    "AUTO_MERGE",
    "MERGE_AUTOSTASH",
    "BISECT_HEAD",
    "BISECT_EXPECTED_REV",
    "NOTES_MERGE_PARTIAL",
)
"""Asked from Git, which knows where its reference backend keeps them."""

_IN_PROGRESS = (
    "FETCH_HEAD",
    "MERGE_HEAD",
    "BISECT_START",
    *(
        f"rebase-{backend}/{name}"
        for backend in ("merge", "apply")
        for name in ("onto", "orig-head", "autostash", "stopped-sha", "squash-onto", "original-commit")
    ),
    *(f"rebase-merge/{name}" for name in ("git-rebase-todo", "done", "amend", "rewritten-list", "update-refs")),
    *(f"sequencer/{name}" for name in ("head", "todo", "abort-safety")),
)
"""Files of a worktree that name commits, by whole or shortened ids, one or more a line."""

_OWN_REFS = ("refs/bisect", "refs/worktree", "refs/rewritten")
"""The refs that each worktree has for itself."""

_OID = re.compile(rb"(?<![0-9a-z])[0-9a-f]{4,64}(?![0-9a-z])")


def reachable_blobs(git: Git) -> Iterator[tuple[GitOid, str]]:
    """Yield each blob once, with a path it was found at ("" for none), of everything that Git keeps alive.

    That is every ref (branches, tags, stash, notes, replacements and what they replace), every reflog, index and HEAD
    of all worktrees, and what a merge, rebase, cherry-pick, revert, bisect or fetch in progress stands on. A shallow
    history ends where it was cut, and what a partial clone left at its remote is not fetched.

    Memory does not grow with the history. Raises, at the latest after the last blob, where anything that should be
    there is missing or damaged: what was yielded is complete only when the iterator has ended by itself.
    """
    grafts = git.common_dir / "info" / "grafts"
    if grafts.exists() and grafts.stat().st_size:
        raise UsageError(
            f"{grafts} hides parts of the history",
            kind="git-refused",
            hint="turn it into refs with `git replace --convert-graft-file`",
        )
    for oid, kind, path in _reachable(git):
        if kind == "blob":
            yield oid, path


def reachable_with_prefix(git: Git, prefix: bytes, *, limit_nbytes: int) -> Iterator[tuple[GitObject, str]]:
    """Yield those of `reachable_blobs` whose content begins with `prefix`.

    Raises as that does. Content longer than `limit_nbytes` is not held: such an object comes with `data` None.
    """
    with ObjectReader(git, limit_nbytes=limit_nbytes, replace=False) as reader:
        blobs, asked = itertools.tee(reachable_blobs(git))
        each = reader.read_each((oid for oid, _ in asked), prefix=prefix)
        for found, (oid, path) in zip(each, blobs, strict=True):
            if found is None:
                raise _unreadable(oid)
            if found.matches:
                yield found, path


def _reachable(git: Git) -> Iterator[tuple[GitOid, str, str]]:
    """Yield (id, type, path) of every object, while `rev-list` feeds `cat-file` without passing through us.

    Replacements are refs, so both they and, being ignored here, what they stand for are walked.
    """
    walk = ("--no-replace-objects", "rev-list", "--objects", "--all", "--reflog", "--indexed-objects", "--stdin")
    describe = "--batch-check=%(objectname) %(objecttype) %(rest)"
    roots = _further_roots(git)
    with git.start(*walk, "--missing=allow-promisor", stdin="pipe") as walking:
        with contextlib.suppress(BrokenPipeError):
            walking.stdin.writelines(root + b"\n" for root in sorted(roots))
            walking.stdin.close()
        with git.start("--no-replace-objects", "cat-file", describe, stdin=walking.stdout) as describing:
            walking.stdout.close()
            for line in describing.stdout:
                oid, kind, *path = line.rstrip(b"\n").split(b" ", 2)
                if kind == b"missing":
                    raise _unreadable(oid.decode())
                yield GitOid(oid.decode()), kind.decode(), os.fsdecode(path[0]) if path else ""
    _refuse_errors(walking, describing)


def _further_roots(git: Git) -> set[bytes]:
    """Return the ids that `rev-list --all --reflog --indexed-objects` overlooks, of every worktree."""
    roots: set[bytes] = set()
    linked = sorted(head.parent for head in git.common_dir.glob("worktrees/*/HEAD"))
    for git_dir in (git.common_dir, *linked):
        here = {"GIT_DIR": os.fspath(git_dir)}
        names = {pseudo_ref.encode() for pseudo_ref in _PSEUDO_REFS}
        for file in _IN_PROGRESS:
            names.update(_OID.findall(_content(git_dir / file)))
        roots.update(git.run("for-each-ref", "--format=%(objectname)", *_OWN_REFS, env=here).split())
        with git.start(
            "--no-replace-objects", "cat-file", "--batch-check=%(objectname)", stdin="pipe", env=here
        ) as asked:
            for name in sorted(names):
                with contextlib.suppress(BrokenPipeError):
                    asked.stdin.write(name + b"\n")
                    asked.stdin.flush()
                answer = asked.stdout.readline().rstrip(b"\n")
                if answer and b" " not in answer:  # else "NAME missing"
                    roots.add(answer)
        _refuse_errors(asked)
    if git.index_path != git.git_dir / "index":  # GIT_INDEX_FILE names another one, of which `rev-list` hears
        index = {"GIT_INDEX_FILE": os.fspath(git.git_dir / "index")}
        walk = ("--no-replace-objects", "rev-list", "--objects", "--indexed-objects", "--missing=allow-promisor")
        listing = git.run(*walk, "--stdin", env=index)
        roots.update(line.split(b" ", 1)[0] for line in listing.splitlines())
    return roots


def _content(path: Path) -> bytes:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return path.read_bytes()
    return b""


def _refuse_errors(*commands: Running) -> None:
    """Raise where Git complained and went on; a shortened id that could be several is no fault of the repository."""
    for error in (error for command in commands for error in command.errors if "ambiguous" not in error):
        raise damaged(error)


def _unreadable(oid: str) -> BackendError:
    return damaged(f"object {oid} is missing or damaged")
