"""Exporting a model in the container that it is in: the file itself, bit for bit, and what it takes from beside it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from lamella.core import fsio
from lamella.core.buffers import Buffer
from lamella.core.errors import NotFoundError, UsageError
from lamella.core.progress import Progress
from lamella.formats.writers import TEMPLATE_ONLY, writer_for
from lamella.ops.export_values import ExportedFile, ExportOptions, ExportReport
from lamella.repo.source import ModelSource


def is_own_container(source: ModelSource, out: Path, container: str | None) -> bool:
    """Say whether `out` is to be in the container that a model is in; raise UsageError (bad-argument) where none is."""
    if source.files != 1 + len(source.data_files):
        return False
    if container is None and out.suffix == Path(source.label).suffix:
        return True
    if source.format == TEMPLATE_ONLY and TEMPLATE_ONLY in (container, out.suffix[1:].lower()):
        return container in (None, TEMPLATE_ONLY)
    return source.format in writer_for(out, container).formats


def restored(source: ModelSource, out: Path, options: ExportOptions, progress: Progress) -> ExportReport:
    """Write a model in its own container to `out`, which is there when all is whole; raise as `export` does."""
    refuse_taken([out], force=options.force)
    tensors = source.specs()
    progress.start("exporting", sum(spec.nbytes for spec in tensors))
    counts = {out.with_name(name): count for name, count in source.data_files.items()}
    if out in counts:
        message = f"a model cannot have the name of its own data file, {out.name}"
        raise UsageError(message, kind="bad-argument", hint="take another name")
    wanted = [path for path in counts if not _holds(path, source.file_pieces(path.name))]
    refuse_taken(wanted, force=options.force)
    counts = {**{path: counts[path] for path in wanted}, out: len(tensors) - sum(counts.values())}
    files: list[ExportedFile] = []
    with ExitStack() as closing:
        written = []
        for path, count in counts.items():
            temporary = closing.enter_context(fsio.Temporary(path.parent))
            nbytes = 0
            for piece in source.file_pieces(None if path == out else path.name):
                temporary.write_at(piece, nbytes)
                nbytes += len(piece)
                progress.advance(len(piece))
            written.append((temporary, path))
            files.insert(0, ExportedFile(os.fspath(path), nbytes, count))
        for temporary, path in written:
            temporary.publish(path.name)
    progress.finish()
    nbytes = sum(file.nbytes for file in files)
    return ExportReport(
        source.label, source.format, tuple(files), len(tensors), nbytes, source.model_id, True, None, 0, 0
    )


def _holds(path: Path, pieces: Iterator[Buffer]) -> bool:
    """Say whether a file is there and has just these bytes."""
    if not path.is_file():
        return False
    with fsio.translated(path, reading=True), path.open("rb") as file:
        return all(file.read(len(piece)) == piece for piece in pieces) and not file.read(1)


def refuse_taken(paths: Iterable[Path], *, force: bool) -> None:
    """Raise UsageError (bad-argument) where something is there that may not be replaced, and NotFoundError."""
    for path in paths:
        if not path.parent.is_dir():
            raise NotFoundError(f"there is no folder {path.parent}", kind="path-unknown", hint="make it first")
        if path.is_dir() or (not force and os.path.lexists(path)):
            hint = "name a file" if path.is_dir() else "take another name, or `--force` to replace it"
            raise UsageError(f"{path} is there already", kind="bad-argument", hint=hint)
