"""The layers of a model, read off the names of its tensors: what is one module, and which repeated block it is in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lamella.core.dtypes import DType
from lamella.core.tensors import TensorSpec
from lamella.model.tensor_names import module_of, separator, steps

MOST_MEMBERS = 32
"""Tensors of one layer; a module with more of its own is a list, of which each tensor is a layer by itself."""
MOST_BLOCKS = 4
"""Blocks within one another: a layer of a network, an expert in it, and so on."""

_NUMBERED = re.compile(r".*?(\d{1,18})\Z", re.ASCII | re.DOTALL)
_ROLES = {
    **dict.fromkeys(("weight", "kernel", "gamma", "scale", "w", "g", "W", "embeddings", "embedding"), 0),
    **dict.fromkeys(("bias", "beta", "b"), 1),
    **dict.fromkeys(("running_mean", "moving_mean", "mean"), 2),
    **dict.fromkeys(("running_var", "moving_variance", "var", "variance"), 3),
}
"""What PyTorch, Keras, Flax and Haiku call the parts of a layer."""

Kind = tuple[str, tuple[int, ...]]
"""The family of a dtype, and a shape: tensors of other kinds are compared only where one was resized."""
Order = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Layer:
    """A module with tensors of its own, numbers into the list of all, by their role.

    `blocks` are the names of the numbered modules around it, the outermost first; it may be the last of them itself.
    `order` sorts layers as a person would, numbers by what they are.
    """

    name: str
    tensors: tuple[int, ...]
    kinds: tuple[Kind, ...]
    blocks: tuple[str, ...]
    order: Order


def family(dtype: DType) -> str:
    """Return what dtypes have in common that hold the same numbers, more or less precisely."""
    if dtype.name in ("f16", "bf16", "f32", "f64") or dtype.name.startswith("f8_e"):
        return "float" if dtype.name != "f8_e8m0" else dtype.name
    return {"c64": "complex", "c128": "complex"}.get(dtype.name, dtype.name)


def kind(spec: TensorSpec) -> Kind:
    """Return what two tensors have in common between which nothing but values differs."""
    return family(spec.dtype), spec.shape


def role(spec: TensorSpec) -> tuple[int, str]:
    """Return what a tensor is within its layer, whatever framework named it."""
    last = steps(spec.name)[-1]
    return (number, "") if (number := _ROLES.get(last)) is not None else (len(_ROLES), last)


def list_layers(specs: Sequence[TensorSpec]) -> list[Layer]:
    """Return the layers that tensors belong to, in the order of their names, numbers by what they are."""
    members: dict[str, list[int]] = {}
    for number, spec in enumerate(specs):
        members.setdefault(module_of(spec.name), []).append(number)
    layers = []
    for name, tensors in members.items():
        if name and len(tensors) <= MOST_MEMBERS:
            layers.append(_layer(name, tensors, specs))
        else:
            layers += [_layer(specs[tensor].name, [tensor], specs) for tensor in tensors]
    return sorted(layers, key=lambda layer: layer.order)


def _layer(name: str, tensors: Sequence[int], specs: Sequence[TensorSpec]) -> Layer:
    by_role = sorted(tensors, key=lambda tensor: (specs[tensor].shape, role(specs[tensor]), specs[tensor].name))
    found = steps(name)
    return Layer(
        name,
        tuple(by_role),
        tuple(kind(specs[tensor]) for tensor in by_role),
        tuple(_blocks(found, separator(specs[tensors[0]].name))),
        tuple(_ordered(step) for step in found),
    )


def _blocks(found: Sequence[str], between: str) -> Iterator[str]:
    count = 0
    for number, step in enumerate(found):
        if count < MOST_BLOCKS and _NUMBERED.match(step):
            count += 1
            yield between.join(found[: number + 1])


def outer_block(name: str) -> str:
    """Return the outermost numbered module around a layer, "" where there is none; it may be the layer itself."""
    return next(_blocks(steps(name), separator(name)), "")


def _ordered(step: str) -> tuple[str, int]:
    found = _NUMBERED.match(step)
    return (step[: found.start(1)], int(found[1])) if found else (step, -1)
