"""The numbers of repeated blocks after a merge in which several sides put blocks in, took some out, or moved them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from lamella.model.ledger import agreed
from lamella.model.merging.lineage import Lineage
from lamella.model.merging.naming import Block, Path, Steps, blocks, merge_steps, split
from lamella.model.merging.plan import BASE

Item = Hashable
Column = tuple[Item, ...]
"""What stands at one place of a merged sequence: one item of the base, or what sides put there, one of each."""


@dataclass(frozen=True, slots=True)
class Numbering:
    """Blocks whose numbers are not those of one side: which are the same, and their numbers in the result.

    Both are by the number of a model and the path of a block in it.
    """

    identities: dict[tuple[int, Path], Hashable] = field(default_factory=dict)
    numbers: dict[Hashable, int] = field(default_factory=dict)

    def steps(self, model: int, path: Path) -> Steps:
        """Return the steps of a name in which such a block stands for itself, whatever its number."""
        if not self.identities:
            return path
        made: list[Hashable] = list(path)
        for block in blocks(path):
            identity = self.identities.get((model, block.path))
            if identity is not None:
                made[len(block.within)] = (block.text, identity)
        return tuple(made)

    def written(self, steps: Steps) -> Path:
        """Return steps with the numbers that blocks have in the result."""
        return tuple(step if isinstance(step, str) else f"{step[0]}{self.numbers[step[1]]}" for step in steps)  # type: ignore[index]


def number_blocks(
    base: Iterable[Path], sides: Sequence[Iterable[Path]], lineages: Sequence[Lineage], disputed: Collection[Path]
) -> Numbering:
    """Return the numbers of stacks that several sides changed, or of which one dropped what another needs.

    `base` and `sides` are the names of the tensors there, and `disputed` blocks of the base that keep their places
    until somebody decides whether they are removed. Stacks with gaps in their numbers, and those of which the order is
    not clear, are left out: there, a number is a name like any other.
    """
    known = {BASE: _stacks(base)} | {number: _stacks(paths) for number, paths in enumerate(sides)}
    became = [_became(lineage) for lineage in lineages]
    found = Numbering()
    for stack, members in known[BASE].items():
        others = [_found_in(members, known[number], became[number], number) for number in range(len(sides))]
        told = [other for other in others if other is not None]
        if len(told) == len(others):
            _number(found, stack, members, told, {block.path for block in members}.intersection(disputed))
    return found


def _stacks(paths: Iterable[Path]) -> dict[Path, list[Block]]:
    """Return the blocks of a model by the stack that they are in, by their numbers."""
    seen = {block.path: block for path in paths for block in blocks(path)}
    stacks: dict[Path, list[Block]] = {}
    for block in sorted(seen.values(), key=lambda block: block.number):
        stacks.setdefault(block.stack, []).append(block)
    return stacks


def _became(lineage: Lineage) -> dict[Path, Path]:
    """Return what blocks became: where most tensors of each are in the other."""
    votes: Counter[tuple[Path, Path]] = Counter()
    for before, after in lineage.items():
        old, new = list(blocks(split(before))), list(blocks(split(after)))
        votes.update((one.path, other.path) for one, other in zip(reversed(old), reversed(new), strict=False))
    return agreed(votes.items())


@dataclass(frozen=True, slots=True)
class _Sequence:
    """A stack as a side has it: its items, members of the base or new ones, with their blocks, in order."""

    items: tuple[Item, ...]
    blocks: tuple[Block, ...]
    model: int

    def has_no_gaps(self) -> bool:
        return all(block.digits == str(self.blocks[0].number + at) for at, block in enumerate(self.blocks))


def _found_in(
    members: Sequence[Block], stacks: dict[Path, list[Block]], became: dict[Path, Path], number: int
) -> _Sequence | None:
    """Return what a side made of a stack, None where its blocks went to several stacks or came from several."""
    paths = {became[block.path]: block.path for block in members if block.path in became}
    homes = {(*path[:-1], path[-1].rstrip("0123456789")) for path in paths}
    if len(homes) > 1:
        return None
    listed = stacks.get(homes.pop(), []) if homes else []
    if set(became.values()).intersection(block.path for block in listed) != set(paths):
        return None
    items: list[Item] = [paths.get(block.path, (number, block.path)) for block in listed]
    return _Sequence(tuple(items), tuple(listed), number)


def _number(
    found: Numbering, stack: Path, members: Sequence[Block], sides: Sequence[_Sequence], disputed: Collection[Path]
) -> None:
    base = _Sequence(tuple(block.path for block in members), tuple(members), BASE)
    changed = [side for side in sides if _numbers(side) != _numbers(base)]
    if len(changed) < 2 and not (changed and disputed):
        return
    if not all(side.has_no_gaps() for side in (base, *sides)):
        return
    firsts = {side.blocks[0].number for side in sides if side.blocks}
    columns = merge_sequences(base.items, [side.items for side in sides], disputed)
    if columns is None or len(firsts | {members[0].number}) > 1:
        return
    place = {item: at for at, column in enumerate(columns) for item in column}
    for sequence in (base, *sides):
        for item, block in zip(sequence.items, sequence.blocks, strict=True):
            if item in place:
                identity = (stack, place[item])
                found.identities[sequence.model, block.path] = identity
                found.numbers[identity] = members[0].number + place[item]


def _numbers(side: _Sequence) -> list[tuple[Item, int]]:
    return [(item, block.number) for item, block in zip(side.items, side.blocks, strict=True)]


def merge_sequences(
    base: Sequence[Item], sides: Sequence[Sequence[Item]], disputed: Collection[Item] = ()
) -> list[Column] | None:
    """Return a sequence with what all sides did to theirs, None where several put the same items at other places.

    What a side dropped is gone unless it is `disputed`. What a side put in comes behind what it has before it there;
    where several put something at one place, the first of each stand for one item, then the second of each.
    """
    held = [set(side) for side in sides]
    kept = [item for item in base if item in disputed or all(item in side for side in held)]
    common = [item for item in kept if all(item in side for side in held)]
    within = set(common)
    order = merge_steps(tuple(common), [tuple(item for item in side if item in within) for side in sides])
    if order is None or set(order) != within:
        return None
    behind: dict[Item, list[Item]] = {}
    last: Item = None
    for item in kept:
        if item not in within:
            behind.setdefault(last, []).append(item)
        else:
            last = item
    columns: list[Column] = []
    runs = [_runs(side, set(base), set(kept)) for side in sides]
    for item in (None, *order):
        for one in (*(() if item is None else (item,)), *behind.get(item, ())):
            columns.append((one,))
            columns += _columns(run.get(one, ()) for run in runs)
        if item is None:
            columns[:0] = _columns(run.get(None, ()) for run in runs)
    return columns


def _columns(runs: Iterable[Sequence[Item]]) -> list[Column]:
    return [tuple(item for item in column if item is not None) for column in zip_longest(*runs)]


def _runs(side: Sequence[Item], base: Collection[Item], kept: Collection[Item]) -> dict[Item, list[Item]]:
    """Return what a side put in, by what comes before it."""
    found: dict[Item, list[Item]] = {}
    last: Item = None
    for item in side:
        if item in kept:
            last = item
        elif item not in base:
            found.setdefault(last, []).append(item)
    return found
