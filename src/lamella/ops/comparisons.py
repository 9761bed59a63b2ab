"""What the weights say about the files that `diff` found to differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from lamella.core.errors import ConflictError, FormatError, IntegrityError, NotFoundError
from lamella.core.graphs import NAMES, Graph
from lamella.core.progress import SILENT, Progress
from lamella.ops.compare import Comparing, Graphs, compare_models
from lamella.ops.comparison import ModelComparison
from lamella.ops.diff import INDEX, WORKTREE, DiffReport, names_model
from lamella.repo.graphs import comparable_graphs, graph_of_model, recorded_at, recorded_on_disk
from lamella.repo.joined_model import Model
from lamella.repo.manifest import OPAQUE
from lamella.repo.model_files import model_at, model_on_disk
from lamella.repo.repository import Repository
from lamella.repo.sketches import SketchCache
from lamella.repo.targets import relative_to_root

Recorded = Callable[[], Graph | None]
"""Returns the graph that is recorded beside a model; raises FormatError for what is no graph."""


def _nothing() -> None:
    """Return None: no graph is recorded."""


@dataclass(frozen=True, slots=True)
class Compared:
    """The comparison of one file, and the graphs that it compared.

    `unread` says in a sentence what could not be: weights that are not here or are damaged, and then there is no
    comparison, or a graph.
    """

    comparison: ModelComparison | None
    graphs: Graphs = (None, None)
    unread: str = ""


def compare_changed(
    repository: Repository,
    report: DiffReport,
    how: Comparing,
    data: float | None = None,
    progress: Progress = SILENT,
) -> Mapping[str, Compared]:
    """Return by path what the weights say of each model file of a report that is on both sides and has tensors.

    `data` is how far the data that they were trained on are apart, from 0 to 1, where that is known.
    Raises NotFoundError (tensor-unknown) for a pattern in `how.layers` that nothing matches.
    """
    cache = SketchCache(repository.store_directory) if repository.store_directory.is_dir() else None
    found = {}
    for file in report.files:
        if file.what != "changed" or file.format == OPAQUE:
            continue
        sides = [_side(repository, side, file.path) for side in (report.before, report.after)]
        with closing(sides[0].model) as before, closing(sides[1].model) as after:
            if before.names or after.names:
                recorded = sides[0].recorded, sides[1].recorded
                found[file.path] = compared(before, after, how, recorded, cache, progress, data)
    return found


def compared(
    before: Model,
    after: Model,
    how: Comparing,
    recorded: tuple[Recorded, Recorded] = (_nothing, _nothing),
    cache: SketchCache | None = None,
    progress: Progress = SILENT,
    data: float | None = None,
) -> Compared:
    """Return what the weights of two models say, or why they cannot be read.

    `recorded` return the graphs that are recorded beside the two, None where none is.
    """
    graphs, unread = _graphs(before, after, recorded)
    try:
        comparison = compare_models(before, after, how, graphs=graphs, data=data, cache=cache, progress=progress)
    except (NotFoundError, IntegrityError, ConflictError) as error:
        if error.kind == "tensor-unknown":
            raise
        return Compared(None, graphs, error.message)
    return Compared(comparison, graphs, unread)


def _graphs(before: Model, after: Model, recorded: tuple[Recorded, Recorded]) -> tuple[Graphs, str]:
    """Return the graphs of two models where both say more than names do, and what kept them from being read."""
    try:
        known = [graph_of_model(model, one()) for model, one in zip((before, after), recorded, strict=True)]
    except (FormatError, NotFoundError, IntegrityError, ConflictError) as error:
        return (None, None), error.message
    graphs = comparable_graphs(before, known[0], after, known[1])
    return ((None, None) if NAMES in {graph.level for graph in graphs} else graphs), ""


@dataclass(frozen=True, slots=True)
class _Side:
    model: Model
    recorded: Recorded


def _side(repository: Repository, side: str, path: str) -> _Side:
    """Return the model at `path` on a side, which is a revision, or itself names a model, as ``REV:PATH``."""
    if side == WORKTREE:
        where = repository.worktree / path
        model = model_on_disk(where, path, repository.existing_store, repository.config.threads)
        return _Side(model, partial(recorded_on_disk, where))
    revision = "" if side == INDEX else side
    with repository.reader() as reader:
        if revision and names_model(reader, revision):
            revision, path = relative_to_root(repository, revision)
    return _Side(model_at(repository, revision, path), partial(recorded_at, repository, revision, path))
