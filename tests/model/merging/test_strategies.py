"""Every strategy keeps the laws, and says what its formula says."""

from types import MappingProxyType

from lamella.model.merging.strategies.builtin import STRATEGIES
from lamella.testing.strategies import StrategySuite


class TestThreeWay(StrategySuite):
    strategy = STRATEGIES["three-way"]


class TestAverage(StrategySuite):
    strategy = STRATEGIES["average"]


class TestLinear(StrategySuite):
    strategy = STRATEGIES["linear"]


class TestTaskArithmetic(StrategySuite):
    strategy = STRATEGIES["task-arithmetic"]


class TestTies(StrategySuite):
    strategy = STRATEGIES["ties"]
    parameters = MappingProxyType({"density": 0.4})


class TestMedian(StrategySuite):
    strategy = STRATEGIES["median"]
    is_robust = True


class TestTrimmedMean(StrategySuite):
    strategy = STRATEGIES["trimmed-mean"]
    is_robust = True


class TestLarger(StrategySuite):
    strategy = STRATEGIES["larger"]
    is_robust = True
    merges_integers = True


class TestApply(StrategySuite):
    strategy = STRATEGIES["apply"]
