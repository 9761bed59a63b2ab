"""Which format a file is: its content decides, never its name."""

from __future__ import annotations

from collections.abc import Sequence

from lamella.core.errors import FormatError
from lamella.formats.base import Format, Layout, RandomAccess
from lamella.formats.builtin import FORMATS, OPAQUE
from lamella.formats.skeleton import check_size

HEAD_NBYTES = 4096
"""What a format sees of a file before it claims it."""


def read_layout(file: RandomAccess, formats: Sequence[Format] = FORMATS) -> tuple[Layout, FormatError | None]:
    """Return the layout of any file, and what is wrong with a file that is not the format it claims to be.

    A file that no format claims is opaque. A file that is malformed, or whose skeleton would be too large, is opaque
    too, and the error says why. Raises FormatError only where no layout can be had: the file shrank while it was read,
    or has more chunks than a manifest can list.
    """
    head = bytes(file.read_at(0, min(HEAD_NBYTES, file.nbytes)))
    for candidate in formats:
        if candidate.sniff(head, file.nbytes):
            try:
                layout = candidate.layout(file)
                check_size(layout)
            except FormatError as error:
                return OPAQUE.layout(file), error
            return layout, None
    return OPAQUE.layout(file), None
