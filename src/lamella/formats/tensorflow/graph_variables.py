"""The names that the variables of a SavedModel have in its checkpoint, as its object graph tells them."""

from __future__ import annotations

from collections import deque

from lamella.core.limits import MAX_GRAPH_TEXT_LENGTH, MAX_NAME_NBYTES
from lamella.formats.protobuf import VARINT, Field
from lamella.formats.tensorflow.graph_nodes import NodeReader


class Variables:
    """The variables that functions take: `paths` by the numbers of objects, and `bound`, these by names of functions.

    A path is the way from the first object to the variable that has the fewest steps, the first of those, as
    `checkpoint/graph_view.py` of TensorFlow goes; keys of the checkpoint are made of it. What a function takes of its
    own are its last arguments.
    """

    def __init__(self, nodes: NodeReader, message: Field) -> None:
        """Read a SavedObjectGraph; raise FormatError as `NodeReader` does."""
        self.bound: dict[str, list[int]] = {}
        children: list[list[tuple[int, str]]] = []
        variables: set[int] = set()
        for one in nodes.parts(message):
            if one.number == 1:
                below: list[tuple[int, str]] = []
                for part in nodes.parts(one):
                    if part.number == 1:
                        below.append(_reference(nodes, part))
                    elif part.number == 7:
                        variables.add(len(children))
                children.append(below)
            elif one.number == 2:
                name, numbers = nodes.bound_inputs(one)
                self.bound[name] = numbers
        paths = _paths(children)
        self.paths = {number: paths[number] for number in variables if paths.get(number)}


def _reference(nodes: NodeReader, message: Field) -> tuple[int, str]:
    fields = {field.number: field for field in nodes.parts(message)}
    number = fields[1].value if 1 in fields and fields[1].wire == VARINT else 0
    return number, nodes.text(fields.get(2))


def _paths(children: list[list[tuple[int, str]]]) -> dict[int, str]:
    """Return the first of the shortest paths to each object; those that are too long for a name are none."""
    paths = {0: ""}
    waiting = deque([0])
    room = MAX_GRAPH_TEXT_LENGTH
    while waiting:
        number = waiting.popleft()
        start = f"{paths[number]}/" if paths[number] else ""
        for child, name in children[number] if number < len(children) else ():
            path = start + name.replace(".", "..").replace("/", ".S")
            if child not in paths and child < len(children) and len(path) <= min(MAX_NAME_NBYTES, room):
                room -= len(path)
                paths[child] = path
                waiting.append(child)
    return paths
