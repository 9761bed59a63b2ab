"""`add`: put files under version control, model files directly and everything else by Git."""

from __future__ import annotations

import contextlib
import os
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from lamella.core.errors import LamellaError, NotFoundError, UsageError
from lamella.core.progress import SILENT, Progress
from lamella.formats.sniff import claimed_by
from lamella.repo.attributes import WITHOUT_FILTER, filtered
from lamella.repo.checkin import CheckedIn, check_in
from lamella.repo.git import Git
from lamella.repo.manifest import Manifest, parse_for_git, write_manifest
from lamella.repo.objects import IndexEntry, ObjectReader, tracked, write_blob
from lamella.repo.relatives import MOST_MODELS, models_beside
from lamella.repo.repository import Repository
from lamella.repo.worktree import EXECUTABLE, PLAIN, OpenedFile, open_file, put_entries, record_stat

_MOST_PATHS = 1000
"""What is named to one command."""

_MOST_FRESH_ROWS = 1 << 16
"""Tensors of files added by the same command that are remembered, some 40 MB of them."""

_EXCLUSIONS = (":!", ":^", ":(exclude")
"""How a pathspec begins that takes away from what the others name."""


@dataclass(frozen=True, slots=True)
class AddedFile:
    """One model file that was added. `stored_nbytes` is what the store grew by, `warning` why it is kept as bytes.

    `foreign` are names of code that its framework would run to load it; nothing of it was run.
    """

    path: str
    format: str
    tensors: int
    nbytes: int
    new_objects: int
    stored_nbytes: int
    warning: str | None
    foreign: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AddReport:
    """What was added: model files, and how many other paths Git took.

    `whole` are those of them that look like models and that no pattern names, so that all their bytes are in Git.
    """

    files: tuple[AddedFile, ...]
    others: int
    whole: tuple[str, ...]


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
    direct = {path: None for path in changed if path in models and _has_content(repository, path)}
    others = [path for path in changed if path not in direct] + gone
    staged: list[_Staged] = []
    fresh: deque[Manifest] = deque()
    known_modes = _modes_where_files_have_none(repository, list(direct))
    with repository.reader() as reader:
        for path in direct:
            with open_file(repository.worktree, path) as opened:
                mode = EXECUTABLE if opened.state.st_mode & stat.S_IXUSR else PLAIN
                if known_modes is not None:
                    mode = known_modes.get(path, PLAIN)
                staged.append(_stage(repository, reader, opened, mode, fresh, progress))
    if others:
        repository.git.run(
            "add", "--all", "--pathspec-from-file=-", "--pathspec-file-nul",
            input=b"\0".join(map(os.fsencode, others)), env={"GIT_LITERAL_PATHSPECS": "1"},
        )  # fmt: skip
    _record(repository, staged)
    whole = [path for path in others if path not in models and _looks_like_model(repository, path)]
    return AddReport(tuple(item.report for item in staged), len(others), tuple(whole))


def _looks_like_model(repository: Repository, path: str) -> bool:
    """Say whether a file of the worktree claims to be of a format that models have."""
    from lamella.formats.builtin import MODELS

    try:
        with open_file(repository.worktree, path) as opened:
            return claimed_by(opened.source, MODELS) is not None
    except LamellaError:  # gone, a link, or not to be read: Git has its own word to say
        return False


def _has_content(repository: Repository, path: str) -> bool:
    """Say whether a path is a file that is not empty; everything else Git keeps itself."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        state = (repository.worktree / path).lstat()
        return stat.S_ISREG(state.st_mode) and state.st_size > 0
    return False


def _modes_where_files_have_none(repository: Repository, paths: Sequence[str]) -> dict[str, int] | None:
    """Return the modes that the index has, where a setting says that the file system keeps none; else None."""
    setting = repository.git.run("config", "--type=bool", "--default=true", "core.fileMode")
    if setting.strip() == b"true" or not paths:
        return None
    return {entry.path: entry.mode for entry in tracked(repository.git, paths) if entry.stage == 0}


def _changed(repository: Repository, paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the paths that differ from the index or are new, and those that are gone."""
    if not paths:
        raise UsageError("nothing was named to add", kind="bad-argument", hint="`lamella add .` adds everything here")
    _refuse_unknown(repository, paths)
    gone = _list(repository, paths, "ls-files", "--full-name", "--deleted")
    changed = _list(repository, paths, *WITHOUT_FILTER, "diff-files", "--name-only")
    changed |= _list(repository, paths, "ls-files", "--full-name", "--others", "--exclude-standard")
    return [path for path in changed if path not in gone], list(gone)


