"""Deciding what becomes of every tensor in a merge, by the digests of contents: no weight is read for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lamella.core.tensors import TensorSpec
from lamella.model.merging import plan as words
from lamella.model.merging.averaging import is_counter, is_merged
from lamella.model.merging.choosing import check_rules, settings_for, strategy_named
from lamella.model.merging.models import Models
from lamella.model.merging.plan import BASE, Compute, Conflict, MergePlan, Place, PlannedTensor, Take
from lamella.model.merging.rules import FROM_BASE, OURS, THEIRS, Choice, Rules
from lamella.model.merging.slots import Slot, list_slots


def plan_merge(models: Models, rules: Rules) -> MergePlan:
    """Return what becomes of every tensor of the sides of `models`, the first of which is ours, since their base.

    Raises UsageError (bad-argument) for rules that name no strategy, or one that cannot merge these sides.
    """
    check_rules(rules, len(models.sides))
    tensors: list[PlannedTensor] = []
    removed: list[PlannedTensor] = []
    for slot in list_slots(models):
        planned = _planned(_Question.of(models, slot, rules), models, rules)
        (removed if planned.action is None else tensors).append(planned)
    return MergePlan(tuple(tensors), tuple(removed))


@dataclass(frozen=True, slots=True)
class _Question:
    """One slot: where its tensor is, which sides changed it, and which of them are asked what it is to be."""

    slot: Slot
    base: Place | None
    sides: tuple[Place | None, ...]
    changed: tuple[int, ...]
    asked: tuple[Place | None, ...]

    @classmethod
    def of(cls, models: Models, slot: Slot, rules: Rules) -> _Question:
        base = None if slot.base is None else Place(BASE, slot.base)
        sides = tuple(models.find(number, name) for number, name in enumerate(slot.sides))
        if models.has_base:
            changed = tuple(n for n, side in enumerate(sides) if models.content(side) != models.content(base))
        else:
            changed = tuple(n for n, side in enumerate(sides) if side is not None)
        return cls(slot, base, sides, changed, tuple(sides[n] for n in changed) if rules.settles else sides)


def _planned(question: _Question, models: Models, rules: Rules) -> PlannedTensor:
    base, asked = question.base, question.asked
    if question.slot.conflict is not None:
        return _stopped(question, models, rules, question.slot.conflict)
    if not question.changed:
        return _taken(question, models, words.UNCHANGED, question.sides[0] or base)
    if len({models.content(one) for one in asked}) == 1:
        state = words.ONE_SIDED if len(question.changed) == 1 else words.AGREED
        if asked[0] is None:
            state = words.REMOVED
        elif base is None:
            state = words.ADDED if models.has_base else words.UNCHANGED
        return _taken(question, models, state, asked[0])
    conflict = _conflict(models, base, asked)
    if conflict is not None:
        return _stopped(question, models, rules, conflict)
    return _merged(question, models, rules, [one for one in asked if one is not None])


def _conflict(models: Models, base: Place | None, asked: Sequence[Place | None]) -> Conflict | None:
    """Return why what several sides changed cannot be given to a strategy."""
    specs = [models.spec(one) for one in asked if one is not None]
    if len(specs) < len(asked):
        return Conflict(words.EDITED_REMOVED, "one side removed it and another changed it")
    if base is None and models.has_base:
        return Conflict(words.BOTH_ADDED, "several sides added it, each with other values")
    if base is not None:
        specs.append(models.spec(base))
    shapes, dtypes = {spec.shape for spec in specs}, {spec.dtype.name for spec in specs}
    if len(shapes) > 1:
        shown = " and ".join(f"[{','.join(map(str, shape))}]" for shape in sorted(shapes))
        return Conflict(words.SHAPES, f"it has the shapes {shown}")
    if len(dtypes) > 1:
        return Conflict(words.DTYPES, f"it has the dtypes {' and '.join(sorted(dtypes))}")
    return None


def _merged(question: _Question, models: Models, rules: Rules, asked: list[Place]) -> PlannedTensor:
    spec, name = models.spec(asked[0]), question.slot.name
    choice, named = rules.chosen(name)
    note = ""
    if not named and is_counter(spec, name):
        choice, note = Choice("larger"), "a counter: the larger value is taken"
    if choice.strategy in (OURS, THEIRS, FROM_BASE):
        return _resolved(question, models, choice)
    strategy = strategy_named(choice.strategy)
    if not is_merged(spec.dtype, choice.strategy, named=named):
        reason = f"several sides changed it, and {spec.dtype.name} is not averaged"
        return _stopped(question, models, rules, Conflict(words.NOT_AVERAGED, reason))
    if strategy.symmetric:
        asked = sorted(asked, key=lambda one: (models.digest(one), rules.weights[one.side : one.side + 1]))
    numbers = [one.side for one in asked]
    settings = settings_for(choice, rules.weights, numbers, len(question.sides), has_base=question.base is not None)
    action = Compute(choice.strategy, settings, question.base, tuple(asked), stops=not named)
    note = note or question.slot.note
    return PlannedTensor(_called(spec, name), words.MERGED, question.changed, action, question.sides, note=note)


def _stopped(question: _Question, models: Models, rules: Rules, conflict: Conflict) -> PlannedTensor:
    """Return a tensor in conflict, or what somebody decided about it; ours stands in its place meanwhile."""
    decided = rules.resolved(question.slot.name)
    if decided is not None and decided.strategy in (OURS, THEIRS, FROM_BASE):
        return _resolved(question, models, decided)
    ours = question.sides[0]
    spec = _called(models.spec(_shown(question)), question.slot.name)
    action = None if ours is None else Take(ours)
    return PlannedTensor(
        spec, words.MERGED, question.changed, action, question.sides, conflict, question.slot.note
    )  # fmt: skip


def _resolved(question: _Question, models: Models, choice: Choice) -> PlannedTensor:
    chosen = {OURS: question.sides[0], THEIRS: question.sides[-1], FROM_BASE: question.base}[choice.strategy]
    return _taken(question, models, words.MERGED, chosen, note=f"{choice.strategy}, as somebody decided")


def _taken(question: _Question, models: Models, state: str, place: Place | None, note: str = "") -> PlannedTensor:
    spec = _called(models.spec(place or _shown(question)), question.slot.name)
    action = None if place is None else Take(place)
    return PlannedTensor(spec, state, question.changed, action, note=note or question.slot.note)


def _shown(question: _Question) -> Place:
    """Return a place that the tensor is at, ours if it is there."""
    return next(one for one in (*question.sides, question.base) if one is not None)


def _called(spec: TensorSpec, name: str) -> TensorSpec:
    return TensorSpec(name, spec.dtype, spec.shape)
