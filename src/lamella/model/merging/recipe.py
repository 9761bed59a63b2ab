"""A recipe: how one model is made of others, slice by slice and layer by layer, with what each of them is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Case:
    """What a parameter is for the tensors whose names contain `filter`, or for all where it is None.

    `gradient` is gone through over the depth, from the first layer to the last; a number is a gradient of one.
    """

    filter: str | None
    gradient: tuple[float, ...]

    def fits(self, name: str) -> bool:
        """Say whether a tensor is meant."""
        return self.filter is None or self.filter in name

    def at(self, depth: float) -> float:
        """Return the value at a depth from 0 to 1, interpolated linearly between its neighbours."""
        place = depth * (len(self.gradient) - 1)
        before = int(place)
        after = min(before + 1, len(self.gradient) - 1)
        share = place - before
        return self.gradient[before] + share * (self.gradient[after] - self.gradient[before])


Setting = tuple[Case, ...]
"""The cases of a parameter; the first that fits a tensor decides, and where none does the next level is asked."""

Parameters = Mapping[str, Setting]


@dataclass(frozen=True, slots=True)
class Source:
    """A model that a slice is made of, as the recipe calls it; `layers` are from the first up to the second, or all."""

    model: str
    layers: tuple[int, int] | None = None
    parameters: Parameters = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Slice:
    """Neighbouring layers of the result: what they are made of, and what goes for them alone."""

    sources: tuple[Source, ...]
    base: str | None = None
    parameters: Parameters = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A method, the slices that the result is made of, one upon the other, and what goes for all of them.

    `parameters` are the levels that are asked behind a slice's own, the nearest first. `dtype` is that of the result,
    None for that of the models. `warnings` say what the recipe asks for and nobody does.
    """

    method: str
    slices: tuple[Slice, ...]
    base: str | None = None
    parameters: tuple[Parameters, ...] = ()
    dtype: str | None = None
    warnings: tuple[str, ...] = ()

    def models(self) -> tuple[str, ...]:
        """Return the models that it names, each once, the base last where it is none of the others."""
        bases = [one for one in (*(part.base for part in self.slices), self.base) if one is not None]
        return tuple(dict.fromkeys([*(one.model for part in self.slices for one in part.sources), *bases]))


def value_of(levels: Sequence[Parameters], parameter: str, name: str, depth: float) -> float | None:
    """Return what a parameter is for a tensor, the nearest level first; None where no level says."""
    for level in levels:
        for case in level.get(parameter, ()):
            if case.fits(name):
                return case.at(depth)
    return None
