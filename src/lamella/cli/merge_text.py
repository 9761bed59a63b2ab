"""Merges as text: what was taken from where, and what is left to decide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lamella.model.merging.score import Score
from lamella.repo.merge_state import FileMerge

_SHOWN = 5
"""Tensors in conflict that are named where there is a command that lists all."""

_TOLD = (
    ("ours", "from ours"), ("theirs", "from theirs"), ("both", "the same on both sides"),
    ("united", "united row by row"),
)  # fmt: skip


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
        parts.append(f"{len(file.conflicts):,} in conflict")
    if not parts:
        return "no tensor changed"
    number, _, rest = parts[0].partition(" ")
    return ", ".join([f"{number} tensor{'' if number == '1' else 's'} {rest}", *parts[1:]])


def shown_conflicts(file: FileMerge) -> Iterator[str]:
    """Yield a line for each of the first tensors in conflict."""
    for conflict in file.open[:_SHOWN]:
        yield f"{conflict.name}: {conflict.reason}"
    if len(file.open) > _SHOWN:
        yield f"and {len(file.open) - _SHOWN:,} more"


def sides_of(numbers: Sequence[int]) -> str:
    """Return who changed a tensor, in words."""
    names = {0: "ours", 1: "theirs"}
    told = [names.get(number, f"side {number + 1}") for number in numbers]
    return f"changed by {' and '.join(told)}" if told else "changed by nobody"


def measured(score: Score | None, *, cosine: bool = True) -> str:
    """Return how far the sides are at odds, to stand behind a reason; nothing where that was not measured."""
    if score is None:
        return ""
    rest = f", cosine {score.cosine:.2f}" if cosine else ""
    return f"; overlap {score.overlap:.2f}, clash {score.clash:.2f}{rest}"
