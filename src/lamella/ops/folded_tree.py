"""Things as a tree of the steps that lead to them, numbered branches that are alike folded into one."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Generic, TypeVar

_MOST_STEPS = 64
"""Levels of a tree; a name of thousands of dots is not one."""

_LONGEST_RANGE = 24
_NUMBERED = re.compile(r"(\D*)(\d{1,18})([./]?)\Z", re.ASCII)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Leaf(Generic[T]):
    """A thing and the steps that lead to it, its own name the last. What is `alike` of two makes them the same."""

    thing: T
    steps: Sequence[str]
    alike: Hashable
    elements: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Branch(Generic[T]):
    """What one step leads to: `times` alike, each with this leaf, or these branches; and of each the totals."""

    label: str
    times: int
    count: int
    elements: int
    nbytes: int
    branches: tuple[Branch[T], ...] = ()
    leaf: T | None = None


@dataclass(slots=True)
class _Node(Generic[T]):
    """A branch that is being built; one label can lead to a leaf and to others below it."""

    children: list[tuple[str, Leaf[T] | _Node[T]]] = field(default_factory=list)
    below: dict[str, _Node[T]] = field(default_factory=dict)

    def step(self, label: str) -> _Node[T]:
        """Return the node that `label` leads to, made where there is none."""
        node = self.below.get(label)
        if node is None:
            node = self.below[label] = _Node()
            self.children.append((label, node))
        return node


def folded_tree(leaves: Iterable[Leaf[T]], *, fold: bool = True, named: bool = True) -> tuple[Branch[T], ...]:
    """Return the top of the tree in the order of the leaves, numbers in theirs; with `fold`, what is alike as one.

    Where leaves are not `named`, their names say nothing: they stay in their order, and are one only where they follow
    each other; branches are alike whatever their leaves are called.
    """
    root: _Node[T] = _Node()
    for leaf in leaves:
        inner = min(len(leaf.steps), _MOST_STEPS) - 1
        node = root
        for step in leaf.steps[:inner]:
            node = node.step(step)
        node.children.append(("".join(leaf.steps[inner:]), leaf))
    return tuple(map(_chained, _Builder[T](fold=fold, named=named).branches(root)))


class _Builder(Generic[T]):
    """Turns nodes into branches; what is alike is told by a number for each structure that was met."""

    def __init__(self, *, fold: bool, named: bool) -> None:
        self._fold = fold
        self._named = named
        self._known: dict[object, int] = {}
        self._structure: dict[int, tuple[Branch[T], int]] = {}  # the branch is kept, so that its id stays its own

    def branches(self, node: _Node[T]) -> tuple[Branch[T], ...]:
        made = [
            _branch(label, self.branches(child)) if isinstance(child, _Node) else self._leaf(label, child)
            for label, child in node.children
        ]
        numbered = self._in_order(made)
        return tuple(self._folded(numbered) if self._fold else numbered)

    def _leaf(self, label: str, leaf: Leaf[T]) -> Branch[T]:
        made = Branch(label, 1, 1, leaf.elements, leaf.nbytes, (), leaf.thing)
        self._structure[id(made)] = made, self._known.setdefault(("leaf", leaf.alike), len(self._known))
        return made

    def _number_of(self, branch: Branch[T]) -> re.Match[str] | None:
        """Return the number in a branch's label, None where that says nothing."""
        return _NUMBERED.match(branch.label) if self._named or branch.leaf is None else None

    def _folded(self, branches: Sequence[Branch[T]]) -> Iterator[Branch[T]]:
        groups: dict[object, list[Branch[T]]] = {}
        run, last = 0, None
        for branch in branches:
            found = _NUMBERED.match(branch.label)
            alike: object = branch.label
            if found and branch.times == 1:
                alike = found[1], found[3], self._structured(branch)
            run, last = run + (alike != last), alike
            apart = run if branch.leaf is not None and not self._named else 0
            groups.setdefault((alike, branch.leaf is None, apart), []).append(branch)
        for group in groups.values():
            yield group[0] if len(group) == 1 else replace(group[0], label=_range_label(group), times=len(group))

    def _structured(self, branch: Branch[T]) -> int:
        """Return a number that branches of one structure have in common, whatever their own label is."""
        key = id(branch)
        if key not in self._structure:
            # In any order: shards cut a layer anywhere.
            found = sorted((self._label(below), below.times, self._structured(below)) for below in branch.branches)
            self._structure[key] = branch, self._known.setdefault(tuple(found), len(self._known))
        return self._structure[key][1]

    def _label(self, branch: Branch[T]) -> str:
        return branch.label if self._named or branch.leaf is None else ""

    def _in_order(self, branches: Sequence[Branch[T]]) -> list[Branch[T]]:
        """Return branches with those that differ in a number only beside each other, by that number."""
        places: dict[tuple[str, str], int] = {}
        keys = []
        for place, branch in enumerate(branches):
            found = self._number_of(branch)
            if found is None:
                keys.append((place, 0, place))
            else:
                keys.append((places.setdefault((found[1], found[3]), place), int(found[2]), place))
        return [branch for _, branch in sorted(zip(keys, branches, strict=True), key=lambda item: item[0])]


def _branch(label: str, below: tuple[Branch[T], ...]) -> Branch[T]:
    return Branch(
        label,
        1,
        sum(one.times * one.count for one in below),
        sum(one.times * one.elements for one in below),
        sum(one.times * one.nbytes for one in below),
        below,
    )


def _chained(branch: Branch[T]) -> Branch[T]:
    """Return a tree in which every branch leads to several, what leads to one only being a step to that."""
    while len(branch.branches) == 1:
        (only,) = branch.branches
        branch = replace(only, label=branch.label + only.label, times=branch.times * only.times)
    return replace(branch, branches=tuple(map(_chained, branch.branches)))


def _range_label(branches: Sequence[Branch[T]]) -> str:
    matches = [found for branch in branches if (found := _NUMBERED.match(branch.label))]
    numbers = [found[2] for found in matches]
    runs: list[list[str]] = []
    for number in numbers:
        if runs and int(number) == int(runs[-1][-1]) + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    steps = {int(after) - int(before) for before, after in pairwise(numbers)}
    if len(steps) == 1 and len(numbers) > 2 and steps != {1}:
        text = f"{numbers[0]}-{numbers[-1]}:{steps.pop()}"
    else:
        text = ",".join(run[0] if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
    if len(text) > _LONGEST_RANGE:
        text = f"{text[:_LONGEST_RANGE].rpartition(',')[0]},..."
    return f"{matches[0][1]}[{text}]{matches[0][3]}"
