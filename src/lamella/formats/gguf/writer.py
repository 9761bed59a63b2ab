"""Writing GGUF version 3 (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): metadata, a table, tensors."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from lamella.core.dtypes import DTYPES
from lamella.core.errors import UsageError
from lamella.core.tensors import TensorSpec
from lamella.formats.gguf.reader import TYPES
from lamella.formats.writer import Contents, Pieces, encoded, unsupported

ARCHITECTURE = "general.architecture"
"""The one key that every file has to have."""

_ALIGNMENT_NBYTES = 32
_ALIGNMENT = "general.alignment"
_LONGEST_NAME = 63
"""ggml keeps names in 64 bytes, the last of which is zero."""

_MOST_DIMENSIONS = 4
_TYPES = {name: number for number, name in enumerate(TYPES) if name in DTYPES}
_STRING = 8
_NUMBERS = {
    "u32": (4, "<I"),
    "i32": (5, "<i"),
    "f32": (6, "<f"),
    "u64": (10, "<Q"),
    "i64": (11, "<q"),
    "f64": (12, "<d"),
}
_BOOLS = {"true": b"\1", "false": b"\0"}
_BOOL = 7


class GgufWriter:
    """Files whose tensors may be quantised. Dimensions are written innermost first, as ggml has them.

    A key of the metadata that ends with a type, as in `llama.block_count:u32`, has a value of that type: u32, i32, u64,
    i64, f32, f64 or bool. All others are strings.
    """

    name = "gguf"
    suffixes: tuple[str, ...] = (".gguf",)
    formats: tuple[str, ...] = ("gguf",)

    def arranged(self, specs: Sequence[TensorSpec]) -> Sequence[TensorSpec]:
        """Return the tensors as they came."""
        return specs

    def write(self, specs: Sequence[TensorSpec], contents: Contents, metadata: Mapping[str, str]) -> Pieces:
        """Yield the file; raise UsageError for tensors and metadata that ggml would not load."""
        if ARCHITECTURE not in metadata:
            hint = f"say it with `--metadata {ARCHITECTURE}=llama`, or whatever it is"
            raise UsageError(f"a gguf file has to name its {ARCHITECTURE}", kind="bad-argument", hint=hint)
        pairs = [_pair(key, value) for key, value in metadata.items()]
        header = [b"GGUF", struct.pack("<IQQ", 3, len(specs), len(pairs)), *pairs]
        offset = 0
        for spec in specs:
            header.append(_entry(spec, offset))
            offset += spec.nbytes + _padding(spec.nbytes)
        head = b"".join(header)
        head += bytes(_padding(len(head)))
        yield 0, head
        at = len(head)
        for pieces in contents:
            for piece in pieces:
                yield at, piece
                at += len(piece)
            yield at, bytes(_padding(at))
            at += _padding(at)


def _padding(nbytes: int) -> int:
    return -nbytes % _ALIGNMENT_NBYTES


def _string(text: str) -> bytes:
    utf8 = encoded("gguf", text)
    return struct.pack("<Q", len(utf8)) + utf8


def _pair(key: str, value: str) -> bytes:
    """Return a key with its value, which has the type that stands behind the key's last colon."""
    name, _, kind = key.rpartition(":")
    if key == _ALIGNMENT or name == _ALIGNMENT:
        hint = f"leave it out; it is {_ALIGNMENT_NBYTES}"
        raise UsageError(f"{_ALIGNMENT} is not for choosing", kind="bad-argument", hint=hint)
    if not name or kind not in (*_NUMBERS, "bool"):
        return _string(key) + struct.pack("<I", _STRING) + _string(value)
    try:
        if kind == "bool":
            return _string(name) + struct.pack("<I", _BOOL) + _BOOLS[value]
        number, layout = _NUMBERS[kind]
        parsed = float(value) if kind.startswith("f") else int(value)
        return _string(name) + struct.pack("<I", number) + struct.pack(layout, parsed)
    except (KeyError, ValueError, OverflowError, struct.error) as exc:
        raise UsageError(f"{value!r} is no {kind}, which {key!r} says it is", kind="bad-argument") from exc


def _entry(spec: TensorSpec, offset: int) -> bytes:
    """Return a tensor's row of the table."""
    if spec.dtype.name not in _TYPES:
        raise unsupported(
            "gguf", spec, "cast it, as in `--dtype 'PATTERN=f32'`, or leave it out with `--select '!PATTERN'`"
        )
    if not 1 <= len(spec.shape) <= _MOST_DIMENSIONS:
        message = f"tensor {spec.name[:80]!r} has {len(spec.shape)} dimensions, and ggml takes 1 to {_MOST_DIMENSIONS}"
        raise UsageError(message, kind="bad-argument", hint="leave it out, as in `--select '!PATTERN'`")
    if spec.shape[-1] % spec.dtype.block_elements:
        hint = "leave it out, as in `--select '!PATTERN'`"
        raise UsageError(f"the rows of tensor {spec.name[:80]!r} are no whole blocks", kind="bad-argument", hint=hint)
    if len(encoded("gguf", spec.name)) > _LONGEST_NAME:
        hint = f"{_LONGEST_NAME} bytes are the limit; --rename shortens it"
        raise UsageError(f"the name {spec.name[:80]!r} is too long for ggml", kind="bad-argument", hint=hint)
    dimensions = struct.pack(f"<I{len(spec.shape)}Q", len(spec.shape), *reversed(spec.shape))
    return _string(spec.name) + dimensions + struct.pack("<IQ", _TYPES[spec.dtype.name], offset)
