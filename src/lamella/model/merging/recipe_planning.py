"""Deciding what becomes of every tensor of a recipe: the formula it says for all, and nothing settled before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lamella.core.dtypes import dtype_named
from lamella.core.errors import UsageError
from lamella.core.tensors import TensorSpec
from lamella.model.merging import plan as words
from lamella.model.merging.averaging import by_itself, is_averaged
from lamella.model.merging.choosing import settings_for, strategy_named
from lamella.model.merging.models import Models
from lamella.model.merging.plan import Action, Compute, MergePlan, Place, PlannedTensor, Take
from lamella.model.merging.recipe import Parameters, Recipe, value_of
from lamella.model.merging.recipe_methods import check_parameter, fitting, method_named
from lamella.model.merging.recipe_slots import RecipeSlot, RecipeSlots
from lamella.model.merging.rules import Choice
from lamella.model.merging.strategy import Settings
from lamella.model.merging.sums import ordered_sum


def plan_recipe(recipe: Recipe, models: Models, numbers: Mapping[str, int]) -> MergePlan:
    """Return what becomes of every tensor that a recipe makes; `numbers` are those of `models`, by their names in it.

    No weight is read. Raises UsageError (bad-argument) for methods and parameters that there are not, models that do
    not fit together, and tensors that cannot be averaged.
    """
    planner = _Planner(recipe, models)
    # Digests are asked for once all is known to fit: they read the files.
    asked = {slot.name: planner.asked(slot) for slot in RecipeSlots(recipe, models, numbers)}
    return MergePlan(tuple(map(planner.planned, asked.values())), warnings=recipe.warnings)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A tensor of the result, and what goes into it; without `settings` it is what the base has."""

    spec: TensorSpec
    settings: Settings | None
    base: Place | None
    places: tuple[Place, ...]


_Part = tuple[Parameters, Place]
"""One that takes part in a tensor: what goes for it alone, and where its tensor is."""


