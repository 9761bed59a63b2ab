"""A graph as a tree of its modules, in which repeated modules that are alike are folded into one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from lamella.core.graphs import Node

_MOST_STEPS = 24
_MOST_CHILDREN = 120
_LEAST_REPEATS = 3


@dataclass(slots=True)
class Group:
    """A module; or so many `times` modules that are alike, each a child. A child that is a number is a node's index."""

    label: str
    path: str
    children: list[Group | int] = field(default_factory=list)
    times: int = 1


def graph_tree(nodes: Sequence[Node]) -> Group:
    """Return the tree of `nodes` by their module paths, children in the order of their first nodes.

    A module of one child is that child. Three or more modules in a row that have the same operators with the same
    attributes under the same names become one group of them all. Where a module has more children than can be looked
    at, they are put into parts of the same length.
    """
    root = Group("", "")
    below: dict[int, dict[str, Group]] = {}
    for index, node in enumerate(nodes):
        group = root
        for label in _steps(node.module):
            children = below.setdefault(id(group), {})
            found = children.get(label)
            if found is None:
                found = children[label] = Group(label, f"{group.path}.{label}" if group.path else label)
                group.children.append(found)
            group = found
        group.children.append(index)
    return _Folder(nodes).folded(root)


def _steps(module: str) -> list[str]:
    separator = "/" if "/" in module else "."
    return [step for step in module.split(separator, _MOST_STEPS - 1) if step]


class _Folder:
    """Folds a tree from its leaves up; what is alike is told by a number for each structure that was met."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = nodes
        self._known: dict[object, int] = {}

    def folded(self, root: Group) -> Group:
        """Return the tree, its root kept."""
        children = [self._child(child) for child in root.children]
        root.children = _parted([child for child, _ in self._repeats(children)], root.path)
        return root

    def _child(self, child: Group | int) -> tuple[Group | int, int]:
        """Return a child, folded, with the number of its structure."""
        if isinstance(child, int):
            node = self._nodes[child]
            return child, self._number(("node", node.op, node.attributes))
        children = [self._child(inner) for inner in child.children]
        structure = self._number((*((_name(inner), number) for inner, number in children),))
        if len(children) == 1:
            only = children[0][0]
            if isinstance(only, Group):
                only.label = f"{child.label}.{only.label}"
            return only, structure
        child.children = [inner for inner, _ in self._repeats(children)]
        if len(child.children) == 1 and isinstance(repeated := child.children[0], Group):
            repeated.label = f"{child.label}.{repeated.label}"
            return repeated, structure
        child.children = _parted(child.children, child.path)
        return child, structure

    def _repeats(self, children: Sequence[tuple[Group | int, int]]) -> Iterator[tuple[Group | int, int]]:
        """Yield children, groups in a row that have the same structure as one."""
        for (is_group, structure), run in groupby(children, lambda item: (isinstance(item[0], Group), item[1])):
            alike = [child for child, _ in run]
            first, last = alike[0], alike[-1]
            if is_group and len(alike) >= _LEAST_REPEATS and isinstance(first, Group) and isinstance(last, Group):
                yield (
                    Group(f"{first.label} … {last.label}", first.path, _parted(alike, first.path), len(alike)),
                    structure,
                )
            else:
                yield from ((child, structure) for child in alike)

    def _number(self, structure: object) -> int:
        return self._known.setdefault(structure, len(self._known))


def _name(child: Group | int) -> str:
    """Return what tells a child from its brothers: the last step of a module, and nothing of a node's own name."""
    return child.label if isinstance(child, Group) else ""


def _parted(children: list[Group | int], path: str) -> list[Group | int]:
    """Return children, in parts where they are too many, and those in parts again."""
    while len(children) > _MOST_CHILDREN:
        children = [
            Group(f"part {number + 1}", f"{path} part {number + 1}".strip(), children[start : start + _MOST_CHILDREN])
            for number, start in enumerate(range(0, len(children), _MOST_CHILDREN))
        ]
    return children
