"""A commit made anew for Git to pick: its change, taken as it is, is another commit's times a number.

Git knows whole files: where the branch has the very file that a commit started from, it takes the commit's, and asks
nobody. So each commit is made anew for it, with what becomes of the models worked out already: its parent has the
branch's model files, and it has the results. Files that have to be decided about are left as they are, for Git to stop.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lamella.core.errors import UsageError
from lamella.core.progress import Progress
from lamella.model.merging.rules import Choice, Rules
from lamella.ops.merge_file import REPLAYING, Versions, merge_file
from lamella.repo.git import Git, GitOid
from lamella.repo.gitpack import ObjectWriter
from lamella.repo.manifest import write_manifest
from lamella.repo.objects import ObjectReader, TreeEntry, list_tree, tracked, write_blob
from lamella.repo.repository import Repository, manifest_at
from lamella.repo.trees import changed_tree

TRAILER = "Lamella-Scale"

_AUTHOR = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_AUTHOR_DATE")


@dataclass(frozen=True, slots=True)
class PickRequest:
    """Which changes, and how much of them: commits in the order in which they are applied, or with `reverse` undone.

    `mainline` numbers the parent of merge commits that they are changes from. `names_origin` adds to the message which
    commit it was. `options` are further ones of `git cherry-pick`.
    """

    commits: tuple[str, ...]
    scale: float
    reverse: bool = False
    mainline: int | None = None
    names_origin: bool = False
    options: tuple[str, ...] = ()

    @property
    def rules(self) -> Rules:
        """How a model file is merged: what was changed is added, the scale of it, and nothing is taken as it is."""
        return replace(REPLAYING, choice=Choice(REPLAYING.choice.strategy, {"scale": self.scale}), settles=False)


def parent_of(git: Git, commit: str, mainline: int | None) -> GitOid:
    """Return the commit that another one is a change from."""
    parents = git.run("rev-list", "--no-walk", "--parents", commit).decode().split()[1:]
    shown = commit[:10]
    if not parents:
        hint = "a first commit is no change; `lamella restore --source` takes files from it"
        raise UsageError(f"{shown} has no parent", kind="bad-argument", hint=hint)
    if mainline is None and len(parents) > 1:
        hint = f"`-m 1` takes what it changed since its first parent, of {len(parents)}"
        raise UsageError(f"{shown} is a merge", kind="bad-argument", hint=hint)
    if mainline is not None and (len(parents) == 1 or not 0 < mainline <= len(parents)):
        hint = f"it has {len(parents)}" if len(parents) > 1 else "leave `-m` out"
        raise UsageError(f"{shown} has no parent number {mainline} to choose", kind="bad-argument", hint=hint)
    return GitOid(parents[(mainline or 1) - 1])


def scaled_commit(
    repository: Repository, request: PickRequest, commit: str, notes: list[str], progress: Progress
) -> GitOid:
    """Return a commit whose change, taken as it is, is the scaled one of `commit` on what the index has."""
    git = repository.git
    parent = parent_of(git, commit, request.mainline)
    before, after = (GitOid(commit), parent) if request.reverse else (parent, GitOid(commit))
    starts, ends = _results(repository, request, before, after, notes, progress)
    with ObjectWriter(git) as writer:
        trees = [
            changed_tree(writer, git.resolve(f"{one}^{{tree}}"), entries)
            for one, entries in ((before, starts), (after, ends))
        ]
        writer.flush()
    base = git.run("commit-tree", trees[0] or _empty_tree(git), "-F", "-", input=b"what it is a change from\n")
    author = {} if request.reverse else _author(git, commit)
    arguments = ("commit-tree", trees[1] or _empty_tree(git), "-p", base.decode().strip(), "-F", "-")
    return GitOid(git.run(*arguments, input=_message(git, request, commit), env=author).decode().strip())


def _empty_tree(git: Git) -> str:
    return git.run("mktree").decode().strip()


Entries = dict[bytes, tuple[bytes, GitOid] | None]


def _results(
    repository: Repository, request: PickRequest, before: str, after: str, notes: list[str], progress: Progress
) -> tuple[Entries, Entries]:
    """Return, for model files that the change can be added to, what the branch has and what comes of it."""
    git = repository.git
    versions = [{one.path: one for one in list_tree(git, commit)} for commit in (before, after)]
    changed = [path for path, one in versions[0].items() if versions[1].get(path, one).oid != one.oid]
    ours = {one.path: TreeEntry(one.path, one.mode, "blob", one.oid) for one in tracked(git, changed) if not one.stage}
    starts, ends = Entries(), Entries()
    with repository.reader() as reader:
        for path in changed:
            there = [versions[0][path], ours.get(path), versions[1][path]]
            entries = [one for one in there if one is not None and stat.S_ISREG(one.mode)]
            merged = _merged(repository, request, reader, path, entries, notes, progress) if len(entries) == 3 else None
            if merged is not None:
                name = os.fsencode(path)
                starts[name] = b"%o" % entries[0].mode, entries[1].oid
                ends[name] = b"%o" % entries[2].mode, merged
    return starts, ends


def _merged(
    repository: Repository,
    request: PickRequest,
    reader: ObjectReader,
    path: str,
    entries: Sequence[TreeEntry],
    notes: list[str],
    progress: Progress,
) -> GitOid | None:
    """Return the manifest that a model becomes; None for what is no model, and where somebody has to decide."""
    manifests = [manifest_at(reader, one.oid) for one in entries]
    base, ours, theirs = manifests
    if base is None or ours is None or theirs is None:
        return None
    blobs = entries[0].oid, entries[1].oid, entries[2].oid
    found, merged = merge_file(repository, Versions(path, blobs, base, ours, theirs), request.rules, progress)
    if merged is None or found.conflicts:
        return None
    whole = found.counts.get("theirs", 0)
    if whole:
        what = "1 tensor is" if whole == 1 else f"{whole:,} tensors are"
        notes.append(f"{path}: {what} new, gone or no float of one shape, and taken whole")
    return write_blob(repository.git, write_manifest(merged))


def _author(git: Git, commit: str) -> dict[str, str]:
    text = git.run("show", "--no-patch", "--date=raw", "--format=%an%x00%ae%x00@%ad", "--encoding=UTF-8", commit)
    return dict(zip(_AUTHOR, os.fsdecode(text).rstrip("\n").split("\0"), strict=True))


def _message(git: Git, request: PickRequest, commit: str) -> bytes:
    """Return the message that Git would have, with the scale among its trailers."""
    if request.reverse:
        subject = git.run("show", "--no-patch", "--format=%s", commit).rstrip(b"\n")
        text = b'Revert "%s"\n\nThis reverts commit %s.\n' % (subject, commit.encode())
    else:
        text = git.run("show", "--no-patch", "--format=%B", commit).rstrip(b"\n") + b"\n"
    trailer = f"{TRAILER}: {request.scale:g}"
    text = git.run("interpret-trailers", "--no-divider", "--if-exists=add", "--trailer", trailer, input=text)
    return text + b"(cherry picked from commit %s)\n" % commit.encode() if request.names_origin else text
