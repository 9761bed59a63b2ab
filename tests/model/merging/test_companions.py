"""What is kept beside parameters: found by every convention of names, and not where it could be another's."""

import numpy as np
import pytest

from lamella.model.merging.companions import CompanionFinder
from lamella.model.merging.models import Models
from lamella.model.merging.plan import Place
from lamella.model.merging.rules import OURS, Choice, Rules
from lamella.model.merging.strategy import GRAM, SECOND_MOMENT
from lamella.testing.merging import Model, merge, model

A, B, C = (4, 3), (4,), (2, 4)


def zeros(**shapes):
    return model(**{name: ("f32", shape, bytes(4 * int(np.prod(shape)))) for name, shape in shapes.items()})


def found(shapes, name, kind=SECOND_MOMENT):
    """Return the companion of a tensor, by its name."""
    place = CompanionFinder(Models(None, [zeros(**shapes)]))(kind, Place(0, name))
    return None if place is None else place.name


@pytest.mark.parametrize(
    ("name", "companion"),
    [
        ("fc.weight", "fc.weight.exp_avg_sq"),
        ("fc.weight", "exp_avg_sq.fc.weight"),
        ("fc.weight", "optimizer.fc.weight.exp_avg_sq"),
        ("model.fc.weight", "optimizer.state.fc.weight.exp_avg_sq"),
        ("v.weight", "optimizer.state.v.weight.exp_avg_sq"),
        ("params.fc.kernel", "opt_state.0.nu.fc.kernel"),
        ("params/fc/kernel", "opt_state/1/0/nu/params/fc/kernel"),
        ("fc/kernel", "optimizer/adam/fc_kernel_velocity"),
        ("fc/kernel", "Adam/v/fc/kernel:0"),
        (
            "fc/kernel/.ATTRIBUTES/VARIABLE_VALUE",
            "fc/kernel/.OPTIMIZER_SLOT/optimizer/v/.ATTRIBUTES/VARIABLE_VALUE",
        ),
    ],
)
def test_conventions_of_names(name, companion):
    assert found({name: A, companion: A}, name) == companion
    assert found({name: A, companion: B}, name) is None


@pytest.mark.parametrize("name", ["fc.gram", "gram.fc", "gram.model.fc"])
def test_gram_matrices_are_square(name):
    assert found({"fc": A, name: (3, 3)}, "fc", GRAM) == name
    assert found({"fc": A, name: (4, 4)}, "fc", GRAM) is None
    assert found({"fc": A, name: (3, 3)}, "fc", SECOND_MOMENT) is None


def numbered(parameters, moments):
    kept = {f"optimizer.state.{number}.exp_avg_sq": shape for number, shape in moments.items()}
    return {**{f"model.{name}": shape for name, shape in parameters.items()}, **kept}


def test_numbers_are_places_in_the_state_dict_without_its_buffers():
    shapes = numbered({"a": A, "bn.running_mean": B, "b": B, "c": C}, {2: C, 0: A, 1: B})
    names = [found(shapes, f"model.{name}") for name in ("a", "b", "c", "bn.running_mean")]
    assert names == [*(f"optimizer.state.{number}.exp_avg_sq" for number in range(3)), None]


def test_ten_parameters_are_in_the_order_of_their_numbers():
    shapes = numbered({f"p{n}": (n % 2 + 1,) for n in range(12)}, {n: (n % 2 + 1,) for n in range(12)})
    assert found(shapes, "model.p10") == "optimizer.state.10.exp_avg_sq"


def test_what_is_frozen_leaves_numbers_out_or_does_not_count():
    assert found(numbered({"a": A, "b": B, "c": C}, {0: A, 2: C}), "model.c") == "optimizer.state.2.exp_avg_sq"
    assert found(numbered({"a": A, "b": B, "c": C}, {0: A, 1: C}), "model.c") == "optimizer.state.1.exp_avg_sq"
    assert found(numbered({"a": A, "b": B, "c": C}, {0: A, 1: C}), "model.b") is None


@pytest.mark.parametrize(
    ("parameters", "moments"),
    [
        ({"a": A, "b": B, "c": B}, {0: A, 1: B}),
        ({"a": A, "b": B}, {0: B, 1: A}),
        ({"a": A}, {0: A, 1: B}),
        ({"a": A, "b": B}, {0: A, 10**8: B}),
    ],
)
def test_numbers_that_could_mean_others_are_refused(parameters, moments):
    assert found(numbered(parameters, moments), "model.b") is None


