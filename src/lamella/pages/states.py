"""What became of each tensor, in one word that readers can filter by."""

from __future__ import annotations

from lamella.model.difference import TensorDifference

CHANGED, SLIGHT, ROUNDING, SAME, UNREAD, ADDED, REMOVED = (
    "changed",
    "slight",
    "rounding",
    "same",
    "unread",
    "added",
    "removed",
)
STATES = (CHANGED, SLIGHT, ROUNDING, SAME, UNREAD, ADDED, REMOVED)
"""Every tensor is in one of these: its mean |b - a| exceeds epsilon; or does not; or it was only
rounded; or all is as it was; or nothing can be measured; or one side lacks it."""

LABELS = ("changed", "within ε", "rounding only", "same", "not compared", "added", "removed")
"""What pages call the states, in their order."""

RENAMED, RECAST, RESIZED = "renamed", "recast", "resized"
FLAGS = (RENAMED, RECAST, RESIZED)
"""What can be true of a tensor beside its state: it has another name, another dtype, another shape."""


def state(difference: TensorDifference) -> str:
    """Return the one of STATES that holds for a tensor that is on both sides."""
    found = difference.measures
    if difference.same:
        return SAME
    if found is None:
        return UNREAD
    if not found.changed:
        return SAME
    if difference.rounding_only:
        return ROUNDING
    return CHANGED if difference.change_point else SLIGHT


def flags(difference: TensorDifference) -> tuple[str, ...]:
    """Return the FLAGS that hold for a tensor that is on both sides."""
    holds = (difference.pair.renamed, difference.recast, difference.before.shape != difference.after.shape)
    return tuple(flag for flag, true in zip(FLAGS, holds, strict=True) if true)
