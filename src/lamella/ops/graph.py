"""`graph`: what a model computes, as a tree of its modules with the tensors that they take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from lamella.core.graphs import NAMES, Graph, Node
from lamella.core.tensors import TensorSpec
from lamella.ops.folded_tree import Branch, Leaf, folded_tree
from lamella.repo.graphs import graph_of_model
from lamella.repo.joined_model import Model


@dataclass(frozen=True, slots=True)
class GraphReport:
    """A model's computation graph. `tensors` are those of its parameters that the model has, by name.

    `absent` are parameters that it has not, and `unused` tensors that no node takes. `unread` and `missing` are those
    of `ls`.
    """

    name: str
    graph: Graph
    tensors: Mapping[str, TensorSpec]
    absent: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def elements(self) -> int:
        """The elements of all parameters, each tensor counted once."""
        return sum(prod(spec.shape) for spec in self.tensors.values())

    @property
    def nbytes(self) -> int:
        """The bytes of all parameters, each tensor counted once."""
        return sum(spec.nbytes for spec in self.tensors.values())


def graph(model: Model, recorded: Graph | None = None) -> GraphReport:
    """Return the computation graph of a model; `recorded` is the one beside it, where there is one.

    No tensor is read. Raises FormatError where the file describes a graph that is larger than is read.
    """
    found = graph_of_model(model, recorded)
    wanted = dict.fromkeys(name for node in found.nodes for _, name in node.parameters)
    tensors = {name: model.spec(name) for name in wanted if name in model.names}
    absent = tuple(name for name in wanted if name not in tensors)
    unused = tuple(name for name in model.names if name not in tensors)
    return GraphReport(model.path, found, tensors, absent, unused, model.unread, model.missing)


def node_tree(report: GraphReport, *, fold: bool = True) -> tuple[Branch[Node], ...]:
    """Return the nodes as a tree of their modules, in their order; with `fold`, numbered modules that are alike as one.

    A tensor counts for the first node that takes it.
    """
    counted: set[str] = set()
    leaves = []
    for node in report.graph.nodes:
        own = [report.tensors[name] for _, name in node.parameters if name in report.tensors and name not in counted]
        counted.update(spec.name for spec in own)
        shapes = tuple(sorted((role, _known(report.tensors.get(name))) for role, name in node.parameters))
        steps = (*module_steps(node.module), local_name(node))
        elements, nbytes = sum(prod(spec.shape) for spec in own), sum(spec.nbytes for spec in own)
        alike = (node.op, node.attributes, shapes, elements)
        leaves.append(Leaf(node, steps, alike, elements, nbytes))
    return folded_tree(leaves, fold=fold, named=report.graph.level == NAMES)


def _known(spec: TensorSpec | None) -> tuple[str, tuple[int, ...]] | None:
    return None if spec is None else (spec.dtype.name, spec.shape)


def module_steps(module: str) -> Sequence[str]:
    """Return the steps of a module's path, each with the separator behind it."""
    separator = "/" if "/" in module else "."
    return [f"{step}{separator}" for step in module.split(separator)] if module else []


def local_name(node: Node) -> str:
    """Return a node's name less the path of its module, where that is how it begins, with slashes or dots."""
    bare = node.name.lstrip("/")
    begins = bare.replace("/", ".").startswith(node.module.replace("/", ".") + ".")
    return bare[len(node.module) + 1 :] or node.name if node.module and begins else node.name