class _Planner:
    """One recipe, its method looked up."""

    def __init__(self, recipe: Recipe, models: Models) -> None:
        self._recipe, self._models = recipe, models
        self._method = method_named(recipe.method)
        self._strategy = strategy_named(self._method.strategy)
        self._has_base = self._method.has_base or (recipe.method == "nuslerp" and recipe.base is not None)
        levels = [*recipe.parameters]
        for part in recipe.slices:
            levels += [part.parameters, *(source.parameters for source in part.sources)]
        for name in {name for level in levels for name in level}:
            check_parameter(recipe.method, name)
        sources = {source.model for part in recipe.slices for source in part.sources}
        if recipe.base is not None and recipe.base not in sources and not (self._has_base or self._slerps):
            hint = "name it as one of the models, or leave out `base_model:`"
            raise _refused(f"the method {recipe.method} has no base, and {recipe.base} is none of its models", hint)

    @property
    def _slerps(self) -> bool:
        return self._recipe.method == "slerp"

    def asked(self, slot: RecipeSlot) -> _Asked:
        """Return what goes into a tensor; raise UsageError (bad-argument) where that does not fit together."""
        parts = self._slerped(slot) if self._slerps else self._parts(slot)
        base = slot.base if self._has_base else None
        places = [place for _, place in parts]
        spec = self._spec(slot, places if base is None else [base, *places])
        if base is not None and self._method.has_base and self._method.weight:
            heard = zip(parts, self._each(slot, parts, self._method.weight, None), strict=True)
            parts = [part for part, weight in heard if weight]
        settings = self._settings(slot, parts) if parts else None
        return _Asked(spec, settings, base, tuple(place for _, place in parts))

    def planned(self, asked: _Asked) -> PlannedTensor:
        """Return what becomes of one tensor."""
        spec, base, places = asked.spec, asked.base, asked.places
        action: Action
        if asked.settings is None:
            assert base is not None
            action = _as_it_is(self._models, spec, base)
        else:
            action = self._action(spec, asked.settings, base, list(places))
        state = words.UNCHANGED if isinstance(action, Take) else words.MERGED
        larger = isinstance(action, Compute) and action.strategy == "larger"
        note = by_itself(spec, spec.name)[1] if larger else ""
        return PlannedTensor(spec, state, tuple(place.side for place in places), action, note=note)

    def _parts(self, slot: RecipeSlot) -> list[_Part]:
        """Return the models that take part beside the base; raise UsageError where they are too few or too many."""
        method, name = self._method, self._recipe.method
        if self._has_base and slot.base is None:
            told = slot.part.base or self._recipe.base
            hint = "name it as a source too, with its layers" if told else "say `base_model:`"
            raise _refused(f"the method {name} works on changes, and {slot.name} has no base", hint)
        sources = zip(slot.part.sources, slot.places, strict=True)
        found = [(source.parameters, at) for source, at in sources if not (self._has_base and at == slot.base)]
        if len(found) < method.least or (method.most is not None and len(found) > method.most):
            wanted = f"at least {method.least}" if len(found) < method.least else f"at most {method.most}"
            said = f"the method {name} merges {wanted} models, and {slot.name} is made of {len(found)}"
            hint = "the base does not count" if self._has_base else "name as many in `models:`, or in each slice"
            raise _refused(said, hint)
        return found

    def _slerped(self, slot: RecipeSlot) -> list[_Part]:
        """Return the two models of a slerp, which goes from the base to the other."""
        others = [place for place in slot.places if place != slot.base]
        if slot.base is None or len(others) != 1:
            hint = "name two, and one of them again as `base_model:`"
            raise _refused("the method slerp goes from its base to one other model", hint)
        return [({}, slot.base), ({}, others[0])]

    def _spec(self, slot: RecipeSlot, places: Sequence[Place]) -> TensorSpec:
        """Return the tensor as it will be; raise UsageError where the models do not have it alike."""
        specs = [self._models.spec(place) for place in places]
        shapes = {spec.shape for spec in specs}
        if len(shapes) > 1:
            shown = " and ".join(f"[{','.join(map(str, shape))}]" for shape in sorted(shapes))
            rows = len({shape[1:] for shape in shapes}) == 1
            hint = "vocabularies have to be made equal first" if rows else "only models of one architecture are merged"
            raise _refused(f"{slot.name} has the shapes {shown}", hint)
        dtypes = {spec.dtype.name: spec.dtype for spec in specs}
        averaged = all(is_averaged(dtype, named=False) for dtype in dtypes.values())
        if averaged and self._recipe.dtype is not None and not any(name.startswith("c") for name in dtypes):
            return TensorSpec(slot.name, dtype_named(self._recipe.dtype), specs[0].shape)
        if len(dtypes) > 1:
            raise _refused(f"{slot.name} has the dtypes {' and '.join(sorted(dtypes))}", "say `dtype:` in the recipe")
        return TensorSpec(slot.name, specs[0].dtype, specs[0].shape)

    def _settings(self, slot: RecipeSlot, parts: Sequence[_Part]) -> Settings:
        method, common = self._method, (slot.part.parameters, *self._recipe.parameters)
        values = dict(method.fixed)
        for name, only in method.only.items():
            if self._value(common, name, slot.name, slot.depth, only) != only:
                raise _refused(
                    f"the method {self._recipe.method} is computed with {name} {only:g} only", "leave it out"
                )
        for name, passed in method.shared.items():
            values[passed.called] = self._value(common, name, slot.name, slot.depth, passed.default)
        told = {passed.called: self._each(slot, parts, name, passed.default) for name, passed in method.each.items()}
        told = dict(fitting(method.strategy, told))
        weights = self._each(slot, parts, method.weight, method.unweighted) if method.weight else ()
        if self._recipe.method == "nuslerp":
            total = ordered_sum(weights)
            values |= {"t": weights[1] / total if total else 0.5, "changes": float(self._has_base)}
            weights = ()
        alone = [{name: each[number] for name, each in told.items()} for number in range(len(parts))]
        first, *_ = [self._checked({**values, **one}, weights, len(parts)) for one in alone]
        settings = replace(first, apart=told)
        self._strategy.check(settings)
        return settings

    def _each(self, slot: RecipeSlot, parts: Sequence[_Part], name: str, otherwise: float | None) -> tuple[float, ...]:
        """Return what a parameter is for every model."""
        common = (slot.part.parameters, *self._recipe.parameters)
        return tuple(self._value((own, *common), name, place.name, slot.depth, otherwise) for own, place in parts)

    def _checked(self, values: Mapping[str, float], weights: Sequence[float], count: int) -> Settings:
        choice = Choice(self._method.strategy, values)
        return settings_for(choice, weights, range(count), count, has_base=self._has_base)

    def _value(
        self, levels: Sequence[Parameters], parameter: str, name: str, depth: float, otherwise: float | None
    ) -> float:
        found = value_of(levels, parameter, name, depth)
        if found is not None or otherwise is not None:
            return float(found if found is not None else otherwise or 0.0)
        hint = f"say it for every model, or under `parameters:` for all; {name} has none"
        raise _refused(f"the method {self._recipe.method} needs {parameter!r}", hint)

    def _action(self, spec: TensorSpec, settings: Settings, base: Place | None, places: list[Place]) -> Action:
        """Return what makes a tensor: the bytes of one model where the formula cannot change them."""
        models, everything = self._models, places if base is None else [base, *places]
        kept = {models.spec(place).dtype.name for place in everything}
        alike = len(everything) == 1 or len({models.content(place) for place in everything}) == 1
        averaged = is_averaged(models.spec(places[0]).dtype, named=False)
        if alike and (averaged or kept == {spec.dtype.name}) and (base is not None or self._keeps(settings)):
            return _as_it_is(models, spec, places[0])
        if by_itself(models.spec(places[0]), spec.name)[0] == "larger":
            count = len(everything)
            return Compute(
                "larger",
                settings_for(Choice("larger"), (), range(count), count, has_base=False),
                None,
                tuple(everything),
            )
        if not averaged:
            hint = "make it the same in all models first"
            raise _refused(f"{spec.name} is {spec.dtype.name}, which no formula takes, and would change", hint)
        if self._strategy.symmetric and len(places) > 1:
            places, settings = _ordered(models, places, settings)
        return Compute(self._method.strategy, settings, base, tuple(places))

    def _keeps(self, settings: Settings) -> bool:
        """Say whether what is the same on all sides stays as it is."""
        scales = self._method.strategy == "linear" and not settings.values["normalize"]
        return not scales or ordered_sum(settings.weights) == 1


def _as_it_is(models: Models, spec: TensorSpec, place: Place) -> Action:
    """Return what leaves a tensor as it is at a place, but for its dtype."""
    if models.spec(place).dtype == spec.dtype:
        return Take(place)
    return Compute("linear", Settings({"normalize": 0.0}, (1.0,)), None, (place,))


def _ordered(models: Models, places: list[Place], settings: Settings) -> tuple[list[Place], Settings]:
    """Return the sides in the order of their contents, and what each is told."""

    def key(number: int) -> tuple[bytes, tuple[float, ...], list[tuple[float, ...]]]:
        apart = [settings.apart[name][number : number + 1] for name in sorted(settings.apart)]
        return models.digest(places[number]), settings.weights[number : number + 1], apart

    order = sorted(range(len(places)), key=key)
    apart = {name: tuple(told[number] for number in order) for name, told in settings.apart.items()}
    weights = tuple(settings.weights[number] for number in order)
    return [places[number] for number in order], replace(settings, weights=weights, apart=apart)


def _refused(message: str, hint: str) -> UsageError:
    return UsageError(message, kind="bad-argument", hint=hint)
