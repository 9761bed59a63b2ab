"""The strategies that there are, by name."""

from __future__ import annotations

from collections.abc import Mapping

from lamella.model.merging.strategies.apply import Apply
from lamella.model.merging.strategies.average import Average
from lamella.model.merging.strategies.breadcrumbs import Breadcrumbs
from lamella.model.merging.strategies.dare import Dare
from lamella.model.merging.strategies.della import Della
from lamella.model.merging.strategies.fisher import Fisher
from lamella.model.merging.strategies.karcher import Karcher
from lamella.model.merging.strategies.larger import Larger
from lamella.model.merging.strategies.linear import Linear
from lamella.model.merging.strategies.median import Median
from lamella.model.merging.strategies.model_stock import ModelStock
from lamella.model.merging.strategies.regmean import RegMean
from lamella.model.merging.strategies.sce import Sce
from lamella.model.merging.strategies.slerp import Slerp
from lamella.model.merging.strategies.task_arithmetic import TaskArithmetic
from lamella.model.merging.strategies.three_way import ThreeWay
from lamella.model.merging.strategies.ties import Ties
from lamella.model.merging.strategies.trimmed_mean import TrimmedMean
from lamella.model.merging.strategy import Strategy

STRATEGIES: Mapping[str, Strategy] = {
    one.name: one
    for one in (
        *(ThreeWay(), Average(), Linear(), TaskArithmetic(), Ties(), Dare(), Della(), Breadcrumbs(), Sce()),
        *(ModelStock(), Slerp(), Karcher(), Fisher(), RegMean(), Median(), TrimmedMean(), Apply()),
        Larger(),
    )
}
"""In the order in which they are listed."""
