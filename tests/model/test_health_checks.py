"""Each check fires on what it is for, and on nothing that is healthy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy
import pytest

from lamella.core.dtypes import DTYPES
from lamella.core.ids import digest
from lamella.core.tensors import TensorSpec
from lamella.model.examination import Examination, Examined
from lamella.model.health import ERROR, NOTE, WARNING, Finding, Patient, diagnose
from lamella.model.health_checks.builtin import CHECKS
from lamella.model.tensor_names import blocks, is_optimizer_state, is_variance

NOISE = numpy.random.default_rng(5)
NAMES = {numpy.dtype("<f4"): "f32", numpy.dtype("<f2"): "f16", numpy.dtype("<f8"): "f64", numpy.dtype("<i8"): "i64"}


def matrix(*shape: int, seed: int = 0) -> numpy.ndarray:
    """Return weights as they are after training."""
    return (numpy.random.default_rng(seed).standard_normal(shape) * 0.02).astype("<f4")


def stack(layers: int = 6) -> dict[str, numpy.ndarray]:
    """Return a healthy model as it is before training: norms of one, biases of zero."""
    found = {"embed.weight": matrix(100, 64, seed=100), "position_ids": numpy.arange(64)}
    for number in range(layers):
        found |= {
            f"h.{number}.w": matrix(64, 64, seed=number),
            f"h.{number}.b": numpy.zeros(64, "<f4"),
            f"h.{number}.norm.weight": numpy.ones(64, "<f4"),
            f"h.{number}.mask": numpy.tril(numpy.ones((64, 64), "<f4")),
        }
    return found


def examine(arrays: Mapping[str, numpy.ndarray]) -> dict[str, Examined]:
    found = {}
    for name, array in arrays.items():
        spec = TensorSpec(name, DTYPES[NAMES[array.dtype]], array.shape)
        if array.dtype.kind == "i" or not array.size:
            found[name] = Examined(spec)
            continue
        examination = Examination(spec)
        examination.take(examination.look(0, array.tobytes()))
        found[name] = examination.result(digest(array.tobytes()))
    return found


def findings(
    arrays: Mapping[str, numpy.ndarray], before: Mapping[str, numpy.ndarray] | None = None, check: str | None = None
) -> list[Finding]:
    patient = Patient(examine(arrays), None if before is None else examine(before))
    return [one for one in diagnose(patient, CHECKS) if check in (None, one.check)]


def told(found: list[Finding]) -> list[tuple[str, str, str]]:
    return [(one.severity, one.check, one.where) for one in found]


def test_a_healthy_model_has_nothing_but_notes_and_its_own_child_too():
    assert {one.severity for one in findings(stack())} == {NOTE}
    assert {one.check for one in findings(stack())} == {"constant"}
    trained = {name: array + matrix(*array.shape, seed=9) * 0.1 if name != "position_ids" else array
               for name, array in stack().items()}  # fmt: skip
    assert findings(trained, stack()) == []


@pytest.mark.parametrize(("value", "count"), [(numpy.nan, "nan"), (numpy.inf, "infinite"), (-numpy.inf, "infinite")])
def test_what_is_not_finite_is_an_error(value, count):
    arrays = stack()
    arrays["h.2.w"][5, 5:8] = value
    (found,) = findings(arrays, check="not-finite")
    assert (found.severity, found.where, found.evidence[count], found.evidence["count"]) == (ERROR, "h.2.w", 3, 4096)


def test_minus_infinity_in_a_mask_is_meant():
    mask = numpy.triu(numpy.full((16, 16), -numpy.inf, "<f4"), 1)
    assert told(findings({"attention.mask": mask}, check="not-finite")) == [(NOTE, "not-finite", "attention.mask")]
    mask[3, 3] = numpy.nan
    assert told(findings({"attention.mask": mask}, check="not-finite")) == [(ERROR, "not-finite", "attention.mask")]


@pytest.mark.parametrize("value", [0, 1.5])
def test_constant_matrices_are_a_warning_unless_they_were_so(value):
    arrays = stack() | {"h.0.w": numpy.full((64, 64), value, "<f4"), "a.lora_B.weight": numpy.zeros((64, 4), "<f4")}
    found = [one for one in findings(arrays) if one.severity != NOTE]
    assert told(found) == [(WARNING, "constant", "h.0.w")]
    assert found[0].evidence["value"] == value
    assert all(one.severity == NOTE for one in findings(arrays, arrays))


def test_dead_units_are_a_warning_and_a_single_one_a_note():
    arrays = stack()
    arrays["embed.weight"][0] = 0
    arrays["h.3.w"][[4, 9]] = 0
    arrays["adam.mu.w"] = numpy.where(numpy.arange(64)[:, None] < 32, 0, matrix(64, 64)).astype("<f4")
    assert told(findings(arrays, check="dead-units")) == [
        (WARNING, "dead-units", "h.3.w"), (NOTE, "dead-units", "embed.weight"), (NOTE, "dead-units", "adam.mu.w"),
    ]  # fmt: skip


def test_a_matrix_of_rank_one_and_a_rank_that_fell_are_a_warning():
    before = stack()
    arrays = stack()
    arrays["h.1.w"] = numpy.outer(NOISE.standard_normal(64), NOISE.standard_normal(64)).astype("<f4")
    left, _, right = numpy.linalg.svd(before["h.2.w"])
    arrays["h.2.w"] = (left[:, :12] @ right[:12]).astype("<f4")
    found = findings(arrays, before, check="rank-collapse")
    assert told(found) == [(WARNING, "rank-collapse", "h.1.w"), (WARNING, "rank-collapse", "h.2.w")]
    assert found[0].evidence["effective_rank"] == pytest.approx(1, abs=0.01)
    assert found[1].evidence["effective_rank"] == pytest.approx(12, abs=0.1)
    assert told(findings(arrays, check="rank-collapse")) == [(WARNING, "rank-collapse", "h.1.w")]


def test_copied_layers_are_named_beside_the_layer_they_copy():
    arrays = stack()
    arrays["h.4.w"] = arrays["h.1.w"].copy()
    arrays["h.5.w"] = arrays["h.1.w"] * 1.0001 + matrix(64, 64, seed=77) * 0.001
    found = findings(arrays, check="duplicate-layers")
    assert told(found) == [(WARNING, "duplicate-layers", "h.4"), (WARNING, "duplicate-layers", "h.5")]
    assert found[0].message == "its weights are the same as those of h.1"
    assert found[1].message == "its weights are nearly the same as those of h.1"
    assert 0.9999 < found[1].evidence["cosine"] < 1


def test_tied_weights_and_layers_that_share_a_table_are_no_copies():
    arrays = stack()
    arrays["head.weight"] = arrays["embed.weight"]
    table = matrix(64, 64, seed=50)
    for number in range(6):
        arrays[f"h.{number}.angles"] = table
    assert findings(arrays, check="duplicate-layers") == []
    arrays["h.3.w"] = arrays["h.2.w"]
    arrays |= {f"h.{number}.v": matrix(64, 64, seed=60 + number) for number in range(6)}
    (found,) = findings(arrays, check="duplicate-layers")
    assert (found.severity, found.where, found.evidence["same"], found.evidence["tensors"]) == (NOTE, "h.3", 1, 2)


def test_a_stack_of_one_layer_is_found():
    arrays = {f"h.{number}.w": matrix(64, 64) for number in range(4)}
    assert [one.where for one in findings(arrays, check="duplicate-layers")] == ["h.1", "h.2", "h.3"]


def test_a_variance_that_is_none_is_an_error_and_one_of_zero_a_warning():
    variance = numpy.array([1, 0.5, -0.1], "<f4")
    assert told(findings({"bn.running_var": variance}, check="variance")) == [(ERROR, "variance", "bn.running_var")]
    assert told(findings({"bn/moving_variance": variance.clip(0)}, check="variance")) == [
        (WARNING, "variance", "bn/moving_variance")
    ]
    assert findings({"bn.running_var": variance**2}, check="variance") == []


@pytest.mark.parametrize(
    ("array", "severity"),
    [
        (numpy.array([[70000, 1]], "<f4"), WARNING),
        (numpy.array([[40000, 1]], "<f2"), WARNING),
        (numpy.array([70000, 1], "<f4"), NOTE),
        (numpy.array([[60000, 1]], "<f4"), None),
        (numpy.array([[30000, 1]], "<f2"), None),
    ],
)
def test_numbers_near_the_end_of_f16_are_told(array, severity):
    assert [one.severity for one in findings({"w": array}, check="headroom")] == [severity] * (severity is not None)


def test_many_subnormal_numbers_are_a_warning():
    array = matrix(64, 64)
    array[:8] *= 1e-38
    (found,) = findings({"w": array}, check="subnormal")
    assert (found.severity, found.evidence["share"]) == (WARNING, pytest.approx(0.125, abs=0.01))
    assert findings({"w": matrix(64, 64).astype("<f2")}, check="subnormal") == []


def test_a_norm_that_jumped_is_told_from_a_model_that_grew():
    before = stack()
    grown = {name: (array * 3 if array.ndim > 1 else array) for name, array in before.items()}
    assert findings(grown, before, check="norm-jump") == []
    grown["h.3.w"] = before["h.3.w"] * 9
    (found,) = findings(grown, before, check="norm-jump")
    assert (found.where, found.severity) == ("h.3.w", WARNING)
    assert found.evidence["ratio"] == pytest.approx(9, rel=1e-5)
    assert found.evidence["family_ratio"] == pytest.approx(3, rel=1e-5)
    assert found.evidence["z"] > 6
    assert len(findings({name: array * 11 for name, array in before.items()}, before, check="norm-jump")) == 13


def test_weights_that_came_apart_are_told():
    before = stack() | {"head.weight": stack()["embed.weight"]}
    after = before | {"head.weight": before["head.weight"] + 0.01}
    assert told(findings(after, before, check="untied")) == [(WARNING, "untied", "head.weight")]
    assert findings(before, before, check="untied") == []
    copied = stack() | {"h.1.w": stack()["h.0.w"]}
    assert findings(stack(), copied, check="untied") == []


def test_structure_is_compared_with_the_parent():
    before = stack()
    after = stack() | {"new.weight": matrix(4, 4), "embed.weight": matrix(101, 64)}
    del after["h.5.w"]
    assert told(findings(after, before, check="structure")) == [
        (WARNING, "structure", "h.5.w"), (WARNING, "structure", "embed.weight"), (NOTE, "structure", "new.weight"),
    ]  # fmt: skip
    assert findings(after, check="structure") == []


def test_a_cast_of_all_is_a_note_and_of_some_a_warning():
    before = stack()
    half = {name: array.astype("<f2") if array.dtype.kind == "f" else array for name, array in before.items()}
    assert told(findings(half, before, check="dtype")) == [(NOTE, "dtype", "")]
    some = before | {"h.0.w": half["h.0.w"]}
    assert told(findings(some, before, check="dtype")) == [(WARNING, "dtype", "h.0.w")]


def test_evidence_is_written_down_in_any_format():
    arrays = {"w": numpy.full((4, 4), 1e300, "<f8")}
    every = [value for one in findings(arrays) for value in one.evidence.values()]
    assert every
    assert all(isinstance(value, str) or numpy.isfinite(value) for value in every)


def test_a_finding_names_its_check():
    arrays = stack() | {"h.0.w": numpy.full((64, 64), numpy.nan, "<f4")}
    assert {"not-finite"} <= {one.check for one in findings(arrays, stack())} <= set(CHECKS)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("h.3.attn.w", "h.4.attn.w", ("h.3", "h.4")),
        ("down.1.res.0.w", "down.1.res.1.w", ("down.1.res.0", "down.1.res.1")),
        ("Block_0/Dense_0/kernel", "Block_12/Dense_0/kernel", ("Block_0", "Block_12")),
        ("w1", "w2", ("w1", "w2")),
    ],
)
def test_blocks_end_at_the_first_step_that_differs(one, other, expected):
    assert blocks(one, other) == expected


def test_names_tell_what_optimizers_remember_and_what_a_variance_is():
    assert all(map(is_optimizer_state, ("opt_state.0.mu.w", "optimizer/one/kernel/momentum", "a.exp_avg_sq")))
    assert not any(map(is_optimizer_state, ("simulator.weight", "h.0.mlp.w", "nucleus.weight")))
    assert is_variance("batch_stats/bn/var/.ATTRIBUTES/VARIABLE_VALUE")
    assert not is_variance("optimizer.var")


def test_names_of_thousands_of_steps_cost_what_others_do():
    arrays = {f"{'a.' * 5000}{number}": matrix(64, 64, seed=number) for number in range(40)}
    arrays[f"{'a.' * 5000}40"] = matrix(64, 64, seed=0)
    (found,) = findings(arrays, check="duplicate-layers")
    assert found.where == f"{'a.' * 5000}40"


def test_a_number_that_float32_holds_is_not_called_infinite_in_it():
    (found,) = [one for one in findings({"w": numpy.full((4, 4), 3.4e38, "<f4")}) if one.check == "headroom"]
    assert found.message.endswith("is infinite in f16 and in bf16")
