"""What single strategies promise beyond the laws that all keep."""

import numpy as np
import pytest

from lamella.core.errors import UsageError
from lamella.model.merging import plan as words
from lamella.model.merging.plan import Place
from lamella.model.merging.rules import Choice, Rules
from lamella.model.merging.strategies.builtin import STRATEGIES
from lamella.model.merging.sums import ordered_sum, shares
from lamella.testing.merging import Model, merge, model

NAN, INFINITE = np.nan, np.inf


def of(values, dtype="f32", shape=None):
    """Return a model of one tensor."""
    kinds = {
        "f16": np.float16, "f32": np.float32, "f64": np.float64, "i64": np.int64, "u8": np.uint8, "i8": np.int8,
        "c64": np.complex64, "c128": np.complex128,
    }  # fmt: skip
    array = np.array(values, kinds[dtype])
    return model(t=(dtype, shape or array.shape, array.tobytes()))


def made(strategy, sides, base=None, *, dtype="f32", weights=(), shape=None, settles=False, **parameters):
    """Return what a strategy makes of lists of numbers, and the conflict."""
    rules = Rules(choices=(("*", Choice(strategy, parameters)),), weights=weights, settles=settles)
    models = [of(side, dtype, shape) for side in sides]
    found = merge(None if base is None else of(base, dtype, shape), models, rules)
    kind = {"i64": np.int64, "u8": np.uint8, "i8": np.int8, "f64": np.float64}.get(dtype, np.float32)
    return np.frombuffer(found.tensors["t"], kind).tolist(), found.conflict("t")


def refusal(rules, sides=2):
    with pytest.raises(UsageError) as caught:
        merge(of([0.0]), [of([float(n + 1)]) for n in range(sides)], rules)
    assert caught.value.kind == "bad-argument"
    assert caught.value.hint
    return caught.value.message


def test_shares_of_an_average_have_to_sum_to_1():
    average = Rules(Choice("average"), weights=(0.5, 0.3))
    assert refusal(average) == "the weights sum to 0.8, and shares sum to 1"
    assert made("average", [[0.0], [8.0]], weights=(2, 6), normalize=1) == ([6.0], None)
    assert made("average", [[0.0], [8.0]], weights=(0.25, 0.75)) == ([6.0], None)
    assert made("average", [[0.0], [3.0], [9.0]]) == ([4.0], None)
    assert made("average", [[3.0], [6.0], [9.0]], weights=(0.333333, 0.333333, 0.333334))[1] is None


def test_shares_are_those_of_the_sides_that_changed_something():
    found = made("average", [[1.0], [0.0], [4.0]], [0.0], weights=(0.25, 0.25, 0.5), settles=True)
    assert found == ([3.0], None)


@pytest.mark.parametrize("strategy", ["linear", "average"])
def test_weights_that_cancel_are_refused(strategy):
    assert "sum to 0" in refusal(Rules(Choice(strategy, {"normalize": 1}), weights=(1, -1)))


def test_weights_that_cancel_in_one_tensor_are_refused_by_its_name():
    sides = [of([0.0]), of([1.0]), of([2.0])]
    with pytest.raises(UsageError, match=r"^t: the weights of the sides that changed a tensor sum to 0$"):
        merge(of([0.0]), sides, Rules(Choice("linear"), weights=(1, 0, 0)))


def test_sums_of_weights_are_the_same_in_every_version_of_python():
    tenths = (0.1,) * 10
    assert ordered_sum(tenths) == 1 - 2**-53
    assert shares(tenths) == (0.1 / (1 - 2**-53),) * 10
    sides = [[float(n)] for n in range(10)]
    assert made("linear", sides, weights=tenths, dtype="f64") == ([4.500000000000001], None)


