"""`add`: put files under version control, model files directly and everything else by Git."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lamella.core.errors import NotFoundError, UsageError
from lamella.core.progress import SILENT, Progress
from lamella.repo.attributes import filtered
from lamella.repo.checkin import CheckedIn, check_in
from lamella.repo.git import GitOid
from lamella.repo.manifest import parse_manifest, write_manifest
from lamella.repo.objects import IndexEntry, ObjectReader, write_blob
from lamella.repo.repository import Repository
from lamella.repo.worktree import OpenedFile, open_file, record_stat


@dataclass(frozen=True, slots=True)
class AddedFile:
    """One model file that was added. `stored_nbytes` is what the store grew by, `warning` why it is kept as bytes."""

    path: str
    format: str
    tensors: int
    nbytes: int
    new_objects: int
    stored_nbytes: int
    warning: str | None


@dataclass(frozen=True, slots=True)
class AddReport:
    """What was added: model files, and how many other paths Git took."""

    files: tuple[AddedFile, ...]
    others: int


@dataclass(frozen=True, slots=True)
class _Staged:
    entry: IndexEntry
    state: os.stat_result
    report: AddedFile


def add(repository: Repository, paths: Sequence[str], progress: Progress = SILENT) -> AddReport:
    """Stage the files at and below `paths`, relative to where the user stands, as `git add` does.

    A model file's objects are durable before Git hears of it. Raises NotFoundError (path-unknown) for a path that
    names nothing, and ConflictError (file-changed) for a file that changes meanwhile.
    """
    changed, gone = _changed(repository, paths)
    models = set(filtered(repository.git, changed))
    regular = [path for path in changed if path in models and _is_regular(repository, path)]
    direct = set(regular)
    others = [path for path in changed if path not in direct] + gone
    if others:
        repository.git.run(
            "add", "--all", "--pathspec-from-file=-", "--pathspec-file-nul",
            input=b"\0".join(map(os.fsencode, others)), env={"GIT_LITERAL_PATHSPECS": "1"},
        )  # fmt: skip
    staged = []
    with repository.reader() as reader:
        for path in regular:
            with open_file(repository.worktree, path) as opened:
                staged.append(_stage(repository, reader, opened, progress))
    _record(repository, staged)
    return AddReport(tuple(item.report for item in staged), len(others))


def _is_regular(repository: Repository, path: str) -> bool:
    full = repository.worktree / path
    return full.is_file() and not full.is_symlink()


def _changed(repository: Repository, paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the paths that differ from the index or are new, and those that are gone."""
    if not paths:
        raise UsageError("nothing was named to add", kind="bad-argument", hint="`lamella add .` adds everything here")
    for path in paths:
        if not _list(repository, "ls-files", "--full-name", "--cached", "--others", "--exclude-standard", path=path):
            if os.path.isdir(repository.git.directory / path):
                continue
            raise NotFoundError(
                f"{path!r} names no file that could be added",
                kind="path-unknown",
                hint="check the spelling; `git check-ignore -v PATH` says whether it is ignored",
            )
    gone = _list_all(repository, paths, "ls-files", "--full-name", "--deleted")
    changed = _list_all(repository, paths, "diff-files", "--name-only")
    changed |= _list_all(repository, paths, "ls-files", "--full-name", "--others", "--exclude-standard")
    return [path for path in changed if path not in gone], list(gone)


def _list_all(repository: Repository, paths: Sequence[str], *args: str) -> dict[str, None]:
    return {found: None for path in paths for found in _list(repository, *args, path=path)}


def _list(repository: Repository, *args: str, path: str) -> list[str]:
    """Return what a listing command says of `path`, a pathspec as the user typed it, relative to the root."""
    verb, *options = args
    listing = repository.git.run("-C", str(repository.git.directory), verb, "-z", *options, "--", path)
    return list(dict.fromkeys(os.fsdecode(found) for found in listing.split(b"\0")[:-1]))


def _stage(repository: Repository, reader: ObjectReader, opened: OpenedFile, progress: Progress) -> _Staged:
    text = opened.manifest_text()
    if text is None:
        checked = check_in(repository.store, opened.source, repository.parents(reader, opened.path), progress)
        opened.ensure_unchanged()
        text = write_manifest(checked.manifest)
        report = _describe(opened, checked)
    else:
        manifest = parse_manifest(text)
        report = AddedFile(opened.path, manifest.format, len(manifest.rows), len(text), 0, 0, None)
    oid = write_blob(repository.git, text)
    mode = 0o100755 if opened.state.st_mode & 0o100 else 0o100644
    return _Staged(IndexEntry(opened.path, mode, oid, 0), opened.state, report)


def _describe(opened: OpenedFile, checked: CheckedIn) -> AddedFile:
    warning = None if checked.warning is None else checked.warning.message
    manifest, added = checked.manifest, checked.added
    return AddedFile(
        opened.path, manifest.format, len(manifest.rows), opened.state.st_size, added.objects, added.stored_nbytes,
        warning,
    )  # fmt: skip


def _record(repository: Repository, staged: Sequence[_Staged]) -> None:
    if not staged:
        return
    stage_blobs(repository, ((item.entry.path, item.entry.mode, item.entry.oid) for item in staged))
    record_stat(repository, [(item.entry, item.state) for item in staged])


def stage_blobs(repository: Repository, blobs: Iterable[tuple[str, int, GitOid]]) -> None:
    """Put (path, mode, blob) into Git's index."""
    lines = b"".join(f"{mode:o} {oid}\t".encode() + os.fsencode(path) + b"\0" for path, mode, oid in blobs)
    repository.git.run("update-index", "--add", "-z", "--index-info", input=lines)
