"""`export`: a model written as a file of another container, tensor by tensor, in bounded memory."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from blake3 import blake3

from lamella.core import fsio
from lamella.core.buffers import Buffer
from lamella.core.errors import UsageError
from lamella.core.ids import ObjectId
from lamella.core.limits import MAX_METADATA_NBYTES, MAX_SHARDS
from lamella.core.progress import SILENT, Progress
from lamella.core.tensors import TensorSpec
from lamella.formats.gguf.writer import ARCHITECTURE
from lamella.formats.sniff import read_layout
from lamella.formats.write_into import TemplateWriter
from lamella.formats.writer import Writer
from lamella.formats.writers import writer_for
from lamella.ops.export_itself import is_own_container, refuse_taken, restored
from lamella.ops.export_values import ExportedFile, ExportOptions, ExportReport
from lamella.repo.cast import Loss, cast
from lamella.repo.disk_model_file import open_on_disk
from lamella.repo.manifest import Manifest, Row
from lamella.repo.outgoing import Outgoing, choose
from lamella.repo.source import ModelSource


def export(
    source: ModelSource, out: str | Path, options: ExportOptions | None = None, progress: Progress = SILENT
) -> ExportReport:
    """Write the model `source` to `out`, wholly or not at all.

    Without options that change anything, a model in a container of its own is restored bit for bit; the files that an
    ONNX model takes from beside it come under the names by which it knows them, and one that is there already stays.
    Where there are shards, `out` is what they are named after, and their index, which is written last, is beside them.

    Raises UsageError: bad-argument for names, patterns and options that do not fit, for what the container cannot hold,
    and where a file is there and `force` is not given; dtype-unsupported. Raises NotFoundError (path-unknown) where
    there is no such folder, and as `source` does.
    """
    out, options = Path(out), options or ExportOptions()
    with ExitStack() as closing:
        if not options.changes and is_own_container(source, out, options.format):
            return restored(source, out, options, progress)
        outgoing = choose(source.specs(), options.select, options.names, options.rename, options.dtype)
        if not outgoing:
            hint = "under the suffix that it has, and without options, the file itself is written"
            raise UsageError(f"{source.label} has no tensors to write", kind="bad-argument", hint=hint)
        return _Export(source, out, options, _writer(out, options, closing), outgoing, progress).run()


def _writer(out: Path, options: ExportOptions, closing: ExitStack) -> Writer:
    if options.template is None:
        return writer_for(out, options.format)
    if options.format is not None or options.shard_nbytes is not None:
        hint = "leave out --format and --shard-size"
        raise UsageError("a template says itself which container it is", kind="bad-argument", hint=hint)
    file, beside, _ = open_on_disk(options.template, closing)
    return TemplateWriter(file, read_layout(file, beside)[0])


class _Export:
    """One export on its way."""

    def __init__(
        self,
        source: ModelSource,
        out: Path,
        options: ExportOptions,
        writer: Writer,
        outgoing: Sequence[Outgoing],
        progress: Progress,
    ) -> None:
        self._source, self._out, self._options, self._writer = source, out, options, writer
        self._progress = progress
        by_name = {one.spec.name: one for one in outgoing}
        self._outgoing = [by_name[spec.name] for spec in writer.arranged([one.spec for one in outgoing])]
        found = source.metadata()
        carried = _carried(found, source.format, writer)
        self._left = len(found.keys() - carried.keys()) if options.template is None else 0
        self._metadata = {**carried, **options.metadata}
        self._loss = Loss()
        self._rows: list[Row] = []

    def run(self) -> ExportReport:
        shards = self._shards()
        paths = [self._out]
        if len(shards) > 1:
            stem, suffix, count = self._out.stem, self._out.suffix, len(shards)
            paths = [self._out.with_name(f"{stem}-{n + 1:05}-of-{count:05}{suffix}") for n in range(count)]
        index = self._out.with_name(f"{self._out.name}.index.json")
        refuse_taken([*paths, index] if len(shards) > 1 else paths, force=self._options.force)
        self._progress.start("exporting", sum(one.source.nbytes for one in self._outgoing))
        contents = self._contents()
        sizes = []
        with ExitStack() as closing:
            written = []
            for path, shard in zip(paths, shards, strict=True):
                temporary = closing.enter_context(fsio.Temporary(path.parent))
                sizes.append(self._write(temporary, shard, contents))
                written.append((temporary, path))
            for temporary, path in written:
                temporary.publish(path.name)
        if len(shards) > 1:
            fsio.write_file(index, _index(paths, shards))
        self._progress.finish()
        files = zip(paths, sizes, shards, strict=True)
        return self._report(tuple(ExportedFile(os.fspath(path), size, len(shard)) for path, size, shard in files))

    def _shards(self) -> list[list[TensorSpec]]:
        """Return the tensors file by file."""
        limit = self._options.shard_nbytes
        specs = [one.spec for one in self._outgoing]
        if limit is None:
            return [specs]
        if self._writer.name != "safetensors":
            raise UsageError("only safetensors are divided into shards", kind="bad-argument")
        shards: list[list[TensorSpec]] = [[]]
        nbytes = 0
        for spec in specs:
            if shards[-1] and nbytes + spec.nbytes > limit:
                shards.append([])
                nbytes = 0
            shards[-1].append(spec)
            nbytes += spec.nbytes
        if len(shards) > MAX_SHARDS:
            hint = "give a larger --shard-size"
            raise UsageError(f"that would be {len(shards)} files", kind="bad-argument", hint=hint)
        return shards

    def _write(
        self, temporary: fsio.Temporary, shard: Sequence[TensorSpec], contents: Iterator[Iterator[Buffer]]
    ) -> int:
        nbytes = 0
        for offset, piece in self._writer.write(shard, islice(contents, len(shard)), self._metadata):
            temporary.write_at(piece, offset)
            nbytes = max(nbytes, offset + len(piece))
        return nbytes

    def _contents(self) -> Iterator[Iterator[Buffer]]:
        tensors = self._source.stream([one.source.name for one in self._outgoing])
        for one, pieces in zip(self._outgoing, tensors, strict=True):
            yield self._passed(one, pieces)

    def _passed(self, one: Outgoing, pieces: Iterator[Buffer]) -> Iterator[Buffer]:
        """Yield a tensor as it goes out, and remember what it was."""
        if one.spec.dtype != one.source.dtype:
            pieces = cast(pieces, one.source, one.spec.dtype, self._loss)
        hasher = blake3()
        for piece in pieces:
            hasher.update(piece)
            yield piece
            self._progress.advance(len(piece) * one.source.dtype.bits // one.spec.dtype.bits)
        self._rows.append(Row(one.spec, ObjectId(hasher.digest())))

    def _report(self, files: tuple[ExportedFile, ...]) -> ExportReport:
        manifest = Manifest(self._writer.name, None, tuple(self._rows))
        uncast = sum(one.spec.dtype == one.source.dtype for one in self._outgoing) if self._options.dtype else 0
        return ExportReport(
            self._source.label, self._writer.name, files, len(self._rows), sum(file.nbytes for file in files),
            manifest.model_id(), False, self._loss if self._loss.tensors else None, uncast, self._left,
        )  # fmt: skip


def _carried(found: Mapping[str, str], container: str, writer: Writer) -> dict[str, str]:
    """Return the metadata that go along: strings between safetensors, and of gguf what the model is."""
    if writer.name == "gguf":
        return {ARCHITECTURE: found[ARCHITECTURE]} if ARCHITECTURE in found else {}
    if writer.name != "safetensors" or container not in writer.formats:
        return {}
    # A value that was cut for reading would be half of what it says.
    return {key: value for key, value in found.items() if len(value.encode()) < MAX_METADATA_NBYTES // 2}


def _index(paths: Sequence[Path], shards: Sequence[Sequence[TensorSpec]]) -> bytes:
    """Return the index of shards, as the transformers library writes and reads it."""
    where = {spec.name: path.name for path, shard in zip(paths, shards, strict=True) for spec in shard}
    total = sum(spec.nbytes for shard in shards for spec in shard)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))}
    return (json.dumps(index, indent=2) + "\n").encode()
