"""What changed between two versions of a table: the value that reports show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ADDED, REMOVED, RETYPED = "added", "removed", "retyped"


@dataclass(frozen=True, slots=True)
class ColumnChange:
    """One column that is not as it was, `what` being a word from above, with its type on the sides that have it."""

    name: str
    what: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class LabelCount:
    """How many rows have one value of the column of labels."""

    value: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class TableDifference:
    """Two versions of a table. `kept` rows are in both, each as often as it is in both.

    Where `share` is less than 1, only so many of the rows were compared, drawn by their digests, and `kept` is
    estimated from them. Where `compared` is not None, the columns are not the same, and rows were compared in these,
    which both have. Where `at_least`, rows were not read one by one and more may be kept; `groups_kept` of
    `groups_before` and `groups_after` are then the groups of rows that are the same, byte for byte.

    `reordered` says that the rows are the same and stand in another order, `columns_reordered` that of the columns.
    `label` is the column of labels, None where there is none; `labels` are those that one side has more of than the
    other, the most changed first.
    """

    rows_before: int
    rows_after: int
    kept: int
    share: float = 1.0
    at_least: bool = False
    compared: tuple[str, ...] | None = None
    reordered: bool = False
    columns: tuple[ColumnChange, ...] = ()
    columns_reordered: bool = False
    label: str | None = None
    labels: tuple[LabelCount, ...] = ()
    groups_before: int = 0
    groups_after: int = 0
    groups_kept: int = 0

    @property
    def added(self) -> int:
        """How many rows are new."""
        return self.rows_after - self.kept

    @property
    def removed(self) -> int:
        """How many rows are gone."""
        return self.rows_before - self.kept

    @property
    def distance(self) -> float:
        """The Jaccard distance of the rows, 1 - |both| / |either|, from 0, the same, to 1, nothing in common.

        Rows with other columns are other rows: where the columns are not the same, it is 1. It is an estimate where
        `share` is less than 1, and an upper bound where `at_least`.
        """
        if self.compared is not None:
            return 1.0
        return jaccard_distance(self.rows_before, self.rows_after, self.kept)


def jaccard_distance(before: int, after: int, kept: int) -> float:
    """Return 1 - |A and B| / |A or B| of two sets of these sizes that have `kept` in common; 0 of two empty ones."""
    either = before + after - kept
    return 1 - kept / either if either else 0.0


def column_changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[ColumnChange, ...]:
    """Return the columns that came, went, or have values of another type; a column that is all empty has none."""
    gone = [ColumnChange(name, REMOVED, kind, None) for name, kind in before.items() if name not in after]
    new = [ColumnChange(name, ADDED, None, kind) for name, kind in after.items() if name not in before]
    other = [
        ColumnChange(name, RETYPED, before[name], kind)
        for name, kind in after.items()
        if before.get(name) and kind and before[name] != kind
    ]
    return (*gone, *new, *other)


def label_counts(before: Mapping[str, int], after: Mapping[str, int]) -> tuple[LabelCount, ...]:
    """Return how often each label is on either side, the most changed first; those that are as often are left out."""
    found = [LabelCount(value, before.get(value, 0), after.get(value, 0)) for value in {**before, **after}]
    changed = [one for one in found if one.before != one.after]
    return tuple(sorted(changed, key=lambda one: (-abs(one.after - one.before), one.value)))
