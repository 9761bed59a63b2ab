"""The GGUF container of GGML and llama.cpp: keys and values, a list of tensors, then the tensors, each aligned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate
from operator import mul

from lamella.core.dtypes import DTYPES, DType
from lamella.core.errors import FormatError
from lamella.core.limits import MAX_DIMENSIONS, MAX_NAME_NBYTES, MAX_TENSOR_NBYTES, MAX_TENSORS, MIB
from lamella.core.tensors import TensorSpec
from lamella.formats.arrange import arrange, row_major, strided
from lamella.formats.base import Layout, RandomAccess, TensorSpan, TensorView
from lamella.formats.gguf.header import HeaderReader, malformed
from lamella.formats.names import LINE_BREAKING

_CODES = (
    "f32 f16 q4_0 q4_1 - - q5_0 q5_1 q8_0 q8_1 q2_k q3_k q4_k q5_k q6_k q8_k iq2_xxs iq2_xs iq3_xxs iq1_s iq4_nl iq3_s "
    "iq2_s iq4_xs i8 i16 i32 i64 f64 iq1_m bf16 - - - tq1_0 tq2_0 - - - mxfp4 nvfp4 q1_0"
)
TYPES = tuple(_CODES.split())
"""The dtypes by their number in GGML, with a dash for those that were taken back."""

_MAGIC = b"GGUF"
_FIRST_NBYTES = 24
"""Magic, version and the two counts."""

_VERSIONS = (2, 3)
_LEAST_PAIR_NBYTES = 13
_LEAST_TENSOR_NBYTES = 24
"""What a key with its value, and a tensor in the list, take at least."""

_MAX_KEYS = 100_000
_MAX_SHOWN_KEYS = 4096
_MAX_KEY_NBYTES = 0xFFFF
_ALIGNMENT = "general.alignment"
_U32 = 4

_MEMORY_NBYTES = 48 * MIB
_TENSOR_NBYTES = 360
_SHAPE_NBYTES = 96
_EXTENT_NBYTES = 40
"""What the listed tensors may take in memory beside as much as the header is long, and what each of them does."""


class GgufFormat:
    """Files of version 2 and 3, as https://github.com/ggml-org/ggml/blob/master/docs/gguf.md describes them.

    A shape is listed innermost first and given outermost first. Big-endian files of version 3 are read, unless they
    hold blocks: which bytes of a block are swapped is different for every type. Refused beyond that: keys or names
    that come twice, an alignment that is no power of two, rows that are no whole blocks, and what exceeds
    `core.limits` or the memory that a format may take.
    """

    name = "gguf"

    def sniff(self, head: bytes, nbytes: int) -> bool:
        """Claim files that begin with the magic."""
        return nbytes >= _FIRST_NBYTES and head[:4] == _MAGIC

    def layout(self, file: RandomAccess) -> Layout:
        """Return where the tensors lie; raise FormatError where the file is no GGUF file that is read."""
        header = _Header(file)
        for key, kind in header.pairs():
            header.skip(key, kind)
        return arrange(self.name, file.nbytes, header.tensors())

    def metadata(self, file: RandomAccess) -> Mapping[str, str]:
        """Return the keys and values: of arrays the type, the length and the first items, of long strings the start.

        Where something is left out, a digest of the whole value stands before it.
        """
        header = _Header(file)
        found = {"GGUF.version": str(header.version)}
        for key, kind in header.pairs():
            if len(found) <= _MAX_SHOWN_KEYS:
                found[key] = header.shown(key, kind)
            else:
                header.skip(key, kind)
        return found


class _Header:
    """The header, read once from front to back: first `pairs`, the value of each skipped or shown, then `tensors`."""

    def __init__(self, file: RandomAccess) -> None:
        self.version, self._swapped = _version(bytes(file.read_at(0, 8)))
        self._reader = HeaderReader(file, 8, ">" if self._swapped else "<")
        self._reader.behind = 8
        self._tensor_count = self._reader.number("Q")
        self._reader.behind = 0
        self._pair_count = self._reader.number("Q")
        if self._tensor_count > MAX_TENSORS or self._pair_count > _MAX_KEYS:
            raise FormatError(
                f"header claims {self._tensor_count} tensors and {self._pair_count} keys",
                kind="too-many-tensors",
                hint="split the model into several files",
            )
        self._alignment = 32
        self._memory_nbytes = _MEMORY_NBYTES
        self._shapes: dict[tuple[int, ...], tuple[int, ...]] = {}

    def pairs(self) -> Iterator[tuple[str, int]]:
        """Yield each key and the number of its value's type; the value is to be read before the next."""
        keys: set[bytes] = set()
        for number in range(self._pair_count):
            least = (self._pair_count - 1 - number) * _LEAST_PAIR_NBYTES + self._tensor_count * _LEAST_TENSOR_NBYTES
            self._reader.behind = least
            key = self._reader.text(_MAX_KEY_NBYTES)
            if key in keys:
                raise malformed(f"it has the key {key[:80]!r} twice", kind="name-duplicate")
            keys.add(key)
            yield key.decode(errors="replace"), self._reader.kind()
        self._reader.behind = 0

    def skip(self, key: str, kind: int) -> None:
        """Pass over the value of a key, unless it matters where tensors lie."""
        if key == _ALIGNMENT:
            self.shown(key, kind)
        else:
            self._reader.skip(kind)

    def shown(self, key: str, kind: int) -> str:
        """Return the value of a key as people read it."""
        text = self._reader.shown(kind)
        if key == _ALIGNMENT:
            self._alignment = int(text) if kind == _U32 else 0
            if self._alignment.bit_count() != 1:
                raise malformed(f"the alignment {text[:80]!r} is no power of two")
        return text

    def tensors(self) -> list[TensorSpan | TensorView]:
        """Return the tensors in the order in which they are listed."""
        listed = []
        for number in range(self._tensor_count):
            self._reader.behind = (self._tensor_count - 1 - number) * _LEAST_TENSOR_NBYTES
            listed.append(self._tensor())
        data_start = -(-self._reader.at // self._alignment) * self._alignment
        return [self._placed(spec, data_start + offset) for spec, offset in listed]

    def _placed(self, spec: TensorSpec, offset: int) -> TensorSpan | TensorView:
        if not self._swapped:
            return TensorSpan(spec, offset)
        return strided(spec, offset, row_major(spec), swapped=True)

    def _tensor(self) -> tuple[TensorSpec, int]:
        """Return a tensor and where it lies behind the header."""
        reader = self._reader
        name = _name(reader.text(MAX_NAME_NBYTES))
        dimensions = reader.number("I")
        if dimensions > MAX_DIMENSIONS:
            raise malformed(f"tensor {name[:80]!r} has {dimensions} dimensions")
        shape = tuple(reader.number("Q") for _ in range(dimensions))[::-1]
        self._charge(_TENSOR_NBYTES + (len(name) if name.isascii() else 4 * len(name)))
        spec = TensorSpec(name, self._dtype(name, reader.number("I"), shape), self._shape(name, shape))
        return spec, reader.number("Q")

    def _dtype(self, name: str, number: int, shape: tuple[int, ...]) -> DType:
        code = TYPES[number] if number < len(TYPES) else "-"
        if code == "-":
            raise FormatError(
                f"tensor {name[:80]!r} has the GGML type {number}, which is not known to this version",
                kind="dtype-unknown",
                hint="upgrade lamella if the file was made by a newer program",
            )
        dtype = DTYPES[code]
        if dtype.block_elements > 1 and self._swapped:
            raise FormatError(
                f"tensor {name[:80]!r} is quantised ({code}) and the file is big-endian",
                kind="dtype-unknown",
                hint="convert it with `gguf-convert-endian FILE little`",
            )
        if dtype.block_elements > 1 and (not shape or shape[-1] % dtype.block_elements):
            raise malformed(f"rows of tensor {name[:80]!r} are no whole blocks of {dtype.block_elements}")
        return dtype

    def _shape(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return a shape, one value for all tensors that have it."""
        if shape not in self._shapes:
            self._charge(_SHAPE_NBYTES + _EXTENT_NBYTES * len(shape))
            if max(accumulate(shape, mul), default=0) > MAX_TENSOR_NBYTES // 16 or max(shape, default=0) >> 62:
                raise malformed(f"tensor {name[:80]!r} holds more elements than a file can")
            self._shapes[shape] = shape
        return self._shapes[shape]

    def _charge(self, nbytes: int) -> None:
        self._memory_nbytes -= nbytes
        if self._memory_nbytes + self._reader.at < 0:
            raise FormatError(
                "header lists more than a reader may hold in memory",
                kind="too-many-tensors",
                hint="split the model into several files",
            )


def _version(first: bytes) -> tuple[int, bool]:
    """Return the version, and whether the file is big-endian."""
    if first[:4] != _MAGIC:
        raise malformed("it does not begin with GGUF")
    version = int.from_bytes(first[4:], "little")
    swapped = not version & 0xFFFF
    if swapped:
        version = int.from_bytes(first[4:], "big")
    if version not in _VERSIONS[swapped:]:
        hint = "write the file again with a current llama.cpp" if version == 1 else "upgrade lamella"
        order = "big-endian " if swapped else ""
        raise FormatError(f"{order}GGUF of version {version} is not read", kind="header-malformed", hint=hint)
    return version, swapped


def _name(text: bytes) -> str:
    try:
        name = text.decode()
    except UnicodeDecodeError as exc:
        raise malformed(f"the name {text[:80]!r} is not UTF-8") from exc
    if LINE_BREAKING.search(name):
        raise malformed(f"name {name[:80]!r} is not one line of text")
    return name
