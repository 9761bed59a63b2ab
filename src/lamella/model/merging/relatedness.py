"""Whether models are versions of one: a merge of strangers is refused in one sentence, not tensor by tensor."""

from __future__ import annotations

from collections.abc import Sequence

from lamella.core.errors import UsageError
from lamella.model.merging.models import Models
from lamella.model.merging.plan import BASE, Place
from lamella.model.merging.rules import FROM_BASE, OURS, THEIRS, Rules
from lamella.model.merging.slots import Slot
from lamella.model.merging.unions import side_name

LEAST_SHARED = 0.1
"""Of the tensors of the smaller of two models, that the other one has, too, where they are versions of one."""


def check_related(models: Models, slots: Sequence[Slot], rules: Rules) -> None:
    """Raise UsageError (bad-argument) for sides that share hardly a tensor with what they are merged with.

    Where all that changed are the same, or one is wanted as it is, nothing is asked.
    """
    held = {number: [_content(models, slot, number) for slot in slots] for number in range(len(models.sides))}
    before = [_content(models, slot, BASE) for slot in slots]
    numbers = [
        number
        for number, contents in held.items()
        if contents != before and contents not in [held[one] for one in range(number)]
    ]
    if len(numbers) < 2 or rules.choice.strategy in (OURS, THEIRS, FROM_BASE):
        return
    first, *others = (BASE, *numbers) if models.has_base else numbers
    for number in others:
        one, other = (len(models.specs(which)) for which in (first, number))
        contents = before if first == BASE else held[first]
        shared = sum(None not in pair for pair in zip(contents, held[number], strict=True))
        if shared < LEAST_SHARED * min(one, other):
            origin = "the version that the sides come from" if first == BASE else side_name(first)
            raise UsageError(
                f"{side_name(number)} shares {shared} of {other} tensors with {origin}: "
                "they are different architectures",
                kind="bad-argument",
                hint="merge versions of one model, or take one side with `--strategy ours` or `theirs`",
            )


def _content(models: Models, slot: Slot, number: int) -> object:
    name = slot.base if number == BASE else slot.sides[number]
    return models.content(None if name is None else Place(number, name))
