"""What a computation graph is: operators, the values between them, and the tensors that they take as parameters."""

from __future__ import annotations

from dataclasses import dataclass

NAMES, LAYERS, OPERATORS = "names", "layers", "operators"
"""How much a graph knows: the modules that names of tensors show, the layers of a framework and what feeds what, or
every operator."""

Extent = int | str | None
"""The length of an axis: a number, the name of one that is open, or None where nothing is said."""


@dataclass(frozen=True, slots=True)
class Port:
    """A value that enters or leaves a graph. `dtype` is a name of `core.dtypes`, or what the framework calls it.

    A dtype of None, and a shape of None, are not known; `shape` is outermost first. `value` is what an output is: a
    reference as in `Node.inputs`. An input has none.
    """

    name: str
    dtype: str | None = None
    shape: tuple[Extent, ...] | None = None
    value: str | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """One operator, or one layer. `name` is unique in its graph; what it says of the node is the framework's affair.

    `attributes` are pairs of name and value, by name, the value in one canonical text. `inputs` are references to
    values, in order: the name of a node for its first output, ``NAME:1`` for its second, ``@NAME`` for an input of the
    graph, and "" for one left out. `parameters` are pairs of a role ("weight", "bias", "input 1") and the name of the
    tensor in the model's file. `module` is the dotted path of what the node is part of, "" where it is not known.
    `shape` is that of its first output.
    """

    name: str
    op: str
    module: str = ""
    attributes: tuple[tuple[str, str], ...] = ()
    inputs: tuple[str, ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()
    shape: tuple[Extent, ...] | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """A computation graph: its interface, and its nodes in an order in which none comes before what it needs.

    A graph with cycles, as control flow and recurrent layers make, has the nodes of a cycle in the order of its source.
    `level` is one of NAMES, LAYERS and OPERATORS; `source` says what it was made from, as "onnx" and "names" do.
    """

    level: str
    source: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    nodes: tuple[Node, ...]
