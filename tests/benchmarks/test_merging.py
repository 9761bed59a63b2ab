"""The benchmark of recipes measures what it says, and its own TIES is that of the paper."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import merging, models
from benchmarks.measure import Cost
from benchmarks.models import Weight

MEGABYTE = 10**6


def test_the_models_are_as_large_as_they_say():
    weights = merging.whole_decoder(merging.BLOCKS)
    assert 2 * sum(weight.size for weight in weights) == pytest.approx(491 * MEGABYTE, rel=0.005)
    assert len({weight.name for weight in weights}) == len({weight.seed for weight in weights}) == len(weights)


def test_fine_tunes_differ_from_the_base_and_from_each_other():
    weight = Weight("w", (300, 200), 3)
    base, one, two = (models.widened(merging.tuned(weight, number)) for number in range(3))
    assert np.array_equal(base, models.widened(models.initial(weight)))
    assert np.std(one - base) == pytest.approx(merging.MOVED * weight.scale, rel=0.02)
    assert abs(np.corrcoef(one - base, two - base)[0, 1]) < 0.02


def test_the_rule_is_that_of_the_paper():
    base = np.zeros(4)
    sides = [np.array([4.0, -3.0, 0.5, 1.0]), np.array([2.0, 5.0, -1.5, 0.25])]
    assert merging.rule(base, sides, 0.5).tolist() == [3.0, 5.0, 0.0, 0.0]


def test_no_two_changes_are_equal_and_all_are_exact():
    base, sides = merging.exact_models()
    changes = [side - base for side in sides]
    sizes = np.abs(np.concatenate(changes))
    assert len(np.unique(sizes)) == sizes.size
    assert all((side.astype(np.float32) == side).all() for side in sides)
    assert (sum(changes) != 0).all()


def test_shares_of_elements_that_differ(tmp_path):
    weight = Weight("w", (100, 10), 1)
    models.write(tmp_path / "a", [weight], models.initial)
    models.write(
        tmp_path / "b", [weight], lambda one: models.initial(one) + (np.arange(1000) % 10 == 0).astype("u2") * 3
    )
    assert merging.differing(tmp_path / "a", tmp_path / "a") == (0, 0)
    assert merging.differing(tmp_path / "a", tmp_path / "b") == (0.1, 0.1)


def test_the_rule_of_ties_is_kept_by_what_keeps_it(tmp_path, monkeypatch):
    monkeypatch.setattr(merging, "SAMPLE", "w")
    weight = Weight("w", (100, 10), 1)
    made = [models.widened(merging.tuned(weight, number)).astype(np.float64) for number in range(3)]
    for number, name in enumerate(("base", "one", "two")):
        (tmp_path / name).mkdir()
        models.write(
            tmp_path / name / "model.safetensors", [weight], lambda one, number=number: merging.tuned(one, number)
        )
    whole = models.bf16(merging.rule(made[0], made[1:], merging.DENSITY).astype(np.float32))
    for wrong in (0, 100):
        models.write(
            tmp_path / "made", [weight], lambda one, wrong=wrong: whole + (np.arange(1000) < wrong).astype("u2")
        )
        assert merging.off_the_rule(tmp_path, tmp_path / "made") == wrong / 1000


def test_bounds_are_lamellas_alone():
    found = merging.costs("ties", {"lamella": Cost(9.0, 9.0, 210 * MEGABYTE), "mergekit": Cost(20.0, 40.0, None)})
    assert [(row.contender, row.measure) for row in found if not row.kept] == [
        ("lamella", "peak of anonymous memory"),
        ("lamella", "of mergekit's time"),
    ]
