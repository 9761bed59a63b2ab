"""How changes of model files read on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lamella.cli import render
from lamella.ops.changes import FileChange, MetadataChange
from lamella.ops.repackaged import Repackaged
from lamella.repo.manifest import OPAQUE

_WORDS = ("changed", "added", "removed", "reshaped", "cast")
_MARKS = {"added": "+", "removed": "-", "changed": "~", "reshaped": "!", "cast": "!"}
_COLOURS = {"added": "green", "removed": "red", "changed": "yellow", "reshaped": "magenta", "cast": "magenta"}

_LEAST_ALIKE = 3
"""Entries of metadata that differ only in the middle of their keys are one line from here on."""
_SHOWN_KEYS = 20
_SHOWN_PATHS = 3


def told(files: Sequence[FileChange], repackaged: Sequence[Repackaged]) -> Iterator[tuple[str, FileChange | None]]:
    """Yield what is worth a line: path and change, or paths and None for what only came in other files."""
    hidden = {path for one in repackaged for path in (*one.before, *one.after)}
    yield from ((file.path, file) for file in files if file.path not in hidden)
    for one in repackaged:
        what = "same weights, other container" if one.container else "moved"
        yield f"{_paths(one.before)} -> {_paths(one.after)}: {what}", None


def _paths(paths: Sequence[str]) -> str:
    more = len(paths) - _SHOWN_PATHS
    return ", ".join(paths[:_SHOWN_PATHS]) + (f" and {more} more" if more > 0 else "")


def one_line(files: Sequence[FileChange], repackaged: Sequence[Repackaged]) -> Iterator[str]:
    """Yield a line for each thing that happened to model files."""
    for text, file in told(files, repackaged):
        yield text if file is None else f"{text}: {summary(file)}"


def summary(change: FileChange) -> str:
    """Return what happened to one model file, in one line without its path."""
    total = render.counted(change.total, "part" if change.format == OPAQUE else "tensor")
    if change.what != "changed":
        return f"{change.what}, {total}"
    if change.container:
        return "same weights, other container"
    if change.rest:
        return "same tensors, the rest of the file is another"
    if not change.tensors:
        return "changed; none of it is read as tensors"
    parts = [f"{change.count(word):,} {word}" for word in _WORDS if change.count(word)]
    return f"{', '.join(parts)} of {total}"


def show_metadata(changes: Sequence[MetadataChange]) -> None:
    """Print what changed beside the tensors, a line for each entry, or for several of the same values and like keys."""
    alike: dict[tuple[str | None, ...], list[MetadataChange]] = {}
    for one in changes:
        steps = one.key.split(".")
        alike.setdefault((one.before, one.after, steps[0], steps[-1]), []).append(one)
    lines = [line for group in alike.values() for line in _told_together(group)]
    for key, count, one in lines[:_SHOWN_KEYS]:
        times = f"  ({count:,} times)" if count > 1 else ""
        render.line(f"  metadata {key}: {_shown(one.before)} -> {_shown(one.after)}{times}", fg="cyan")
    beyond = sum(count for _, count, _ in lines[_SHOWN_KEYS:])
    if beyond:
        render.line(f"  metadata: {beyond:,} more differ")


def _told_together(group: Sequence[MetadataChange]) -> list[tuple[str, int, MetadataChange]]:
    if len(group) < _LEAST_ALIKE:
        return [(one.key, 1, one) for one in group]
    first, *_, last = group[0].key.split(".")
    return [(f"{first}.*.{last}", len(group), group[0])]


def _shown(value: str | None) -> str:
    if value is None:
        return "nothing"
    return render.cut(value) or '""'


def show_file(change: FileChange, *, stat: bool) -> None:
    """Print one model file's change, with a line for each tensor unless `stat` is asked for."""
    render.line(f"{change.path}: {summary(change)}", bold=True)
    if stat or change.what != "changed":
        return
    show_metadata(change.metadata)
    for tensor in change.tensors:
        shape = f"[{', '.join(map(str, tensor.shape))}]"
        earlier = f", was {tensor.earlier}" if tensor.earlier else ""
        described = f"{tensor.name}  {tensor.dtype} {shape}  {render.size(tensor.nbytes)}{earlier}"
        render.line(f"  {_MARKS[tensor.what]} {described}", fg=_COLOURS[tensor.what])
