"""`import` of MLflow's folders of runs: each run becomes a commit, with what it was told and what it measured."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lamella.core import fsio
from lamella.core.errors import FormatError, UsageError
from lamella.core.limits import MAX_LOGGED_NBYTES
from lamella.ops.import_folder import files_below
from lamella.ops.import_versions import Version
from lamella.repo.yaml_nodes import parse_yaml

_META = "meta.yaml"
_RUNS = ".lamella/runs"
_DEEPEST = 2
"""Experiments in the folder of all, and runs in them."""


def is_mlflow(source: Path) -> bool:
    """Say whether a folder is a run of MLflow's, or holds some as it lays them out."""
    return next(_runs(source), None) is not None


def mlflow_versions(source: Path) -> list[Version]:
    """Return the runs at and below `source`, in the order in which they were started.

    The files of a run are its artifacts; `params.json`, `metrics.json` and `tags.json` stand in `.lamella/runs/RUN`.
    Nothing that a file of MLflow's says is taken for a path.
    """
    found = sorted((_version(run, meta) for run, meta in _runs(source)), key=lambda item: item[0])
    if not found:
        raise UsageError(f"{source} holds no runs", kind="bad-argument", hint="name a folder `mlruns`, or a run in it")
    return [version for _, version in found]


def _runs(folder: Path, depth: int = 0) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the folders of runs that were not deleted, each with what its description says."""
    meta = _meta(folder)
    if meta.get("run_id") or meta.get("run_uuid"):
        if meta.get("lifecycle_stage") != "deleted":
            yield folder, meta
        return
    if depth == _DEEPEST:
        return
    with fsio.translated(folder, reading=True):
        names = sorted(os.listdir(folder))
    for name in names:
        below = folder / name
        if below.is_dir() and not below.is_symlink() and not name.startswith("."):
            yield from _runs(below, depth + 1)


def _meta(folder: Path) -> dict[str, Any]:
    file = folder / _META
    if not file.is_file() or file.is_symlink():
        return {}
    try:
        node = parse_yaml(_content(file))
    except FormatError:
        return {}
    return node if isinstance(node, dict) else {}


def _version(run: Path, meta: dict[str, Any]) -> tuple[tuple[int, str], Version]:
    name = run.name
    started, ended = _milliseconds(meta.get("start_time")), _milliseconds(meta.get("end_time"))
    tags = {tag: _text(run / "tags" / tag) for tag in _names(run / "tags")}
    params = {param: _text(run / "params" / param) for param in _names(run / "params")}
    metrics = {metric: _metric(run / "metrics" / metric) for metric in _names(run / "metrics")}
    texts = {
        f"{_RUNS}/{name}/{kind}.json": (json.dumps(values, indent=2, sort_keys=True) + "\n").encode()
        for kind, values in (("params", params), ("metrics", metrics), ("tags", tags))
    }
    title = tags.get("mlflow.runName") or meta.get("run_name") or name
    message = "\n\n".join(filter(None, (str(title), tags.get("mlflow.note.content"), f"MLflow run {name}")))
    artifacts = run / "artifacts"
    files = tuple(files_below(artifacts)) if artifacts.is_dir() and not artifacts.is_symlink() else ()
    author = tags.get("mlflow.user") or meta.get("user_id")
    author = author if isinstance(author, str) else None
    return (started, name), Version(message, (ended or started) // 1000, artifacts, files, texts, author)


def _names(folder: Path) -> list[str]:
    """Return the names below a folder, which may have slashes: MLflow makes folders of them."""
    return list(files_below(folder)) if folder.is_dir() and not folder.is_symlink() else []


def _milliseconds(value: object) -> int:
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 16 else 0


def _content(file: Path) -> bytes:
    with fsio.translated(file, reading=True):
        if file.stat().st_size > MAX_LOGGED_NBYTES:
            raise FormatError(f"{file} is too long for what it should be", kind="header-malformed")
        return file.read_bytes()


def _text(file: Path) -> str:
    return _content(file).decode("utf-8", "replace")


def _metric(file: Path) -> list[dict[str, Any]]:
    """Return the values that were logged, each with its step and its time in milliseconds."""
    found = []
    for line in _text(file).splitlines():
        words = line.split()
        try:
            time, value, step = int(words[0]), float(words[1]), int(words[2]) if len(words) > 2 else 0
        except (ValueError, IndexError):
            continue
        found.append({"step": step, "value": value if math.isfinite(value) else str(value), "time": time})
    return found
