"""The settings of Keras layers as text: what objects are configured, dtypes and shapes."""

from __future__ import annotations

from typing import Any

from lamella.core.graph_builder import attribute_text
from lamella.core.graphs import Extent
from lamella.core.limits import MAX_DIMENSIONS
from lamella.formats.keras.calls import is_count

_MAX_DEPTH = 32
_SHORT = {"float": "f", "bfloat": "bf", "int": "i", "uint": "u", "complex": "c"}

_PLACED = frozenset({"shared_object_id", "module", "registered_name", "build_config"})
"""What else stands with an object that is configured."""


def setting_text(value: Any) -> str:
    """Return a setting in one line: of an object that is configured, its class, and what is not left out."""
    plain = _plain(value, 0)
    if _is_configured(value) and isinstance(plain, dict):
        ((name, settings),) = plain.items()
        return attribute_text(f"{name} {attribute_text(settings)}")
    return attribute_text(plain)


def _is_configured(value: Any) -> bool:
    return (
        isinstance(value, dict) and isinstance(value.get("class_name"), str) and isinstance(value.get("config"), dict)
    )


def _plain(value: Any, depth: int) -> Any:
    """Return a value with each object in it, which is configured, as its class, or that with its settings."""
    if depth > _MAX_DEPTH:
        return attribute_text(value)
    if isinstance(value, list):
        return [_plain(one, depth + 1) for one in value]
    if not isinstance(value, dict):
        return value
    if not _is_configured(value):
        return {key: _plain(one, depth + 1) for key, one in value.items() if key not in _PLACED}
    name, settings = value["class_name"], value["config"]
    if name == "DTypePolicy":
        return settings.get("name")
    kept = {key: _plain(one, depth + 1) for key, one in settings.items() if one is not None and key != "name"}
    return {name: kept} if kept else name


def shape_of(value: Any) -> tuple[Extent, ...] | None:
    """Return a shape, None where it is none."""
    if not isinstance(value, list) or len(value) > MAX_DIMENSIONS:
        return None
    if not all(one is None or is_count(one) for one in value):
        return None
    return tuple(value)


def dtype_name(value: Any) -> str | None:
    """Return the name of `core.dtypes` for a dtype of Keras, as it is for any other text."""
    if isinstance(value, dict):
        value = _plain(value, 0)
    if not isinstance(value, str):
        return None
    kind = value.rstrip("0123456789")
    return _SHORT[kind] + value[len(kind) :] if kind in _SHORT and kind != value else attribute_text(value)
