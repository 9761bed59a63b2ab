"""Tensors as a tree of their names, numbered layers that are alike folded into one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from lamella.ops.ls import ListedTensor

_MOST_STEPS = 64
"""Levels of a tree; a name of thousands of dots is not one."""

_LONGEST_RANGE = 24
_NUMBERED = re.compile(r"(\D*)(\d{1,18})([./]?)\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Branch:
    """What one step of names leads to: `times` alike, each with this tensor, or these branches and totals."""

    label: str
    times: int
    tensors: int
    elements: int
    nbytes: int
    branches: tuple[Branch, ...] = ()
    tensor: ListedTensor | None = None


@dataclass(slots=True)
class _Node:
    """A branch that is being built; one label can lead to a tensor and to others below it."""

    children: list[tuple[str, ListedTensor | _Node]] = field(default_factory=list)
    below: dict[str, _Node] = field(default_factory=dict)

    def step(self, label: str) -> _Node:
        """Return the node that `label` leads to, made where there is none."""
        node = self.below.get(label)
        if node is None:
            node = self.below[label] = _Node()
            self.children.append((label, node))
        return node


def tensor_tree(tensors: Sequence[ListedTensor], *, fold: bool = True) -> tuple[Branch, ...]:
    """Return the top of the tree, in the order of the tensors, numbers in theirs; with `fold`, alike layers as one."""
    root = _Node()
    for tensor in tensors:
        *steps, last = _steps(tensor)
        node = root
        for step in steps:
            node = node.step(step)
        node.children.append((last, tensor))
    return tuple(map(_chained, _Builder(fold=fold).branches(root)))


def _steps(tensor: ListedTensor) -> list[str]:
    """Return a name cut behind its slashes, or its dots where it has none; a file's path before it stays whole."""
    before = f"{tensor.file}/"
    first, name = (before, tensor.name[len(before) :]) if tensor.name.startswith(before) else ("", tensor.name)
    separator = "/" if "/" in name else "."
    *steps, last = name.split(separator, _MOST_STEPS - 1)
    return [*([first] if first else []), *(f"{step}{separator}" for step in steps), last]


class _Builder:
    """Turns nodes into branches; what is alike is told by a number for each structure that was met."""

    def __init__(self, *, fold: bool) -> None:
        self._fold = fold
        self._known: dict[object, int] = {}
        self._structure: dict[int, tuple[Branch, int]] = {}  # the branch is kept, so that its id stays its own

    def branches(self, node: _Node) -> tuple[Branch, ...]:
        made = [
            _branch(label, self.branches(child)) if isinstance(child, _Node) else _leaf(label, child)
            for label, child in node.children
        ]
        numbered = _in_order(made)
        return tuple(self._folded(numbered) if self._fold else numbered)

    def _folded(self, branches: Sequence[Branch]) -> Iterator[Branch]:
        groups: dict[object, list[Branch]] = {}
        for branch in branches:
            found = _NUMBERED.match(branch.label)
            alike = (found[1], found[3], self._number(branch)) if found and branch.times == 1 else branch.label
            groups.setdefault((alike, branch.tensor is None), []).append(branch)
        for group in groups.values():
            yield group[0] if len(group) == 1 else replace(group[0], label=_range_label(group), times=len(group))

    def _number(self, branch: Branch) -> int:
        """Return a number that branches of one structure have in common, whatever their own label is."""
        key = id(branch)
        if key not in self._structure:
            found: object
            if branch.tensor is not None:
                found = (branch.tensor.dtype, branch.tensor.shape)
            else:
                # In any order: shards cut a layer anywhere.
                found = tuple(sorted((below.label, below.times, self._number(below)) for below in branch.branches))
            self._structure[key] = (branch, self._known.setdefault(found, len(self._known)))
        return self._structure[key][1]


def _leaf(label: str, tensor: ListedTensor) -> Branch:
    return Branch(label, 1, 1, tensor.elements, tensor.nbytes, (), tensor)


def _branch(label: str, below: tuple[Branch, ...]) -> Branch:
    return Branch(
        label,
        1,
        sum(one.times * one.tensors for one in below),
        sum(one.times * one.elements for one in below),
        sum(one.times * one.nbytes for one in below),
        below,
    )


def _chained(branch: Branch) -> Branch:
    """Return a tree in which every branch leads to several, what leads to one only being a step to that."""
    while len(branch.branches) == 1:
        (only,) = branch.branches
        branch = replace(only, label=branch.label + only.label, times=branch.times * only.times)
    return replace(branch, branches=tuple(map(_chained, branch.branches)))


def _in_order(branches: Sequence[Branch]) -> list[Branch]:
    """Return branches with those that differ in a number only beside each other, by that number."""
    places: dict[tuple[str, str], int] = {}
    keys = []
    for place, branch in enumerate(branches):
        found = _NUMBERED.match(branch.label)
        if found is None:
            keys.append((place, 0, place))
        else:
            keys.append((places.setdefault((found[1], found[3]), place), int(found[2]), place))
    return [branch for _, branch in sorted(zip(keys, branches, strict=True), key=lambda item: item[0])]


def _range_label(branches: Sequence[Branch]) -> str:
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
