"""Writing tensors into a copy of a file that is there, in the place of its own."""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence

from lamella.core.buffers import Buffer
from lamella.core.errors import UsageError
from lamella.core.limits import IO_NBYTES
from lamella.core.tensors import TensorSpec
from lamella.formats.base import Layout, RandomAccess, TensorSpan
from lamella.formats.writer import Contents, Pieces, refuse_metadata
from lamella.formats.zip_archive import read_members

_UNGUARDED = ("safetensors", "npy", "gguf", "onnx", "tflite", "hdf5")
"""Formats of which no byte depends on what the tensors hold, unless the layout is sealed."""

_ARCHIVES = ("torch", "npz", "keras")
"""Formats of zip archives, which have a checksum of each member and nothing else that depends on it."""


def can_be_template(container: str, *, sealed: bool) -> bool:
    """Say whether files of a format can be filled with other tensors, where their layout is `sealed` or is not."""
    return container in _ARCHIVES or (container in _UNGUARDED and not sealed)


class TemplateWriter:
    """A file whose tensors are replaced by others of the same names, dtypes and shapes, where such are given.

    Everything else, tensors that are not given among it, stays as it is.
    """

    suffixes: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()

    def __init__(self, file: RandomAccess, layout: Layout) -> None:
        self.name = layout.format
        self._file = file
        if not can_be_template(layout.format, sealed=layout.sealed):
            hint = f"one of {', '.join((*_UNGUARDED, *_ARCHIVES))} can be"
            raise UsageError(f"a file of format {layout.format} cannot be a template", kind="bad-argument", hint=hint)
        self._members = read_members(file) if layout.format in _ARCHIVES else ()
        self._starts = [member.offset for member in self._members]
        self._spans = {span.spec.name: span for span in layout.tensors if not span.part}

    def arranged(self, specs: Sequence[TensorSpec]) -> Sequence[TensorSpec]:
        """Return the tensors in the order in which the file has them; raise UsageError for one that it has not."""
        for spec in specs:
            own = self._spans.get(spec.name)
            if own is None:
                hint = "--rename, --names and --select make them agree"
                message = f"the template has no tensor {spec.name[:80]!r} with bytes of its own"
                raise UsageError(message, kind="bad-argument", hint=hint)
            if own.spec != spec:
                message = f"tensor {spec.name[:80]!r} is {_kind(spec)} and {_kind(own.spec)} in the template"
                raise UsageError(message, kind="bad-argument", hint="--dtype casts; a shape has to be the same")
        return sorted(specs, key=lambda spec: (self._spans[spec.name].offset, spec.nbytes > 0))

    def write(self, specs: Sequence[TensorSpec], contents: Contents, metadata: Mapping[str, str]) -> Pieces:
        """Yield the file; of an archive the checksums come last."""
        refuse_metadata("a template", metadata)
        checksums = [0] * len(self._members)
        for offset, piece in self._filled(specs, contents):
            self._add_to(checksums, offset, piece)
            yield offset, piece
        for member, checksum in zip(self._members, checksums, strict=True):
            if member.stored:
                yield from ((place, checksum.to_bytes(4, "little")) for place in member.checksums)

    def checksums(self, file: RandomAccess) -> Pieces:
        """Yield the checksums of an archive as its members are in `file`, which was written by this one."""
        for member in self._members:
            if member.stored:
                found = 0
                for start in range(member.offset, member.offset + member.nbytes, IO_NBYTES):
                    nbytes = min(IO_NBYTES, member.offset + member.nbytes - start)
                    found = zlib.crc32(file.read_at(start, nbytes), found)
                yield from ((place, found.to_bytes(4, "little")) for place in member.checksums)

    def _add_to(self, checksums: list[int], offset: int, piece: Buffer) -> None:
        """Go on with the checksums of the members that some bytes of the file lie in; they come in order."""
        view = memoryview(piece).cast("B")
        number = max(0, bisect_right(self._starts, offset) - 1)
        while number < len(self._members) and self._members[number].offset < offset + len(view):
            member = self._members[number]
            start, stop = max(member.offset, offset), min(member.offset + member.nbytes, offset + len(view))
            if start < stop:
                checksums[number] = zlib.crc32(view[start - offset : stop - offset], checksums[number])
            number += 1

    def _filled(self, specs: Sequence[TensorSpec], contents: Contents) -> Pieces:
        at = 0
        for spec, pieces in zip(specs, contents, strict=True):
            span: TensorSpan = self._spans[spec.name]
            if span.offset < at:
                message = f"tensor {spec.name[:80]!r} lies inside another one of the template"
                raise UsageError(message, kind="bad-argument", hint="take another template, or export without one")
            yield from self._own(at, span.offset)
            at = span.offset
            for piece in pieces:
                yield at, piece
                at += len(piece)
        yield from self._own(at, self._file.nbytes)

    def _own(self, start: int, stop: int) -> Iterator[tuple[int, Buffer]]:
        for offset in range(start, stop, IO_NBYTES):
            yield offset, self._file.read_at(offset, min(IO_NBYTES, stop - offset))


def _kind(spec: TensorSpec) -> str:
    return f"{spec.dtype.name} {list(spec.shape)}"
