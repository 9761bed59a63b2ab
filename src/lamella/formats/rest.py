"""The rest of a file: the runs in which it says something that is neither a tensor nor follows from one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from lamella.formats.arrange import extent
from lamella.formats.base import Layout, Partial
from lamella.formats.sniff import HEAD_NBYTES
from lamella.formats.zip_archive import first_name, read_members

_STAMPS = (".data/serialization_id", "metadata.json")
"""Members that saving makes anew: PyTorch's checksum over all others, and when and by what Keras saved a model."""


def rest_runs(file: Partial, layout: Layout) -> Iterator[tuple[str, int, int]]:
    """Yield the runs of `file` that lie in no tensor, as (section, offset, nbytes), those of a section one by one.

    Of an archive a section is a member, called as in the folder that all are in, if they are: what stands between
    members is how it is packed. Any other file is one section. Each has a run, be it empty. What tensors hold need not
    be at hand. Raises FormatError as the reader of `layout` does.
    """
    starts, stops = _taken(layout)
    for section, at, end in _sections(file):
        number = bisect_right(stops, at)
        while number < len(starts) and starts[number] < end:
            yield section, at, max(0, starts[number] - at)
            at = stops[number]
            number += 1
        yield section, at, max(0, end - at)


def _taken(layout: Layout) -> tuple[list[int], list[int]]:
    """Return where the runs begin and end that tensors have; what lies between a view's elements counts as its own."""
    runs = [(span.offset, span.offset + span.spec.nbytes) for span in layout.tensors if span.spec.nbytes]
    runs += [extent(box, view.spec.dtype.bits // 8) for view in layout.views for box in view.boxes]
    starts: list[int] = []
    stops: list[int] = []
    for start, stop in sorted(runs):
        if stops and start <= stops[-1]:
            stops[-1] = max(stops[-1], stop)
        elif start < stop:
            starts.append(start)
            stops.append(stop)
    return starts, stops


def _sections(file: Partial) -> Iterator[tuple[str, int, int]]:
    if first_name(bytes(file.read_ahead(0, HEAD_NBYTES))) is None:
        yield "", 0, file.nbytes
        return
    members = read_members(file)
    folders = {member.name.partition("/")[0] if "/" in member.name else "" for member in members}
    folder = f"{folders.pop()}/" if len(folders) == 1 else ""
    for member in sorted(members, key=lambda member: member.name):
        name = member.name.removeprefix(folder)
        if name not in _STAMPS:
            yield name, member.offset, member.offset + member.nbytes
