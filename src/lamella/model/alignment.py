"""Which tensor of one model became which of another, with the reason and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass

CONTENT, NAME, BLOCK, WEIGHTS, RESIZED, ORDER = "content", "name", "block", "weights", "resized", "order"
"""Reasons of a pair: the same bytes and nothing else has them; the same name and similar weights, or, with little
confidence, the name alone; a member of a block of repeated layers that became another; similar weights alone; alike
where their shapes overlap, or but for rows that were dropped; or nothing but the order."""

LEAST_SURE = 0.3
"""With less confidence than this, nothing speaks for a pair but its name, or its place in a block."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A tensor of the model before and what it became. `confidence` is from 0 to 1, `reason` one of the words above."""

    before: str
    after: str
    reason: str
    confidence: float

    @property
    def renamed(self) -> bool:
        """Whether the two have other names."""
        return self.before != self.after


@dataclass(frozen=True, slots=True)
class LayerPair:
    """A layer of the model before and what it became. A layer is the module whose tensors these are.

    Reason and confidence are those of its largest tensor. `moved` says that its block went past other blocks, or that
    it went to another block than the layers beside it: the shortest list of blocks is called moved that leaves all
    others in their order. Only numbers in names are an order; where a file lists its tensors means nothing.
    """

    before: str
    after: str
    reason: str
    confidence: float
    moved: bool


@dataclass(frozen=True, slots=True)
class Alignment:
    """Two models put beside each other. Each tensor is in exactly one pair, or in `removed` or `added`."""

    pairs: tuple[Pair, ...]
    removed: tuple[str, ...]
    added: tuple[str, ...]
    layers: tuple[LayerPair, ...]
    removed_layers: tuple[str, ...]
    added_layers: tuple[str, ...]
