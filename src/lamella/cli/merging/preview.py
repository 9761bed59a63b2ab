"""`lamella merge --dry-run`: what would become of every tensor."""

from __future__ import annotations

from lamella.cli.merging.asked import Asked


def run(asked: Asked) -> int:
    """Print the plan and return 0."""
    raise NotImplementedError(asked)
