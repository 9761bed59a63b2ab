"""Files of text: their first lines, from which the format is told, and counting lines in bounded memory."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

from lamella.core.errors import FormatError
from lamella.core.limits import IO_NBYTES, MAX_ROW_NBYTES, MIB
from lamella.formats.base import Layout, RandomAccess
from lamella.formats.opaque import OpaqueFormat

SAMPLE_NBYTES = 1 * MIB
"""What is read of a file before it is taken for what it seems to be."""

_NO_TEXT = re.compile("[\x00-\x08\x0b\x0e-\x1f]")
_MARK = "\ufeff"


def first_text(head: bytes, nbytes: int) -> str | None:
    """Return the first bytes of a file of `nbytes` as text, without the line that is not whole; None where it is none.

    Text is UTF-8 with or without a mark, and has none of the control characters that no table contains.
    """
    stop = len(head) if len(head) == nbytes else head.rfind(b"\n") + 1
    try:
        text = head[:stop].decode().removeprefix(_MARK)
    except UnicodeDecodeError:
        return None
    return None if _NO_TEXT.search(text) else text


def sampled_text(file: RandomAccess) -> str | None:
    """Return the first SAMPLE_NBYTES of a file as `first_text` does."""
    return first_text(bytes(file.read_at(0, min(file.nbytes, SAMPLE_NBYTES))), file.nbytes)


def windows(file: RandomAccess) -> Iterator[bytes]:
    """Yield the bytes of a file from front to back, a MiB at most at a time."""
    for start in range(0, file.nbytes, IO_NBYTES):
        yield bytes(file.read_at(start, min(IO_NBYTES, file.nbytes - start)))


def lines(file: RandomAccess) -> Iterator[str]:
    """Yield the lines of a file without their ends, which may be of any kind; a mark at the begin is no part of them.

    What is no UTF-8 is kept by surrogates. Raises FormatError (rows-malformed) for a line that is longer than a row.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    rest, is_first = "", True
    for window in windows(file):
        text = decoder.decode(window)
        if is_first and text:
            text, is_first = text.removeprefix(_MARK), False
        rest += text
        # Of a return at the very end the other half may follow.
        held = "\r" if rest.endswith("\r") else ""
        if "\r" in rest:
            rest = rest.removesuffix(held).replace("\r\n", "\n").replace("\r", "\n") + held
        *whole, rest = rest.split("\n")
        if len(rest) > MAX_ROW_NBYTES:
            raise too_long()
        yield from whole
    rest = rest.removesuffix("\r") + decoder.decode(b"", final=True)
    if rest:
        yield rest


def too_long() -> FormatError:
    """Return the error of a row that is too long to be held."""
    return FormatError(
        f"a row takes more than {MAX_ROW_NBYTES // MIB} MiB", kind="rows-malformed", hint="compare such files as bytes"
    )


def layout_without_tensors(name: str, file: RandomAccess, *, sound: bool) -> Layout:
    """Return the layout of a file of data, all of it skeleton; that of an opaque one where it is not `sound`."""
    return Layout(name, file.nbytes, ()) if sound else OpaqueFormat().layout(file)
