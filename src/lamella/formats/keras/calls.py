"""How a Keras configuration writes which values a layer is called with, in the forms of Keras 2 and of Keras 3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lamella.core.graph_builder import attribute_text

Place = tuple[str, int, int]
"""A value: the name of the layer that makes it, the number of its call, and which output of that it is."""

Call = tuple[list[Place], list[tuple[str, str]]]
"""The values that a layer is called with, and its other arguments by name."""

_TENSOR = "__keras_tensor__"
_CONSTANT = "_CONSTANT_VALUE"
_MAX_COUNT = 1 << 31
_MAX_DEPTH = 32


def is_count(value: Any) -> bool:
    """Say whether a value is a number that counts or measures something."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_COUNT


def calls_of(entry: Mapping[str, Any]) -> list[Call]:
    """Return the calls of a layer of a Functional model; one that cannot be read has no arguments."""
    nodes = entry.get("inbound_nodes")
    return [_call(node) for node in nodes] if isinstance(nodes, list) else []


def _call(node: Any) -> Call:
    given: list[Place] = []
    texts: list[tuple[str, str]] = []
    if isinstance(node, dict):
        arguments, named = node.get("args"), node.get("kwargs")
        for number, value in enumerate(arguments if isinstance(arguments, list) else ()):
            _take(f"argument {number}", value, given, texts)
        _take_named(named, given, texts)
    elif isinstance(node, list):
        for number, one in enumerate([node] if _is_place(node) else node):
            if _is_place(one):
                given.append((one[0], one[1], one[2]))
                _take_named(one[3] if len(one) > 3 else None, given, texts)
            elif isinstance(one, list) and len(one) > 2 and one[0] == _CONSTANT:
                texts.append((f"argument {number}", attribute_text(one[2])))
    return given, texts


def _take_named(named: Any, given: list[Place], texts: list[tuple[str, str]]) -> None:
    for key in sorted(named) if isinstance(named, dict) else ():
        _take(f"argument {key}", named[key], given, texts)


def _take(name: str, value: Any, given: list[Place], texts: list[tuple[str, str]]) -> None:
    """Sort an argument: values of layers in whatever order they are nested, and anything else that is not left out."""
    places = [(value[0], value[1], value[2])] if _is_place(value) else [place for place, _, _ in _tensors(value, 0)]
    if places:
        given += places
    elif value is not None:
        texts.append((name, attribute_text(value)))


def _tensors(value: Any, depth: int) -> Iterator[tuple[Place, Any, Any]]:
    """Yield the values of layers in an argument of Keras 3, with shape and dtype."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, list):
        for one in value:
            yield from _tensors(one, depth + 1)
    elif isinstance(value, dict):
        config = value.get("config")
        if value.get("class_name") == _TENSOR and isinstance(config, dict):
            history = config.get("keras_history")
            if isinstance(history, list) and _is_place(history):
                yield (history[0], history[1], history[2]), config.get("shape"), config.get("dtype")
        else:
            for key in sorted(value):
                yield from _tensors(value[key], depth + 1)


def arguments_of(entry: Mapping[str, Any]) -> Iterator[tuple[Place, Any, Any]]:
    """Yield the values that a layer is called with as Keras 3 writes them, with shape and dtype."""
    nodes = entry.get("inbound_nodes")
    for node in nodes if isinstance(nodes, list) else ():
        if isinstance(node, dict):
            yield from _tensors([node.get("args"), node.get("kwargs")], 0)


def ends_of(value: Any) -> list[tuple[str, Place]]:
    """Return the inputs, or the outputs, of a Functional model, each with what it is called."""
    if _is_place(value):
        return [(value[0], (value[0], value[1], value[2]))]
    if isinstance(value, dict):
        return [(key, (one[0], one[1], one[2])) for key, one in value.items() if _is_place(one)]
    if isinstance(value, list):
        return [(one[0], (one[0], one[1], one[2])) for one in value if _is_place(one)]
    return []


def _is_place(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) in (3, 4)
        and isinstance(value[0], str)
        and is_count(value[1])
        and is_count(value[2])
    )
