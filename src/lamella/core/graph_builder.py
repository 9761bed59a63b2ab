"""A computation graph while it is built: names that occur once, texts of bounded length, nodes in order at the end."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from struct import pack
from typing import Any

from lamella.core.errors import FormatError
from lamella.core.graphs import Extent, Graph, Node, Port, in_order, unambiguous
from lamella.core.ids import digest
from lamella.core.limits import MAX_DIMENSIONS, MAX_GRAPH_NODES, MAX_GRAPH_TEXT_LENGTH, MAX_TENSOR_NBYTES

Shape = tuple[Extent, ...] | None

_MAX_NAME_LENGTH = 512
_MAX_TEXT_LENGTH = 1024
_SHOWN_LENGTH = 256
_DIGITS = 16
_LARGEST_FLOAT = 3.4028235e38


def attribute_text(value: Any) -> str:
    """Return a value of an attribute as one line: a string as it is, anything else as JSON with sorted keys.

    A string that cannot be printed is quoted as in JSON. What is longer than 1,024 characters is cut to 256, and the
    first 16 hexadecimal digits of the BLAKE3 digest of the whole text stand behind that.
    """
    if not isinstance(value, str):
        try:
            value = json.dumps(value, ensure_ascii=False, sort_keys=True)
        except RecursionError:
            return "nested too deep to be shown"
    return _cut(value if value.isprintable() else json.dumps(value))


def float_text(value: float) -> str:
    """Return the shortest decimal number that is `value`, a float of 32 bits, again."""
    data = pack("<f", value)
    for digits in range(6, 9):
        short = float(f"{value:.{digits}g}")
        if abs(short) <= _LARGEST_FLOAT and pack("<f", short) == data:
            return json.dumps(short)
    return json.dumps(float(f"{value:.9g}"))


def _cut(text: str) -> str:
    if len(text) <= _MAX_TEXT_LENGTH:
        return text
    return f"{text[:_SHOWN_LENGTH]}... blake3:{digest(text.encode()).hex()[:_DIGITS]}"


class GraphBuilder:
    """A graph of which nodes, inputs and outputs become known one by one.

    `level` and `source` are those of `Graph`. Every method that takes something raises FormatError (header-too-large)
    where the graph has more nodes, or longer texts, than are held in memory.
    """

    def __init__(self, level: str, source: str) -> None:
        self._level = level
        self._source = source
        self._inputs: list[Port] = []
        self._outputs: list[Port] = []
        self._nodes: list[Node] = []
        self._attributes: dict[str, str] = {}
        self._names: dict[str, int] = {}
        self._input_names: dict[str, int] = {}
        self._output_names: dict[str, int] = {}
        self._left = MAX_GRAPH_TEXT_LENGTH

    def name(self, wanted: str) -> str:
        """Return the name for a node that should be called `wanted`: that, or `wanted#2` and so on where it is taken.

        It is one printable line of some hundred characters in which nothing reads as a reference to something else.
        """
        return _unique(self._names, unambiguous(_line(wanted)) or "node")

    def add(self, node: Node) -> None:
        """Take a node, whose name is one that `name` returned.

        Its texts are cut here, its attributes ordered, of two with one name the last kept, and of its shape what no
        axis can be left open.
        """
        texts = [node.op, node.module, *(text for pair in node.attributes for text in pair)]
        if not all(map(str.isprintable, texts)) or max(map(len, texts)) > _SHOWN_LENGTH:
            cut = tuple((_line(name), attribute_text(value)) for name, value in node.attributes)
            node = replace(node, op=_line(node.op), module=_line(node.module), attributes=cut)
            texts = [node.op, node.module, *(text for pair in cut for text in pair)]
        self._charge((node.name, *texts, *(name for _, name in node.parameters), *node.inputs), node.shape)
        if len(self._nodes) == MAX_GRAPH_NODES:
            raise too_large()
        if len(node.attributes) > 1 and (ordered := _ordered(node.attributes)) != node.attributes:
            node = replace(node, attributes=ordered)
        if node.shape and (shape := _shape(node.shape)) != node.shape:
            node = replace(node, shape=shape)
        self._nodes.append(node)

    def add_input(self, name: str, dtype: str | None = None, shape: Shape = None) -> str:
        """Take an input of the graph, called as `name` says for nodes, and return the reference to it."""
        name = _unique(self._input_names, _line(name))
        self._charge((name, dtype or ""), shape)
        self._inputs.append(Port(name, dtype, _shape(shape)))
        return f"@{name}"

    def add_output(self, name: str, value: str | None, dtype: str | None = None, shape: Shape = None) -> None:
        """Take an output of the graph, which is the value that `value` refers to."""
        name = _unique(self._output_names, _line(name))
        self._charge((name, value or "", dtype or ""), shape)
        self._outputs.append(Port(name, dtype, _shape(shape), value))

    def note(self, key: str, text: str) -> None:
        """Take an attribute of the graph."""
        key, text = _line(key), attribute_text(text)
        self._charge((key, text), None)
        self._attributes[key] = text

    def build(self) -> Graph:
        """Return the graph."""
        ends = tuple(self._inputs), tuple(self._outputs)
        return Graph(self._level, self._source, *ends, in_order(self._nodes), tuple(sorted(self._attributes.items())))

    def _charge(self, texts: Iterable[str], shape: Shape) -> None:
        self._left -= sum(map(len, texts))
        if shape:
            self._left -= sum(len(extent) if isinstance(extent, str) else 1 for extent in shape)
        if self._left < 0:
            raise too_large()


def too_large() -> FormatError:
    """Return the error of a graph that has more than is held in memory."""
    return FormatError(
        f"graph has more than {MAX_GRAPH_NODES} nodes, or more and longer values and attributes than are read",
        kind="header-too-large",
        hint="split the model into several files",
    )


def _ordered(attributes: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(dict(attributes).items()))


def _shape(shape: Shape) -> Shape:
    """Return a shape in which an extent that cannot be is open; None of more dimensions than there can be."""
    if shape is None or len(shape) > MAX_DIMENSIONS:
        return None
    if all(isinstance(extent, int) and 0 <= extent <= MAX_TENSOR_NBYTES for extent in shape):
        return shape
    return tuple(_line(one) if isinstance(one, str) else _length(one) for one in shape)


def _length(extent: int | None) -> int | None:
    return extent if extent is not None and 0 <= extent <= MAX_TENSOR_NBYTES else None


def _line(name: str) -> str:
    if len(name) > _MAX_NAME_LENGTH:
        name = f"{name[:_SHOWN_LENGTH]}...{digest(name.encode(errors='surrogatepass')).hex()[:_DIGITS]}"
    return name if name.isprintable() else json.dumps(name)


def _unique(names: dict[str, int], wanted: str) -> str:
    """Return `wanted`, or the first of `wanted#2`, ... that is no key of `names`, and make it one."""
    if len(names) >= 2 * MAX_GRAPH_NODES:
        raise too_large()
    unique, number = wanted, names.get(wanted, 1)
    while unique in names:
        number += 1
        unique = f"{wanted}#{number}"
    names[wanted] = number
    names[unique] = 1
    return unique
