"""The graph that names of tensors show: the modules that own tensors, and nothing of what is computed."""

from __future__ import annotations

from collections.abc import Iterable

from lamella.core.graphs import NAMES, Graph, Node, unambiguous
from lamella.core.tensors import TensorSpec
from lamella.model.tensor_names import bare, module_of, natural, separator

_ADAPTERS = ("lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector", "parametrizations")
"""Modules that are made for a tensor of the module around them, as PEFT and PyTorch's parametrizations do."""

_RUNNING = frozenset({"running_var", "moving_variance"})
_QUANTIZED = frozenset({"qweight", "weight_packed"})


def owner_of(name: str) -> tuple[str, str]:
    """Return the module that owns a tensor, and what the tensor is to it; a tensor without a module is its own.

    Names are cut at their slashes where they have some, else at their dots, as ``h.0.attn.weight`` is the ``weight`` of
    ``h.0.attn``, and ``q.lora_A.weight`` the ``lora_A.weight`` of ``q``.
    """
    found, module = bare(name), module_of(name)
    if not module:
        return found, found
    between = separator(found)
    role = found.rpartition(between)[2]
    for word in _ADAPTERS:
        before, at, behind = f"{between}{module}{between}".partition(f"{between}{word}{between}")
        if at and before:
            return before[len(between) :], f"{word}{between}{behind}{role}"
    return module, role


def parent_of(module: str) -> str:
    """Return the path of the module that has this one in it, "" for one that no other has."""
    return module.rpartition(separator(module))[0]


def names_graph(tensors: Iterable[TensorSpec]) -> Graph:
    """Return the graph of the modules that own tensors, ordered by name, numbers by their worth.

    So the same tensors have the same graph in any container. There are no edges and no interface. An attribute for each
    role says what its tensor is; `op` is no more than that shows: "normalization" where running statistics are kept,
    "quantized matrix" where packed weights are, else "vector", "matrix" or "kernel" by the largest rank.
    """
    modules: dict[str, list[tuple[str, TensorSpec]]] = {}
    for spec in tensors:
        module, role = owner_of(spec.name)
        modules.setdefault(module, []).append((role, spec))
    taken: dict[str, int] = {}
    nodes = (_node(_node_name(module, taken), owned) for module, owned in modules.items())
    return Graph(NAMES, "names", (), (), tuple(sorted(nodes, key=lambda node: natural(node.name))))


def _node_name(module: str, taken: dict[str, int]) -> str:
    """Return a module's name as the name of a node, in which nothing reads as a reference, and which no other has."""
    plain = name = unambiguous(module) or "_"
    while name in taken:
        taken[plain] += 1
        name = f"{plain}#{taken[plain]}"
    taken[name] = 1
    return name


def _node(name: str, owned: list[tuple[str, TensorSpec]]) -> Node:
    ordered = sorted(owned, key=lambda item: (item[0], item[1].name))
    attributes: dict[str, str] = {}
    parameters = []
    for role, spec in ordered:
        key = role if role not in attributes else f"{role} ({spec.name})"
        attributes[key] = f"{spec.dtype.name} [{','.join(map(str, spec.shape))}]"
        parameters.append((key, spec.name))
    op = _shown({role for role, _ in ordered}, max(len(spec.shape) for _, spec in ordered))
    return Node(name, op, parent_of(name), tuple(sorted(attributes.items())), (), tuple(parameters))


def _shown(roles: set[str], rank: int) -> str:
    if roles & _RUNNING:
        return "normalization"
    if roles & _QUANTIZED:
        return "quantized matrix"
    return "vector" if rank < 2 else "matrix" if rank == 2 else "kernel"
