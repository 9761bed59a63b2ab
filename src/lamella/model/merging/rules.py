"""What the user wants of a merge: a strategy for every tensor, by patterns of names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

OURS, THEIRS, FROM_BASE = "ours", "theirs", "base"
"""The strategies that take a side's bytes as they are."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A strategy by its name, and the parameters that are not as the strategy has them by default."""

    strategy: str
    parameters: Mapping[str, float] = field(default_factory=dict)


DEFAULT = Choice("three-way")


@dataclass(frozen=True, slots=True)
class Rules:
    """How models are merged.

    `choices` are pairs of a pattern of names as shells have them, or a name, and a choice; the last one that fits
    decides, else `choice`. `resolutions` have what somebody decided about single tensors, and go before all else.
    `weights` has one number for each side, or none. `settles` says whether what one side alone changed is taken from it
    as it is; without that the strategy goes over all that is not the same on all sides, as running averages and recipes
    want it. `opposition` is from 0 to 1: where the default meets changes that are opposed by as much
    (`Score.is_opposed`), it stops; a strategy that somebody chose goes on.
    """

    choice: Choice = DEFAULT
    choices: tuple[tuple[str, Choice], ...] = ()
    resolutions: Mapping[str, Choice] = field(default_factory=dict)
    weights: tuple[float, ...] = ()
    settles: bool = True
    opposition: float = 0.5

    def chosen(self, name: str) -> tuple[Choice, bool]:
        """Return the choice for a tensor that is to be merged, and whether somebody made it for just such tensors."""
        if name in self.resolutions:
            return self.resolutions[name], True
        for pattern, choice in reversed(self.choices):
            if pattern == name or fnmatchcase(name, pattern):
                return choice, True
        return self.choice, False

    def resolved(self, name: str) -> Choice | None:
        """Return what somebody decided about a tensor in conflict."""
        return self.resolutions.get(name)
