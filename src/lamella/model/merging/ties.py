"""Tensors of a merge that are one: what had one content in the base, and whether the sides kept it so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from lamella.core.errors import UsageError
from lamella.model.merging.models import Models
from lamella.model.merging.plan import BASE, Place
from lamella.model.merging.rules import Choice, Rules
from lamella.model.merging.slots import Slot
from lamella.model.sketch import count_values, unit_buckets

LEAST_VALUES = 16
"""With fewer values two tensors are equal by chance."""


class Decisions:
    """What the user wants of each tensor, which is the same for tensors that are tied.

    Tied are those that have one content in the base, if there is one, and on every side, other than one number again
    and again. What was decided about a conflict of one goes before patterns that fit others. Raises UsageError
    (bad-argument) where two such tensors are given two strategies.
    """

    def __init__(self, models: Models, slots: Sequence[Slot], rules: Rules) -> None:
        self._rules = rules
        self._like: dict[str, str] = {}
        if not rules.choices and not rules.resolutions:
            return
        for group in _groups(slots, lambda slot: _contents(models, slot)):
            given = {slot.name: rules.chosen(slot.name) for slot in group}
            resolved = {name: choice for name in given if (choice := rules.resolved(name)) is not None}
            named = resolved or {
                name: choice for name, (choice, is_named) in given.items() if is_named and choice != rules.choice
            }
            if not named or (len(named) == len(group) and len(set(map(repr, named.values()))) == 1):
                continue
            if not _says_something(models, group[0]):
                continue
            (first, choice), *others = named.items()
            for other, its in others:
                if its != choice:
                    raise UsageError(
                        f"{first} and {other} are one tensor, and are given the strategies {choice.strategy} and "
                        f"{its.strategy}",
                        kind="bad-argument",
                        hint="give both the same",
                    )
            self._like.update((slot.name, first) for slot in group)

    def chosen(self, name: str) -> tuple[Choice, bool]:
        """Return the choice for a tensor that is to be merged, and whether somebody made it. See `Rules.chosen`."""
        return self._rules.chosen(self._like.get(name, name))

    def resolved(self, name: str) -> Choice | None:
        """Return what somebody decided about a tensor in conflict."""
        return self._rules.resolved(name) or self._rules.resolved(self._like.get(name, name))


def untied(models: Models, slots: Sequence[Slot]) -> Iterator[tuple[Slot, Slot, int]]:
    """Yield pairs of tensors that were one in the base, and a side on which they are not."""
    if not models.has_base:
        return
    for group in _groups(slots, lambda slot: None if slot.base is None else models.content(Place(BASE, slot.base))):
        for number in range(len(models.sides)):
            there = [(slot, Place(number, name)) for slot in group if (name := slot.sides[number]) is not None]
            parted = [slot for slot, place in there if models.content(place) != models.content(there[0][1])]
            if parted and _says_something(models, group[0]):
                yield there[0][0], parted[0], number


def _groups(slots: Sequence[Slot], content: Callable[[Slot], object]) -> list[list[Slot]]:
    groups: dict[object, list[Slot]] = {}
    for slot in slots:
        what = content(slot)
        if what is not None:
            groups.setdefault(what, []).append(slot)
    return [group for group in groups.values() if len(group) > 1]


def _places(slot: Slot) -> list[Place | None]:
    numbered = ((BASE, slot.base), *enumerate(slot.sides))
    return [None if name is None else Place(number, name) for number, name in numbered]


def _contents(models: Models, slot: Slot) -> object:
    return tuple(models.content(place) for place in _places(slot))


def _says_something(models: Models, slot: Slot) -> bool:
    """Say whether a tensor is more than one number again and again, as biases are before they are trained."""
    place = next(place for place in _places(slot) if place is not None)
    if count_values(models.spec(place)) < LEAST_VALUES:
        return False
    sketches = models.numbered(place.side).sketches([place.name])
    return bool(unit_buckets(sketches).any())
