"""Version control for neural networks: Git keeps the history, Lamella keeps the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lamella.integrations import jax as jax
    from lamella.integrations import keras as keras
    from lamella.integrations import torch as torch
    from lamella.ops.load import load as load
    from lamella.ops.repository import Repo as Repo
    from lamella.ops.save_graph import save_graph as save_graph

__version__ = "0.1.0"
__all__ = ["Repo", "__version__", "jax", "keras", "load", "save_graph", "torch"]

_HOMES = {
    "Repo": "lamella.ops.repository",
    "load": "lamella.ops.load",
    "save_graph": "lamella.ops.save_graph",
}


def __getattr__(name: str) -> Any:
    """Import what is public when it is first asked for, so that `import lamella` stays light."""
    from importlib import import_module

    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in ("jax", "keras", "torch"):
        return import_module(f"lamella.{name}")
    raise AttributeError(f"module 'lamella' has no attribute {name!r}")
