"""Version control for neural networks: Git keeps the history, Lamella keeps the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lamella.ops.repository import Repo as Repo

__version__ = "0.1.0"
__all__ = ["Repo", "__version__"]


def __getattr__(name: str) -> Any:
    """Import `Repo` when it is first asked for, so that `import lamella` stays light."""
    if name == "Repo":
        from lamella.ops.repository import Repo

        return Repo
    raise AttributeError(f"module 'lamella' has no attribute {name!r}")
