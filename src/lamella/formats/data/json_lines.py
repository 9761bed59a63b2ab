"""Files of rows, each a line of JSON: recognised as data, without tensors; https://jsonlines.org describes them."""

from __future__ import annotations

import json
from collections.abc import Mapping

from lamella.core.limits import MAX_METADATA_NBYTES
from lamella.formats.base import Layout, RandomAccess
from lamella.formats.data.lines import first_text, layout_without_tensors, sampled_text, windows


class JsonLinesFormat:
    """Text of which every line is an object, or every line a list; there are two lines or more."""

    name = "jsonl"

    def sniff(self, head: bytes, nbytes: int) -> bool:
        """Claim text whose whole lines are rows, or whose first line is too long to be seen and may be one."""
        text = first_text(head, nbytes)
        if text == "" and nbytes > len(head):
            return head[:2] in (b'{"', b"[[", b'["', b"[{")
        return _rows(text) is not None

    def layout(self, file: RandomAccess) -> Layout:
        """Return a layout without tensors; that of an opaque file where the first MiB has lines that are no rows."""
        return layout_without_tensors(self.name, file, sound=_rows(sampled_text(file)) is not None)

    def metadata(self, file: RandomAccess) -> Mapping[str, str]:
        """Return the number of rows, and the keys of the first."""
        rows = _rows(sampled_text(file))
        if rows is None:
            return {}
        count, last = 0, b"\n"
        for window in windows(file):
            count += window.count(b"\n")
            last = window[-1:]
        found = {"rows": str(count + (last != b"\n"))}
        if isinstance(rows, dict):
            found["columns"] = ", ".join(rows)[:MAX_METADATA_NBYTES]
        return found


def _rows(text: str | None) -> dict[str, object] | list[object] | None:
    """Return the first row of a text of rows, None where it is none."""
    lines = (text or "").removesuffix("\n").split("\n")
    if len(lines) < 2 or lines[0][:1] not in ("{", "["):
        return None
    first = None
    for line in lines:
        if line[:1] != lines[0][:1]:
            return None
        try:
            row: dict[str, object] | list[object] = json.loads(line)
        except (ValueError, RecursionError):
            return None
        first = row if first is None else first
    return first
