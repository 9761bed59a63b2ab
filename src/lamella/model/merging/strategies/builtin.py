"""The strategies that there are, by name."""

from __future__ import annotations

from collections.abc import Mapping

from lamella.model.merging.strategies.apply import Apply
from lamella.model.merging.strategies.average import Average
from lamella.model.merging.strategies.larger import Larger
from lamella.model.merging.strategies.linear import Linear
from lamella.model.merging.strategies.median import Median
from lamella.model.merging.strategies.task_arithmetic import TaskArithmetic
from lamella.model.merging.strategies.three_way import ThreeWay
from lamella.model.merging.strategies.ties import Ties
from lamella.model.merging.strategies.trimmed_mean import TrimmedMean
from lamella.model.merging.strategy import Strategy

STRATEGIES: Mapping[str, Strategy] = {
    one.name: one
    for one in (
        *(ThreeWay(), Average(), Linear(), TaskArithmetic(), Ties(), Median(), TrimmedMean()),
        *(Apply(), Larger()),
    )
}
"""In the order in which they are listed."""
