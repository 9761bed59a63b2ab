"""Every strategy keeps the laws, and says what its formula says."""

from types import MappingProxyType

import numpy as np
from blake3 import blake3

from lamella.core.dtypes import DTYPES
from lamella.core.tensors import TensorSpec
from lamella.model.merging.strategies.builtin import STRATEGIES
from lamella.testing.merging import Model
from lamella.testing.strategies import StrategySuite
from tests.model.merging import formulas


def given(**parameters):
    return MappingProxyType(parameters)


class TestThreeWay(StrategySuite):
    strategy = STRATEGIES["three-way"]

    def reference(self, base, sides, weights, seed):
        return formulas.election(base, sides, weights)


class TestAverage(StrategySuite):
    strategy = STRATEGIES["average"]

    def reference(self, base, sides, weights, seed):
        return formulas.weighted(sides, weights)


class TestLinear(StrategySuite):
    strategy = STRATEGIES["linear"]

    def reference(self, base, sides, weights, seed):
        return formulas.weighted(sides, weights) / sum(weights)


class TestTaskArithmetic(StrategySuite):
    strategy = STRATEGIES["task-arithmetic"]
    parameters = given(scale=0.731059)

    def reference(self, base, sides, weights, seed):
        return formulas.of_changes(base, sides, weights, scale=0.731059)


class TestTies(StrategySuite):
    strategy = STRATEGIES["ties"]
    parameters = given(density=0.4, scale=0.831059)

    def reference(self, base, sides, weights, seed):
        kept = [formulas.furthest(base, side, 0.4) for side in sides]
        return formulas.election(base, sides, weights, scale=0.831059, kept=kept)


class TestDare(StrategySuite):
    strategy = STRATEGIES["dare"]

    def reference(self, base, sides, weights, seed):
        _, dropped = formulas.dare(base, sides, seed, density=0.5)
        return formulas.of_changes(base, dropped, weights, scale=2)


class TestDareTies(StrategySuite):
    strategy = STRATEGIES["dare"]
    parameters = given(density=0.7, elect=1, normalize=1, seed=9, rescale=0)

    def reference(self, base, sides, weights, seed):
        kept, _ = formulas.dare(base, sides, seed, density=0.7, number=9)
        return formulas.election(base, sides, weights, kept=kept)


class TestDella(StrategySuite):
    strategy = STRATEGIES["della"]

    def reference(self, base, sides, weights, seed):
        return formulas.election(
            base, formulas.della(base, sides, seed, density=0.5, epsilon=0.1, rescale=True), weights
        )  # fmt: skip


class TestDellaLinear(StrategySuite):
    strategy = STRATEGIES["della"]
    parameters = given(elect=0, normalize=1, rescale=0, epsilon=0.3)

    def reference(self, base, sides, weights, seed):
        dropped = formulas.della(base, sides, seed, density=0.5, epsilon=0.3, rescale=False)
        return formulas.of_changes(base, dropped, weights, normalize=True)


class TestBreadcrumbs(StrategySuite):
    strategy = STRATEGIES["breadcrumbs"]
    parameters = given(density=0.5, gamma=0.1)

    def reference(self, base, sides, weights, seed):
        _, dropped = formulas.breadcrumbs(base, sides, density=0.5, gamma=0.1)
        return formulas.of_changes(base, dropped, weights)


class TestBreadcrumbsTies(StrategySuite):
    strategy = STRATEGIES["breadcrumbs"]
    parameters = given(density=0.5, gamma=0.1, elect=1, normalize=1)

    def reference(self, base, sides, weights, seed):
        kept, _ = formulas.breadcrumbs(base, sides, density=0.5, gamma=0.1)
        return formulas.election(base, sides, weights, kept=kept)


class TestSce(StrategySuite):
    strategy = STRATEGIES["sce"]

    def reference(self, base, sides, weights, seed):
        return formulas.sce(base, sides)


class TestModelStock(StrategySuite):
    strategy = STRATEGIES["model-stock"]

    def reference(self, base, sides, weights, seed):
        return np.where(formulas.alike(base, *sides), base, formulas.model_stock(base, sides))


class TestSlerp(StrategySuite):
    strategy = STRATEGIES["slerp"]
    parameters = given(t=0.3)

    def reference(self, base, sides, weights, seed):
        return np.where(formulas.alike(*sides), sides[0], formulas.slerp(*sides, 0.3))


