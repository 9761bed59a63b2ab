"""What becomes of every tensor in a merge, as values: decided before a byte of the result is written."""

from __future__ import annotations

from dataclasses import dataclass

from lamella.core.tensors import TensorSpec
from lamella.model.merging.strategy import Settings

BASE = -1
"""The number of the base where sides are numbered; the first side, ours, is 0."""

UNCHANGED, ONE_SIDED, AGREED, MERGED, ADDED, REMOVED = "unchanged", "one-sided", "agreed", "merged", "added", "removed"
"""States: no side changed it; one did; all that did made the same of it; several made something different of it and a
strategy has to say; it is new; it is gone."""

OPPOSED, NOT_FINITE, NOT_AVERAGED, SHAPES, DTYPES, EDITED_REMOVED, BOTH_ADDED, BOTH_RENAMED, UNMERGEABLE = (
    *("opposed", "not-finite", "not-averaged", "shapes", "dtypes", "changed-and-removed", "added-twice"),
    *("renamed-twice", "unmergeable"),
)
"""Kinds of conflicts: opposite moves beyond the bound; NaN or infinity that one side brings; integers and quantised
blocks that both changed; other shapes; other dtypes; removed by one side and changed by another; added by two under
one name; renamed by two; what the strategy itself refuses."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor is: a side, or the base, and its name there."""

    side: int
    name: str


@dataclass(frozen=True, slots=True)
class Take:
    """The bytes of one side, or of the base, as they are."""

    place: Place


@dataclass(frozen=True, slots=True)
class Compute:
    """A strategy over sides of one shape. `sides` take part; others left the tensor alone.

    Where it `stops`, changes that go opposite ways are a conflict.
    """

    strategy: str
    settings: Settings
    base: Place | None
    sides: tuple[Place, ...]
    stops: bool = False


@dataclass(frozen=True, slots=True)
class Rows:
    """So many rows of a stack: made by an action of as many rows of each of its places, the base first.

    `starts` are their first rows there.
    """

    count: int
    action: Take | Compute
    starts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Stack:
    """Rows upon rows along the first axis: what a vocabulary becomes that grew on several sides."""

    parts: tuple[Rows, ...]


Action = Take | Compute | Stack


@dataclass(frozen=True, slots=True)
class Conflict:
    """Why a tensor cannot be merged without being asked: a kind, and a sentence without a final period."""

    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """A tensor of the result: its state, the sides that changed it, and how it is made.

    Where there is a conflict, the action is what stands in the file until it is resolved, None for nothing, and
    `candidates` say what it may become. `note` is worth telling where there is none.
    """

    spec: TensorSpec
    state: str
    changed_by: tuple[int, ...]
    action: Action | None
    candidates: tuple[Place | None, ...] = ()
    conflict: Conflict | None = None
    note: str = ""

    @property
    def name(self) -> str:
        """Its name in the result."""
        return self.spec.name


@dataclass(frozen=True, slots=True)
class MergePlan:
    """All tensors of a merge, in the order of the result, those that are gone, and what to know before it is made.

    Where vocabularies were united by what they hold, `tokens` are those of the result, row by row, None for a row that
    stands for nothing.
    """

    tensors: tuple[PlannedTensor, ...]
    removed: tuple[PlannedTensor, ...] = ()
    warnings: tuple[str, ...] = ()
    tokens: tuple[str | None, ...] = ()

    @property
    def conflicts(self) -> tuple[PlannedTensor, ...]:
        """The tensors that somebody has to decide about."""
        return tuple(one for one in (*self.tensors, *self.removed) if one.conflict is not None)