def _refuse_unknown(repository: Repository, paths: Sequence[str]) -> None:
    git = repository.git
    everything = ("ls-files", "--full-name", "--cached", "--others", "--exclude-standard")
    known = _list(repository, paths, *everything)
    for path in paths:
        if path.startswith(_EXCLUSIONS) or os.path.relpath(git.directory / path, git.root) in known:
            continue
        # It is no file, so it is a folder, a pattern, or nothing.
        empty_folder = os.path.isdir(git.directory / path) and not _is_ignored(repository, path)
        if not empty_folder and not _list(repository, [path], *everything):
            raise NotFoundError(
                f"{path!r} names no file that could be added",
                kind="path-unknown",
                hint="check the spelling; `git check-ignore -v PATH` says whether it is ignored",
            )


def _is_ignored(repository: Repository, path: str) -> bool:
    where = str(repository.git.directory)
    return bool(repository.git.run("-C", where, "check-ignore", "--", path, check=False))


def _list(repository: Repository, paths: Sequence[str], *command: str) -> dict[str, None]:
    """Return what a listing command says of `paths`, pathspecs as the user typed them, relative to the root.

    More names than a command takes are looked up in the listing of everything, which is also faster.
    """
    git = repository.git
    if len(paths) <= _MOST_PATHS or any(path.startswith(":") for path in paths):
        return _listing(git, git.directory, command, paths)
    there = {path for path in paths if os.path.lexists(git.directory / path)}
    named = {os.path.relpath(git.directory / path, git.root) for path in there}
    everything = _listing(git, git.root, command, ())
    found = {path: None for path in everything if not named.isdisjoint((path, ".", *_folders(path)))}
    patterns = iter(path for path in paths if path not in there)
    while group := list(islice(patterns, _MOST_PATHS)):
        found |= _listing(git, git.directory, command, group)
    return found


def _listing(git: Git, where: Path, command: Sequence[str], paths: Sequence[str]) -> dict[str, None]:
    listing = git.run("-C", str(where), *command, "-z", "--", *paths)
    return dict.fromkeys(os.fsdecode(found) for found in listing.split(b"\0")[:-1])


def _folders(path: str) -> Iterator[str]:
    while path := os.path.dirname(path):
        yield path


def _stage(
    repository: Repository,
    reader: ObjectReader,
    opened: OpenedFile,
    mode: int,
    fresh: deque[Manifest],
    progress: Progress,
) -> _Staged:
    """Store one file, write its manifest and put it into `fresh`: those of the files before, the newest first."""
    text = opened.manifest_text()
    if text is None:
        parents = repository.parents(reader, opened.path)

        def others() -> Iterator[Manifest]:
            # What this command adds is not in the index yet.
            yield from fresh
            yield from models_beside(repository, reader, opened.path)

        checked = check_in(repository.store, opened.source, parents, progress, others, opened.beside)
        opened.ensure_unchanged()
        manifest = checked.manifest
        text = write_manifest(manifest)
        report = _describe(opened, checked)
    else:
        manifest = parse_for_git(opened.path, text)
        report = AddedFile(opened.path, manifest.format, len(manifest.tensors), len(text), 0, 0, None, ())
    oid = write_blob(repository.git, text)
    _remember(fresh, manifest)
    return _Staged(IndexEntry(opened.path, mode, oid, 0), opened.state, report)


def _remember(fresh: deque[Manifest], manifest: Manifest) -> None:
    """Put a manifest first, and let go of the oldest: what is kept does not grow with the number of files."""
    fresh.appendleft(manifest)
    while len(fresh) > 1 and (len(fresh) > MOST_MODELS or sum(len(one.rows) for one in fresh) > _MOST_FRESH_ROWS):
        fresh.pop()


def _describe(opened: OpenedFile, checked: CheckedIn) -> AddedFile:
    warning = None if checked.warning is None else checked.warning.message
    manifest, added = checked.manifest, checked.added
    return AddedFile(
        opened.path, manifest.format, len(manifest.tensors), opened.state.st_size, added.objects, added.stored_nbytes,
        warning, checked.foreign,
    )  # fmt: skip


def _record(repository: Repository, staged: Sequence[_Staged]) -> None:
    if not staged:
        return
    put_entries(repository, [item.entry for item in staged])
    record_stat(repository, [(item.entry, item.state) for item in staged])
