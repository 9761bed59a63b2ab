"""The benchmark of `lamella diff` measures what it says, and judges by what is promised."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest

from benchmarks import models, report, semantics
from benchmarks.measure import Cost
from benchmarks.models import Weight

MEGABYTE = 10**6


def test_the_model_is_as_large_as_it_says():
    weights = semantics.decoder(semantics.BLOCKS)
    assert 2 * sum(weight.size for weight in weights) == pytest.approx(491 * MEGABYTE, rel=0.005)
    assert len({weight.name for weight in weights}) == len(weights)


def test_every_weight_moves_by_about_a_tenth():
    weight = Weight("w", (300, 200), 3)
    before, after = (models.widened(made(weight)) for made in (models.initial, semantics.moved))
    assert np.std(after - before) == pytest.approx(semantics.MOVED * weight.scale, rel=0.02)


def test_the_program_that_is_timed_says_how_far_tensors_moved(tmp_path):
    weights = [Weight("same", (20, 30), 1), Weight("moved", (20, 30), 2)]
    before, after = (tmp_path / name for name in ("before.safetensors", "after.safetensors"))
    models.write(before, weights, models.initial)
    models.write(after, weights, lambda one: (models.initial if one.name == "same" else semantics.moved)(one))
    command = semantics.commands(before, after, {})["lamella"]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = said.stdout.splitlines()
    assert lines[0] == f"{after}: 1 changed of 2 tensors"
    assert lines[2] == "parameters  1 of 2 tensors moved, 1 beyond epsilon; 1 the same"
    name, mean_absolute, relative, *_ = lines[4].split()
    assert name == "moved"
    assert relative == "10%"
    assert float(mean_absolute) > 0


def test_a_missed_promise_is_seen():
    costs = {"lamella": Cost(3.0, 5.0, 100 * MEGABYTE), "sft": Cost(10.0, 10.0, 2000 * MEGABYTE)}
    assert all(row.kept for row in semantics.rows("changed", costs, 4.0))
    slow = semantics.rows("changed", costs | {"modeldelta": Cost(6.0, 6.0, None)}, 2.5)
    missed = [(row.measure, row.unit) for row in slow if not row.kept]
    assert missed == [("all measures", "s"), ("of the fastest other", "x")]
    assert "modeldelta" in report.table(slow)
