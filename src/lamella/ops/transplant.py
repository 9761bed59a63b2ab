"""Layers of one model put into copies of another: which can be, and the file that comes of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from lamella.core import fsio
from lamella.core.buffers import Buffer
from lamella.core.errors import BackendError, UsageError
from lamella.core.tensors import TensorSpec
from lamella.formats.base import Layout
from lamella.formats.file import DescriptorFile
from lamella.formats.sniff import read_layout
from lamella.formats.write_into import TemplateWriter
from lamella.model.alignment import Alignment
from lamella.model.layers import list_layers
from lamella.repo.joined_model import Model
from lamella.repo.loaded import LoadedModel
from lamella.repo.manifest import OPAQUE


@dataclass(frozen=True, slots=True)
class ChangedLayer:
    """A layer of the model before that can be taken from the one after.

    `tensors` are those of it that changed, each by its name before and its name after.
    """

    name: str
    tensors: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A tensor that differs and cannot be taken over: its name before, or after where it is new, and why."""

    name: str
    why: str


class Transplant:
    """Copies of the model file `before` in which layers are those of `after`, one at a time, in a folder of their own.

    A copy has the container of the model before, and all else from there; tensors that share bytes with one that is
    replaced follow it. Leaving the `with` block removes the folder; one that a killed process left there is replaced.

    Raises UsageError (bad-argument) for a model that is not in one file, or in a container that is not written into.
    """

    def __init__(self, before: Model, after: Model, folder: Path) -> None:
        for model in (before, after):
            model.check_whole()
        if len(before.files) != 1:
            hint = "`lamella export` puts the tensors into one file"
            raise UsageError(f"{before.path} is in {len(before.files)} files", kind="bad-argument", hint=hint)
        if before.files[0].format == OPAQUE:
            raise UsageError(f"{before.path} has no tensors", kind="bad-argument", hint="name a model")
        self._before, self._after, self._folder = before, after, folder
        self._closing = ExitStack()
        self._written: tuple[Sequence[ChangedLayer], Path, os.stat_result] | None = None

    def __enter__(self) -> Transplant:
        fsio.remove_tree(self._folder)
        fsio.make_directory(self._folder, durable=False)
        with ExitStack() as closing:
            closing.callback(fsio.remove_tree, self._folder)
            # What is in the worktree may be changed by a command, and reading from the store once is enough.
            spool = closing.enter_context(fsio.spool(self._folder))
            for piece in self._before.files[0].pieces():
                spool.write(piece)
            spool.flush()
            file = DescriptorFile(spool.fileno(), spool.tell(), self._before.path)
            layout = read_layout(file)[0]
            self._writer = TemplateWriter(file, layout)
            self._own = {span.spec.name: span.spec for span in layout.tensors if not span.part}
            self._tied = _tied(layout)
            self._closing = closing.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        # What cannot be removed now is replaced by the next one; the reason for which the block ended matters more.
        with suppress(BackendError):
            self._closing.close()

    def divided(self, alignment: Alignment) -> tuple[list[ChangedLayer], list[LeftOut]]:
        """Return the layers that changed, as the model before has them in order, and what cannot be taken over.

        Neither model has to be hashed for it again: alignment did.
        """
        old, new = self._before.rows, self._after.rows
        changed: dict[str, str] = {}
        left = []
        for pair in alignment.pairs:
            before, after = old[pair.before].spec, new[pair.after].spec
            if (before.dtype, before.shape) != (after.dtype, after.shape):
                left.append(LeftOut(pair.before, f"{_kind(before)} became {_kind(after)}"))
            elif old[pair.before].object != new[pair.after].object:
                changed[pair.before] = pair.after
        for name in [name for name in changed if name not in self._own]:
            owner = changed.get(self._tied.get(name, ""))
            if owner is None or new[owner].object != new[changed[name]].object:
                left.append(LeftOut(name, "it has no bytes of its own there"))
            del changed[name]
        left += [LeftOut(name, "removed") for name in alignment.removed]
        left += [LeftOut(name, "added") for name in alignment.added]
        specs = [old[name].spec for name in self._before.names]
        members = ((one.name, [specs[number].name for number in one.tensors]) for one in list_layers(specs))
        layers = [
            ChangedLayer(name, tuple((tensor, changed[tensor]) for tensor in tensors if tensor in changed))
            for name, tensors in members
        ]
        return [layer for layer in layers if layer.tensors], left

    def put(self, layers: Sequence[ChangedLayer]) -> Path:
        """Return the copy with these layers from the model after, written unless it is there as it was written."""
        path = self._folder / os.path.basename(self._before.files[0].path)
        if self._written is not None and self._written[:2] == (layers, path) and _same(path, self._written[2]):
            return path
        names = {before: after for layer in layers for before, after in layer.tensors}
        specs = self._writer.arranged([self._own[name] for name in names])
        tensors = LoadedModel(self._after).stream([names[spec.name] for spec in specs])
        state = _write(path, self._writer.write(specs, tensors, {}))
        self._written = layers, path, state
        return path

    def put_after(self) -> Path | None:
        """Return a copy of the model after itself, None where it is not in one file."""
        if len(self._after.files) != 1:
            return None
        path = self._folder / os.path.basename(self._after.files[0].path)
        self._written = None
        _write(path, _in_order(self._after.files[0].pieces()))
        return path


def _tied(layout: Layout) -> dict[str, str]:
    """Return the tensors that lie where another one does, all of it, and its name."""
    places = {(span.offset, span.spec.dtype, span.spec.shape): span.spec.name for span in layout.tensors}
    found = {}
    for view in layout.views:
        owner = places.get((view.boxes[0].offset, view.spec.dtype, view.spec.shape)) if view.boxes else None
        if owner is not None and len(view.boxes) == 1 and not view.swapped:
            found[view.spec.name] = owner
    return found


def _in_order(pieces: Iterable[Buffer]) -> Iterator[tuple[int, Buffer]]:
    at = 0
    for piece in pieces:
        yield at, piece
        at += len(piece)


def _write(path: Path, pieces: Iterable[tuple[int, Buffer]]) -> os.stat_result:
    """Write a file, in place of whatever is there, and return its state."""
    fsio.make_directory(path.parent, durable=False)
    if path.is_dir() and not path.is_symlink():
        fsio.remove_tree(path)
    with fsio.Temporary(path.parent) as temporary:
        for offset, piece in pieces:
            temporary.write_at(piece, offset)
        temporary.publish(path.name, durable=False)
        return os.fstat(temporary.fd)


def _same(path: Path, state: os.stat_result) -> bool:
    """Say whether a file is the one that was written, untouched."""
    try:
        now = path.stat(follow_symlinks=False)
    except OSError:
        return False
    return fsio.same_file(now, state) and now.st_ctime_ns == state.st_ctime_ns


def _kind(spec: TensorSpec) -> str:
    return f"{spec.dtype.name} {list(spec.shape)}"