def test_weights_are_checked_before_a_tensor_is_looked_at():
    assert refusal(Rules(weights=(1.0,))) == "there are 1 weights for 2 sides"
    assert refusal(Rules(weights=(1.0, NAN))) == "weights have to be finite"
    assert refusal(Rules(Choice("median"), weights=(1, 2))) == "the strategy median does not weigh the sides"
    assert refusal(Rules(Choice("karcher"), weights=(1, -2))) == "a mean direction needs weights above 0"
    assert refusal(Rules(Choice("fisher"), weights=(2, -1))) == "the strategy fisher has no weights below 0"
    assert refusal(Rules(weights=(0, 0))) == "all weights are 0"
    assert refusal(Rules(Choice("linear"), weights=(1e308, 1e308))).endswith("sum to inf")
    assert refusal(Rules(choices=(("x", Choice("tise")),))) == "there is no merge strategy 'tise'"
    assert refusal(Rules(resolutions={"x": Choice("tise")})) == "there is no merge strategy 'tise'"


@pytest.mark.parametrize(
    ("strategy", "parameters", "message"),
    [
        ("ties", {"densty": 1}, "the strategy ties has no parameter 'densty'"),
        ("ties", {"density": 1.5}, "density of ties cannot be 1.5"),
        ("ties", {"density": NAN}, "density of ties cannot be nan"),
        ("ties", {"normalize": 0.5}, "normalize of ties cannot be 0.5"),
        ("dare", {"seed": 1.5}, "seed of dare cannot be 1.5"),
        ("della", {"density": 0.1, "epsilon": 0.2}, "chances from -0.1 to 0.3 are none"),
        ("della", {"density": 0.9, "epsilon": 0.2}, "chances from 0.7 to 1.1 are none"),
        ("breadcrumbs", {"density": 0.9, "gamma": 0.2}, "density 0.9 and gamma 0.2 are more than 1 together"),
    ],
)
def test_parameters_that_cannot_be_are_refused(strategy, parameters, message):
    assert refusal(Rules(Choice(strategy, parameters))) == message


def test_changes_need_a_base():
    for strategy in ("slerp", "karcher"):
        with pytest.raises(UsageError, match="has no base"):
            made(strategy, [[1.0, 0.0], [0.0, 1.0]], changes=1)


def test_an_arc_begins_at_ours_and_ends_at_theirs_and_keeps_the_norm():
    sides = [[3.0, 0.0], [0.0, 3.0]]
    assert made("slerp", sides, t=0) == (sides[0], None)
    assert made("slerp", sides, t=1) == (sides[1], None)
    (x, y), _ = made("slerp", sides, t=1 / 3)
    assert (x, y) == pytest.approx((3 * 3**0.5 / 2, 1.5))
    assert made("slerp", [[1.0, 2.0], [2.0, 4.0]])[0] == [1.5, 3.0]
    assert made("slerp", [[0.0, 0.0], [2.0, 4.0]], t=0.25)[1] is None


def test_opposite_directions_have_no_mean_one():
    values, conflict = made("karcher", [[1.0, 2.0], [-1.0, -2.0]])
    assert (values, conflict) == ([1.0, 2.0], words.UNMERGEABLE)
    assert made("karcher", [[0.0, 0.0], [2.0, 2.0]])[0] == pytest.approx([1.0, 1.0])


def test_the_mean_of_two_directions_is_on_the_arc_between_them():
    found, _ = made("karcher", [[2.0, 0.0], [0.0, 2.0]], weights=(3, 1))
    assert found == pytest.approx([2 * np.cos(np.pi / 8), 2 * np.sin(np.pi / 8)], abs=1e-4)


def test_norms_that_no_double_holds_are_a_conflict():
    assert made("slerp", [[1e200], [-1e200]], dtype="f64") == ([1e200], words.UNMERGEABLE)


def test_a_change_is_applied_to_the_bit():
    odd = float(np.float32(0.1))
    base, ours, theirs = [1e10, odd, 0.5, odd], [1e10, 7.0, 0.5, 2.0], [odd, odd, 0.5, 3.0]
    assert made("apply", [ours, theirs], base)[0] == [odd, 7.0, 0.5, float(np.float32(5.0 - odd))]
    assert made("apply", [ours, theirs], base, scale=0)[0] == ours
    assert made("apply", [[1.0], [5.0]], [3.0], scale=-0.5)[0] == [0.0]


