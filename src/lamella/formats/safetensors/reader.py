"""The safetensors container: a JSON header that says where each tensor lies, then the tensors, back to back."""

from __future__ import annotations

import codecs
from collections.abc import Mapping

from lamella.core.errors import FormatError
from lamella.core.limits import IO_NBYTES, MAX_SAFETENSORS_HEADER_NBYTES
from lamella.formats.base import Layout, RandomAccess, TensorSpan
from lamella.formats.safetensors.json_header import malformed, read_header, read_metadata, shown

_LENGTH_NBYTES = 8
"""The length of the header, little-endian, stands before the header."""


class SafetensorsFormat:
    """Files that the reference library reads, less those that no framework writes.

    Refused beyond what the library refuses: a header that does not begin with `{`; names or fields that come twice;
    entries that are not exactly dtype, shape and data_offsets; names that are not one line; and what exceeds
    `core.limits` or the memory that a format may take.
    """

    name = "safetensors"

    def sniff(self, head: bytes, nbytes: int) -> bool:
        """Claim files that begin with a length below 4 GiB and a brace."""
        return nbytes > _LENGTH_NBYTES and head[4:9] == b"\0\0\0\0{"

    def layout(self, file: RandomAccess) -> Layout:
        """Return where the tensors lie; raise FormatError where the file is not a safetensors file."""
        text = _read_text(file)
        data_start = _LENGTH_NBYTES + len(text)
        tensors = read_header(text, data_start)
        _check_cover(tensors, data_start, file.nbytes)
        return Layout(self.name, file.nbytes, tuple(tensors))

    def metadata(self, file: RandomAccess) -> Mapping[str, str]:
        """Return what the header says under `__metadata__`."""
        return read_metadata(_read_text(file))


def _read_text(file: RandomAccess) -> bytes:
    nbytes = int.from_bytes(file.read_at(0, _LENGTH_NBYTES), "little")
    if nbytes > MAX_SAFETENSORS_HEADER_NBYTES:
        raise FormatError(
            f"header claims {nbytes} bytes, more than any safetensors file has",
            kind="header-too-large",
            hint="split the model into several files",
        )
    text = bytes(file.read_at(_LENGTH_NBYTES, nbytes))
    windows = (text[start : start + IO_NBYTES] for start in range(0, nbytes, IO_NBYTES))
    try:
        for _ in codecs.iterdecode(windows, "utf-8"):
            pass
    except UnicodeDecodeError as exc:
        raise malformed("it is not UTF-8") from exc
    return text


def _check_cover(tensors: list[TensorSpan], data_start: int, file_nbytes: int) -> None:
    """Check that the tensors lie back to back from `data_start` to the end of the file."""
    end = data_start
    for span in tensors:
        if span.offset < end:
            raise malformed(f"tensor {shown(span.spec.name)} begins inside another", kind="span-overlap")
        if span.offset > end:
            raise malformed(f"no tensor has the bytes before {shown(span.spec.name)}")
        end += span.spec.nbytes
    if end > file_nbytes:
        raise FormatError(
            f"tensors end at byte {end} and the file at byte {file_nbytes}",
            kind="span-out-of-file",
            hint="the file was probably cut short; copy it again",
        )
    if end < file_nbytes:
        raise malformed(f"no tensor has the last {file_nbytes - end} bytes")
