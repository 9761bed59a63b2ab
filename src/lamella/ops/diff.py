"""`diff`: which tensors of which model files differ between two revisions, or between one and the worktree."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lamella.core.errors import NotFoundError, UsageError
from lamella.core.progress import SILENT, Progress
from lamella.ops.changes import FileChange, compare
from lamella.repo.attributes import WITHOUT_FILTER, filtered
from lamella.repo.checkin import identify_file
from lamella.repo.manifest import PREFIX, Manifest, parse_for_git
from lamella.repo.objects import ObjectReader
from lamella.repo.repository import Repository, manifest_at
from lamella.repo.worktree import open_file

WORKTREE = "worktree"
INDEX = "index"


@dataclass(frozen=True, slots=True)
class DiffReport:
    """The two sides by name, and every model file that differs between them."""

    before: str
    after: str
    files: tuple[FileChange, ...]


def diff(
    repository: Repository, revisions: Sequence[str], paths: Sequence[str] = (), progress: Progress = SILENT
) -> DiffReport:
    """Compare as `git diff` does: no revision, index and worktree; one, it and the worktree; two, those.

    ``A..B`` is two revisions, ``A...B`` is B and what both come from; two model files are named as ``REV:PATH``.
    Tensors are told apart by their ids, so unchanged ones cost nothing; files of the worktree are hashed, not stored.

    Raises NotFoundError (revision-unknown), BackendError (unreadable) for a file of the worktree, and UsageError
    (bad-argument) for more than two revisions, or a revision and a file.
    """
    if len(revisions) == 1 and ".." in revisions[0]:
        revisions = _sides(repository, revisions[0])
    if len(revisions) > 2:
        raise UsageError("at most two revisions can be compared", kind="bad-argument", hint="name one or two")
    for revision in revisions:
        repository.git.resolve(revision)
    before = revisions[0] if revisions else INDEX
    after = revisions[1] if len(revisions) == 2 else WORKTREE
    with repository.reader() as reader:
        if any(_names_file(reader, revision) for revision in revisions):
            return _diff_files(reader, revisions)
        changed = list(_changed_paths(repository, revisions, paths))
        files = [_compare(repository, reader, path, before, after, progress) for path in changed]
    return DiffReport(before, after, tuple(file for file in files if file is not None))


def _names_file(reader: ObjectReader, revision: str) -> bool:
    found = reader.read(revision, prefix=PREFIX)
    return found is not None and found.type == "blob"


def _diff_files(reader: ObjectReader, specifications: Sequence[str]) -> DiffReport:
    if len(specifications) != 2:
        hint = "name two files, or a revision and behind `--` a path"
        raise UsageError(f"{specifications[0]!r} is a file, not a revision", kind="bad-argument", hint=hint)
    manifests = [manifest_at(reader, specification) for specification in specifications]
    if None in manifests:
        named = specifications[manifests.index(None)]
        raise UsageError(f"{named!r} is no model file", kind="bad-argument", hint="`git diff` compares other files")
    before, after = specifications
    change = compare(after.partition(":")[2] or after, *manifests)
    return DiffReport(before, after, () if change is None else (change,))


def _sides(repository: Repository, span: str) -> list[str]:
    """Return the two sides of ``A..B``, and of ``A...B``, where the older side is what both come from."""
    dots = "..." if "..." in span else ".."
    before, after = (side or "HEAD" for side in span.split(dots, 1))
    if dots == "...":
        for revision in (before, after):
            repository.git.resolve(revision)
        base = repository.git.run("merge-base", "--", before, after, check=False).decode().strip()
        if not base:
            raise UsageError(
                f"{before} and {after} have no common ancestor",
                kind="bad-argument",
                hint=f"`lamella diff {before} {after}` compares them directly",
            )
        before = base
    return [before, after]


def _changed_paths(repository: Repository, revisions: Sequence[str], paths: Sequence[str]) -> Iterator[str]:
    git = repository.git
    verb = ("diff-files",) if not revisions else ("diff-tree", "-r") if len(revisions) == 2 else ("diff-index",)
    where = ("-C", str(git.directory)) if git.worktree else ()
    listing = git.run(*where, *WITHOUT_FILTER, *verb, "-z", "--name-only", "--no-renames", *revisions, "--", *paths)
    found = list(dict.fromkeys(os.fsdecode(path) for path in listing.split(b"\0")[:-1]))
    if len(revisions) == 2:
        yield from found
    else:
        kept = set(filtered(git, found))
        yield from (path for path in found if path in kept)


def _compare(
    repository: Repository, reader: ObjectReader, path: str, before: str, after: str, progress: Progress
) -> FileChange | None:
    sides = [_side(repository, reader, path, side, progress) for side in (before, after)]
    if sides == [None, None]:
        return None
    return compare(path, sides[0], sides[1])


def _side(repository: Repository, reader: ObjectReader, path: str, side: str, progress: Progress) -> Manifest | None:
    if side == WORKTREE:
        identified = identify(repository, path, progress)
        return None if identified is None else identified.manifest
    return manifest_at(reader, f"{':0' if side == INDEX else side}:{path}")


@dataclass(frozen=True, slots=True)
class Identified:
    """What a file of the worktree would be kept as, and its stat when it was opened."""

    manifest: Manifest
    state: os.stat_result


def identify(repository: Repository, path: str, progress: Progress = SILENT) -> Identified | None:
    """Hash the file `path` of the worktree without storing it; return None where there is no regular file.

    Raises ConflictError (manifest-conflict) for a manifest with conflict markers, FormatError for another that is
    malformed, and BackendError (unreadable).
    """
    try:
        opened = open_file(repository.worktree, path)
    except (NotFoundError, UsageError):
        return None
    with opened:
        text = opened.manifest_text()
        if text is not None:
            return Identified(parse_for_git(path, text), opened.state)
        manifest = identify_file(opened.source, repository.config.threads, progress, opened.beside)
        return Identified(manifest, opened.state)
