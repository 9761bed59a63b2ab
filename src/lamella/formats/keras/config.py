"""The configuration of a Keras model, read as text: which layers it has, and what of it is code of somebody else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lamella.core.limits import MAX_METADATA_NBYTES

MAX_CONFIG_NBYTES = 4 << 20
_MAX_CONFIG_VALUES = 200_000
"""A configuration that is longer, or has more values, is not looked into: they take memory."""

_MAX_DEPTH = 64
_MAX_WORD_LENGTH = 256
_MAX_LABELS_LENGTH = 8_000_000
"""Names and classes of layers, each and all together: those of layers in layers repeat what these are called."""

_MAX_FOREIGN = 256
_MAX_FOREIGN_LENGTH = 200
_WRAPPED = ("layer", "forward_layer", "backward_layer", "cell")
_OWN_MODULES = re.compile(r"(keras|tf_keras|tensorflow)(\.|\Z)")
_LAMBDAS = ("Lambda", "__lambda__")


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that a configuration lists.

    `path` is where its variables lie in the HDF5 file, `name` what it is called, `label` the same with the models that
    it is in, and `settings` are what it was made with.
    """

    path: str
    name: str
    label: str
    class_name: str
    settings: Mapping[str, Any]


def parse_config(data: bytes) -> dict[str, Any]:
    """Return a configuration as values; nothing of one that is too long or no JSON object."""
    if len(data) > MAX_CONFIG_NBYTES or sum(map(data.count, (b",", b":", b"[", b"{"))) > _MAX_CONFIG_VALUES:
        return {}
    try:
        config = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return config if isinstance(config, dict) else {}


def snake_case(class_name: str) -> str:
    """Return how Keras writes the name of a class in a path."""
    words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", class_name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()


def layers_of(config: Mapping[str, Any]) -> list[Layer]:
    """Return the layers of a Sequential or Functional model, each followed by those in it; none of other models."""
    found: list[Layer] = []
    waiting = [("", "", config, 0)]
    room = _MAX_LABELS_LENGTH
    while waiting:
        path, label, entry, depth = waiting.pop()
        below = []
        for child_path, name, child in _children(path, entry) if depth < _MAX_DEPTH else ():
            room -= len(child_path) + len(label) + len(name)
            if room < 0:
                return []
            below.append((child_path, f"{label}/{name}" if label else name, child, depth + 1))
        waiting += reversed(below)
        if path:
            name = label.rpartition("/")[2]
            found.append(
                Layer(path, name_of(entry) or name, label, text_in(entry, "class_name"), dict_in(entry, "config"))
            )
    return found


def listed_layers(path: str, entry: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield path, name and entry of each layer that a model lists."""
    start = f"{path}/" if path else ""
    layers = dict_in(entry, "config").get("layers")
    used: dict[str, int] = {}
    for child in layers if isinstance(layers, list) else ():
        if not isinstance(child, dict):
            continue
        kind = snake_case(text_in(child, "class_name"))
        count = used.get(kind, 0)
        used[kind] = count + 1
        place = f"{kind}_{count}" if count else kind
        yield f"{start}layers/{place}", name_of(child) or place, child


def _children(path: str, entry: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield path, name and entry of each layer that a layer or model consists of."""
    yield from listed_layers(path, entry)
    settings = dict_in(entry, "config")
    start = f"{path}/" if path else ""
    for key in _WRAPPED:
        if isinstance(child := settings.get(key), dict) and "class_name" in child:
            place = "forward_layer" if key == "layer" and "backward_layer" in settings else key
            yield f"{start}{place}", place, child


def describe_layers(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield `layer:` and the name of each layer, and its class with the settings that are not those of most."""
    for layer in layers_of(config):
        settings = {
            key: value
            for key, value in layer.settings.items()
            if key not in ("name", "layers", "input_layers", "output_layers", "dtype", *_WRAPPED)
            and not (isinstance(value, dict) or value in (None, True, [], "linear"))
        }
        text = f"{layer.class_name} {json.dumps(settings)}" if settings else layer.class_name
        yield f"layer:{layer.label}"[:MAX_METADATA_NBYTES], text[:MAX_METADATA_NBYTES]


def foreign_code(config: Mapping[str, Any]) -> list[str]:
    """Return the names of classes and functions that Keras would take from elsewhere, or run from the file itself."""
    found: dict[str, None] = {}
    waiting: list[Any] = [config]
    while waiting and len(found) < _MAX_FOREIGN:
        value = waiting.pop()
        if isinstance(value, dict):
            if (name := _foreign(value)) is not None:
                found[name[:_MAX_FOREIGN_LENGTH]] = None
            waiting.extend(reversed(value.values()))
        elif isinstance(value, list):
            waiting.extend(reversed(value))
    return list(found)


def _foreign(entry: Mapping[str, Any]) -> str | None:
    class_name, module, registered = (text_in(entry, key) for key in ("class_name", "module", "registered_name"))
    if class_name in _LAMBDAS:
        return f"{class_name} {name_of(entry)}".rstrip()
    if not class_name or _OWN_MODULES.match(module):
        return None
    if module == "builtins":
        return registered or None
    return registered or (f"{module}.{class_name}" if module else None)


def name_of(entry: Mapping[str, Any]) -> str:
    """Return what a layer is called, "" where that is not told."""
    return text_in(dict_in(entry, "config"), "name") or text_in(entry, "name")


def text_in(entry: Mapping[str, Any], key: str) -> str:
    """Return the text under a key, "" where there is none that is short and printable."""
    value = entry.get(key)
    return value if isinstance(value, str) and len(value) <= _MAX_WORD_LENGTH and value.isprintable() else ""


def dict_in(entry: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return the mapping under a key, an empty one where there is none."""
    value = entry.get(key)
    return value if isinstance(value, dict) else {}
