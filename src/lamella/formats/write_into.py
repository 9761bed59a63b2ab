"""Writing tensors into a copy of a file that is there, in the place of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lamella.core.buffers import Buffer
from lamella.core.errors import UsageError
from lamella.core.limits import IO_NBYTES
from lamella.core.tensors import TensorSpec
from lamella.formats.base import Layout, RandomAccess, TensorSpan
from lamella.formats.writer import Contents, Pieces, refuse_metadata

_UNGUARDED = ("safetensors", "npy", "gguf", "onnx", "tflite")
"""Formats of which no byte depends on what the tensors hold. A zip has a checksum of each."""


class TemplateWriter:
    """A file whose tensors are replaced by others of the same names, dtypes and shapes, where such are given.

    Everything else, tensors that are not given among it, stays as it is.
    """

    suffixes: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()

    def __init__(self, file: RandomAccess, layout: Layout) -> None:
        self.name = layout.format
        self._file = file
        if layout.format not in _UNGUARDED:
            hint = f"one of {', '.join(_UNGUARDED)} can be"
            raise UsageError(f"a file of format {layout.format} cannot be a template", kind="bad-argument", hint=hint)
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
        """Yield the file."""
        refuse_metadata("a template", metadata)
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
