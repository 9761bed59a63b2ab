"""Writing NumPy's containers: `.npy`, one array, and `.npz`, a zip of them (numpy/lib/format.py describes both)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from lamella.core.errors import UsageError
from lamella.core.tensors import TensorSpec
from lamella.formats.write_zip import Member, write_zip
from lamella.formats.writer import Contents, Pieces, encoded, refuse_metadata, unsupported

_ALIGNMENT_NBYTES = 64
_MOST_DIMENSIONS = 32
"""What NumPy before version 2 can hold."""

_DESCRIPTIONS = {
    "bool": "|b1", "u8": "|u1", "i8": "|i1", "u16": "<u2", "i16": "<i2", "u32": "<u4", "i32": "<i4", "u64": "<u8",
    "i64": "<i8", "f16": "<f2", "f32": "<f4", "f64": "<f8", "c64": "<c8", "c128": "<c16",
}  # fmt: skip


def npy_header(spec: TensorSpec) -> bytes:
    """Return what stands before the elements of an array, byte for byte what NumPy writes.

    Raises UsageError (dtype-unsupported) for a dtype that is not NumPy's own.
    """
    if spec.dtype.name not in _DESCRIPTIONS:
        raise unsupported("NumPy", spec, "cast it, as in `--dtype f32` or `--dtype 'PATTERN=f32'`")
    if len(spec.shape) > _MOST_DIMENSIONS:
        raise UsageError(f"tensor {spec.name[:80]!r} has more dimensions than NumPy takes", kind="bad-argument")
    description = _DESCRIPTIONS[spec.dtype.name]
    text = f"{{'descr': '{description}', 'fortran_order': False, 'shape': {spec.shape!r}, }}"
    # The first dimension has room to grow to 21 digits, as NumPy leaves it for whoever appends to the file.
    text += " " * (21 - len(repr(spec.shape[0]))) if spec.shape else ""
    pad = -(10 + len(text) + 1) % _ALIGNMENT_NBYTES
    header = f"{text}{' ' * pad}\n".encode("latin-1")
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


class NpyWriter:
    """A file of one array, which has no name in it."""

    name = "npy"
    suffixes: tuple[str, ...] = (".npy",)
    formats: tuple[str, ...] = ("npy",)

    def arranged(self, specs: Sequence[TensorSpec]) -> Sequence[TensorSpec]:
        """Return the tensors as they came."""
        return specs

    def write(self, specs: Sequence[TensorSpec], contents: Contents, metadata: Mapping[str, str]) -> Pieces:
        """Yield the file; raise UsageError unless there is just one tensor."""
        refuse_metadata(self.name, metadata)
        if len(specs) != 1:
            hint = "choose one with `--select NAME`, or write a .npz"
            raise UsageError(f"a .npy file holds one array, not {len(specs)}", kind="bad-argument", hint=hint)
        header = npy_header(specs[0])
        yield 0, header
        offset = len(header)
        for pieces in contents:
            for piece in pieces:
                yield offset, piece
                offset += len(piece)


class NpzWriter:
    """A zip with a `.npy` file for each tensor, stored as it is."""

    name = "npz"
    suffixes: tuple[str, ...] = (".npz",)
    formats: tuple[str, ...] = ("npz",)

    def arranged(self, specs: Sequence[TensorSpec]) -> Sequence[TensorSpec]:
        """Return the tensors as they came."""
        return specs

    def write(self, specs: Sequence[TensorSpec], contents: Contents, metadata: Mapping[str, str]) -> Pieces:
        """Yield the archive; raise UsageError for a tensor that NumPy has no dtype for."""
        refuse_metadata(self.name, metadata)
        headers = [npy_header(spec) for spec in specs]
        names = [encoded(self.name, f"{spec.name}.npy") for spec in specs]
        return write_zip(_members(specs, names, headers, contents))


def _members(
    specs: Sequence[TensorSpec], names: Sequence[bytes], headers: Sequence[bytes], contents: Contents
) -> Iterator[Member]:
    for spec, name, header, pieces in zip(specs, names, headers, contents, strict=True):
        yield Member(name, len(header) + spec.nbytes, chain((header,), pieces))
