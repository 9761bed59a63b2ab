"""Merges as text: what was taken from where, and what is left to decide."""

from __future__ import annotations

from lamella.repo.merge_state import FileMerge

_TOLD = (("ours", "from ours"), ("theirs", "from theirs"), ("both", "the same on both sides"))


def in_words(file: FileMerge) -> str:
    """Return what merging a file found, as a sentence without a period."""
    counts = dict(file.counts)
    parts = [f"{counts[name]:,} {what}" for name, what in _TOLD if counts.get(name)]
    computed = sum(file.strategies.values())
    if computed:
        parts.append(f"{computed:,} merged by {', '.join(sorted(file.strategies))}")
    decided = counts.get("merged", 0) - computed
    if decided > 0:
        parts.append(f"{decided:,} as decided")
    if file.conflicts:
        parts.append(f"{len(file.conflicts):,} in conflict (`lamella conflicts`)")
    if not parts:
        return "no tensor changed"
    number, _, rest = parts[0].partition(" ")
    return ", ".join([f"{number} tensor{'' if number == '1' else 's'} {rest}", *parts[1:]])
