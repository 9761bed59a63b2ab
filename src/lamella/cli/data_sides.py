"""The data that `lamella diff` is asked about: which files and folders, and on which sides."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamella.core.errors import NotFoundError
from lamella.core.progress import Progress
from lamella.formats.data.csv_table import CsvFormat
from lamella.formats.data.json_lines import JsonLinesFormat
from lamella.formats.data.parquet import ParquetFormat
from lamella.ops.diff import INDEX, WORKTREE, DiffReport, names_model
from lamella.repo.repository import Repository

if TYPE_CHECKING:
    from lamella.ops.data_diff import DataComparison

DATA_FORMATS = (CsvFormat.name, JsonLinesFormat.name, ParquetFormat.name)


def changed_data(
    repository: Repository, report: DiffReport, paths: Sequence[str], label: str | None, progress: Progress
) -> Mapping[str, DataComparison]:
    """Return by path what changed in the data files of a report, and in `paths` that Git keeps whole."""
    kept = [file.path for file in report.files if file.what == "changed" and file.format in DATA_FORMATS]
    named = [] if report.files else [_from_root(repository, path) for path in paths]
    found = {}
    for path in (*kept, *named):
        try:
            sides = [_named(repository, side, path) for side in (report.before, report.after)]
            comparison = compare_named(sides[0], sides[1], repository.git.root, label, progress)
        except NotFoundError:
            if path in kept:
                raise
            continue  # a path that is on one side alone is Git's to tell of
        if comparison.files:
            found[path] = comparison
    return found


def compare_named(before: str, after: str, directory: Path, label: str | None, progress: Progress) -> DataComparison:
    """Compare the data that two texts name, seen from `directory`: files or folders, on disk or at a revision."""
    from lamella.integrations.parquet import parquet_rows
    from lamella.ops.data_diff import compare_data
    from lamella.repo.data_files import opened_data

    environment = dict(os.environ)
    with opened_data(before, directory, environment) as old, opened_data(after, directory, environment) as new:
        return compare_data(old, new, label=label, parquet=parquet_rows(), progress=progress)


def distance(found: Mapping[str, DataComparison]) -> float | None:
    """Return how far the data that changed are apart, the mean over the comparisons; None where none changed."""
    return sum(one.distance for one in found.values()) / len(found) if found else None


def data_fields(found: Mapping[str, DataComparison]) -> Iterator[dict[str, Any]]:
    """Yield what JSON has of each comparison."""
    import dataclasses

    for path, one in found.items():
        yield {"path": path, **dataclasses.asdict(one)}


def _from_root(repository: Repository, path: str) -> str:
    return os.path.relpath(repository.git.directory / path, repository.git.root)


def _named(repository: Repository, side: str, path: str) -> str:
    """Return how a path on a side is called, where the side does not name a file or a folder itself."""
    if side in (WORKTREE, INDEX):
        return path if side == WORKTREE else f":{path}"
    with repository.reader() as reader:
        return side if names_model(reader, side) else f"{side}:{path}"
