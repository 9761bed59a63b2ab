"""The computation graph of an ONNX model: its nodes, those of graphs within nodes, and those of functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from lamella.core.graph_builder import GraphBuilder
from lamella.core.graphs import OPERATORS, Graph, Node
from lamella.core.limits import MAX_GRAPH_DEPTH
from lamella.formats.onnx.metadata import opset
from lamella.formats.onnx.operations import MessageReader, Operation
from lamella.formats.onnx.tensors import model_tensors
from lamella.formats.onnx.values import UNKNOWN, Type, read_elements
from lamella.formats.protobuf import Field, WireReader, malformed

ARGUMENT, FUNCTION = "Argument", "Function"
"""The operators of nodes that stand for an input of a graph within a node, and for the outputs of a function."""

_GRAPHS, _SPARSE, _SEVERAL = frozenset({6, 11}), frozenset({22, 23}), frozenset({10, 11, 23})
"""The fields of an AttributeProto that hold graphs, sparse tensors, and more than one."""


def model_graph(reader: WireReader) -> Graph:
    """Return the computation graph of the model that a file is.

    Raises FormatError as `model_tensors` does, and header-too-large for more than is held in memory.
    """
    tensors = {one.start: one.spec.name for one in model_tensors(reader)}
    walk = _Walk(reader, tensors)
    for one in reader.fields(0, reader.nbytes):
        if one.number == 7:
            walk.main(one)
        elif one.number == 8:
            walk.builder.note(*opset(reader, one))
        elif one.number == 25:
            walk.function(one)
    return walk.builder.build()


class _Held(NamedTuple):
    """A constant value of a graph: roles and names of its tensors, and the text of one that no run of the file holds.

    The role of a dense tensor is empty.
    """

    tensors: tuple[tuple[str, str], ...]
    text: str = ""


@dataclass(slots=True)
class _Scope:
    """What names mean in a graph and those around it: references to values, constants; and the types of values here."""

    prefix: str
    module: str
    around: Sequence[_Scope] = ()
    values: dict[str, str] = field(default_factory=dict)
    constants: dict[str, _Held] = field(default_factory=dict)
    types: dict[str, Type] = field(default_factory=dict)

    def find(self, name: str) -> str | _Held:
        """Return what a name means: a reference, a constant, or "" where nothing makes such a value."""
        for scope in (self, *self.around):
            if name in scope.values:
                return scope.values[name]
            if name in scope.constants:
                return scope.constants[name]
        return ""


class _Walk:
    """One way through all graphs of a model; `tensors` are the names of tensors by where their messages begin."""

    def __init__(self, reader: WireReader, tensors: dict[int, str]) -> None:
        self._reader = reader
        self._tensors = tensors
        self._messages = MessageReader(reader)
        self.builder = GraphBuilder(OPERATORS, "onnx")

    def main(self, message: Field) -> None:
        """Take the graph of the model."""
        scope = _Scope("", "")
        nodes, inputs, outputs = self._read_graph(message, scope)
        for name in inputs:
            if name not in scope.constants:
                scope.values[name] = self.builder.add_input(name, *scope.types[name])
        self._add_all(nodes, scope, 0)
        for name in outputs:
            value = scope.find(name)
            reference = value if isinstance(value, str) and value else None
            self.builder.add_output(name, reference, *scope.types[name])

    def function(self, message: Field) -> None:
        """Take a function: its nodes, and one that stands for its outputs."""
        nodes: list[Operation] = []
        ends: dict[int, list[str]] = {4: [], 5: []}
        name = domain = ""
        types: dict[str, Type] = {}
        for one in self._messages.parts(message):
            if one.number in ends:
                ends[one.number].append(self._messages.text(one))
            elif one.number == 1:
                name = self._messages.text(one)
            elif one.number == 7:
                nodes.append(self._messages.operation(one))
            elif one.number == 10:
                domain = self._messages.text(one)
            elif one.number == 12:
                types.update([self._messages.value_info(one)])
        scope = _Scope(f"{name}.", "", types=types)
        for given in ends[4]:
            scope.values[given] = self._add_argument(given, scope, "")
        self._add_all(nodes, scope, 0)
        inputs, parameters = self._resolve(ends[5], scope, "output")
        op = f"{FUNCTION} {domain}.{name}" if domain else f"{FUNCTION} {name}"
        self.builder.add(Node(self.builder.name(name), op, "", (), inputs, tuple(parameters)))

    def _read_graph(self, message: Field, scope: _Scope) -> tuple[list[Operation], list[str], list[str]]:
        """Return nodes, names of inputs and names of outputs of a GraphProto; the rest comes into `scope`."""
        nodes: list[Operation] = []
        inputs: list[str] = []
        outputs: list[str] = []
        for one in self._messages.parts(message):
            if one.number == 1:
                nodes.append(self._messages.operation(one))
            elif one.number in (5, 15):
                self._add_constant(one, scope)
            elif one.number in (11, 12, 13):
                name, kind = self._messages.value_info(one)
                scope.types[name] = kind
                if one.number != 13:
                    (inputs if one.number == 11 else outputs).append(name)
        return nodes, inputs, outputs

    def _add_constant(self, one: Field, scope: _Scope) -> None:
        """Bring an initializer into a scope."""
        dense = one if one.number == 5 else self._reader.last(one, 1).get(1)
        if dense is not None:
            named = self._reader.last(dense, 8).get(8)
            name = self._messages.text(named) if named is not None else ""
            scope.constants[name] = self._held(one, sparse=one.number == 15)

    def _held(self, one: Field, *, sparse: bool) -> _Held:
        """Return the constant that a TensorProto or a SparseTensorProto is."""
        if not sparse:
            tensor = self._tensors.get(one.start)
            return _Held((), read_elements(self._reader, one)) if tensor is None else _Held((("", tensor),))
        parts = self._reader.last(one, 1, 2)
        found = ((role, parts[number]) for number, role in ((1, "values"), (2, "indices")) if number in parts)
        return _Held(tuple((role, self._tensors[at.start]) for role, at in found if at.start in self._tensors))

    def _add_all(self, operations: list[Operation], scope: _Scope, depth: int) -> None:
        """Take the nodes of a graph, after those of the graphs within each."""
        names = []
        for operation in operations:
            label = operation.name or next(filter(None, operation.outputs), "") or operation.op
            names.append(self.builder.name(scope.prefix + label))
            for number, output in enumerate(operation.outputs):
                if output:
                    scope.values[output] = f"{names[-1]}:{number}" if number else names[-1]
        for name, operation in zip(names, operations, strict=True):
            self._add(name, operation, scope, depth)

    def _add(self, name: str, operation: Operation, scope: _Scope, depth: int) -> None:
        inputs, parameters = self._resolve(operation.inputs, scope, "input")
        attributes = operation.attributes
        module = operation.module or scope.module
        for key, held in sorted(operation.holding, key=lambda pair: pair[0]):
            for index, one in enumerate(held):
                role = f"{key} {index}" if one.number in _SEVERAL else key
                if one.number in _GRAPHS:
                    below = _Scope(f"{name}.{role.replace(' ', '.')}.", module, (scope, *scope.around))
                    made, more, text = self._add_graph(one, below, inputs[: len(operation.inputs)], depth + 1)
                    inputs += made
                    parameters += [(f"{role} {which}", tensor) for which, tensor in more]
                    attributes.append((role, text))
                else:
                    constant = self._held(one, sparse=one.number in _SPARSE)
                    parameters += [(f"{role} {which}".rstrip(), tensor) for which, tensor in constant.tensors]
                    if constant.text:
                        attributes.append((role, constant.text))
        for number, text in self._texts(operation.inputs, scope):
            attributes.append((f"input {number}", text))
        shape = scope.types.get(operation.outputs[0], UNKNOWN)[1] if operation.outputs else None
        self.builder.add(Node(name, operation.op, module, tuple(attributes), inputs, tuple(parameters), shape))

    def _add_graph(
        self, message: Field, scope: _Scope, given: Sequence[str], depth: int
    ) -> tuple[tuple[str, ...], list[tuple[str, str]], str]:
        """Take a graph within a node, with inputs `given`; return its outputs, as `_resolve` does, and its text."""
        if depth > MAX_GRAPH_DEPTH:
            raise malformed(f"graphs nest too deep at byte {message.start}", kind="header-too-deep")
        nodes, inputs, outputs = self._read_graph(message, scope)
        for number, name in enumerate(inputs):
            scope.values[name] = self._add_argument(name, scope, given[number] if number < len(given) else "")
        self._add_all(nodes, scope, depth)
        made, parameters = self._resolve(outputs, scope, "output")
        return made, parameters, f"graph of {len(inputs)} inputs and {len(outputs)} outputs"

    def _add_argument(self, name: str, scope: _Scope, given: str) -> str:
        unique = self.builder.name(scope.prefix + name)
        shape = scope.types.get(name, UNKNOWN)[1]
        self.builder.add(Node(unique, ARGUMENT, scope.module, (), (given,) if given else (), (), shape))
        return unique

    def _resolve(self, names: Iterable[str], scope: _Scope, role: str) -> tuple[tuple[str, ...], list[tuple[str, str]]]:
        """Return references to values, "" for constants, and the tensors that these are, by `role` and number."""
        references: list[str] = []
        parameters: list[tuple[str, str]] = []
        for number, name in enumerate(names):
            found = scope.find(name) if name else ""
            references.append(found if isinstance(found, str) else "")
            if isinstance(found, _Held):
                parameters += [(f"{role} {number} {which}".rstrip(), tensor) for which, tensor in found.tensors]
        return tuple(references), parameters

    def _texts(self, names: Iterable[str], scope: _Scope) -> Iterator[tuple[int, str]]:
        """Yield number and text of the constants among values that are no tensors of the file."""
        for number, name in enumerate(names):
            found = scope.find(name) if name else ""
            if isinstance(found, _Held) and found.text:
                yield number, found.text
