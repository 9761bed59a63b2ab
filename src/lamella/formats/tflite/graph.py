"""The operators of a TensorFlow Lite model, subgraph by subgraph, and which tensors they pass on."""

from __future__ import annotations

from collections.abc import Mapping

from lamella.core.graph_builder import GraphBuilder, too_large
from lamella.core.graphs import OPERATORS, Extent, Graph, Node
from lamella.core.limits import MAX_DIMENSIONS, MAX_GRAPH_NODES, MAX_GRAPH_PARTS, MAX_NAME_NBYTES
from lamella.formats.tflite.flatbuffer import FlatBuffer, Table, Tables
from lamella.formats.tflite.metadata import operator_name
from lamella.formats.tflite.options import read_options
from lamella.formats.tflite.types import DTYPE_OF_TYPE

SUBGRAPH = "Subgraph"
"""The operator of a node that stands for a subgraph that others call, and takes its outputs."""

ARGUMENT = "Argument"
"""The operator of a node that stands for an input of such a subgraph."""

_STRING = 5
"""The TensorType of texts."""


def model_graph(buffer: FlatBuffer, tensors: Mapping[tuple[int, int], str]) -> Graph:
    """Return the computation graph of the model that a file is.

    `tensors` are the names of tensors of the file by the numbers of subgraph and tensor. Raises FormatError as the
    format's `layout` does, and header-too-large for more than is held in memory.
    """
    return _Walk(buffer, tensors).graph()


class _Walk:
    """One way through the subgraphs of a model."""

    def __init__(self, buffer: FlatBuffer, tensors: Mapping[tuple[int, int], str]) -> None:
        self._model = buffer.root()
        self._buffer = buffer
        self._tensors = tensors
        self._builder = GraphBuilder(OPERATORS, "tflite")
        self._left = MAX_GRAPH_PARTS
        codes = self._model.tables(1)
        self._charge(len(codes))
        self._ops = [operator_name(code) for code in codes]
        self._subgraphs: list[str] = []

    def graph(self) -> Graph:
        """Return the graph."""
        self._builder.note("version", str(self._model.number(0, "I")))
        subgraphs = self._model.tables(2)
        self._charge(len(subgraphs))
        labels = [one.text(4, MAX_NAME_NBYTES) or f"subgraph{number}" for number, one in enumerate(subgraphs)]
        self._subgraphs = [self._builder.name(label) if number else "" for number, label in enumerate(labels)]
        for number, subgraph in enumerate(subgraphs):
            self._subgraph(number, subgraph, labels[number])
        return self._builder.build()

    def _subgraph(self, number: int, subgraph: Table, label: str) -> None:
        tensors = subgraph.tables(0)
        values: dict[int, str] = {}
        for index in self._numbers(subgraph, 1):
            tensor = tensors[index]
            name = tensor.shown(3, MAX_NAME_NBYTES) or f"tensor{index}"
            if number:
                unique = self._builder.name(f"{label}.{name}")
                self._builder.add(Node(unique, ARGUMENT, shape=_shape(tensor)))
                values[index] = unique
            else:
                values[index] = self._builder.add_input(name, _dtype(tensor), _shape(tensor))
        self._operators(number, subgraph.tables(3), tensors, values, f"{label}." if number else "")
        outputs = self._numbers(subgraph, 2)
        if number:
            inputs = tuple(values.get(index, "") for index in outputs)
            self._builder.add(Node(self._subgraphs[number], SUBGRAPH, inputs=inputs))
            return
        for index in outputs:
            tensor = tensors[index]
            name = tensor.shown(3, MAX_NAME_NBYTES) or f"tensor{index}"
            self._builder.add_output(name, values.get(index), _dtype(tensor), _shape(tensor))

    def _operators(self, number: int, operators: Tables, tensors: Tables, values: dict[int, str], prefix: str) -> None:
        """Take the operators of a subgraph, each called after its first output."""
        if len(operators) > MAX_GRAPH_NODES:
            raise too_large()
        found: list[tuple[str, Table, tuple[int, ...], tuple[int, ...]]] = []
        for operator in operators:
            inputs, outputs = self._numbers(operator, 1), self._numbers(operator, 2)
            label = tensors[outputs[0]].shown(3, MAX_NAME_NBYTES) if outputs and outputs[0] >= 0 else ""
            op = self._op(operator)
            name = self._builder.name(prefix + (label or op))
            for place, index in enumerate(outputs):
                values[index] = f"{name}:{place}" if place else name
            found.append((name, operator, inputs, outputs))
        for name, operator, inputs, outputs in found:
            references = [values.get(index, "") for index in inputs]
            held = enumerate(self._tensors.get((number, index), "") for index in inputs)
            parameters = tuple((f"input {place}", tensor) for place, tensor in held if tensor)
            op = self._op(operator)
            shape = _shape(tensors[outputs[0]]) if outputs and outputs[0] >= 0 else None
            label = name.removeprefix(prefix).partition(";")[0]
            module = ".".join(label.split("/")[:-1])
            attributes, called = read_options(self._buffer, operator)
            references += [self._subgraphs[one] for one in called if 0 < one < len(self._subgraphs)]
            self._builder.add(Node(name, op, module, tuple(attributes), tuple(references), parameters, shape))

    def _op(self, operator: Table) -> str:
        which = operator.number(0, "I")
        return self._ops[which] if which < len(self._ops) else "?"

    def _numbers(self, table: Table, slot: int) -> tuple[int, ...]:
        found = table.numbers(slot, self._left) or ()
        self._charge(1 + len(found))
        return found

    def _charge(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise too_large()


def _dtype(tensor: Table) -> str | None:
    code = tensor.number(1, "b")
    dtype = DTYPE_OF_TYPE.get(code)
    return dtype.name if dtype is not None else "string" if code == _STRING else None


def _shape(tensor: Table) -> tuple[Extent, ...] | None:
    return tensor.numbers(7, MAX_DIMENSIONS) or tensor.numbers(0, MAX_DIMENSIONS)
