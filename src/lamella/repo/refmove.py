"""Moving branches and tags to a history made anew, all at once, with the worktree after them.

Until the one transaction nothing that a user sees has changed. It leaves the old tips under `refs/lamella`, and a mark
there while the index still is that of the old history: whoever finds the mark finishes (`settle`).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lamella.core import fsio
from lamella.core.errors import ConflictError, LamellaError, NotFoundError, UsageError
from lamella.core.progress import SILENT, Progress
from lamella.repo.checkins import CHECKED_IN_REF
from lamella.repo.checkout import restore_file, split_path
from lamella.repo.filling import sweep
from lamella.repo.git import Git, GitOid
from lamella.repo.history import Ref, list_refs
from lamella.repo.lfs import MAX_POINTER_NBYTES, POINTER_PREFIX
from lamella.repo.manifest import Manifest
from lamella.repo.objects import IndexEntry
from lamella.repo.repository import Repository, manifest_at
from lamella.repo.unmerged import under_way
from lamella.repo.worktree import (
    EXECUTABLE,
    model_entries,
    open_file,
    outside_sparse_checkout,
    record_stat,
    release_index,
)

BEFORE = "refs/lamella/before-migrate"
_UNSETTLED = "refs/lamella/migrate/unsettled"
_WITHOUT_LFS = ("-c", "filter.lfs.process=", "-c", "filter.lfs.clean=", "-c", "filter.lfs.required=false")


def ensure_ready(repository: Repository) -> None:
    """Refuse a repository in which references must not move under somebody's feet.

    Raises UsageError (git-refused): a shallow clone, a merge or the like under way, replaced objects, further
    worktrees, or changes that are not committed.
    """
    git = repository.git
    if git.run("rev-parse", "--is-shallow-repository").strip() == b"true":
        raise _refused("this is a shallow clone", "`git fetch --unshallow` gets the rest of the history")
    if list_refs(git, "refs/replace"):
        raise _refused("some objects are replaced", "`git replace --list` names them; `git replace -d` ends it")
    if git.worktree is None:
        return
    ensure_at_rest(git)
    if len(re.findall(rb"^worktree ", git.run("worktree", "list", "--porcelain"), re.MULTILINE)) > 1:
        raise _refused(
            "there are further worktrees", "remove them with `git worktree remove` and make them again after"
        )
    changed = git.run("status", "--porcelain", "-z", "--untracked-files=no").split(b"\0")[0]
    if changed:
        named = os.fsdecode(changed[3:])
        raise _refused(f"{named} has changes that are not committed", "commit them, or put them away with `git stash`")


def ensure_at_rest(git: Git) -> None:
    """Raise UsageError (git-refused) where a merge, a rebase, a bisect or the like is under way in this worktree."""
    verb = under_way(git)
    if verb is not None:
        hint = "`lamella merge --continue` ends it, `lamella merge --abort` takes it back"
        raise _refused(f"a {verb} is under way", hint)
    if (git.git_dir / "BISECT_LOG").exists():
        raise _refused("a bisect is under way", "`git bisect reset` ends it")


def _refused(message: str, hint: str) -> UsageError:
    return UsageError(message, kind="git-refused", hint=hint)


def detached_head(git: Git) -> Ref | None:
    """Return HEAD where it names a commit and no branch."""
    if git.run("symbolic-ref", "--quiet", "HEAD", check=False):
        return None
    try:
        return Ref("HEAD", git.resolve("HEAD^{commit}"), "commit")
    except NotFoundError:
        return None


def move_refs(git: Git, targets: Mapping[Ref, GitOid], reason: str, *, keeping: bool = True) -> str | None:
    """Move references in one transaction and return where their old objects are kept; None where none are.

    Nothing need be kept (`keeping`) where the new objects have the old ones as ancestors. A reference with the type
    "" is new.

    Raises ConflictError (lock-held), with nothing moved, where somebody else moved one of them meanwhile.
    """
    moving = {ref: new for ref, new in targets.items() if ref.oid != new}
    lines = [f"delete {CHECKED_IN_REF}\0\0"] if list_refs(git, CHECKED_IN_REF) else []
    kept = f"{BEFORE}/{_next_number(git)}" if moving and keeping else None
    for ref, new in moving.items():
        if kept is not None:
            lines.append(f"create {kept}/{ref.name.removeprefix('refs/')}\0{ref.oid}\0")
        lines += ["option no-deref\0"] if ref.name == "HEAD" else []
        lines.append(f"update {ref.name}\0{new}\0{ref.oid}\0")
    if moving and git.worktree is not None:
        lines.append(f"update {_UNSETTLED}\0{_head_tree(git)}\0\0")
    try:
        git.run("update-ref", "-m", reason, "--stdin", "-z", input=b"".join(map(os.fsencode, lines)))
    except UsageError as exc:
        if "cannot lock ref" not in exc.message:
            raise
        hint = "run the command again; it goes on from here"
        raise ConflictError(f"a reference moved meanwhile: {exc.message}", kind="lock-held", hint=hint) from exc
    return kept


def _next_number(git: Git) -> int:
    names = (ref.name.removeprefix(f"{BEFORE}/").partition("/")[0] for ref in list_refs(git, BEFORE))
    return 1 + max((int(name) for name in names if name.isdecimal()), default=0)


def _head_tree(git: Git) -> str:
    """Return the tree that index and worktree have, which in an empty repository is the empty one."""
    try:
        return git.resolve("HEAD^{tree}")
    except NotFoundError:
        return git.run("mktree").decode().strip()


@dataclass(frozen=True, slots=True)
class _Change:
    """A path that the new version of HEAD has differently; `mode` is 0 where it is gone."""

    path: str
    mode: int
    oid: GitOid
    was_there: bool

    @property
    def entry(self) -> IndexEntry:
        """What the index has now."""
        return IndexEntry(self.path, self.mode, self.oid, 0)


def settle(repository: Repository, progress: Progress = SILENT) -> tuple[str, ...] | None:
    """Let index and worktree follow references that were moved; return the paths written, None where nothing was due.

    Files that hold a model's bytes stay as they are, and the index learns their stat; where there is only a pointer, a
    link into another tool's cache, or nothing, the file is written. It may be done again at any time.
    """
    git = repository.git
    found = list_refs(git, _UNSETTLED)
    if not found:
        return None
    changes = _changes(git, found[0].oid)
    touched = set(git.run(*_WITHOUT_LFS, "diff-files", "--name-only", "-z", check=False).split(b"\0"))
    release_index(repository)
    git.run("read-tree", "-m", "HEAD")
    outside = outside_sparse_checkout(repository, [change.path for change in changes])
    changes = [change for change in changes if change.path not in outside]
    written = _follow(repository, changes, touched, progress)
    git.run("update-index", "-q", "--refresh", check=False, env={"LAMELLA_CLEAN": "identify"})
    sweep(repository, model_entries(repository))
    git.run("update-ref", "-d", _UNSETTLED)
    return written


def _changes(git: Git, before: GitOid) -> list[_Change]:
    rows = iter(git.run("diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", before, "HEAD").split(b"\0"))
    found = []
    for row in rows:
        if row.startswith(b":"):
            old_mode, mode, _, oid, _ = row.decode().removeprefix(":").split(" ")
            found.append(_Change(os.fsdecode(next(rows)), int(mode, 8), GitOid(oid), int(old_mode, 8) != 0))
    return found


def _follow(
    repository: Repository, changes: Sequence[_Change], touched: set[bytes], progress: Progress
) -> tuple[str, ...]:
    """Bring the worktree to what `changes` say and tell the index; return the paths that were written."""
    known: list[tuple[IndexEntry, os.stat_result]] = []
    models, texts = [], []
    with repository.reader() as reader:
        for change in changes:
            manifest = manifest_at(reader, change.oid) if stat.S_ISREG(change.mode) else None
            if not change.mode:
                _remove(repository, change.path)
            elif manifest is None:
                texts.append(change.path)
            elif (there := _there(repository, change.path)) is None or there.is_pointer:
                known.append((change.entry, _write_model(repository, change, manifest, there, progress)))
                models.append(change.path)
            elif os.fsencode(change.path) not in touched and change.was_there:
                known.append((change.entry, there.state))
    _write_texts(repository.git, texts)
    record_stat(repository, known)
    return (*models, *texts)


def _write_model(
    repository: Repository, change: _Change, manifest: Manifest, there: _There | None, progress: Progress
) -> os.stat_result:
    if there is None:
        _remove(repository, change.path)
    return restore_file(
        repository.store,
        manifest,
        repository.worktree,
        change.path,
        executable=change.mode == EXECUTABLE,
        backdated=True,
        replacing=None if there is None else there.state,
        progress=progress,
    )


@dataclass(frozen=True, slots=True)
class _There:
    """A regular file of the worktree: what it was when it was looked at, and whether it is a pointer of Git LFS."""

    state: os.stat_result
    is_pointer: bool


def _there(repository: Repository, path: str) -> _There | None:
    try:
        with open_file(repository.worktree, path) as opened:
            nbytes = opened.state.st_size
            head = bytes(opened.source.read_at(0, min(nbytes, len(POINTER_PREFIX))))
            return _There(opened.state, nbytes <= MAX_POINTER_NBYTES and head == POINTER_PREFIX)
    except (NotFoundError, UsageError):
        return None


def _remove(repository: Repository, path: str) -> None:
    """Remove the file or link at `path`, through no link."""
    directories, name = split_path(path)
    try:
        os.close(fsio.open_directory_beneath(repository.worktree, directories))
    except LamellaError:
        return
    place = repository.worktree.joinpath(*directories) / name
    if not place.is_dir() or place.is_symlink():
        fsio.remove(place)


def _write_texts(git: Git, paths: Iterable[str]) -> None:
    text = b"".join(os.fsencode(path) + b"\0" for path in paths)
    if text:
        git.run("checkout-index", "--force", "-u", "-z", "--stdin", input=text)
