"""What the weights say about the files that `diff` found to differ."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

from lamella.core.errors import ConflictError, IntegrityError, NotFoundError
from lamella.core.progress import SILENT, Progress
from lamella.ops.compare import Comparing, compare_models
from lamella.ops.comparison import ModelComparison
from lamella.ops.diff import INDEX, WORKTREE, DiffReport, names_model
from lamella.repo.joined_model import Model
from lamella.repo.manifest import OPAQUE
from lamella.repo.model_files import model_at, model_on_disk
from lamella.repo.repository import Repository
from lamella.repo.sketches import SketchCache
from lamella.repo.targets import relative_to_root


@dataclass(frozen=True, slots=True)
class Compared:
    """The comparison of one file, or in a sentence why there is none: its weights are not here, or are damaged."""

    comparison: ModelComparison | None
    unread: str = ""


def compare_changed(
    repository: Repository, report: DiffReport, how: Comparing, progress: Progress = SILENT
) -> Mapping[str, Compared]:
    """Return by path what the weights say of each model file of a report that is on both sides and has tensors.

    Raises NotFoundError (tensor-unknown) for a pattern in `how.layers` that nothing matches.
    """
    cache = SketchCache(repository.store_directory) if repository.store_directory.is_dir() else None
    found = {}
    for file in report.files:
        if file.what != "changed" or file.format == OPAQUE:
            continue
        with (
            closing(_opened(repository, report.before, file.path)) as before,
            closing(_opened(repository, report.after, file.path)) as after,
        ):
            found[file.path] = compared(before, after, how, cache, progress)
    return found


def compared(
    before: Model, after: Model, how: Comparing, cache: SketchCache | None = None, progress: Progress = SILENT
) -> Compared:
    """Return what the weights of two models say, or why they cannot be read."""
    try:
        return Compared(compare_models(before, after, how, cache=cache, progress=progress))
    except (NotFoundError, IntegrityError, ConflictError) as error:
        if error.kind == "tensor-unknown":
            raise
        return Compared(None, error.message)


def _opened(repository: Repository, side: str, path: str) -> Model:
    """Return the model at `path` on a side, which is a revision, or itself names a model, as ``REV:PATH``."""
    if side == WORKTREE:
        where = repository.worktree / path
        return model_on_disk(where, path, repository.existing_store, repository.config.threads)
    if side == INDEX:
        return model_at(repository, "", path)
    with repository.reader() as reader:
        if names_model(reader, side):
            return model_at(repository, *relative_to_root(repository, side))
    return model_at(repository, side, path)
