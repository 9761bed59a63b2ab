"""Which format a file is: what describes it or its content decides, never its name alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from lamella.core.errors import FormatError
from lamella.core.limits import OPAQUE_AVERAGE_NBYTES
from lamella.formats.base import Beside, DescribedFormat, Format, Layout, RandomAccess, TensorSpan
from lamella.formats.hollow import WatchedFile, reads_again
from lamella.formats.opaque import OpaqueFormat
from lamella.formats.skeleton import check_size

OPAQUE = OpaqueFormat()
"""The format of every file that no format claims, or that is not what it claims."""

HEAD_NBYTES = 4096
"""What a format sees of a file before it claims it."""


def read_layout(
    file: RandomAccess,
    beside: Beside | None = None,
    formats: Sequence[Format] | None = None,
    described: Sequence[DescribedFormat] | None = None,
) -> tuple[Layout, FormatError | None]:
    """Return the layout of any file, and what is wrong with a file that is not the format it claims to be.

    What another file `beside` it says of a file decides: a file that is described may look like one of another format.
    Of others, the first format that claims the file has it; else it is opaque. A file that is malformed, or whose
    skeleton would be too large, is opaque too, and the error says why. Long runs of bytes that belong to no tensor
    become parts. Raises FormatError only where no layout can be had: the file shrank while it was read, or has more
    chunks than a manifest can list. By default the formats are those that are built in.
    """
    try:
        found = read_claimed(file, beside, formats, described)
    except FormatError as error:
        return OPAQUE.layout(file), error
    return found or OPAQUE.layout(file), None


def read_claimed(
    file: RandomAccess,
    beside: Beside | None = None,
    formats: Sequence[Format] | None = None,
    described: Sequence[DescribedFormat] | None = None,
) -> Layout | None:
    """Return the layout of a file of a known format, None where no format claims it; raise FormatError as they do."""
    from lamella.formats import builtin

    known = builtin.DESCRIBED if described is None else described
    layouts = (one.layout(file, beside) for one in known if beside is not None)
    found = next((layout for layout in layouts if layout is not None), None)
    reader = claimed_by(file, formats) if found is None else None
    watched = WatchedFile(file)
    if reader is not None:
        found = reader.layout(watched)
    if found is not None:
        found = _with_parts(file, found)
        check_size(found)
        certain = found.sealed or found.apart or watched.reads.are_apart(found.tensors)
        if not certain and not reads_again(file, found):
            raise FormatError(
                "what the file says depends on what its tensors hold",
                kind="header-malformed",
                hint="write the file again with its framework",
            )
    return found


def claimed_by(file: RandomAccess, formats: Sequence[Format] | None = None) -> Format | None:
    """Return the format that `file` claims to be of, the first of several; None where it is none of them."""
    from lamella.formats import builtin

    known = builtin.FORMATS if formats is None else formats
    head = bytes(file.read_at(0, min(HEAD_NBYTES, file.nbytes)))
    return next((one for one in known if one.sniff(head, file.nbytes)), None)


def is_described(container: str) -> bool:
    """Say whether a format is one whose files are described by others."""
    from lamella.formats import builtin

    return any(one.name == container for one in builtin.DESCRIBED)


def _with_parts(file: RandomAccess, layout: Layout) -> Layout:
    """Return a layout whose skeleton has no long runs: they are cut by their content, as files of no format are."""
    tensors = tuple(_filled(file, layout))
    return layout if len(tensors) == len(layout.tensors) else replace(layout, tensors=tensors)


def _filled(file: RandomAccess, layout: Layout) -> Iterator[TensorSpan]:
    end = 0
    for span in layout.tensors:
        yield from _cut(file, end, span.offset)
        yield span
        end = span.offset + span.spec.nbytes
    yield from _cut(file, end, layout.nbytes)


def _cut(file: RandomAccess, start: int, stop: int) -> Iterator[TensorSpan]:
    if stop - start > OPAQUE_AVERAGE_NBYTES:
        yield from OPAQUE.chunks(file, start, stop)
