"""The JSON header of a safetensors file, read in linear time and bounded memory whatever it holds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import accumulate, pairwise
from math import prod
from operator import mul

from lamella.core.dtypes import DTYPES, DType
from lamella.core.errors import FormatError
from lamella.core.limits import MAX_DIMENSIONS, MAX_METADATA_NBYTES, MAX_NAME_NBYTES, MAX_TENSOR_NBYTES, MIB
from lamella.core.tensors import TensorSpec
from lamella.formats.base import TensorSpan
from lamella.formats.names import LINE_BREAKING
from lamella.formats.safetensors.header import METADATA

_CODES = (
    "BOOL F4 F6_E2M3 F6_E3M2 U8 I8 F8_E5M2 F8_E4M3 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ "
    "I16 U16 F16 BF16 I32 U32 F32 C64 F64 I64 U64"
)
_DTYPES: dict[bytes, DType] = {
    f'"{code}"'.encode(): DTYPES["f4_e2m1" if code == "F4" else code.lower()] for code in _CODES.split()
}
"""The dtypes of version 0.8 of the reference library, by their code as it stands in a header, quotes included."""

_MEMORY_NBYTES = 52 * MIB
"""What the values read from a header may take, beside as much as the header is long; a header that holds more is
refused. The rest of the 64 MB that a format may take is for the interpreter."""

_TENSOR_NBYTES = 264
_EXTENT_NBYTES = 48
_SHAPE_NBYTES = 256
_KEY_NBYTES = 384
"""What a tensor, an extent, a shape and a key of the metadata take in memory, beside their text. Fixed numbers: which
file is refused must not depend on the version of Python."""

_REWRITE = "write the file again with the safetensors library"

# The grammar is JSON's, but its depth is fixed, so that patterns can hold it. Every unbounded repetition is possessive
# (`*+`): nothing is tried twice, and matching takes linear time and no memory. The group that is repeated in a string
# consists of flat alternatives only: where one fails behind a choice or a repetition of its own, Python before 3.11.5
# goes on in the middle of it.
_BLANK = rb"[ \t\n\r]*+"
_ESCAPES = rb'\\["\\/bfnrt]|\\u[0-9A-CE-Fa-ce-f]hhh|\\u[Dd][0-7]hh|\\u[Dd][89ABab]hh\\u[Dd][C-Fc-f]hh'
_STRING = rb'"(?:[^"\\\x00-\x1f]++|%b)*+"' % _ESCAPES.replace(b"h", rb"[0-9A-Fa-f]")
_INDENT = rb"[ \t\n\r]{0,64}+"
_SIZE = _INDENT + rb"(?:0|[1-9][0-9]{0,18}+)" + _INDENT
_SIZES = rb"\[(?:%b|%b(?:,%b){0,%d})\]" % (_INDENT, _SIZE, _SIZE, MAX_DIMENSIONS - 1)
_COLON = _BLANK + rb":" + _BLANK

_ENTRY = re.compile(_BLANK + rb"(" + _STRING + rb")" + _COLON + rb"\{")
_FIELD_TEXT = _BLANK + rb'"(dtype|shape|data_offsets)"' + _COLON + rb'("[^"\\\x00-\x1f]{0,64}+"|' + _SIZES + rb")"
_FIELD = re.compile(_FIELD_TEXT)
_FIELDS = re.compile((_BLANK + rb",").join([_FIELD_TEXT] * 3) + _BLANK + rb"\}")
_PAIR = re.compile(_BLANK + rb"(" + _STRING + rb")" + _COLON + rb"(" + _STRING + rb")")
_SEPARATOR = re.compile(_BLANK + rb"([,}])")
_CLOSE = re.compile(_BLANK + rb"\}")
_END = re.compile(_BLANK + rb"\Z")
_TOO_DEEP = re.compile(_BLANK + rb"(?:" + _STRING + _COLON + rb")?[\[{]" + _BLANK + rb"[\[{]")


def read_header(text: bytes, data_start: int) -> list[TensorSpan]:
    """Return the tensors that `text`, which is UTF-8, lists, in file order; `data_start` is where offset 0 lies.

    An empty tensor comes before the one that begins where it lies, and those at one place go by name. No name comes
    twice; whether tensors overlap or leave the file is the caller's to check. Raises FormatError where `text` is not
    such a header, or where what it lists would take more memory than a format may.
    """
    tensors = _Header(text, data_start).tensors()
    tensors.sort(key=lambda span: span.spec.name)
    for one, other in pairwise(tensors):
        if one.spec.name == other.spec.name:
            raise _duplicate(one.spec.name)
    tensors.sort(key=lambda span: 2 * span.offset + (span.spec.nbytes > 0))
    return tensors


def read_metadata(text: bytes) -> dict[str, str]:
    """Return the metadata of a header, values cut to what a person reads; raise FormatError as `read_header` does."""
    header = _Header(text, 0)
    header.tensors()
    return {key: header.value(span) for key, span in header.metadata.items()}


class _Header:
    """A reader that goes through the text once, from front to back."""

    def __init__(self, text: bytes, data_start: int) -> None:
        self._text = text
        self._data_start = data_start
        self._at = 0
        self._memory_nbytes = _MEMORY_NBYTES + len(text)
        self._shapes: dict[bytes, tuple[int, ...]] = {}
        self.metadata: dict[str, tuple[int, int]] = {}

    def tensors(self) -> list[TensorSpan]:
        """Return the tensors in the order in which they are listed."""
        if self._text[:1] != b"{":
            raise self._malformed("a brace was expected")
        self._at = 1
        tensors: list[TensorSpan] = []
        has_metadata = False
        for match in self._members(_ENTRY):
            name = self._name(match[1])
            if name != METADATA:
                self._charge(_TENSOR_NBYTES + _text_nbytes(name))
                tensors.append(self._tensor(name))
            elif has_metadata:
                raise _duplicate(name)
            else:
                has_metadata = True
                self._check_metadata()
        if not _END.match(self._text, self._at):
            raise self._malformed("the end was expected")
        return tensors

    def _members(self, pattern: re.Pattern[bytes]) -> Iterator[re.Match[bytes]]:
        """Yield the members of the object whose opening brace was read, then read its closing brace."""
        if close := _CLOSE.match(self._text, self._at):
            self._at = close.end()
            return
        more = True
        while more:
            member = pattern.match(self._text, self._at)
            if member is None:
                raise self._malformed("another member was expected")
            self._at = member.end()
            yield member
            separator = _SEPARATOR.match(self._text, self._at)
            if separator is None:
                raise self._malformed("a comma or a brace was expected")
            self._at = separator.end()
            more = separator[1] == b","

    def _check_metadata(self) -> None:
        for pair in self._members(_PAIR):
            key = self._string(pair[1])
            self._charge(_KEY_NBYTES + _text_nbytes(key))
            if key in self.metadata:
                raise _duplicate(key)
            self.metadata[key] = pair.span(2)

    def value(self, span: tuple[int, int]) -> str:
        """Return a value of the metadata, cut where it is long: what is shown of it is never loaded again."""
        start, stop = span
        if stop - start <= MAX_METADATA_NBYTES:
            string: str = json.loads(self._text[start:stop].decode())
            return string
        return self._text[start + 1 : start + MAX_METADATA_NBYTES].decode(errors="ignore") + "..."

    def _tensor(self, name: str) -> TensorSpan:
        fields = self._fields(name)
        dtype = _DTYPES.get(fields[b"dtype"])
        if dtype is None:
            raise FormatError(
                f"dtype {shown(fields[b'dtype'].decode())} of tensor {shown(name)} is not known to this version",
                kind="dtype-unknown",
                hint="upgrade lamella if the file was made by a newer framework",
            )
        shape = self._shape(fields[b"shape"])
        offsets = self._sizes(fields[b"data_offsets"])
        nbits = prod(shape) * dtype.bits
        if len(offsets) != 2 or 8 * (offsets[1] - offsets[0]) != nbits:
            raise self._malformed(f"data_offsets of tensor {shown(name)} do not span its {nbits} bits")
        return TensorSpan(TensorSpec(name, dtype, shape), self._data_start + offsets[0])

    def _fields(self, name: str) -> dict[bytes, bytes]:
        """Return the three fields of a tensor, all matched at once; where they cannot be, one by one to say why."""
        if match := _FIELDS.match(self._text, self._at):
            found = match.groups()
            fields = dict(zip(found[::2], found[1::2], strict=True))
            if len(fields) == 3:
                self._at = match.end()
                return fields
        fields = {}
        for field in self._members(_FIELD):
            if field[1] in fields:
                raise _duplicate(field[1].decode())
            fields[field[1]] = field[2]
        raise self._malformed(f"tensor {shown(name)} lacks a dtype, a shape or data_offsets")

    def _shape(self, text: bytes) -> tuple[int, ...]:
        """Return a shape, one value for all tensors that have it written alike."""
        shape = self._shapes.get(text)
        if shape is None:
            shape = self._sizes(text)
            self._charge(_SHAPE_NBYTES + len(text) + _EXTENT_NBYTES * len(shape))
            if max(accumulate(shape, mul), default=0) > MAX_TENSOR_NBYTES:
                raise self._malformed("a shape holds more elements than a file can")
            self._shapes[text] = shape
        return shape

    def _sizes(self, text: bytes) -> tuple[int, ...]:
        """Return the numbers in a list, which has the syntax of `_SIZES` unless it is a string."""
        if text[:1] != b"[":
            raise self._malformed("a list of numbers was expected")
        inner = text[1:-1].strip()
        sizes = tuple(map(int, inner.split(b","))) if inner else ()
        if max(sizes, default=0) > MAX_TENSOR_NBYTES:
            raise self._malformed("a number is larger than any file")
        return sizes

    def _name(self, text: bytes) -> str:
        name = self._string(text)
        if LINE_BREAKING.search(name):
            raise self._malformed(f"name {shown(name)} is not one line of text")
        return name

    def _string(self, text: bytes) -> str:
        """Return the string that `text`, quotes included, stands for."""
        if len(text) > MAX_NAME_NBYTES:
            raise self._malformed(f"a name is longer than {MAX_NAME_NBYTES} bytes")
        string: str = json.loads(text.decode()) if b"\\" in text else text[1:-1].decode()
        return string

    def _charge(self, nbytes: int) -> None:
        self._memory_nbytes -= nbytes
        if self._memory_nbytes < 0:
            raise FormatError(
                "header lists more than a reader may hold in memory",
                kind="too-many-tensors",
                hint="split the model into several files",
            )

    def _malformed(self, reason: str) -> FormatError:
        if _TOO_DEEP.match(self._text, self._at):
            return malformed(f"it nests too deep at byte {self._at}", kind="header-too-deep")
        return malformed(f"{reason} at byte {self._at}")


def malformed(reason: str, kind: str = "header-malformed") -> FormatError:
    """Return the error of a header for which `reason` holds."""
    return FormatError(f"header is malformed: {reason}", kind=kind, hint=_REWRITE)


def shown(name: str) -> str:
    """Return `name` as a message shows it: quoted, and not at any length."""
    return repr(name if len(name) <= 80 else name[:77] + "...")


def _duplicate(name: str) -> FormatError:
    return malformed(f"it lists {shown(name)} twice", kind="name-duplicate")


def _text_nbytes(text: str) -> int:
    return len(text) if text.isascii() else 4 * len(text)
