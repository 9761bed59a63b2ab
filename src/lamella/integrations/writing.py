"""What saving and committing from a framework come to, once its tensors are arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lamella.ops.commit import CommitReport
from lamella.ops.export import export
from lamella.ops.export_values import ExportOptions, ExportReport
from lamella.ops.repository import Repo
from lamella.repo.arraymodel import ArrayModel


def save_arrays(
    arrays: Mapping[str, Any], label: str, path: str | Path, container: str | None, metadata: Mapping[str, str] | None
) -> ExportReport:
    """Write arrays, called `label` where that is said, to `path`, wholly or not at all, replacing what is there."""
    options = ExportOptions(format=container, metadata=metadata or {}, force=True)
    return export(ArrayModel(arrays, label), path, options)


def commit_arrays(
    arrays: Mapping[str, Any],
    path: str,
    message: str,
    repo: str | Path,
    branch: str | None,
    metadata: Mapping[str, str] | None,
) -> CommitReport:
    """Commit arrays as the model file `path` of the repository around `repo`, as `lamella.Repo.commit` does."""
    with Repo.open(repo) as opened:
        return opened.commit(arrays, path, message, branch=branch, metadata=metadata)
