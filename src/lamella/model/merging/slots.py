"""The tensors of several models that are the same one: what is merged with what."""

from __future__ import annotations

from dataclasses import dataclass

from lamella.model.merging.models import Models
from lamella.model.merging.plan import BASE, Conflict


@dataclass(frozen=True, slots=True)
class Slot:
    """A tensor of the result, called `name` there, and what it is called in the base and on every side, None for not.

    `conflict` is what is already wrong with it, `note` what is worth telling.
    """

    name: str
    base: str | None
    sides: tuple[str | None, ...]
    conflict: Conflict | None = None
    note: str = ""


def list_slots(models: Models) -> list[Slot]:
    """Return the slots in the order of the first side, what it lacks behind, in the order of the others."""
    listed = (*models.sides, *(() if models.base is None else (models.base,)))
    order = dict.fromkeys(spec.name for model in listed for spec in model.specs())

    def named(number: int, name: str) -> str | None:
        return None if models.find(number, name) is None else name

    return [
        Slot(
            name,
            named(BASE, name) if models.has_base else None,
            tuple(named(number, name) for number in range(len(models.sides))),
        )
        for name in order
    ]
