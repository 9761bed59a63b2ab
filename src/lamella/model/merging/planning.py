"""Deciding what becomes of every tensor in a merge, by the digests of contents: hardly a weight is read for it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from lamella.core.dtypes import DType
from lamella.core.tensors import TensorSpec
from lamella.model.merging import plan as words
from lamella.model.merging.averaging import is_averaged, is_merged
from lamella.model.merging.casts import is_mere_cast
from lamella.model.merging.choosing import check_rules, settings_for, strategy_named
from lamella.model.merging.completing import complete
from lamella.model.merging.models import Models
from lamella.model.merging.plan import BASE, Compute, Conflict, MergePlan, Place, PlannedTensor, Take
from lamella.model.merging.questions import Question, ask
from lamella.model.merging.relatedness import check_related
from lamella.model.merging.rules import DEFAULT, FROM_BASE, OURS, THEIRS, Choice, Rules
from lamella.model.merging.slots import list_slots
from lamella.model.merging.ties import Decisions
from lamella.model.merging.unions import Union, unite
from lamella.model.merging.vocabularies import Tell, Told


def plan_merge(models: Models, rules: Rules, vocabularies: Tell = dict) -> MergePlan:
    """Return what becomes of every tensor of the sides of `models`, the first of which is ours, since their base.

    `vocabularies` are asked what stands in the rows of embeddings, if any grew. Raises UsageError (bad-argument) for
    rules that name no strategy, or one that cannot merge these sides, or two for tensors that are one; and for models
    that have nothing in common.
    """
    check_rules(rules, len(models.sides))
    slots = list_slots(models)
    told = Told(vocabularies)
    check_related(models, slots, rules)
    decisions = Decisions(models, slots, rules)
    planned: list[PlannedTensor] = []
    tokens: tuple[str | None, ...] = ()
    for slot in slots:
        question = ask(models, slot, rules, decisions)
        found = _planned(question, models, rules, told)
        planned.append(found if isinstance(found, PlannedTensor) else _united(question, models, found))
        tokens = tokens or (() if isinstance(found, PlannedTensor) else found.tokens)
    known = len(told.tokens(BASE)) if tokens else 0
    return complete(models, slots, planned, tokens, known, told.warnings)


def _planned(question: Question, models: Models, rules: Rules, vocabularies: Told) -> PlannedTensor | Union:
    base, asked = question.base, question.asked
    if question.slot.conflict is not None:
        return _stopped(question, models, question.slot.conflict)
    if not question.changed:
        return _taken(question, models, words.UNCHANGED, question.sides[0] or base)
    if len({models.content(one) for one in asked}) == 1:
        state = words.ONE_SIDED if len(question.changed) == 1 else words.AGREED
        if asked[0] is None:
            state = words.REMOVED
        elif base is None:
            state = words.ADDED if models.has_base else words.UNCHANGED
        return _taken(question, models, state, asked[0])
    there = [one for one in asked if one is not None]
    conflict = _conflict(question, models, there)
    if conflict is not None:
        return _stopped(question, models, conflict)
    if question.is_taken:
        return _resolved(question, models)
    if base is not None:
        united = unite(models, base, there, vocabularies, partial(_action, question, models, rules))
        if isinstance(united, Conflict):
            return _stopped(question, models, united)
        if united is not None:
            return united
    shapes = {models.spec(one).shape for one in _all(base, there)}
    if len(shapes) > 1:
        shown = " and ".join(f"[{','.join(map(str, shape))}]" for shape in sorted(shapes))
        return _stopped(question, models, Conflict(words.SHAPES, f"it has the shapes {shown}"))
    action, note = _combined(question, models, rules, base, there)
    spec = TensorSpec(question.name, _dtype(models, base, there), models.spec(there[0]).shape)
    return PlannedTensor(spec, words.MERGED, question.changed, action, question.sides, note=note)


def _combined(
    question: Question, models: Models, rules: Rules, base: Place | None, sides: Sequence[Place]
) -> tuple[Take | Compute, str]:
    """Return what merges sides of one shape, and a note; what a side merely cast, the others have changed."""
    casts = [] if base is None else [side for side in sides if is_mere_cast(models, base, side)]
    others = [side for side in sides if side not in casts]
    if not casts or len(others) > 1:
        return _action(question, models, rules, base, others), question.note
    if not others:
        return Take(casts[0]), "cast to two dtypes: the first is taken"
    settings = settings_for(Choice("linear"), (), [others[0].side], len(question.sides), has_base=False)
    return Compute("linear", settings, None, tuple(others)), "cast as one side did"


def _all(base: Place | None, sides: Sequence[Place]) -> tuple[Place, ...]:
    return tuple(sides) if base is None else (base, *sides)


def _dtype(models: Models, base: Place | None, sides: Sequence[Place]) -> DType:
    """Return the dtype of the first side that changed it, else that of all."""
    own = [models.spec(one).dtype for one in sides]
    before = own[0] if base is None else models.spec(base).dtype
    return next((dtype for dtype in own if dtype != before), before)


def _conflict(question: Question, models: Models, there: Sequence[Place]) -> Conflict | None:
    """Return why what several sides changed cannot be given to a strategy, whatever their shapes."""
    if len(there) < len(question.asked):
        return Conflict(words.EDITED_REMOVED, "one side removed it and another changed it")
    if question.base is None and models.has_base and question.resolved is None:
        return Conflict(words.BOTH_ADDED, "several sides added it, each with other values")
    if question.is_taken:
        return None
    dtypes = [models.spec(one).dtype for one in _all(question.base, there)]
    names = sorted({dtype.name for dtype in dtypes})
    averaged = [is_averaged(dtype, named=question.named) for dtype in dtypes]
    is_real = {not name.startswith("c") for name in names}
    if len(names) > 1 and not (question.named and all(averaged) and len(is_real) == 1):
        return Conflict(words.DTYPES, f"it has the dtypes {' and '.join(names)}")
    if not is_merged(dtypes[0], question.choice.strategy, named=question.named):
        return Conflict(words.NOT_AVERAGED, f"several sides changed it, and {names[0]} is not averaged")
    return None


def _action(question: Question, models: Models, rules: Rules, base: Place | None, sides: Sequence[Place]) -> Compute:
    """Return what merges sides; what the strategy cannot do without a base has their weighted mean.

    Weights of sides that a mean cannot have, as those that unlearn, are heeded by the strategy that they are for alone.
    """
    choice, weights = question.choice, rules.weights
    strategy = strategy_named(choice.strategy)
    stands_in = question.by_itself
    if base is None and question.base is not None and strategy.needs_base:
        choice, strategy, stands_in = Choice("linear"), strategy_named("linear"), True
    if stands_in and weights and (min(weights) < 0 or not any(weights[one.side] for one in sides)):
        weights = ()
    if strategy.symmetric:
        sides = sorted(sides, key=lambda one: (models.digest(one), weights[one.side : one.side + 1]))
    numbers = [one.side for one in sides]
    settings = settings_for(choice, weights, numbers, len(question.sides), has_base=base is not None)
    return Compute(choice.strategy, settings, base, tuple(sides), stops=choice == DEFAULT and not question.named)


def _united(question: Question, models: Models, found: Union) -> PlannedTensor:
    one = models.spec(next(place for place in question.sides if place is not None))
    spec = TensorSpec(question.name, one.dtype, (found.rows, *one.shape[1:]))
    note = "; ".join(filter(None, (question.note, found.note)))
    return PlannedTensor(spec, words.MERGED, question.changed, found.stack, question.sides, note=note)


def _stopped(question: Question, models: Models, conflict: Conflict) -> PlannedTensor:
    """Return a tensor in conflict, or what somebody decided about it; ours stands in its place meanwhile."""
    if question.is_taken:
        return _resolved(question, models)
    ours, spec = question.sides[0], _spec(question, models, question.sides[0])
    action = None if ours is None else Take(ours)
    return PlannedTensor(spec, words.MERGED, question.changed, action, question.sides, conflict, question.note)


def _resolved(question: Question, models: Models) -> PlannedTensor:
    places = {OURS: question.sides[0], THEIRS: question.sides[-1], FROM_BASE: question.base}
    strategy = (question.resolved or question.choice).strategy
    return _taken(question, models, words.MERGED, places[strategy], note=f"{strategy}, as somebody decided")


def _taken(question: Question, models: Models, state: str, place: Place | None, note: str = "") -> PlannedTensor:
    action = None if place is None else Take(place)
    return PlannedTensor(
        _spec(question, models, place), state, question.changed, action, note=note or question.slot.note
    )  # fmt: skip


def _spec(question: Question, models: Models, place: Place | None) -> TensorSpec:
    """Return the spec of a tensor as it is at a place, or where it is at all, ours first."""
    shown = next(one for one in (place, *question.sides, question.base) if one is not None)
    spec = models.spec(shown)
    return TensorSpec(question.name, spec.dtype, spec.shape)
