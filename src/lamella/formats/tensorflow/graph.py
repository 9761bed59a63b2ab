"""The computation graph of a SavedModel, which is what its serving signature runs, and of a frozen graph."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from lamella.core.graph_builder import GraphBuilder
from lamella.core.graphs import OPERATORS, Graph, Node, in_order
from lamella.core.limits import MAX_GRAPH_DEPTH
from lamella.formats.protobuf import Field, WireReader
from lamella.formats.tensorflow.graph_nodes import Function, NodeReader, Operation, Outlet, Signature, named, outlet
from lamella.formats.tensorflow.graph_tensors import GraphTensors
from lamella.formats.tensorflow.graph_variables import Variables

ARGUMENT, FUNCTION = "Argument", "Function"
"""The operators of nodes that stand for an argument, and for the outputs, of a function that others only name."""

_SERVING = "serving_default"
_INITIAL = "__saved_model_init_op"
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_NUMBERED = re.compile(r"\A__(?:inference|forward|backward)_(.*?)(?:_[0-9]+)?\Z", re.DOTALL)
"""What TensorFlow calls functions: numbered in the order in which a process traced them, which says nothing."""


def saved_model_graph(reader: WireReader) -> Graph | None:
    """Return what the serving signature of the first graph runs, the first signature where none is called so.

    None where there is no signature. Raises FormatError as the format's `layout` does, and header-too-large.
    """
    tensors = {offset: spec.name for spec, offset in GraphTensors(reader).of_saved_model()}
    walk = _Walk(reader, tensors)
    signatures: dict[str, Signature] = {}
    variables: Variables | None = None
    for meta in reader.fields(0, reader.nbytes):
        if meta.number == 2:
            for one in reader.inside(meta):
                if one.number == 2:
                    walk.take(reader.inside(one))
                elif one.number == 5:
                    pair = reader.last(one, 1, 2)
                    if 2 in pair:
                        signatures[walk.nodes.text(pair.get(1))] = walk.nodes.signature(pair[2])
                elif one.number == 7:
                    variables = Variables(walk.nodes, one)
            break
    if variables is not None:
        walk.variables = variables_of(walk.main, variables)
    signatures.pop(_INITIAL, None)
    if not signatures:
        return None
    name = _SERVING if _SERVING in signatures else min(signatures)
    return walk.graph(name, signatures[name])


def frozen_graph(reader: WireReader) -> Graph:
    """Return the nodes of a GraphDef; its inputs are placeholders, its outputs what nothing takes. Raises as above."""
    tensors = {offset: spec.name for spec, offset in GraphTensors(reader).of_graph(reader.fields(0, reader.nbytes), "")}
    walk = _Walk(reader, tensors)
    walk.take(reader.fields(0, reader.nbytes))
    taken = {source for one in walk.main.operations for source, _, _ in one.inputs}
    found = Signature()
    for one in walk.main.operations:
        if one.op == "Placeholder":
            dtype = dict(one.attributes).get("dtype", "?")
            kind = None if dtype == "?" else dtype, one.shape
            found.inputs.append((one.name, outlet(one.name), kind))
        elif one.name not in taken and one.op not in ("Const", "NoOp"):
            found.outputs.append((one.name, outlet(one.name), (None, one.shape)))
    return walk.graph("", found)


class _Walk:
    """One way through a graph and the functions that it calls; `variables` are those of nodes, by name."""

    def __init__(self, reader: WireReader, tensors: dict[int, str]) -> None:
        self._reader = reader
        self.nodes = NodeReader(reader, tensors)
        self.main = Function()
        self.variables: dict[str, str] = {}
        self._functions: dict[str, Function] = {}
        self._named: dict[str, str] = {}
        self._builder = GraphBuilder(OPERATORS, "tensorflow")

    def take(self, fields: Iterable[Field]) -> None:
        """Take the nodes and functions of a GraphDef."""
        for one in fields:
            if one.number == 1:
                self.main.operations.append(self.nodes.operation(one))
            elif one.number == 2:
                for function in self._reader.inside(one):
                    if function.number == 1:
                        name, held = self.nodes.function(function)
                        self._functions[name] = held

    def graph(self, name: str, signature: Signature) -> Graph:
        """Return what leads to the outputs of a signature."""
        if name:
            self._builder.note("signature", name)
        given = {source[0]: self._builder.add_input(key, *kind) for key, source, kind in signature.inputs}
        self.main.outputs = [source for _, source, _ in signature.outputs]
        made = self._inline(self.main, given, "", 0)
        for (key, _, kind), value in zip(signature.outputs, made, strict=True):
            self._builder.add_output(key, value or None, *kind)
        done = 0
        while done < len(self._named):
            for function, label in list(self._named.items())[done:]:
                self._function(self._functions[function], label)
                done += 1
        return self._builder.build()

    def _function(self, function: Function, label: str) -> None:
        """Take a function that operations name, and a node that takes its outputs."""
        given = {}
        for argument in function.arguments:
            given[argument] = self._builder.name(f"{label}.{argument}")
            self._builder.add(Node(given[argument], ARGUMENT))
        made = self._inline(function, given, f"{label}.", 0)
        self._builder.add(Node(label, FUNCTION, inputs=tuple(made)))

    def _inline(self, function: Function, given: Mapping[str, str], prefix: str, depth: int) -> list[str]:
        """Take the operations that lead to the outputs of a function, and return the references to these."""
        values: dict[str, _Made] = {name: _Made([reference]) for name, reference in given.items()}
        operations = leading(function, given)
        # A cycle, as loops of the first version of TensorFlow are, takes what comes later: names are given out before.
        for one in operations:
            if self._called(one, depth) is None:
                values[one.name] = _Made([], self._builder.name(prefix + (one.name or one.op)))
        for one in operations:
            inputs = [values[source[0]].reference(source) if source[0] in values else "" for source in one.inputs]
            body = self._called(one, depth)
            if body is None:
                self._add(one, values[one.name].node, inputs)
            else:
                self.nodes.charge(1 + len(body.operations))
                arguments = dict(zip(body.arguments, inputs, strict=False))
                values[one.name] = _Made(self._inline(body, arguments, prefix, depth + 1))
        return [values[source[0]].reference(source) if source[0] in values else "" for source in function.outputs]

    def _called(self, operation: Operation, depth: int) -> Function | None:
        """Return the function that an operation does nothing but call."""
        name = dict(operation.functions).get("f", "") if operation.op in _CALLS else operation.op
        return self._functions.get(name) if depth < MAX_GRAPH_DEPTH else None

    def _add(self, operation: Operation, name: str, inputs: list[str]) -> None:
        attributes = list(operation.attributes)
        for key, function in operation.functions:
            shown = _NUMBERED.sub(r"\1", function)
            attributes.append((key, shown))
            if function in self._functions:
                if function not in self._named:
                    self._named[function] = self._builder.name(shown)
                inputs.append(self._named[function])
        module = ".".join(operation.name.split("/")[:-1])
        parameters = list(operation.parameters)
        if operation.op == "VarHandleOp":
            variable = self.variables.get(operation.name)
            parameters += [("variable", variable)] if variable else []
        ends = tuple(attributes), tuple(inputs), tuple(parameters)
        self._builder.add(Node(name, operation.op, module, *ends, operation.shape))


class _Made:
    """What an operation makes: references, one for each output, or the node that stands for it."""

    __slots__ = ("_outputs", "_references", "node")

    def __init__(self, references: list[str], node: str = "") -> None:
        self._references = references
        self._outputs: dict[str, int] = {}
        self.node = node

    def reference(self, source: Outlet) -> str:
        """Return the reference to an output. Those that have names in a function are numbered as they come."""
        _, output, number = source
        if not self.node:
            return self._references[number] if number < len(self._references) else ""
        number += self._outputs.setdefault(output, len(self._outputs))
        return f"{self.node}:{number}" if number else self.node


def variables_of(main: Function, variables: Variables) -> dict[str, str]:
    """Return the paths of the variables that nodes of the main graph hand to functions, by the names of these nodes."""
    found: dict[str, str] = {}
    for one in main.operations:
        bound = variables.bound.get(dict(one.functions).get("f", ""), [])
        for number, (name, _, _) in zip(reversed(bound), reversed(one.inputs), strict=False):
            if number in variables.paths:
                found.setdefault(name, variables.paths[number])
    return found


def leading(function: Function, given: Mapping[str, str]) -> list[Operation]:
    """Return the operations that the outputs of a function need, in order, less those that are `given`."""
    known = named(function.operations)
    waiting = [source[0] for source in function.outputs]
    wanted: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in known and name not in wanted and name not in given:
            wanted.add(name)
            waiting += (source[0] for source in known[name].inputs)
    needed = ((name, one) for name, one in known.items() if name in wanted)
    edges = [Node(name, "", inputs=tuple(source[0] for source in one.inputs)) for name, one in needed]
    return [known[node.name] for node in in_order(edges)]