def test_taking_a_change_back_gives_what_was_before():
    before = np.random.default_rng(1).standard_normal(999).astype(np.float32).tolist()
    after = np.random.default_rng(2).standard_normal(999).astype(np.float32).tolist()
    assert made("apply", [after, before], after)[0] == before


def test_the_larger_of_integers_is_theirs_to_the_last_digit():
    assert made("larger", [[1, -5, 2**62 + 1], [3, -7, 2**62]], dtype="i64") == ([3, -5, 2**62 + 1], None)
    assert made("larger", [[200, 1], [100, 2]], dtype="u8") == ([200, 2], None)
    assert made("larger", [[-128, 1], [127, -2]], dtype="i8") == ([127, 1], None)


def test_the_larger_of_floats_knows_zeros_and_nan():
    for sides in ([[-0.0, 1.0], [0.0, 2.0]], [[0.0, 2.0], [-0.0, 1.0]]):
        values, conflict = made("larger", sides)
        assert (values, np.signbit(values[0]), conflict) == ([0.0, 2.0], False, None)
    values, conflict = made("larger", [[NAN, 1.0], [5.0, INFINITE]])
    assert np.isnan(values[0])
    assert conflict == words.NOT_FINITE


def test_complex_numbers_have_no_larger_one():
    base, *sides = (of([n + 1j], "c64") for n in range(3))
    found = merge(base, sides, Rules(Choice("larger")))
    assert found.conflict("t") == words.UNMERGEABLE
    assert found.tensors["t"] == sides[0].tensors["t"][1]


def mixed(strategy, base, *sides, companions=None):
    """Return what a strategy chosen by name makes of models that keep one tensor in different dtypes."""
    rules = Rules(choices=(("t", Choice(strategy)),))
    return merge(base, sides, rules, companions=companions)


def test_complex_numbers_of_two_dtypes_have_no_larger_one_either():
    sides = of([5 + 2j], "c128"), of([2 + 9j], "c64")
    found = mixed("larger", of([1 + 1j], "c64"), *sides)
    assert found.conflict("t") == words.UNMERGEABLE
    assert found.tensors["t"] == sides[0].tensors["t"][1]


def test_complex_numbers_of_two_dtypes_have_no_squared_gradients():
    beside = model(**{"t.beside": ("f32", (1,), bytes(4))}).tensors
    base, *sides = (
        Model({**of([value], dtype).tensors, **beside}) for value, dtype in ((1j, "c64"), (2j, "c128"), (3j, "c64"))
    )
    found = mixed("fisher", base, *sides, companions=lambda _, place: Place(place.side, "t.beside"))
    assert found.conflict("t") == words.UNMERGEABLE


@pytest.mark.parametrize("number", [70_000.0, -1e30])
def test_what_a_narrower_dtype_cannot_hold_does_not_become_infinite_in_silence(number):
    base, wide = of([1.0, 2.0]), of([2 * number, 3.0])
    for narrow in (of([1.0, 5.0], "f16"), of([1.0, 2.0], "f16")):
        for sides in ((narrow, wide), (wide, narrow)):
            found = mixed("linear", base, *sides)
            assert found.plan.tensors[0].spec.dtype.name == "f16"
            assert found.conflict("t") == words.NOT_FINITE
    assert mixed("linear", base, of([1.0, 5.0], "f16"), of([8.0, 3.0])).conflict("t") is None


def test_what_stands_where_a_strategy_refuses_has_the_dtype_of_the_result():
    sides = of([1.0, 3.0]), of([7.0, 2.0], "f16")
    found = mixed("fisher", of([1.0, 2.0]), *sides)
    assert found.conflict("t") == words.UNMERGEABLE
    assert found.tensors["t"] == np.array([1.0, 3.0], np.float16).tobytes()


def test_a_counter_becomes_the_larger_one_by_itself():
    models = [
        Model({name: (one, data)})
        for number in (1, 9, 4)
        for name, (one, data) in model(
            **{"bn.num_batches_tracked": ("i64", (), number.to_bytes(8, "little"))}
        ).tensors.items()
    ]
    found = merge(models[0], models[1:], Rules())
    assert int.from_bytes(found.tensors["bn.num_batches_tracked"], "little") == 9


