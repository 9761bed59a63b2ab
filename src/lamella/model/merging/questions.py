"""What has to be known of one tensor before it is decided what becomes of it in a merge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lamella.core.tensors import TensorSpec
from lamella.model.merging import plan as words
from lamella.model.merging.averaging import by_itself, is_merged
from lamella.model.merging.choosing import strategy_named
from lamella.model.merging.models import Models
from lamella.model.merging.plan import BASE, Place
from lamella.model.merging.rules import FROM_BASE, OURS, THEIRS, Choice, Rules
from lamella.model.merging.slots import Slot
from lamella.model.merging.ties import Decisions
from lamella.model.tensor_names import gram_step, is_optimizer_state


@dataclass(frozen=True, slots=True)
class Question:
    """One slot: where its tensor is, which sides changed it, which of them are asked, and what somebody decided.

    `name` is what it is called in the result. `named` says whether somebody made the choice for just such tensors,
    `by_itself` that it follows from what the tensor is, and `resolved` is what was decided about just this conflict.
    `note` is worth telling where several sides are merged.
    """

    slot: Slot
    name: str
    base: Place | None
    sides: tuple[Place | None, ...]
    changed: tuple[int, ...]
    asked: tuple[Place | None, ...]
    choice: Choice
    named: bool
    by_itself: bool
    resolved: Choice | None
    note: str

    @property
    def is_taken(self) -> bool:
        """Whether one side's tensor, or the base's, is what somebody wants."""
        return (self.resolved or self.choice).strategy in (OURS, THEIRS, FROM_BASE)


def ask(models: Models, slot: Slot, rules: Rules, decisions: Decisions) -> Question:
    """Return what is to be decided about a slot.

    Where only its name was in conflict, and somebody decided, that is settled.
    """
    base = None if slot.base is None else Place(BASE, slot.base)
    sides = tuple(models.find(number, name) for number, name in enumerate(slot.sides))
    before = models.content(base)
    changed = tuple(number for number, side in enumerate(sides) if models.content(side) != before)
    choice, named = decisions.chosen(slot.name)
    note, shown = slot.note, next((side for side in sides if side is not None), None)
    own = None if shown is None or named else _by_itself(models.spec(shown), choice)
    if own is not None:
        choice, note = own
    everyone = not rules.settles and bool(changed) and _concerns_all(models, choice, named, base, sides, changed)
    asked = sides if everyone else tuple(sides[number] for number in changed)
    resolved = decisions.resolved(slot.name)
    question = Question(slot, slot.name, base, sides, changed, asked, choice, named, own is not None, resolved, note)
    return _called(question, resolved or choice)


def _by_itself(spec: TensorSpec, choice: Choice) -> tuple[Choice, str] | None:
    """Return what becomes of a tensor that a choice for all does not fit, and a note; None where it fits."""
    if choice.strategy in (OURS, THEIRS, FROM_BASE):
        return None
    strategy, why = by_itself(spec, spec.name)
    if strategy:
        return Choice(strategy), why
    if strategy_named(choice.strategy).beside and (is_optimizer_state(spec.name) or gram_step(spec.name) is not None):
        return Choice("linear"), "kept beside the weights: the mean is taken"
    return None


def _concerns_all(
    models: Models,
    choice: Choice,
    named: bool,
    base: Place | None,
    sides: Sequence[Place | None],
    changed: Sequence[int],
) -> bool:
    """Say whether a strategy goes over what one side alone changed, too, where rules want that.

    That is for numbers: what is new, gone, resized, cast or no float is settled, whatever the rules.
    """
    there = [place for place in (*sides, *((base,) if models.has_base else ())) if place is not None]
    if len(there) < len(sides) + models.has_base:
        return False
    if choice.strategy in (OURS, THEIRS, FROM_BASE):
        return True
    if strategy_named(choice.strategy).adds and list(changed) == [0]:
        return False
    specs = [models.spec(place) for place in there]
    alike = len({(spec.dtype, spec.shape) for spec in specs}) == 1
    return alike and is_merged(specs[0].dtype, choice.strategy, named=named)


def _called(question: Question, decided: Choice) -> Question:
    slot, sides = question.slot, len(question.sides)
    if not slot.called or not (question.resolved or question.is_taken):
        return question
    name = slot.called[{OURS: 0, THEIRS: sides - 1, FROM_BASE: sides}.get(decided.strategy, 0)] or slot.name
    if slot.conflict is not None and slot.conflict.kind == words.BOTH_RENAMED:
        slot = replace(slot, conflict=None)
    return replace(question, name=name, slot=slot)
