"""`diff`: which tensors of which model files differ between two revisions, or between one and the worktree."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace

from lamella.core.errors import LamellaError, NotFoundError, UsageError
from lamella.core.ids import ObjectId
from lamella.core.progress import SILENT, Progress
from lamella.ops.changes import FileChange, MetadataChange, compare, compare_metadata
from lamella.ops.repackaged import Repackaged, find_repackaged
from lamella.repo.attributes import WITHOUT_FILTER, filtered
from lamella.repo.checkin import identify_file
from lamella.repo.disk_model_file import look_at
from lamella.repo.joined_model import Model, joined
from lamella.repo.manifest import PREFIX, Manifest, parse_for_git
from lamella.repo.model_files import model_at
from lamella.repo.model_parts import missing_data
from lamella.repo.objects import GitObject, ObjectReader
from lamella.repo.repository import Repository, manifest_at
from lamella.repo.stored_model_file import StoredModelFile, stored_metadata
from lamella.repo.targets import relative_to_root
from lamella.repo.worktree import open_file

WORKTREE = "worktree"
INDEX = "index"


@dataclass(frozen=True, slots=True)
class DiffReport:
    """The two sides by name, and every model file that differs between them.

    `repackaged` says which of these files only came under another path, or in another container, or in several.
    `missing` are files that the two models take and have not: what is in them was not compared.
    """

    before: str
    after: str
    files: tuple[FileChange, ...]
    repackaged: tuple[Repackaged, ...] = ()
    missing: tuple[str, ...] = ()


def diff(
    repository: Repository, revisions: Sequence[str], paths: Sequence[str] = (), progress: Progress = SILENT
) -> DiffReport:
    """Compare as `git diff` does: no revision, index and worktree; one, it and the worktree; two, those.

    ``A..B`` is two revisions, ``A...B`` is B and what both come from; two models, files or folders, are named as
    ``REV:PATH``.
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
        if any(names_model(reader, revision) for revision in revisions):
            return _diff_models(repository, reader, revisions)
        files: list[FileChange] = []
        gone, new = dict[str, Manifest](), dict[str, Manifest]()
        for path in _changed_paths(repository, revisions, paths):
            sides = [_side(repository, reader, path, side, progress) for side in (before, after)]
            if sides == [None, None]:
                continue
            change = compare(path, *sides)
            if change is not None:
                metadata = _metadata(repository, path, sides, in_worktree=after == WORKTREE)
                files.append(replace(change, metadata=metadata))
            if sides[0] is not None and sides[1] is None:
                gone[path] = sides[0]
            elif sides[1] is not None and sides[0] is None:
                new[path] = sides[1]
    return DiffReport(before, after, tuple(files), find_repackaged(gone, new))


def diff_models(before: Model, after: Model) -> DiffReport:
    """Compare two models wherever they are, files on disk being hashed and not stored."""
    missing = tuple(f"{one.path}: {name}" for one in (before, after) for name in one.missing)
    change = compare(after.path, before.manifest(), after.manifest())
    if change is None:
        return DiffReport(before.path, after.path, (), missing=missing)
    if len(before.files) == len(after.files) == 1 and before.files[0].format == after.files[0].format:
        earlier, later = before.files[0].metadata(), after.files[0].metadata()
        if earlier is not None and later is not None:
            change = replace(change, metadata=compare_metadata(earlier, later))
    return DiffReport(before.path, after.path, (change,), missing=missing)


def _metadata(
    repository: Repository, path: str, sides: Sequence[Manifest | None], *, in_worktree: bool
) -> tuple[MetadataChange, ...]:
    """Return what changed beside the tensors: nothing where all else is alike, or a side cannot be read here."""
    before, after = sides
    if before is None or after is None or before.format != after.format or _beside(before) == _beside(after):
        return ()
    store = repository.existing_store
    earlier, later = stored_metadata(store, before), None
    if in_worktree and earlier is not None:
        with suppress(LamellaError), closing(look_at(path, repository.worktree / path, store, 1)) as file:
            later = file.metadata()
    elif earlier is not None:
        later = stored_metadata(store, after)
    return () if earlier is None or later is None else compare_metadata(earlier, later)


def _beside(manifest: Manifest) -> tuple[ObjectId | None, list[ObjectId]]:
    """Return the objects that hold all of a file that is no tensor."""
    return manifest.skeleton, [row.object for row in manifest.rows if row.part]


def names_model(reader: ObjectReader, revision: str) -> bool:
    """Say whether a specification names a file, or a folder in a revision."""
    found = reader.read(revision, prefix=PREFIX)
    return found is not None and (found.type == "blob" or _is_folder(found, revision))


def _is_folder(found: GitObject, specification: str) -> bool:
    return found.type == "tree" and specification.partition(":")[2] != ""


def _diff_models(repository: Repository, reader: ObjectReader, specifications: Sequence[str]) -> DiffReport:
    if len(specifications) != 2:
        hint = "name two files, or a revision and behind `--` a path"
        raise UsageError(f"{specifications[0]!r} is a file, not a revision", kind="bad-argument", hint=hint)
    before, after = (_model(repository, reader, specification) for specification in specifications)
    report = diff_models(before, after)
    path = specifications[1].partition(":")[2] or specifications[1]
    files = tuple(replace(change, path=path) for change in report.files)
    return replace(report, before=specifications[0], after=specifications[1], files=files)


def _model(repository: Repository, reader: ObjectReader, specification: str) -> Model:
    """Return what a specification names, which may be a blob by its id, and so without what lies beside it."""
    if ":" in specification:
        try:
            return model_at(repository, *relative_to_root(repository, specification))
        except NotFoundError as exc:
            raise _no_model(specification) from exc
    manifest = manifest_at(reader, specification)
    if manifest is None:
        raise _no_model(specification)
    file = StoredModelFile(specification, manifest, repository.existing_store)
    return replace(joined(specification, [file], ()), missing=tuple(missing_data([file])))


def _no_model(specification: str) -> UsageError:
    hint = "`git diff` compares other files"
    return UsageError(f"{specification!r} is no model file", kind="bad-argument", hint=hint)


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