def test_equal_magnitudes_are_heard_together():
    base, sides = [0.0] * 6, [[3.0, 1.0, 1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 5.0]]
    assert made("ties", sides, base, density=0.5)[0] == [3.0, 1.0, 1.0, 1.0, 0.0, 5.0]
    assert made("ties", sides, base, density=1 / 6)[0] == [3.0, 0.0, 0.0, 0.0, 0.0, 5.0]
    assert made("ties", sides, base, density=0)[0] == base


def test_outliers_and_crumbs_are_dropped():
    base, side = [0.0] * 10, [float(n) for n in range(1, 11)]
    found, _ = made("breadcrumbs", [side, base], base, density=0.5, gamma=0.2)
    assert found == [0, 0, 0, 4, 5, 6, 7, 8, 0, 0]


def test_a_lot_keeps_so_many_and_their_sum():
    base, side = [0.0] * 20_000, [1.0] * 20_000
    found = np.array(made("dare", [side, base], base, density=0.25)[0])
    assert set(found) == {0.0, 4.0}
    assert abs((found > 0).mean() - 0.25) < 0.02
    other = np.array(made("dare", [side, base], base, density=0.25, seed=1)[0])
    assert (found != other).any()
    assert made("dare", [side, base], base, density=1)[0] == side


def test_large_changes_are_drawn_more_often():
    row = np.arange(1.0, 1001.0)
    base, side = np.zeros((200, 1000)), np.tile(row, (200, 1))
    found, _ = made(
        "della", [side.ravel(), base.ravel()], base.ravel(), shape=(200, 1000), density=0.5, epsilon=0.4, rescale=0
    )  # fmt: skip
    kept = np.array(found).reshape(200, 1000) > 0
    assert abs(kept[:, :100].mean() - 0.14) < 0.02
    assert abs(kept[:, 450:550].mean() - 0.5) < 0.02
    assert abs(kept[:, 900:].mean() - 0.86) < 0.02


def test_unrelated_changes_leave_the_base_in_a_model_stock():
    assert made("model-stock", [[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0])[0] == [0.0, 0.0]
    assert made("model-stock", [[2.0, 0.0], [4.0, 0.0]], [0.0, 0.0])[0] == [3.0, 0.0]


def test_a_side_that_moved_further_weighs_more_in_sce():
    (mean, *_), _ = made("sce", [[2.0, 0.0], [1.0, 0.0]], [0.0, 0.0])
    assert mean == pytest.approx((4 * 2 + 1 * 1) / 5)
    assert made("sce", [[2.0], [-1.0]], [0.0])[0] == [2.0]


def test_a_median_passes_over_one_wrong_side():
    assert made("median", [[1.0], [NAN], [3.0]]) == ([3.0], None)
    assert made("median", [[1.0], [-INFINITE], [3.0]]) == ([1.0], None)
    assert made("trimmed-mean", [[1.0], [INFINITE], [3.0], [2.0], [-9.0]], share=0.2) == ([2.0], None)
    assert made("median", [[1.0], [NAN]])[1] == words.NOT_FINITE


@pytest.mark.parametrize("strategy", ["fisher", "regmean"])
def test_what_is_not_kept_beside_a_tensor_is_a_conflict(strategy):
    values, conflict = made(strategy, [[1.0, 2.0], [3.0, 4.0]], [0.0, 0.0], shape=(1, 2))
    assert (values, conflict) == ([1.0, 2.0], words.UNMERGEABLE)


def test_matrices_with_very_many_inputs_are_not_solved():
    width = 1025
    _, conflict = made("regmean", [[1.0] * width, [2.0] * width], shape=(1, width))
    assert conflict == words.UNMERGEABLE
    assert made("regmean", [[1.0] * width, [2.0] * width])[0] == [1.5] * width


def test_every_strategy_takes_tensors_without_elements():
    for name in STRATEGIES:
        sides = [of([], shape=(0, 3)), of([], shape=(0, 3))]
        assert merge(of([], shape=(0, 3)), sides, Rules(Choice(name), settles=False)).tensors["t"] == b""