def test_several_optimizers_with_numbers_are_not_told_apart():
    kept = {f"optimizer_states.{n}.state.0.exp_avg_sq": A for n in range(2)}
    assert found({"a": A, "b": A, **kept}, "a") is None


def test_a_name_that_two_have_is_nobodys():
    assert found({"params.w": A, "model.w": A, "opt_state.0.nu.w": A}, "model.w") is None
    assert found({"w": A, "w.exp_avg_sq": A, "exp_avg_sq.w": A}, "w") is None


def checkpoint(step, **arrays):
    kept = {name: np.asarray(value, np.float32) for name, value in arrays.items()}
    tensors = {
        "model.w": kept["w"],
        "model.b": kept["b"],
        "optimizer.state.0.step": np.float32(step),
        "optimizer.state.0.exp_avg": kept["w"] * 2,
        "optimizer.state.0.exp_avg_sq": kept["w_sq"],
        "optimizer.state.1.exp_avg_sq": kept["b_sq"],
    }
    return model(**{name: ("f32", value.shape, value.tobytes()) for name, value in tensors.items()})


BASE = checkpoint(0, w=[[0, 0]], b=[0], w_sq=[[1, 1]], b_sq=[0])
SIDES = [
    checkpoint(9, w=[[4, 8]], b=[6], w_sq=[[3, 0]], b_sq=[2]),
    checkpoint(5, w=[[8, 4]], b=[3], w_sq=[[1, 2]], b_sq=[1]),
]


def numbers(merged, name):
    return np.frombuffer(merged.tensors[name], np.float32).tolist()


def by_fisher(rules: Rules, sides: list[Model] = SIDES):
    models = Models(BASE, sides)
    return merge(BASE, sides, rules, companions=CompanionFinder(models))


def test_a_checkpoint_is_merged_by_what_its_optimizer_kept():
    merged = by_fisher(Rules(Choice("fisher")))
    assert [merged.conflict(name) for name in merged.tensors] == [None] * 6
    assert numbers(merged, "model.w") == [5, 4]
    assert numbers(merged, "model.b") == [5]
    assert numbers(merged, "optimizer.state.0.exp_avg") == [12, 12]
    assert numbers(merged, "optimizer.state.0.exp_avg_sq") == [2, 1]
    assert numbers(merged, "optimizer.state.0.step") == [9]
    assert all(one.note for one in merged.plan.tensors if one.name.startswith("optimizer"))


@pytest.mark.parametrize("strategy", ["three-way", "ties", "task-arithmetic", "median"])
def test_squared_gradients_have_their_mean_and_counters_the_larger_whatever_is_chosen_for_the_model(strategy):
    merged = by_fisher(Rules(Choice(strategy)))
    assert numbers(merged, "optimizer.state.0.exp_avg_sq") == [2, 1]
    assert numbers(merged, "optimizer.state.0.step") == [9]


@pytest.mark.parametrize("weights", [(1, -1), (1, -0.5)])
def test_squared_gradients_are_not_negative_where_changes_are_unlearned(weights):
    merged = by_fisher(Rules(Choice("task-arithmetic"), weights=weights))
    assert numbers(merged, "optimizer.state.0.exp_avg_sq") == [2, 1]
    assert numbers(merged, "model.w") == [4 * weights[0] + 8 * weights[1], 8 * weights[0] + 4 * weights[1]]


def test_squared_gradients_have_a_mean_where_who_changed_them_has_no_weight():
    merged = by_fisher(Rules(Choice("task-arithmetic"), weights=(1, 0, 0)), [BASE, *SIDES])
    assert numbers(merged, "optimizer.state.0.exp_avg_sq") == [2, 1]
    assert numbers(merged, "model.w") == [0, 0]


def test_squared_gradients_have_the_weights_of_a_mean():
    merged = by_fisher(Rules(Choice("task-arithmetic"), weights=(3, 1)))
    assert numbers(merged, "optimizer.state.0.exp_avg_sq") == [2.5, 0.5]


def test_a_side_and_what_somebody_chose_for_them_goes_before():
    merged = by_fisher(Rules(Choice(OURS)))
    assert merged.tensors == {name: data for name, (_, data) in SIDES[0].tensors.items()}
    merged = by_fisher(Rules(choices=(("*.exp_avg_sq", Choice("larger")),)))
    assert numbers(merged, "optimizer.state.0.exp_avg_sq") == [3, 2]
