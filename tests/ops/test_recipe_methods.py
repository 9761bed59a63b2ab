"""The methods of recipes against their formulas, written down in NumPy without a strategy."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
from safetensors.numpy import load_file, save_file

from lamella.core.errors import UsageError
from lamella.ops.merge_recipe import merge_recipe

SHAPES = {"layers.0.mlp.w": (16, 24), "layers.1.mlp.w": (16, 24), "layers.2.attn.w": (20, 10), "norm": (31,)}
DEPTHS = {"layers.0.mlp.w": 0.0, "layers.1.mlp.w": 0.5, "layers.2.attn.w": 1.0, "norm": 0.0}
Tensors = dict[str, numpy.ndarray]


def drawn(seed: int, like: Tensors | None = None) -> Tensors:
    draw = numpy.random.default_rng(seed)
    moved = {name: draw.standard_normal(shape) for name, shape in SHAPES.items()}
    return {n: (m if like is None else like[n] + 0.1 * m).astype(numpy.float32) for n, m in moved.items()}


BASE = drawn(0)
SIDES = [drawn(seed, BASE) for seed in (1, 2, 3)]


@pytest.fixture
def work(tmp_path) -> Path:
    for name, tensors in zip(("base", "a", "b", "c"), (BASE, *SIDES), strict=True):
        save_file(tensors, tmp_path / f"{name}.safetensors")
    return tmp_path


def made(work: Path, method: str, names: str = "abc", base: str | None = "base", **told: object) -> Tensors:
    """Return what a method makes; a list has a value for each model, all else is for all of them."""
    text = "models:\n"
    for number, name in enumerate(names):
        own = ", ".join(f"{key}: {values[number]}" for key, values in told.items() if isinstance(values, list))
        text += f"  - model: {name}.safetensors\n    parameters: {{{own}}}\n"
    shared = ", ".join(f"{key}: {value}" for key, value in told.items() if not isinstance(value, list))
    text += f"merge_method: {method}\nparameters: {{{shared}}}\n"
    text += f"base_model: {base}.safetensors\n" if base else ""
    merge_recipe(text.encode(), Path("out.safetensors"), work, force=True)
    return load_file(work / "out.safetensors")


def changes(name: str, sides: list[Tensors] = SIDES) -> list[numpy.ndarray]:
    return [side[name].astype(numpy.float64) - BASE[name] for side in sides]


def agree(found: Tensors, expected: dict[str, numpy.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        numpy.testing.assert_allclose(found[name], tensor, rtol=3e-7, atol=1e-9, err_msg=name)


def trimmed(change: numpy.ndarray, density: float, dropped: float = 0.0) -> numpy.ndarray:
    """Return a change without its smallest elements, and without a share of the largest."""
    order = numpy.argsort(-abs(change), axis=None)
    first = round(dropped * change.size)
    kept = numpy.zeros(change.size, bool)
    kept[order[first : first + round(density * change.size)]] = True
    return numpy.where(kept.reshape(change.shape), change, 0)


def elected(parts: list[numpy.ndarray], weights: list[float], *, normalize: bool) -> numpy.ndarray:
    weighted = [weight * part for weight, part in zip(weights, parts, strict=True)]
    sign = numpy.sign(sum(weighted))
    agreeing = [numpy.sign(part) == sign for part in weighted]
    total = sum(numpy.where(fits, part, 0) for fits, part in zip(agreeing, weighted, strict=True))
    if not normalize:
        return total
    heard = sum(weight * (fits & (part != 0)) for fits, part, weight in zip(agreeing, parts, weights, strict=True))
    return total / numpy.where(heard == 0, 1, heard)


def test_task_arithmetic(work):
    found = made(work, "task_arithmetic", weight=[0.5, "[1, 0]", -0.25], **{"lambda": 0.5})
    expected = {}
    for name, base in BASE.items():
        weights = [0.5, 1 - DEPTHS[name], -0.25]
        expected[name] = base + 0.5 * sum(w * d for w, d in zip(weights, changes(name), strict=True))
    agree(found, expected)


def test_ties_with_densities_and_weights_of_their_own(work):
    weight = "[{filter: mlp, value: 0.5}, {value: 0}]"
    found = made(work, "ties", weight=[1.0, "[0, 0.3, 0.7, 1]", weight], density=["[1, 0.7, 0.1]", 0.5, 0.25])
    expected = {}
    for name, base in BASE.items():
        depth = DEPTHS[name]
        densities = [float(numpy.interp(depth, [0, 0.5, 1], [1, 0.7, 0.1])), 0.5, 0.25]
        weights = [1.0, float(numpy.interp(depth, numpy.linspace(0, 1, 4), [0, 0.3, 0.7, 1])), 0.5 * ("mlp" in name)]
        parts = [trimmed(d, density) for d, density in zip(changes(name), densities, strict=True)]
        expected[name] = base + elected(parts, weights, normalize=True)
    agree(found, expected)


def test_ties_need_not_be_normalized(work):
    found = made(work, "ties", weight="0.5", density="0.5", normalize="false", int8_mask="true")
    parts = {name: [trimmed(change, 0.5) for change in changes(name)] for name in BASE}
    agree(found, {n: BASE[n] + elected(parts[n], [0.5] * 3, normalize=False) for n in BASE})


@pytest.mark.parametrize("elects", [False, True])
def test_breadcrumbs_with_shares_of_their_own(work, elects):
    densities, gammas = [0.5, 0.75, 1.0], [0.125, 0.25, 0.01]
    method = "breadcrumbs_ties" if elects else "breadcrumbs"
    found = made(work, method, weight=[0.5, 0.25, 1.0], density=densities, gamma=gammas)
    expected = {}
    for name, base in BASE.items():
        shares = zip(changes(name), densities, [0.125, 0.25, 0.0], strict=True)
        parts = [trimmed(change, density, gamma) for change, density, gamma in shares]
        weights = [0.5, 0.25, 1.0]
        total = sum(w * part for w, part in zip(weights, parts, strict=True))
        expected[name] = base + (elected(parts, weights, normalize=False) if elects else total)
    agree(found, expected)


@pytest.mark.parametrize(("method", "epsilon"), [("dare_linear", 0.0), ("della_linear", 0.125)])
def test_changes_are_drawn_with_the_chances_of_each_model(work, method, epsilon):
    densities = [0.25, 0.5, 0.75]
    for number, density in enumerate(densities):
        told = {"epsilon": str(epsilon)} if epsilon else {}
        weights = [0.0, 0.0, 0.0]
        weights[number] = 2.0
        found = made(work, method, weight=weights, density=densities, **told)
        again = made(work, method, weight=weights, density=densities, **told)
        kept = total = 0
        for name, base in BASE.items():
            assert found[name].tobytes() == again[name].tobytes()
            change = changes(name)[number]
            ratio = (found[name].astype(numpy.float64) - base) / change
            drawn = abs(ratio) > 0.1
            kept, total = kept + int(drawn.sum()), total + drawn.size
            least, most = 2 / (density + epsilon), 2 / (density - epsilon)
            assert (abs(ratio[~drawn]) < 1e-3).all()
            assert ((ratio[drawn] > least * 0.99) & (ratio[drawn] < most * 1.01)).all()
        assert kept / total == pytest.approx(density, abs=0.06)


def test_lots_are_drawn_and_then_elected(work):
    one = made(work, "dare_ties", weight="0.5", density="1")
    agree(one, {n: BASE[n] + elected(changes(n), [0.5] * 3, normalize=False) for n in BASE})
    two = made(work, "della", weight="0.5", density="1")
    agree(two, {n: BASE[n] + elected(changes(n), [0.5] * 3, normalize=True) for n in BASE})


def slerp(t: float, one: numpy.ndarray, other: numpy.ndarray) -> numpy.ndarray:
    flat = [tensor.astype(numpy.float64).ravel() for tensor in (one, other)]
    angle = numpy.arccos(flat[0] @ flat[1] / numpy.linalg.norm(flat[0]) / numpy.linalg.norm(flat[1]))
    found = (numpy.sin((1 - t) * angle) * flat[0] + numpy.sin(t * angle) * flat[1]) / numpy.sin(angle)
    return found.reshape(one.shape)


@pytest.mark.parametrize("names", ["ab", "ba", "b"])
def test_slerp_goes_from_the_base(tmp_path, names):
    one, other = drawn(5), drawn(6)
    for name, tensors in (("a", one), ("b", other)):
        save_file(tensors, tmp_path / f"{name}.safetensors")
    t = "[{filter: attn, value: 0.25}, {filter: mlp, value: [0.5, 1]}, {value: 0.75}]"
    at = {"layers.0.mlp.w": 0.5, "layers.1.mlp.w": 0.75, "layers.2.attn.w": 0.25, "norm": 0.75}
    agree(made(tmp_path, "slerp", names, "a", t=t), {name: slerp(at[name], one[name], other[name]) for name in one})


def test_nuslerp_weighs_and_may_have_a_base(work):
    found = made(work, "nuslerp", "ab", weight=[1, 3])
    agree(found, {name: BASE[name] + slerp(0.75, *changes(name, SIDES[:2])) for name in BASE})
    agree(made(work, "nuslerp", "ab", None, weight="1"), {n: slerp(0.5, SIDES[0][n], SIDES[1][n]) for n in BASE})


def test_model_stock(work):
    expected = {}
    for name, base in BASE.items():
        moves = [change.ravel() for change in changes(name)]
        pairs = [(0, 1), (0, 2), (1, 2)]
        cosine = (
            sum(moves[i] @ moves[k] / numpy.linalg.norm(moves[i]) / numpy.linalg.norm(moves[k]) for i, k in pairs) / 3
        )
        share = max(0.0, 3 * cosine / (1 + 2 * cosine))
        expected[name] = base + share * sum(changes(name)) / 3
    agree(made(work, "model_stock"), expected)


def test_karcher_of_two_is_half_way_along_the_arc(work):
    expected = {}
    for name in BASE:
        one, other = SIDES[0][name].astype(numpy.float64), SIDES[1][name].astype(numpy.float64)
        sizes = [numpy.linalg.norm(tensor) for tensor in (one, other)]
        expected[name] = slerp(0.5, one / sizes[0], other / sizes[1]) * sum(sizes) / 2
    found = made(work, "karcher", "ab", None, max_iter="50", tol="0.000001")
    for name, tensor in expected.items():
        numpy.testing.assert_allclose(found[name], tensor, rtol=1e-5, atol=1e-6)


def test_sce_weighs_by_squares(work):
    expected = {}
    for name, base in BASE.items():
        moves = changes(name)
        weights = [float((move**2).sum()) for move in moves]
        sign = numpy.sign(sum(moves))
        heard = [(numpy.sign(move) == sign) * weight for move, weight in zip(moves, weights, strict=True)]
        expected[name] = base + sum(h * move for h, move in zip(heard, moves, strict=True)) / sum(heard)
    agree(made(work, "sce"), expected)


@pytest.mark.parametrize(
    ("method", "names", "base", "told", "said"),
    [
        ("ties", "ab", None, {"weight": "1"}, "has no base"),
        ("ties", "ab", "base", {}, "needs 'weight'"),
        ("ties", "ab", "base", {"weight": "1", "density": "2"}, "density of ties cannot be 2"),
        ("model_stock", "a", "base", {}, "at least 2 models"),
        ("model_stock", "ab", "base", {"filter_wise": "true"}, "filter_wise 0 only"),
        ("sce", "ab", "base", {"select_topk": "0.5"}, "select_topk 1 only"),
        ("slerp", "ab", "base", {"t": "0.5"}, "from its base to one other"),
        ("slerp", "ab", None, {"t": "0.5"}, "from its base to one other"),
        ("slerp", "ab", "a", {}, "needs 't'"),
        ("slerp", "ab", "a", {"t": "2"}, "t of slerp cannot be 2"),
        ("nuslerp", "abc", None, {"weight": "1"}, "at most 2 models"),
        ("della", "ab", "base", {"weight": "1", "density": "0.1"}, "chances from"),
        ("multislerp", "ab", None, {"weight": "1"}, "'multislerp' is not one"),
    ],
)
def test_what_a_method_cannot_do_is_refused(work, method, names, base, told, said):
    with pytest.raises(UsageError) as caught:
        made(work, method, names, base, **told)
    assert said in caught.value.message
