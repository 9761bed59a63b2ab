"""NumPy's file of one array: a header that is a Python literal, matched and never evaluated, then the array."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from operator import mul

from lamella.core.dtypes import DTYPES, DType
from lamella.core.errors import FormatError
from lamella.core.limits import KIB, MAX_DIMENSIONS, MAX_TENSOR_NBYTES
from lamella.core.tensors import TensorSpec
from lamella.formats.arrange import arrange, row_major, strided
from lamella.formats.base import Layout, RandomAccess, TensorSpan, TensorView

MAGIC = b"\x93NUMPY"
TENSOR_NAME = "array"
"""What the one tensor of a file is called: the file gives it no name."""

_FIRST_NBYTES = 12
"""Magic, version and the longer of the two lengths; every file has as many."""

_MAX_HEADER_NBYTES = 64 * KIB
"""The header of an array; only those of structured arrays are longer, which are no tensors."""

_DTYPES = {
    "b1": "bool", "u1": "u8", "i1": "i8", "u2": "u16", "i2": "i16", "u4": "u32", "i4": "i32", "u8": "u64", "i8": "i64",
    "f2": "f16", "f4": "f32", "f8": "f64", "c8": "c64", "c16": "c128", "V1": "u8", "V2": "u16",
}  # fmt: skip
"""Dtypes by NumPy's code. Of an array of ml_dtypes, bfloat16 or float8, NumPy writes only the width of an item."""

# What NumPy writes, with any blanks, in any order. Nothing in it can be matched in two ways. The group of sizes is not
# possessive, as it might be: Python before 3.11.5 goes on in the middle of one that ends in what need not be there.
_BLANK = r"[ \t\r\n]*+"
_SIZES = rf"\((?:{_BLANK}[0-9]{{1,19}}L?{_BLANK},)*{_BLANK}(?:[0-9]{{1,19}}L?{_BLANK})?\)"
_PAIR = rf"{_BLANK}'(descr|fortran_order|shape)'{_BLANK}:{_BLANK}('[^'\\]{{0,64}}'|True|False|{_SIZES}){_BLANK}"
_HEADER = re.compile(rf"{_BLANK}\{{{_PAIR},{_PAIR},{_PAIR},?{_BLANK}\}}{_BLANK}")
_DESCR = re.compile(r"'([<>|=]?)([A-Za-z][0-9]{1,2})'")


@dataclass(frozen=True, slots=True)
class ArrayHeader:
    """What stands before an array: its text, and what it says where the array is a tensor."""

    text: str
    data_start: int
    dtype: DType | None
    swapped: bool
    in_columns: bool
    shape: tuple[int, ...]


class NpyFormat:
    """Files of versions 1.0 to 3.0, as https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html has them.

    An array of numbers is one tensor, a view where it lies in columns or in big-endian order. Items of one or two bytes
    without a type are tensors of `u8` or `u16`. Every other array (structured, of text, of dates, of pickled objects)
    is no tensor and stays as it is.
    """

    name = "npy"

    def sniff(self, head: bytes, nbytes: int) -> bool:
        """Claim files that begin with the magic."""
        return nbytes >= _FIRST_NBYTES and head[: len(MAGIC)] == MAGIC

    def layout(self, file: RandomAccess) -> Layout:
        """Return where the array lies; raise FormatError where the file is no such file."""
        header = read_array_header(file, 0, file.nbytes)
        if header is None:
            raise _malformed("it does not begin as arrays do")
        return arrange(self.name, file.nbytes, tensors_of(header, TENSOR_NAME, file.nbytes))

    def metadata(self, file: RandomAccess) -> Mapping[str, str]:
        """Return the header as it is written."""
        header = read_array_header(file, 0, file.nbytes)
        return {} if header is None else {"header": header.text[: 4 * KIB]}


def read_array_header(file: RandomAccess, start: int, stop: int) -> ArrayHeader | None:
    """Return the header of the array whose file lies from `start` to `stop`; None where something else lies there.

    Raises FormatError: header-malformed, header-too-large, file-truncated.
    """
    if stop - start < _FIRST_NBYTES:
        return None
    first = bytes(file.read_at(start, _FIRST_NBYTES))
    if first[: len(MAGIC)] != MAGIC:
        return None
    if (first[6], first[7]) not in ((1, 0), (2, 0), (3, 0)):
        raise _malformed(f"arrays of version {first[6]}.{first[7]} are not known to this version")
    at = 10 if first[6] == 1 else 12
    nbytes = int.from_bytes(first[8:at], "little")
    if start + at + nbytes > stop:
        raise FormatError(
            "the header of the array is cut short", kind="file-truncated", hint="copy the file again from its source"
        )
    if nbytes > _MAX_HEADER_NBYTES:
        raise FormatError(f"the header of the array has {nbytes} bytes", kind="header-too-large")
    text = bytes(file.read_at(start + at, nbytes)).decode("utf-8" if first[6] == 3 else "latin-1", "replace")
    return _parsed(text, start + at + nbytes)


def tensors_of(header: ArrayHeader, name: str, stop: int) -> list[TensorSpan | TensorView]:
    """Return the tensor that a header tells of, under `name`, or nothing; raise FormatError where it passes `stop`."""
    if header.dtype is None:
        return []
    spec = TensorSpec(name, header.dtype, header.shape)
    if header.data_start + spec.nbytes > stop:
        raise FormatError(
            f"array {name[:80]!r} has {spec.nbytes} bytes, and {stop - header.data_start} are there",
            kind="span-out-of-file",
            hint="the file was probably cut short; copy it again",
        )
    strides = row_major(spec)
    if header.in_columns:
        strides = tuple(accumulate(header.shape[:-1], mul, initial=header.dtype.bits // 8)) if header.shape else ()
    return [strided(spec, header.data_start, strides, swapped=header.swapped)]


def _parsed(text: str, data_start: int) -> ArrayHeader:
    nothing = ArrayHeader(text.rstrip(), data_start, None, False, False, ())
    match = _HEADER.fullmatch(text)
    if match is None:
        if not text.lstrip().startswith("{"):
            raise _malformed("it is no Python dictionary")
        return nothing
    fields = dict(zip(match.groups()[::2], match.groups()[1::2], strict=True))
    if len(fields) != 3:
        raise _malformed("a field comes twice")
    descr = _DESCR.fullmatch(fields["descr"])
    if descr is None or fields["fortran_order"][0] not in "TF" or fields["shape"][0] != "(":
        return nothing
    dtype = DTYPES.get(_DTYPES.get(descr[2], ""))
    if dtype is None or (descr[1] in ("", "=", "|") and dtype.bits > 8 and descr[2] != "V2"):
        return nothing
    shape = tuple(int(extent.rstrip("L")) for extent in re.findall("[0-9]+", fields["shape"]))
    if len(shape) > MAX_DIMENSIONS or max(*accumulate(shape, mul), *shape, 0, 0) > MAX_TENSOR_NBYTES // 16:
        raise _malformed("the array holds more than a file can")
    in_columns = fields["fortran_order"] == "True" and prod(shape) > 0
    return ArrayHeader(nothing.text, data_start, dtype, descr[1] == ">" and descr[2] != "V2", in_columns, shape)


def _malformed(reason: str) -> FormatError:
    return FormatError(f"header is malformed: {reason}", kind="header-malformed", hint="write the file with numpy.save")