class TestSlerpOfChanges(StrategySuite):
    strategy = STRATEGIES["slerp"]
    parameters = given(changes=1)

    def reference(self, base, sides, weights, seed):
        return base + formulas.slerp(*(side - base for side in sides), 0.5)


class TestKarcher(StrategySuite):
    strategy = STRATEGIES["karcher"]
    parameters = given(tolerance=1e-15, iterations=200)

    def reference(self, base, sides, weights, seed):
        return np.where(formulas.alike(*sides), sides[0], formulas.karcher(sides, weights))


class TestKarcherOfChanges(StrategySuite):
    strategy = STRATEGIES["karcher"]
    parameters = given(tolerance=1e-15, iterations=200, changes=1)

    def reference(self, base, sides, weights, seed):
        return base + formulas.karcher([side - base for side in sides], weights)


class TestFisher(StrategySuite):
    strategy = STRATEGIES["fisher"]
    beside = "second-moment"

    def adorned(self, made):
        found = {name: one for name, one in made.tensors.items() if one[0].dtype.name[0] not in "uiq"}
        beside = {
            f"{name}.beside": (TensorSpec(f"{name}.beside", DTYPES["f32"], one.shape), squares(one.shape, data))
            for name, (one, data) in found.items()
        }
        return Model({**made.tensors, **beside}, made.piece_nbytes)

    def reference(self, base, sides, weights, seed):
        information = [
            np.frombuffer(squares(base.shape, data), np.float32).reshape(base.shape) for data in bytes_of(sides)
        ]
        found = formulas.fisher(base, sides, weights, [one.astype(np.float64) for one in information])
        return np.where(formulas.alike(*sides), sides[0], found)


def bytes_of(sides):
    """Return the bytes that arrays came from, f16 where they fit into it."""
    kind = np.float16 if all((side.astype(np.float16) == side).all() for side in sides) else np.float32
    return [side.astype(kind).tobytes() for side in sides]


def squares(shape, data):
    """Return positive numbers that follow from bytes, as bytes of f32."""
    draw = np.random.default_rng(int.from_bytes(blake3(data).digest(8)))
    return (draw.standard_normal(shape) ** 2).astype(np.float32).tobytes()


class TestRegMean(StrategySuite):
    strategy = STRATEGIES["regmean"]
    beside = "gram"

    def adorned(self, made):
        widths = {name: one.shape[1] for name, (one, _) in made.tensors.items() if len(one.shape) == 2}
        beside = {
            f"{name}.beside": (
                TensorSpec(f"{name}.beside", DTYPES["f64"], (width, width)),
                gram(width, made.tensors[name][1]),
            )
            for name, width in widths.items()
        }
        return Model({**made.tensors, **beside}, made.piece_nbytes)

    def reference(self, base, sides, weights, seed):
        grams = [np.frombuffer(gram(50, data), float).reshape(50, 50) for data in bytes_of(sides)]
        shrunk = [np.where(np.eye(50, dtype=bool), one, 0.9 * one) for one in grams]
        top = sum(side @ one for side, one in zip(sides, shrunk, strict=True))
        return np.where(formulas.alike(*sides), sides[0], np.linalg.solve(sum(shrunk), top.T).T)


def gram(width, data):
    """Return the Gram matrix of inputs that follow from bytes, as bytes of f64."""
    draw = np.random.default_rng(int.from_bytes(blake3(data).digest(8)))
    inputs = draw.standard_normal((2 * width + 2, width))
    return (inputs.T @ inputs).tobytes()


class TestMedian(StrategySuite):
    strategy = STRATEGIES["median"]
    is_robust = True

    def reference(self, base, sides, weights, seed):
        return np.median(sides, axis=0)


class TestTrimmedMean(StrategySuite):
    strategy = STRATEGIES["trimmed-mean"]
    parameters = given(share=0.34)
    is_robust = True

    def reference(self, base, sides, weights, seed):
        return np.sort(sides, axis=0)[1]


class TestLarger(StrategySuite):
    strategy = STRATEGIES["larger"]
    is_robust = True
    merges_integers = True

    def reference(self, base, sides, weights, seed):
        return np.max(sides, axis=0)


class TestApply(StrategySuite):
    strategy = STRATEGIES["apply"]
    parameters = given(scale=0.317811)

    def reference(self, base, sides, weights, seed):
        return sides[0] + 0.317811 * (sides[1] - base)
