"""The benchmark of series stores what it is given, by the real commands, and counts what it says."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from benchmarks import coders, moments, peers, series, training
from benchmarks.series import Setting

NAMES = ("layer.0.weight", "layer.1.weight")


def write_moments(folder: Path, step: int, seed: int = 0) -> None:
    draw = np.random.default_rng(seed)
    first = {f"{name}.exp_avg": draw.normal(0, 1e-4, 5000 + step).astype(np.float32) for name in NAMES}
    second = {f"{name}.exp_avg_sq": np.zeros(4000, np.float32) for name in NAMES}
    save_file(first | second, folder / f"adam-{step}.safetensors")


def write_checkpoints(folder: Path, count: int) -> None:
    folder.mkdir()
    draw = np.random.default_rng(0)
    values = draw.normal(0, 0.05, 20_000).astype(np.float32)
    for number in range(count):
        for dtype in ("fp32", "bf16"):
            path = training.vision_path(folder, dtype, number)
            save_file({"weight": values, "counter": np.array(number)}, path)
        values = values + draw.normal(0, 1e-5, len(values)).astype(np.float32)


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    program = str(Path(sys.executable).with_name("lamella"))
    return Setting(peers.lamella(program, ""), tmp_path / "trained", None, tmp_path / "work", 1)


def test_the_steps_of_a_training_are_found_in_their_order(tmp_path: Path) -> None:
    for step in (20, 3, 100):
        write_moments(tmp_path, step)
    (tmp_path / "adam-last.safetensors").touch()
    assert [step for step, _ in moments.files(tmp_path)] == [3, 20, 100]


def test_moments_are_counted_by_kind_and_step(tmp_path: Path) -> None:
    write_moments(tmp_path, 1)
    write_moments(tmp_path, 2, seed=1)
    shares = {row.measure: row.value for row in moments.rows(tmp_path) if row.contender == "lamella"}
    assert 0.7 < shares["first moment, step 1"] < 0.9
    assert shares["second moment, step 1"] < 0.05
    assert shares["second moment, step 1"] < shares["both, all"] < shares["first moment, all"]
    zipnn = {row.measure for row in moments.rows(tmp_path) if row.contender == "ZipNN"}
    assert bool(zipnn) is (coders.zipnn() is not None)


def test_without_moments_the_section_is_left_out(setting: Setting, capsys: pytest.CaptureFixture[str]) -> None:
    assert series.of_moments(setting) == []
    assert "--series" in capsys.readouterr().out


def test_every_checkpoint_is_kept_and_restored_by_the_commands(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "CHECKPOINTS", 3)
    write_checkpoints(setting.trained, 3)
    found = {(row.section, row.contender, row.measure, row.unit): row.value for row in series.checkpoints(setting)}
    for dtype in ("fp32", "bf16"):
        section = f"3 checkpoints {dtype}"
        assert 0.3 < found[section, "lamella", "stored", "of original"] < 0.9
        assert 0.3 < found[section, "XOR planes zstd-3, in a row", "stored", "of original"] < 0.9
        assert found[section, "lamella", "restore the first", "s"] > 0
        assert found[section, "lamella", "slowest / first", "x"] >= 1
        repacked = found[section, "lamella, repacked", "stored", "MB"]
        assert 0 < repacked <= found[section, "lamella", "stored", "MB"]
