"""The benchmark's own instruments tell the truth."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open

from benchmarks import measure, models, report
from benchmarks.models import Weight
from benchmarks.report import Row

MEGABYTE = 10**6
PROC = Path("/proc/self/status").exists()
HOLD = "import time; held = bytearray(b'x') * {nbytes}; time.sleep(0.2)"
HOLD_IN_A_CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', {program!r}], check=True)"


def cost_of(program: str, directory: Path) -> measure.Cost:
    return measure.run([sys.executable, "-c", program], directory, os.environ)


def assert_near(nbytes: int | None, expected_nbytes: int) -> None:
    if PROC:
        assert nbytes is not None
        assert expected_nbytes <= nbytes <= expected_nbytes + 30 * MEGABYTE
    else:
        assert nbytes is None


def test_the_peak_counts_what_a_process_holds(tmp_path: Path) -> None:
    assert_near(cost_of(HOLD.format(nbytes=100 * MEGABYTE), tmp_path).anonymous_nbytes, 100 * MEGABYTE)


def test_the_peak_counts_what_a_child_holds(tmp_path: Path) -> None:
    program = HOLD_IN_A_CHILD.format(program=HOLD.format(nbytes=100 * MEGABYTE))
    assert_near(cost_of(program, tmp_path).anonymous_nbytes, 100 * MEGABYTE)


def test_the_peak_leaves_out_the_pages_of_files(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(50 * MEGABYTE))
    program = (
        "import mmap, time; file = open('large', 'rb'); view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ);"
        "total = sum(view[::4096]); time.sleep(0.2)"
    )
    assert_near(cost_of(program, tmp_path).anonymous_nbytes, 0)


def test_waiting_takes_wall_time_and_no_processor(tmp_path: Path) -> None:
    cost = cost_of("import time; time.sleep(0.5)", tmp_path)
    assert cost.wall_seconds >= 0.5
    assert cost.cpu_seconds < 0.4


def test_the_time_of_children_counts(tmp_path: Path) -> None:
    work = "import time; began = time.process_time()\nwhile time.process_time() - began < 0.3: pass"
    assert cost_of(HOLD_IN_A_CHILD.format(program=work), tmp_path).cpu_seconds >= 0.3


def test_a_failure_is_told_in_the_words_of_the_command(tmp_path: Path) -> None:
    with pytest.raises(measure.CommandError, match=r"exit status 3.*so it goes"):
        cost_of("import sys; print('so it goes'); sys.exit(3)", tmp_path)


def test_commands_in_turn_add_their_times_and_share_the_peak() -> None:
    costs = [measure.Cost(1.0, 2.0, 30), measure.Cost(4.0, 1.0, 20)]
    assert measure.in_turn(costs) == measure.Cost(5.0, 3.0, 30)


def test_runs_of_one_command_show_their_median_and_their_highest_peak() -> None:
    costs = [measure.Cost(1.0, 1.0, 30), measure.Cost(9.0, 9.0, None), measure.Cost(2.0, 2.0, 20)]
    assert measure.typical(costs) == measure.Cost(2.0, 2.0, 30)


def test_the_size_on_the_disk_counts_a_linked_file_once_and_the_worktree_never(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(os.urandom(MEGABYTE))
    (tmp_path / "store").mkdir()
    (tmp_path / "store/one").write_bytes(os.urandom(MEGABYTE))
    os.link(tmp_path / "store/one", tmp_path / "store/two")
    os.sync()
    assert MEGABYTE <= measure.stored_nbytes(tmp_path, without="model") < 1.1 * MEGABYTE


def test_rounding_to_bf16_is_that_of_the_reference() -> None:
    values = np.random.default_rng(0).standard_normal(1 << 16, dtype=np.float32)
    expected = values.astype(ml_dtypes.bfloat16)
    assert np.array_equal(models.bf16(values), expected.view(np.uint16))
    assert np.array_equal(models.widened(models.bf16(values)), expected.astype(np.float32))


def test_a_written_model_is_read_by_the_reference_library(tmp_path: Path) -> None:
    weights = [Weight("a", (3, 5), 1), Weight("b", (7,), 2)]
    models.write(tmp_path / "model", weights, models.initial)
    with safe_open(tmp_path / "model", "numpy") as file:
        assert {name: file.get_tensor(name).shape for name in file.keys()} == {"a": (3, 5), "b": (7,)}  # noqa: SIM118
        assert np.array_equal(file.get_tensor("b").view(np.uint16), models.initial(weights[1]))


def test_a_fine_tune_is_near_its_base() -> None:
    weight = Weight("a", (1000,), 1)
    base, tune = (models.widened(made(weight)) for made in (models.initial, models.perturbed))
    assert 0 < np.abs(tune - base).mean() < 0.02 * np.abs(base).mean()
    assert np.array_equal(models.trained(weight, 0), models.initial(weight))


def test_a_large_model_has_the_size_that_was_asked_for() -> None:
    nbytes = 2 * sum(weight.size for weight in models.transformer(1000 * MEGABYTE))
    assert 1000 * MEGABYTE <= nbytes <= 1034 * MEGABYTE


def test_a_table_marks_a_missed_bound_and_leaves_no_measure_out() -> None:
    rows = [
        Row("s", "cp", "add", 0.5, "s"),
        Row("s", "lamella", "add", 2.0, "s", bound=1.0),
        Row("s", "cp", "files", 3, "n"),
    ]
    assert report.table(rows).splitlines() == [
        "           cp  lamella",
        "add    s  0.5       2!",
        "files  n    3        -",
    ]
