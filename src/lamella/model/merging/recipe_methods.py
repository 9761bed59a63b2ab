"""The merge methods of recipes: which strategy computes each, and what is passed on to it under which name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from lamella.core.errors import UsageError
from lamella.model.merging.strategies.builtin import STRATEGIES


@dataclass(frozen=True, slots=True)
class Passed:
    """A parameter of a method: what the strategy calls it, and what it is where the recipe does not say.

    A method cannot do without one whose `default` is None.
    """

    called: str
    default: float | None = None


@dataclass(frozen=True, slots=True)
class Method:
    """A merge method of recipes, and the strategy that computes it.

    `fixed` is what the strategy is always told. `shared` are the parameters that all models have together, `each` those
    of which every model has its own, and `only` those that can have no other value. `weight` is what the recipe calls
    the weight of a model, "" where there are none, and `unweighted` what it is where the recipe does not say. `least`
    to `most` models take part, beside the base where the method `has_base`.
    """

    strategy: str
    fixed: Mapping[str, float] = field(default_factory=dict)
    shared: Mapping[str, Passed] = field(default_factory=dict)
    each: Mapping[str, Passed] = field(default_factory=dict)
    only: Mapping[str, float] = field(default_factory=dict)
    weight: str = "weight"
    unweighted: float | None = None
    has_base: bool = True
    least: int = 1
    most: int | None = None


def _arithmetic(strategy: str, *, normalize: bool, rescale: bool | None = None, **more: Passed | float) -> Method:
    """Return a method that adds changes to the base, of which `more` are what every model has its own of, or fixed."""
    shared = {"normalize": Passed("normalize", float(normalize)), "lambda": Passed("scale", 1.0)}
    if rescale is not None:
        shared["rescale"] = Passed("rescale", float(rescale))
    each = {name: one for name, one in more.items() if isinstance(one, Passed)}
    fixed = {name: one for name, one in more.items() if not isinstance(one, Passed)}
    return Method(strategy, fixed, shared, each)


_DENSITY, _EPSILON, _GAMMA = Passed("density", 1.0), Passed("epsilon", 0.15), Passed("gamma", 0.01)

METHODS: Mapping[str, Method] = {
    "linear": Method("linear", shared={"normalize": Passed("normalize", 1.0)}, has_base=False),
    "slerp": Method("slerp", shared={"t": Passed("t")}, weight="", has_base=False, least=2, most=2),
    "nuslerp": Method("slerp", only={"nuslerp_flatten": 1.0, "nuslerp_row_wise": 0.0}, has_base=False, least=2, most=2),
    "task_arithmetic": _arithmetic("task-arithmetic", normalize=False),
    "ties": _arithmetic("ties", normalize=True, density=_DENSITY),
    "dare_linear": _arithmetic("dare", normalize=False, rescale=True, density=_DENSITY, elect=0.0),
    "dare_ties": _arithmetic("dare", normalize=False, rescale=True, density=_DENSITY, elect=1.0),
    "della": _arithmetic("della", normalize=True, rescale=True, density=_DENSITY, epsilon=_EPSILON, elect=1.0),
    "della_linear": _arithmetic("della", normalize=False, rescale=True, density=_DENSITY, epsilon=_EPSILON, elect=0.0),
    "breadcrumbs": _arithmetic("breadcrumbs", normalize=False, density=_DENSITY, gamma=_GAMMA, elect=0.0),
    "breadcrumbs_ties": _arithmetic("breadcrumbs", normalize=False, density=_DENSITY, gamma=_GAMMA, elect=1.0),
    "sce": Method("sce", only={"select_topk": 1.0}, weight=""),
    "model_stock": Method("model-stock", only={"filter_wise": 0.0}, weight="", least=2),
    "karcher": Method(
        "karcher",
        shared={"max_iter": Passed("iterations", 10.0), "tol": Passed("tolerance", 1e-5)},
        weight="",
        has_base=False,
    ),
    "passthrough": Method("linear", {"normalize": 0.0}, weight="scale", unweighted=1.0, has_base=False, most=1),
}
"""By the names that mergekit has for them, with its defaults (its `docs/merge_methods.md`, and version 0.1.5)."""

_OF_OTHERS = (
    *("weight", "density", "normalize", "rescale", "lambda", "t", "scale", "epsilon", "gamma", "select_topk"),
    *("max_iter", "tol", "filter_wise", "nuslerp_flatten", "nuslerp_row_wise", "normalize_weights", "eps"),
    *("embed_slerp", "int8_mask"),
)
"""Parameters that some method has; for one that has it not they mean nothing, as in mergekit."""


def fitting(strategy: str, told: Mapping[str, tuple[float, ...]]) -> Mapping[str, tuple[float, ...]]:
    """Return what sides are told, as mergekit makes values fit each other: nothing is dropped of a density of 1."""
    pairs = {"breadcrumbs": "gamma", "della": "epsilon"}
    other = pairs.get(strategy)
    if other is None:
        return told
    found = zip(told["density"], told[other], strict=True)
    if strategy == "breadcrumbs":
        return {**told, other: tuple(min(gamma, max(0.0, 1 - density)) for density, gamma in found)}
    return {**told, other: tuple(0.0 if density >= 1 else epsilon for density, epsilon in found)}


def method_named(name: str) -> Method:
    """Return a method; raise UsageError (bad-argument) where there is none that Lamella computes."""
    found = METHODS.get(name)
    if found is None or found.strategy not in STRATEGIES:
        known = [one for one, method in METHODS.items() if method.strategy in STRATEGIES]
        close = get_close_matches(name[:40], known, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"one of {', '.join(known)}"
        raise UsageError(
            f"the merge method {name[:40]!r} is not one that is computed here", kind="bad-argument", hint=hint
        )
    return found


def check_parameter(method: str, name: str) -> None:
    """Raise UsageError (bad-argument) for a parameter that no method has."""
    if name not in _OF_OTHERS:
        close = get_close_matches(name[:40], _OF_OTHERS, 1)
        hint = f"did you mean {close[0]!r}?" if close else "docs/guide/recipes.md lists those of each method"
        raise UsageError(f"the method {method} has no parameter {name[:40]!r}", kind="bad-argument", hint=hint)
