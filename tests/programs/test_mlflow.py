"""Runs that the real MLflow wrote become commits."""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
import pytest

from lamella.testing.models import network
from tests.e2e.workbench import Workbench

pytestmark = pytest.mark.filterwarnings("ignore")
"""What the other program says of its own libraries is not ours to mend."""


def test_runs_of_mlflow_become_commits(git_environment: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"file:{tmp_path}/mlruns")
    mlflow.set_experiment("one: #two")
    for number in range(3):
        with mlflow.start_run(run_name=f"run: {number}"):
            mlflow.log_params({"lr": 0.1, "note": "a: b # c"})
            mlflow.log_metric("val/loss", float("nan") if number else 0.5, step=number)
            (tmp_path / "model.safetensors").write_bytes(network(layer_0_bias=number))
            mlflow.log_artifact(str(tmp_path / "model.safetensors"), "best")
    bench = Workbench(tmp_path / "work")
    bench.root.mkdir()
    bench.git("init", "--quiet")
    bench.lamella("import", "../mlruns", "--as", "model")
    assert bench.git("log", "--format=%s").splitlines() == ["run: 2", "run: 1", "run: 0"]
    assert bench.read("model/best/model.safetensors") == network(layer_0_bias=2)
    (params, *_) = (bench.root / ".lamella/runs").glob("*/params.json")
    assert json.loads(params.read_text()) == {"lr": "0.1", "note": "a: b # c"}
    assert bench.git("status", "--porcelain") == ""
