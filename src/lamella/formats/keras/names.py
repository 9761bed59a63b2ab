"""The names of Keras's variables: what their places in an HDF5 file, its labels and the configuration tell."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from lamella.core.limits import MAX_NAME_NBYTES
from lamella.core.tensors import TensorSpec
from lamella.formats.base import TensorSpan, TensorView
from lamella.formats.hdf5.blocks import Blocks
from lamella.formats.hdf5.datasets import renamed
from lamella.formats.hdf5.tree import Tree
from lamella.formats.keras.config import Layer, layers_of, snake_case
from lamella.formats.keras.variables import OPTIMIZER, optimizer_names, variable_names

_CONTAINERS = ("layers", "_layer_checkpoint_dependencies")
_PLACE = re.compile(r"(?:(.*)/)?vars/(0|[1-9][0-9]{0,8})", re.DOTALL)
_NUMBERED = re.compile(r"_[0-9]+\Z")
_MAX_DEPTH = 64
_MAX_LABEL_LENGTH = 1024
"""Objects that lie deeper, or would be called something longer, keep their paths."""

_MODEL_WEIGHTS = "model_weights/"
_OUTPUT = re.compile(r":[0-9]+\Z")
"""What TensorFlow writes behind the name of a variable: which output of the operation it is."""


def with_keras_names(blocks: Blocks, tree: Tree, config: Mapping[str, Any]) -> list[TensorSpan | TensorView]:
    """Return the tensors of an HDF5 file under the names that Keras shows, where it wrote them.

    A tensor whose name is not told, or is another's too, keeps its path. `config` is the configuration of the model,
    empty where there is none. Raises FormatError (too-many-tensors) where the names take too much memory.
    """
    specs = {tensor.spec.name: tensor.spec for tensor in tree.tensors}
    names = positional_names(specs, tree.labels, config)
    for path in specs:
        if path not in names and (name := _listed(path, tree.weighted)) is not None:
            names[path] = name
    uses = Counter(names.values())
    found: list[TensorSpan | TensorView] = []
    for tensor in tree.tensors:
        path = tensor.spec.name
        name = names.get(path, path)
        if name != path and uses[name] == 1 and name not in specs and len(name) <= MAX_NAME_NBYTES:
            blocks.keep(256 + 4 * len(name))
            tensor = renamed(tensor, name)
        found.append(tensor)
    return found


def places_and_names(blocks: Blocks, tree: Tree, config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return where each tensor lies in an HDF5 file, and what `with_keras_names` calls it; raise as that does."""
    named = with_keras_names(blocks, tree, config)
    return [(one.spec.name, other.spec.name) for one, other in zip(tree.tensors, named, strict=True)]


def _listed(path: str, weighted: set[str]) -> str | None:
    """Return the name of a variable in a group that lists its names: that of the layer, and what follows it there."""
    end = path.rfind("/")
    for _ in range(_MAX_DEPTH):
        if end <= 0 or path[:end] in weighted:
            break
        end = path.rfind("/", 0, end)
    if end <= 0 or path[:end] not in weighted:
        return None
    layer = path[:end].removeprefix(_MODEL_WEIGHTS)
    name = _OUTPUT.sub("", path[end + 1 :])
    at = f"/{name}".find(f"/{layer}/")
    return name[at:] if at >= 0 else f"{layer}/{name}"


def positional_names(
    specs: Mapping[str, TensorSpec], labels: Mapping[str, str], config: Mapping[str, Any]
) -> dict[str, str]:
    """Return the names of the variables that lie under numbers, by path.

    `specs` are all by path, `labels` what the attribute `name` of groups says, and `config` is that of the model.
    """
    found: dict[str, list[tuple[int, TensorSpec]]] = {}
    for path, spec in specs.items():
        if (match := _PLACE.fullmatch(path)) is not None:
            found.setdefault(match[1] or "", []).append((int(match[2]), spec))
    layers = layers_of(config)
    known = {layer.path: layer for layer in layers}
    owners: dict[str, list[TensorSpec]] = {}
    names: dict[str, str] = {}
    for owner, members in found.items():
        members.sort(key=lambda member: member[0])
        owners[owner] = [spec for _, spec in members]
        if not owner or owner == OPTIMIZER:
            names |= {spec.name: spec.name for _, spec in members}
            continue
        layer = known.get(owner)
        kind = snake_case(layer.class_name) if layer else _NUMBERED.sub("", owner.rpartition("/")[2])
        told = variable_names(kind, len(members), layer.settings if layer else {})
        label = _label(owner, labels, known)
        for number, spec in members:
            names[spec.name] = f"{label}/{told[number] if number < len(told) else number}"
    slots = owners.get(OPTIMIZER, [])
    return names | optimizer_names(config, layers, slots, owners, names)


def _label(owner: str, labels: Mapping[str, str], known: Mapping[str, Layer]) -> str:
    """Return what an object is called: layers by their names, and parts of them by their attributes."""
    found: list[str] = []
    parts = owner.split("/")
    if len(parts) > _MAX_DEPTH:
        return owner
    at = 0
    while at < len(parts):
        if parts[at] in _CONTAINERS and at + 1 < len(parts):
            path = "/".join(parts[: at + 2])
            name = labels.get(f"{path}/vars") or (known[path].name if path in known else None)
            found += [name] if name else parts[at : at + 2]
            at += 2
        else:
            found.append(parts[at])
            at += 1
    label = "/".join(found)
    return label if len(label) <= _MAX_LABEL_LENGTH else owner
