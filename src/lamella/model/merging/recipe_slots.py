"""The tensors that a recipe makes: what each is called, what goes into it, and how deep in the model it is."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lamella.core.errors import UsageError
from lamella.core.limits import MAX_TENSORS
from lamella.model.merging.models import Models
from lamella.model.merging.plan import Place
from lamella.model.merging.recipe import Recipe, Slice, Source
from lamella.model.tensor_names import numbered

_BEGINS = re.compile(r"embed(?!_out)|embd|(?:^|[./])w[tp]e[./]", re.IGNORECASE)
"""What is in the names of tensors that stand before the layers; others outside the layers stand behind them."""

_RIVAL = 0.25
"""With so many of the largest stack's tensors, a second stack makes it unclear whose layers a number means."""


@dataclass(frozen=True, slots=True)
class RecipeSlot:
    """A tensor of the result, made by the slice `part` at a depth from 0 to 1.

    `places` are those of the slice's sources, in their order; `base` is one of them, or of a model beside them.
    """

    name: str
    part: Slice
    depth: float
    places: tuple[Place, ...]
    base: Place | None


@dataclass(frozen=True, slots=True)
class _Stack:
    """The layers of a model: what their names begin with, what each has behind its number, and all else."""

    prefix: str
    layers: Mapping[int, list[str]]
    outside: tuple[str, ...]


class RecipeSlots:
    """Lists the tensors that a recipe makes; `numbers` are those of the models, by what the recipe calls them."""

    def __init__(self, recipe: Recipe, models: Models, numbers: Mapping[str, int]) -> None:
        self._recipe, self._models, self._numbers = recipe, models, numbers
        self._stacks: dict[str, _Stack] = {}

    def __iter__(self) -> Iterator[RecipeSlot]:
        """Yield the tensors; raise UsageError (bad-argument) where a model lacks one, or layers."""
        whole = self._recipe.slices[0].sources[0].layers is None
        return self._whole(self._recipe.slices[0]) if whole else self._stacked()

    def _whole(self, part: Slice) -> Iterator[RecipeSlot]:
        """Yield the tensors of models that are merged as they are; each stack of layers has a depth of its own."""
        first = part.sources[0].model
        names, base = self._names(first), self._base(part)
        for model in (*(source.model for source in part.sources[1:]), *(() if base is None else (base,))):
            more = set(self._names(model)).difference(names)
            if more:
                raise _lacks(first, min(more))
        last: dict[str, int] = defaultdict(int)
        found = {name: numbered(name) for name in names}
        for stack, number, _ in filter(None, found.values()):
            last[stack] = max(last[stack], number)
        for name in names:
            layer = found[name]
            depth = 0.0 if layer is None else _depth(layer[1], last[layer[0]] + 1)
            places = tuple(self._place(source.model, name) for source in part.sources)
            yield RecipeSlot(name, part, depth, places, None if base is None else self._place(base, name))

    def _stacked(self) -> Iterator[RecipeSlot]:
        """Yield what stands before the layers, of the first slice, then slice upon slice, then what is behind."""
        first, last = self._recipe.slices[0], self._recipe.slices[-1]
        before, behind = (self._stack(part.sources[0].model).outside for part in (first, last))
        yield from (self._taken(first, name) for name in before if _BEGINS.search(name))
        layers = made = 0
        for part in self._recipe.slices:
            stack, (start, stop) = self._stack(part.sources[0].model), _layers(part.sources[0])
            for offset in range(stop - start):
                for rest in self._layer(part.sources[0], start + offset):
                    made += 1
                    if made > MAX_TENSORS:
                        said = f"the slices make more than {MAX_TENSORS:,} tensors"
                        raise UsageError(said, kind="bad-argument", hint="take fewer layers")
                    names = [self._called(source, offset, rest) for source in part.sources]
                    depth = _depth(offset, stop - start)
                    yield self._slot(part, f"{stack.prefix}{layers}{rest}", depth, names)
                layers += 1
        yield from (self._taken(last, name) for name in behind if not _BEGINS.search(name))

    def _taken(self, part: Slice, name: str) -> RecipeSlot:
        return self._slot(part, name, 0.0, [name] * len(part.sources))

    def _slot(self, part: Slice, name: str, depth: float, names: Sequence[str]) -> RecipeSlot:
        models = [source.model for source in part.sources]
        places = tuple(map(self._place, models, names))
        base = self._base(part)
        return RecipeSlot(name, part, depth, places, places[models.index(base)] if base in models else None)

    def _called(self, source: Source, offset: int, rest: str) -> str:
        number = _layers(source)[0] + offset
        self._layer(source, number)
        return f"{self._stack(source.model).prefix}{number}{rest}"

    def _base(self, part: Slice) -> str | None:
        return part.base or self._recipe.base

    def _names(self, model: str) -> list[str]:
        return [spec.name for spec in self._models.sides[self._numbers[model]].specs()]

    def _place(self, model: str, name: str) -> Place:
        found = self._models.find(self._numbers[model], name)
        if found is None:
            raise _lacks(model, name)
        return found

    def _layer(self, source: Source, number: int) -> list[str]:
        """Return the names of a layer's tensors, behind its number; raise UsageError where there is no such layer."""
        layers = self._stack(source.model).layers
        if number not in layers:
            said = f"{source.model} has no layer {number}"
            raise UsageError(said, kind="bad-argument", hint=f"it has the layers {min(layers)} to {max(layers)}")
        return layers[number]

    def _stack(self, model: str) -> _Stack:
        if model not in self._stacks:
            self._stacks[model] = _stack_of(model, self._names(model))
        return self._stacks[model]


def _stack_of(model: str, names: Sequence[str]) -> _Stack:
    """Return the layers of a model; raise UsageError (bad-argument) where it has none, or several stacks of them."""
    stacks: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name in names:
        layer = numbered(name)
        if layer is not None:
            stacks[layer[0]][layer[1]].append(layer[2])
    sizes = {prefix: sum(map(len, layers.values())) for prefix, layers in stacks.items()}
    largest = max(sizes.values(), default=0)
    rivals = [prefix for prefix, size in sizes.items() if size >= _RIVAL * largest]
    if len(rivals) != 1:
        shown = " and ".join(sorted(rivals)[:3]) or "none"
        said = f"slices take layers by their numbers, and {model} has more than one stack of them: {shown}"
        said = said if rivals else f"{model} has no layers with numbers"
        raise UsageError(said, kind="bad-argument", hint="merge whole models with `models:`")
    prefix = rivals[0]
    outside = tuple(name for name in names if (layer := numbered(name)) is None or layer[0] != prefix)
    return _Stack(prefix, dict(stacks[prefix]), outside)


def _depth(number: int, count: int) -> float:
    """Return where among so many layers one is; a single one is at the end, as mergekit has it."""
    return number / (count - 1) if count > 1 else 1.0


def _layers(source: Source) -> tuple[int, int]:
    if source.layers is None:
        said = f"a slice does not say which layers of {source.model} it takes"
        raise UsageError(said, kind="bad-argument", hint="the first 16 are `layer_range: [0, 16]`")
    return source.layers


def _lacks(model: str, name: str) -> UsageError:
    return UsageError(
        f"{model} has no tensor {name!r}, which another model of the recipe has",
        kind="bad-argument",
        hint="`lamella export --select '!NAME'` writes a model without a tensor",
    )
