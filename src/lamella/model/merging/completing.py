"""The plan of a merge as a whole: no name twice, numbers without gaps, and what to know before it is made."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import replace

from lamella.core.tensors import TensorSpec
from lamella.model.merging import plan as words
from lamella.model.merging.models import Models
from lamella.model.merging.naming import Path, blocks, split
from lamella.model.merging.plan import Compute, Conflict, MergePlan, PlannedTensor
from lamella.model.merging.slots import Slot
from lamella.model.merging.ties import untied
from lamella.model.merging.unions import side_name
from lamella.model.tensor_names import is_running_statistic, separator

MOST_WARNINGS = 20
"""Warnings of one sort that are told one by one."""

MOST_TOKENS = 8
"""New tokens that are told by their names."""


def complete(
    models: Models,
    slots: Sequence[Slot],
    planned: Sequence[PlannedTensor],
    tokens: Sequence[str | None],
    known: int,
    warnings: Sequence[str] = (),
) -> MergePlan:
    """Return the plan that tensors make, in their order, those of `slots`; the base has the first `known` tokens."""
    if all(one.conflict is None for one in planned):
        planned = _without_gaps(slots, planned)
    planned = list(_told_apart(planned))
    told = (*warnings, *_ties(models, slots), *_statistics(planned), *_vocabulary(tokens, known))
    staying = tuple(one for one in planned if one.action is not None)
    gone = tuple(one for one in planned if one.action is None)
    return MergePlan(staying, gone, told, tuple(tokens))


def _without_gaps(slots: Sequence[Slot], planned: Sequence[PlannedTensor]) -> list[PlannedTensor]:
    """Return tensors under the names that they have when the blocks are gone that somebody decided against."""
    pairs = list(zip(slots, planned, strict=True))
    left = {slot.disputed for slot, one in pairs if one.action is not None}
    gone = {slot.disputed for slot, _ in pairs if slot.disputed} - left
    numbers: dict[Path, list[int]] = {}
    for path in gone:
        block = list(blocks(path))[-1]
        numbers.setdefault(block.stack, []).append(block.number)
    for found in numbers.values():
        found.sort()
    return [_renamed(one, numbers) for one in planned] if numbers else list(planned)


def _renamed(one: PlannedTensor, gone: dict[Path, list[int]]) -> PlannedTensor:
    path = split(one.name)
    steps = list(path)
    for block in blocks(path):
        before = bisect_left(gone.get(block.stack, []), block.number)
        steps[len(block.within)] = f"{block.text}{block.number - before}" if before else path[len(block.within)]
    name = separator(one.name).join(steps)
    return one if name == one.name else replace(one, spec=TensorSpec(name, one.spec.dtype, one.spec.shape))


def _told_apart(planned: Sequence[PlannedTensor]) -> Iterator[PlannedTensor]:
    """Yield tensors of which no two that stay have one name: the second is in conflict."""
    taken: set[str] = set()
    for one in planned:
        if one.action is not None and one.name in taken:
            conflict = Conflict(words.BOTH_ADDED, f"another tensor is called {one.name} by now")
            yield replace(one, action=None, conflict=conflict)
            continue
        if one.action is not None:
            taken.add(one.name)
        yield one


def _ties(models: Models, slots: Sequence[Slot]) -> Iterator[str]:
    found = [
        f"{one.base} and {other.base} were one tensor, and are not in {side_name(number)}"
        for one, other, number in untied(models, slots)
    ]
    yield from found[:MOST_WARNINGS]
    if len(found) > MOST_WARNINGS:
        yield f"{len(found) - MOST_WARNINGS} more tensors were tied and are not"


def _statistics(planned: Sequence[PlannedTensor]) -> Iterator[str]:
    merged = [one.name for one in planned if isinstance(one.action, Compute) and is_running_statistic(one.name)]
    if merged:
        yield f"{len(merged)} running statistics are merged, as {merged[0]}: estimate them again from data"


def _vocabulary(tokens: Sequence[str | None], known: int) -> Iterator[str]:
    new = [f"{token!r} is {row}" for row, token in enumerate(tokens) if row >= known and token is not None]
    if new:
        more = f" and {len(new) - MOST_TOKENS} more behind them" if len(new) > MOST_TOKENS else ""
        yield (
            f"the tokenizer has to number {len(new)} new tokens as the rows are merged: "
            f"{', '.join(new[:MOST_TOKENS])}{more}"
        )
