"""Writing PyTorch's zip files: a state dict whose pickle is put together opcode by opcode, as `torch.save` would.

What the reader has to accept stands in torch/_weights_only_unpickler.py and torch/serialization.py; the opcodes are
those of the pickle protocol 2 (PEP 307). No object is pickled.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence

from lamella.core.errors import UsageError
from lamella.core.tensors import TensorSpec
from lamella.formats.arrange import row_major
from lamella.formats.write_zip import Member, write_zip
from lamella.formats.writer import Contents, Pieces, encoded, refuse_metadata, unsupported

_STORAGES = {
    "f64": "DoubleStorage", "f32": "FloatStorage", "f16": "HalfStorage", "bf16": "BFloat16Storage",
    "i64": "LongStorage", "i32": "IntStorage", "i16": "ShortStorage", "i8": "CharStorage", "u8": "ByteStorage",
    "bool": "BoolStorage", "c64": "ComplexFloatStorage", "c128": "ComplexDoubleStorage",
}  # fmt: skip
"""Dtypes that are said by the class of their storage."""

_DTYPES = {
    "u16": "uint16", "u32": "uint32", "u64": "uint64", "f8_e4m3": "float8_e4m3fn", "f8_e5m2": "float8_e5m2",
    "f8_e4m3fnuz": "float8_e4m3fnuz", "f8_e5m2fnuz": "float8_e5m2fnuz", "f8_e8m0": "float8_e8m0fnu",
}  # fmt: skip
"""Dtypes that came later: storages of bytes, and the dtype beside them."""

_MOST_DIMENSIONS = 64
_MARK, _TUPLE, _REDUCE, _EMPTY_TUPLE, _FALSE = b"(", b"t", b"R", b")", b"\x89"
_ROOT = b"archive/"


class TorchWriter:
    """A state dict that `torch.load(path, weights_only=True)` reads, each tensor with a storage of its own."""

    name = "pt"
    suffixes: tuple[str, ...] = (".pt", ".pth", ".bin", ".ckpt")
    formats: tuple[str, ...] = ("torch",)

    def arranged(self, specs: Sequence[TensorSpec]) -> Sequence[TensorSpec]:
        """Return the tensors as they came: a state dict has an order."""
        return specs

    def write(self, specs: Sequence[TensorSpec], contents: Contents, metadata: Mapping[str, str]) -> Pieces:
        """Yield the archive; raise UsageError for a tensor that PyTorch has no dtype for."""
        refuse_metadata("a state dict", metadata)
        return write_zip(_members(specs, state_dict(specs), contents))


def _members(specs: Sequence[TensorSpec], pickled: bytes, contents: Contents) -> Iterator[Member]:
    yield Member(_ROOT + b"data.pkl", len(pickled), (pickled,))
    yield Member(_ROOT + b".format_version", 1, (b"1",))
    yield Member(_ROOT + b".storage_alignment", 2, (b"64",))
    yield Member(_ROOT + b"byteorder", 6, (b"little",))
    for number, (spec, pieces) in enumerate(zip(specs, contents, strict=True)):
        yield Member(b"%bdata/%d" % (_ROOT, number), spec.nbytes, pieces)
    yield Member(_ROOT + b"version", 2, (b"3\n",))


def state_dict(specs: Sequence[TensorSpec]) -> bytes:
    """Return the pickle of an OrderedDict of tensors whose storages are numbered; raise UsageError as `write` does."""
    opcodes = _Opcodes()
    parts = [b"\x80\x02", opcodes.ordered_dict()]
    if specs:
        parts.append(_MARK)
        for number, spec in enumerate(specs):
            parts += [_text(encoded("a state dict", spec.name)), opcodes.tensor(spec, number)]
        parts.append(b"u")
    parts.append(b".")
    return b"".join(parts)


class _Opcodes:
    """What was written once and is referred to from then on."""

    def __init__(self) -> None:
        self._memo: dict[bytes, int] = {}

    def _once(self, opcodes: bytes) -> bytes:
        """Return the opcodes of a constant where it comes first, and of a look-up of it later."""
        if opcodes in self._memo:
            return b"h" + bytes([self._memo[opcodes]])
        self._memo[opcodes] = len(self._memo)
        return opcodes + b"q" + bytes([self._memo[opcodes]])

    def _global(self, module: str, name: str) -> bytes:
        return self._once(f"c{module}\n{name}\n".encode())

    def ordered_dict(self) -> bytes:
        return self._global("collections", "OrderedDict") + _EMPTY_TUPLE + _REDUCE

    def tensor(self, spec: TensorSpec, number: int) -> bytes:
        """Return the opcodes of a call that rebuilds a tensor from the storage of that number."""
        dtype = spec.dtype.name
        if len(spec.shape) > _MOST_DIMENSIONS:
            raise UsageError(f"tensor {spec.name[:80]!r} has more dimensions than PyTorch takes", kind="bad-argument")
        if dtype in _STORAGES:
            rebuild, storage, items = "_rebuild_tensor_v2", ("torch", _STORAGES[dtype]), spec.dtype.bits // 8
        elif dtype in _DTYPES:
            rebuild, storage, items = "_rebuild_tensor_v3", ("torch.storage", "UntypedStorage"), 1
        else:
            raise unsupported("PyTorch", spec, "leave it out with `--select '!PATTERN'`, or write safetensors")
        persistent = [
            self._once(_text(b"storage")), self._global(*storage), _text(b"%d" % number), self._once(_text(b"cpu")),
            _integer(spec.nbytes // items),
        ]  # fmt: skip
        strides = [step // (spec.dtype.bits // 8) for step in row_major(spec)]
        return b"".join((
            self._global("torch._utils", rebuild), _MARK,
            _MARK, *persistent, _TUPLE, b"Q",
            _integer(0), _integers(spec.shape), _integers(strides), _FALSE, self.ordered_dict(),
            self._global("torch", _DTYPES[dtype]) if dtype in _DTYPES else b"",
            _TUPLE, _REDUCE,
        ))  # fmt: skip


def _text(utf8: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(utf8)) + utf8


def _integer(number: int) -> bytes:
    if number < 1 << 8:
        return b"K" + bytes([number])
    if number < 1 << 16:
        return b"M" + struct.pack("<H", number)
    if number < 1 << 31:
        return b"J" + struct.pack("<i", number)
    digits = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(digits)]) + digits


def _integers(numbers: Sequence[int]) -> bytes:
    """Return a tuple: the short opcodes for those of up to three, which is what is read most."""
    if len(numbers) > 3:
        return _MARK + b"".join(map(_integer, numbers)) + _TUPLE
    return b"".join(map(_integer, numbers)) + (b")", b"\x85", b"\x86", b"\x87")[len(numbers)]
