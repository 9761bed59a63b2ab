"""The tensors of several models that are the same one: what is merged with what, and what it is called then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

from lamella.model.merging import plan as words
from lamella.model.merging.disputes import Disputes
from lamella.model.merging.lineage import Lineage, trace
from lamella.model.merging.models import Models
from lamella.model.merging.naming import Path, merge_steps, split
from lamella.model.merging.numbering import Numbering, number_blocks
from lamella.model.merging.ordering import merge_orders
from lamella.model.merging.plan import BASE, Conflict, Place
from lamella.model.tensor_names import family, separator


@dataclass(frozen=True, slots=True)
class Slot:
    """A tensor of the result, called `name` there, and what it is called in the base and on every side, None for not.

    `conflict` is what is already wrong with it, `note` what is worth telling. Where sides disagree about the name,
    `called` has what it would be called as each of them has it, and last as the base has it. `disputed` is the block in
    which nothing may be left once somebody decided: those behind it are then counted anew.
    """

    name: str
    base: str | None
    sides: tuple[str | None, ...]
    conflict: Conflict | None = None
    note: str = ""
    called: tuple[str | None, ...] = ()
    disputed: Path = ()


def list_slots(models: Models) -> list[Slot]:
    """Return the slots of all tensors, in the order of the result; without a base, names alone tell what is what."""
    lineages = trace(models) if models.has_base else [{} for _ in models.sides]
    listed = [spec.name for spec in models.specs(BASE)] if models.has_base else []
    slots = [Slot(name, name, tuple(lineage.get(name) for lineage in lineages)) for name in listed]
    names = _Names(models, slots, lineages)
    slots = [names.of_base(slot) for slot in slots]
    slots += names.added(slots)
    return _in_order(models, _told_apart(slots, models, names))


class _Names:
    """What tensors are called in the result: by the steps of their names, the numbers of blocks counted anew."""

    def __init__(self, models: Models, slots: Sequence[Slot], lineages: Sequence[Lineage]) -> None:
        self._models = models
        self._lineages = lineages
        self._disputes = Disputes(models, slots)
        self._numbering = Numbering()
        if any(name not in (None, slot.base) for slot in slots for name in slot.sides):
            sides = [[split(spec.name) for spec in models.specs(number)] for number in range(len(lineages))]
            base = [split(slot.name) for slot in slots]
            self._numbering = number_blocks(base, sides, lineages, self._disputes.blocks)
        self._votes: dict[tuple[int, Path], Counter[Path]] = {}
        self._families: dict[tuple[int, Path], set[Path]] = {}

    def of_base(self, slot: Slot) -> Slot:
        """Return the slot of a tensor of the base under the name that it has in the result."""
        slot = self._disputes.told(slot)
        there = [(number, name) for number, name in enumerate(slot.sides) if name is not None]
        if not there or slot.base is None:
            return slot
        steps = [self._numbering.steps(number, split(name)) for number, name in there]
        before = self._numbering.steps(BASE, split(slot.base))
        merged = merge_steps(before, steps)
        between = merge_steps((separator(slot.base),), [(separator(name),) for _, name in there])
        if merged is None or between is None:
            names = " and to ".join(dict.fromkeys(name for _, name in there if name != slot.base))
            return self.disputed(slot, Conflict(words.BOTH_RENAMED, f"{slot.base} was renamed to {names}"))
        name = str(between[0]).join(self._numbering.written(merged))
        for number, side in there:
            self._vote(number, split(side), split(name))
        if slot.disputed:
            slot = replace(slot, disputed=self._numbering.written(before)[: len(slot.disputed)])
        renamed = name not in (slot.base, slot.sides[0])
        return replace(slot, name=name, note=f"renamed from {slot.base}" if renamed else slot.note)

    def disputed(self, slot: Slot, conflict: Conflict) -> Slot:
        """Return a slot in conflict about its name, which is meanwhile that of the first side that has it."""
        called = tuple(
            None if name is None else self._written(number, name)
            for number, name in (*enumerate(slot.sides), (BASE, slot.base))
        )
        name = next(name for name in called if name is not None)
        return replace(slot, name=name, conflict=slot.conflict or conflict, called=called)

    def _written(self, number: int, name: str) -> str:
        """Return a name of one model, only the numbers of its blocks as they are in the result."""
        return separator(name).join(self._numbering.written(self._numbering.steps(number, split(name))))

    def _vote(self, number: int, side: Path, merged: Path) -> None:
        """Count what became of the modules around a tensor, and of their like in other blocks."""
        while side and merged and side[-1] == merged[-1]:
            side, merged = side[:-1], merged[:-1]
            self._votes.setdefault((number, side), Counter())[merged] += 1
        for length in range(min(len(side), len(merged)), 0, -1):
            like = tuple(map(family, side[:length])), tuple(map(family, merged[:length]))
            self._families.setdefault((number, like[0]), set()).add(like[1])

    def added(self, slots: Iterable[Slot]) -> list[Slot]:
        """Return the slots of what the base does not have; it goes where the module went that it was put in."""
        taken = [{slot.sides[number] for slot in slots} for number in range(len(self._lineages))]
        found: dict[str, list[str | None]] = {}
        for number, names in enumerate(taken):
            for spec in self._models.specs(number):
                if spec.name not in names:
                    sides = found.setdefault(self._placed(number, spec.name), [None] * len(taken))
                    if sides[number] is None:
                        sides[number] = spec.name
                    else:
                        found.setdefault(spec.name, [None] * len(taken))[number] = spec.name
        return [Slot(name, None, tuple(sides)) for name, sides in found.items()]

    def _placed(self, number: int, name: str) -> str:
        path = split(name)
        merged = self._numbering.written(self._numbering.steps(number, path))
        for length in range(len(path) - 1, 0, -1):
            votes = self._votes.get((number, path[:length]))
            around = votes.most_common(1)[0][0] if votes else self._like_others(number, merged[:length])
            if around is not None:
                return separator(name).join((*around, *merged[length:]))
        return self._written(number, name)

    def _like_others(self, number: int, path: Path) -> Path | None:
        """Return a module under the name that all its like in other blocks got, None where that is its own."""
        found = self._families.get((number, tuple(map(family, path))), set())
        if len(found) != 1:
            return None
        (like,) = found
        return tuple(step if "*" in other else other for step, other in zip(path, like, strict=True))


def _told_apart(slots: Sequence[Slot], models: Models, names: _Names) -> list[Slot]:
    """Return slots of which those that would get one name are in conflict, each as the first side has it meanwhile."""
    staying = Counter(slot.name for slot in slots if not _is_gone(slot, models))
    made = []
    for slot in slots:
        if staying[slot.name] > 1 and not _is_gone(slot, models):
            kind = words.BOTH_ADDED if slot.base is None else words.BOTH_RENAMED
            made.append(names.disputed(slot, Conflict(kind, f"several tensors would be called {slot.name}")))
        else:
            made.append(slot)
    return made


def _is_gone(slot: Slot, models: Models) -> bool:
    """Say whether a side dropped a tensor that no other changed."""
    if slot.base is None or None not in slot.sides or slot.conflict is not None:
        return False
    base = models.content(Place(BASE, slot.base))
    places = (Place(number, name) for number, name in enumerate(slot.sides) if name is not None)
    return all(models.content(place) == base for place in places)


def _in_order(models: Models, slots: Sequence[Slot]) -> list[Slot]:
    numbers: dict[Hashable, int] = {}
    for at, slot in enumerate(slots):
        numbers[BASE, slot.base] = at
        numbers.update(dict.fromkeys(enumerate(slot.sides), at))
    base = [numbers[BASE, spec.name] for spec in models.specs(BASE)] if models.has_base else []
    sides = [[numbers[side, spec.name] for spec in models.specs(side)] for side in range(len(models.sides))]
    return [slots[at] for at in merge_orders(base, sides)]
