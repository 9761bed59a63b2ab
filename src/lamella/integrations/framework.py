"""Importing a framework that may not be installed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from lamella.core.errors import UsageError


def framework(name: str) -> Any:
    """Return the module of a framework; raise UsageError (framework-missing) where it is not installed."""
    try:
        return import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name != name:
            raise
        hint = f"`pip install {name}` installs it"
        raise UsageError(f"{name} is not installed", kind="framework-missing", hint=hint) from exc
