"""Keras: the layers of a live model as a computation graph.

`lamella.keras` is this module. The files that Keras saves have the same graph, which Lamella reads by itself.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lamella.core.dtypes import DTYPES
from lamella.core.errors import UsageError
from lamella.core.graphs import Graph
from lamella.core.tensors import TensorSpec
from lamella.formats.keras.config import listed_layers, snake_case
from lamella.formats.keras.graph import config_graph
from lamella.formats.keras.names import positional_names
from lamella.formats.keras.settings import dtype_name
from lamella.integrations.framework import framework


def capture(model: Any) -> Graph:
    """Return the layers of a Sequential or Functional model, and what feeds what.

    Parameters are called as in the `.keras` file that the model would be saved to. Raises UsageError (bad-argument) for
    a model of another kind, of whose layers Keras does not tell what feeds what.
    """
    config = json.loads(model.to_json())
    specs = {spec.name: spec for spec in _variables("", config, model)}
    names = positional_names(specs, {}, config)
    graph = config_graph(config, [(path, names.get(path, path)) for path in specs], by_path=True)
    if graph is None:
        hint = "the graph of its PyTorch module, or of its function in JAX, can be captured instead"
        message = f"a model of class {type(model).__name__} does not tell what feeds its layers"
        raise UsageError(message, kind="bad-argument", hint=hint)
    return graph


def _variables(path: str, entry: Mapping[str, Any], model: Any) -> Iterator[TensorSpec]:
    """Yield the variables of the layers of a model under the paths that `saving_lib.py` of Keras gives them."""
    layers = {layer.name: layer for layer in model.layers}
    for child_path, name, child in listed_layers(path, entry):
        layer = layers.get(name)
        if layer is None:
            continue
        if isinstance(child.get("config", {}).get("layers"), list):
            yield from _variables(child_path, child, layer)
        else:
            yield from _own(child_path, layer, set())


def _own(path: str, layer: Any, seen: set[int]) -> Iterator[TensorSpec]:
    """Yield the variables of a layer and of its parts, which lie under their attributes."""
    seen.add(id(layer))
    for number, variable in enumerate([*layer._trainable_variables, *layer._non_trainable_variables]):
        dtype = DTYPES.get(dtype_name(str(variable.dtype)) or "")
        if dtype is not None:
            yield TensorSpec(f"{path}/vars/{number}", dtype, tuple(variable.shape))
    kind = framework("keras").layers.Layer
    # Public names come first: a part that a private attribute holds too lies under the public one.
    for attribute in sorted(set(dir(layer)) - set(dir(kind)), key=lambda name: (name.startswith("_"), name)):
        value = None if attribute.startswith("__") else getattr(layer, attribute, None)
        if isinstance(value, kind) and id(value) not in seen:
            yield from _own(f"{path}/{attribute}", value, seen)
        elif isinstance(value, (list, tuple)):
            parts = [part for part in value if isinstance(part, kind) and id(part) not in seen]
            for place, part in zip(_places(parts), parts, strict=True):
                yield from _own(f"{path}/{attribute}/{place}", part, seen)


def _places(parts: Sequence[Any]) -> Iterator[str]:
    """Yield what the parts of a list are saved under: their classes, numbered from the second of each on."""
    used: Counter[str] = Counter()
    for part in parts:
        kind = snake_case(type(part).__name__)
        yield f"{kind}_{used[kind]}" if used[kind] else kind
        used[kind] += 1
