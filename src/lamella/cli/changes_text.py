"""How changes of model files read on a terminal."""

from __future__ import annotations

from lamella.cli import render
from lamella.ops.changes import FileChange
from lamella.repo.manifest import OPAQUE

_WORDS = ("changed", "added", "removed", "reshaped")
_MARKS = {"added": "+", "removed": "-", "changed": "~", "reshaped": "!"}
_COLOURS = {"added": "green", "removed": "red", "changed": "yellow", "reshaped": "magenta"}


def summary(change: FileChange) -> str:
    """Return what happened to one model file, in one line without its path."""
    total = render.counted(change.total, "part" if change.format == OPAQUE else "tensor")
    if change.what != "changed":
        return f"{change.what}, {total}"
    if change.container:
        return "same weights, other container"
    parts = [f"{change.count(word):,} {word}" for word in _WORDS if change.count(word)]
    return f"{', '.join(parts)} of {total}"


def show_file(change: FileChange, *, stat: bool) -> None:
    """Print one model file's change, with a line for each tensor unless `stat` is asked for."""
    render.line(f"{change.path}: {summary(change)}", bold=True)
    if stat or change.what != "changed":
        return
    for tensor in change.tensors:
        shape = f"[{', '.join(map(str, tensor.shape))}]"
        earlier = f", was {tensor.earlier}" if tensor.earlier else ""
        described = f"{tensor.name}  {tensor.dtype} {shape}  {render.size(tensor.nbytes)}{earlier}"
        render.line(f"  {_MARKS[tensor.what]} {described}", fg=_COLOURS[tensor.what])
