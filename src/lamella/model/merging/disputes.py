"""Parts of a model that one side of a merge removed and another changed: they stay, or go, as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from lamella.model.merging import plan as words
from lamella.model.merging.models import Models
from lamella.model.merging.naming import Path, blocks, split
from lamella.model.merging.plan import BASE, Conflict, Place

if TYPE_CHECKING:
    from lamella.model.merging.slots import Slot


class Disputes:
    """The blocks, else the modules, else the tensors of the base that one side has no more and another changed."""

    def __init__(self, models: Models, slots: Sequence[Slot]) -> None:
        self._units: dict[str, Path] = {}
        open_slots = [slot for slot in slots if None in slot.sides and slot.base is not None]
        all_of = Counter(part for slot in slots for part in _parts(slot.name)) if open_slots else Counter()
        for number in range(len(models.sides)):
            gone = [slot for slot in open_slots if slot.sides[number] is None]
            gone_of = Counter(part for slot in gone for part in _parts(slot.name))
            units = {
                slot.name: next(part for part in _parts(slot.name) if gone_of[part] == all_of[part]) for slot in gone
            }
            changed = {units[slot.name] for slot in gone if _is_changed(models, slot)}
            self._units.update((name, unit) for name, unit in units.items() if unit in changed)
        self.blocks = {block.path for unit in self._units.values() for block in blocks(unit) if block.path == unit}

    def told(self, slot: Slot) -> Slot:
        """Return a slot with what is wrong with it."""
        unit = self._units.get(slot.name)
        if unit is None:
            return slot
        reason = f"one side removed {'.'.join(unit)} and another changed it"
        conflict = Conflict(words.EDITED_REMOVED, reason)
        return replace(slot, conflict=conflict, disputed=unit if unit in self.blocks else ())


def _parts(name: str) -> Iterator[Path]:
    """Yield what a tensor is part of, the largest first: blocks, its module, itself."""
    path = split(name)
    yield from (block.path for block in blocks(path[:-1]))
    if len(path) > 1:
        yield path[:-1]
    yield path


def _is_changed(models: Models, slot: Slot) -> bool:
    base = models.content(Place(BASE, slot.name))
    there = (Place(number, name) for number, name in enumerate(slot.sides) if name is not None)
    return any(models.content(place) != base for place in there)
