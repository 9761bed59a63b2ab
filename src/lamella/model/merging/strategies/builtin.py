"""The strategies that there are, by name."""

from __future__ import annotations

from collections.abc import Mapping

from lamella.model.merging.strategies.linear import Linear
from lamella.model.merging.strategies.three_way import ThreeWay
from lamella.model.merging.strategy import Strategy

STRATEGIES: Mapping[str, Strategy] = {one.name: one for one in (ThreeWay(), Linear())}
"""In the order in which they are listed."""
