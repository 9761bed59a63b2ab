"""Folders of checkpoints and runs of MLflow become commits."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lamella.core.errors import UsageError
from lamella.ops.fsck import fsck
from lamella.ops.import_folder import folder_versions, natural
from lamella.ops.import_mlflow import is_mlflow, mlflow_versions
from lamella.ops.import_versions import ImportReport, Version, import_versions
from lamella.repo.git import Git
from lamella.repo.model_files import model_at
from lamella.testing.faults import power_cut, recorded
from lamella.testing.models import network
from tests.e2e.lfsbench import lfs_bench
from tests.e2e.workbench import Workbench

RUN = "0" * 31 + "1"


@pytest.fixture
def bench(git_repository: Git) -> Workbench:
    bench = lfs_bench(git_repository.root)
    bench.write("kept.txt", b"kept")
    bench.git("rm", "--quiet", ".gitattributes")
    bench.git("add", "kept.txt")
    bench.git("commit", "--quiet", "--message", "kept")
    return bench


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a training's folder: three checkpoints and what it ended with."""
    root = tmp_path / "training"
    for seconds, step in enumerate((500, 1000, 10_000)):
        write(root / f"checkpoint-{step}" / "model.safetensors", network(layer_0_bias=step), 1_600_000_000 + seconds)
        write(root / f"checkpoint-{step}" / "state.json", str(step).encode(), 1_500_000_000)
    write(root / "checkpoint-500" / "only-here.txt", b"x", 1_500_000_000)
    write(root / "model.safetensors", network(), 1_700_000_000)
    write(root / ".hidden", b"x", 1_700_000_000)
    (root / "link").symlink_to("model.safetensors")
    return root


def write(path: Path, content: bytes, seconds: int = 1_600_000_000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (seconds, seconds))


def run(
    bench: Workbench, source: Path, versions: list[Version], path: str = "model", **options: object
) -> ImportReport:
    with bench.repository() as repository:
        return import_versions(repository, source, versions, path, **options)


def assert_at_rest(bench: Workbench) -> None:
    assert bench.git("status", "--porcelain") == ""
    assert bench.git("fsck", "--strict", "--no-dangling") == ""
    with bench.repository() as repository:
        assert fsck(repository).sound


def test_checkpoints_are_commits_in_the_order_of_their_numbers(bench, folder):
    report = run(bench, folder, folder_versions(folder))
    assert report.versions == ("checkpoint-500", "checkpoint-1000", "checkpoint-10000", "training")
    log = bench.git("log", "-4", "--format=%H %at %s").splitlines()
    assert [line.split()[1:] for line in reversed(log)] == [
        ["1600000000", "checkpoint-500"], ["1600000001", "checkpoint-1000"], ["1600000002", "checkpoint-10000"],
        ["1700000000", "training"],
    ]  # fmt: skip
    assert [line.split()[0] for line in reversed(log)] == list(report.commits)
    assert bench.git("ls-tree", "-r", "--name-only", "HEAD~3").splitlines() == [
        ".gitattributes", "kept.txt", "model/model.safetensors", "model/only-here.txt", "model/state.json"
    ]  # fmt: skip
    assert bench.git("ls-tree", "-r", "--name-only", "HEAD~2").count("only-here") == 0
    assert bench.read("model/model.safetensors") == network()
    assert bench.git("show", "HEAD~1:model/state.json") == "10000"
    assert_at_rest(bench)


def test_numbered_files_are_versions_of_one(bench, tmp_path):
    for number in (9, 10, 2):
        write(tmp_path / f"e/epoch_{number}.pt", f"version {number}".encode())
    run(bench, tmp_path / "e", folder_versions(tmp_path / "e"))
    assert bench.git("log", "-3", "--format=%s").split() == ["epoch_10.pt", "epoch_9.pt", "epoch_2.pt"]
    assert bench.read("model/epoch.pt") == b"version 10"
    assert bench.git("ls-tree", "--name-only", "HEAD:model") == "epoch.pt"
    assert_at_rest(bench)


def test_shards_and_mixed_folders_are_one_version(tmp_path):
    for name in ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"):
        write(tmp_path / "shards" / name, b"x")
    (version,) = folder_versions(tmp_path / "shards")
    assert len(version.files) == 2
    for name in ("a-1/m.pt", "b-1/m.pt", "c/d/m.pt"):
        write(tmp_path / "mixed" / name, b"x")
    (version,) = folder_versions(tmp_path / "mixed")
    assert version.files == ("a-1/m.pt", "b-1/m.pt", "c/d/m.pt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no files"):
        folder_versions(tmp_path / "empty")


SHARED = Path(__file__).parents[1] / "golden" / "formats" / "torch_distributed" / "shared"


@pytest.mark.parametrize("steps", [("run",), ("runs/step-1", "runs/step-2")])
def test_checkpoints_of_torch_distributed_come_with_what_describes_them(bench, tmp_path, steps):
    for step in steps:
        for file in SHARED.iterdir():
            write(tmp_path / step / file.name, file.read_bytes())
        # Two files of one process have names that differ in a number, as versions of a file do.
        (tmp_path / step / "__1_0.distcp").rename(tmp_path / step / "__0_1.distcp")
        renamed = (tmp_path / step / ".metadata").read_bytes().replace(b"__1_0.distcp", b"__0_1.distcp")
        write(tmp_path / step / ".metadata", renamed)
    source = tmp_path / steps[0].partition("/")[0]
    run(bench, source, folder_versions(source))
    assert len(bench.git("log", "--format=%s").splitlines()) == 2 + len(steps)
    with bench.repository() as repository:
        found = model_at(repository, "HEAD", "model")
        assert {name: found.spec(name).shape for name in found.names} == {
            "rows": (8, 5), "columns": (8, 5), "both": (3,)
        }  # fmt: skip
    assert_at_rest(bench)


def test_names_are_sorted_as_people_count():
    assert sorted(["a10", "a9", "a", "b1", "a09", "10", "9", "a²"], key=natural) == [
        "9", "10", "a", "a9", "a09", "a10", "a²", "b1"
    ]  # fmt: skip


def test_another_branch_grows_and_the_worktree_stays(bench, folder):
    tip = bench.git("rev-parse", "HEAD")
    report = run(bench, folder, folder_versions(folder), branch="imported")
    assert bench.git("rev-parse", "HEAD") == tip == bench.git("rev-parse", "imported~4")
    assert report.branch == "imported"
    assert not (bench.root / "model").exists()
    run(bench, folder, folder_versions(folder), branch="imported")
    assert bench.git("rev-parse", "imported~8") == tip
    assert_at_rest(bench)


def test_an_empty_repository_gets_its_first_commits(make_repository, folder):
    bench = Workbench(make_repository("empty").root)
    bench.git("config", "filter.lamella.process", "true")
    run(bench, folder, folder_versions(folder))
    assert bench.git("rev-list", "--count", "HEAD") == "4"
    assert bench.read("model/model.safetensors") == network()
    assert bench.git("status", "--porcelain") == ""


def test_a_dry_run_does_nothing(bench, folder):
    before = bench.git("for-each-ref"), bench.git("count-objects")
    report = run(bench, folder, folder_versions(folder), dry_run=True)
    assert (report.dry_run, len(report.versions), report.files, report.commits) == (True, 4, 8, ())
    assert (bench.git("for-each-ref"), bench.git("count-objects")) == before


def test_what_is_in_the_way_or_at_work_is_refused(bench, folder):
    bench.write("model/mine", b"x")
    with pytest.raises(UsageError, match="in the way"):
        run(bench, folder, folder_versions(folder))
    for path in ("../out", "/abs", ".git/x", ""):
        with pytest.raises(UsageError):
            run(bench, folder, folder_versions(folder), path)
    bench.write("kept.txt", b"changed")
    with pytest.raises(UsageError, match="not committed"):
        run(bench, folder, folder_versions(folder), "other")


def test_an_import_cut_anywhere_has_happened_or_not(bench, folder):
    tip = bench.git("rev-parse", "HEAD")
    versions = folder_versions(folder)[:2]

    def undo() -> None:
        bench.git("reset", "--quiet", "--hard", tip)

    with recorded() as changes:
        run(bench, folder, versions)
    for moment in range(0, len(changes), 4):
        undo()
        with power_cut(moment):
            run(bench, folder, versions)
        if bench.git("rev-parse", "HEAD") == tip:
            assert bench.git("status", "--porcelain") == ""
        run(bench, folder, versions)
        assert bench.read("model/model.safetensors") == network(layer_0_bias=1000)
        assert_at_rest(bench)


def mlflow_run(root: Path, run: str, started: int, content: bytes, **more: str) -> None:
    """Write a run as MLflow does."""
    meta = {"run_id": run, "run_uuid": run, "start_time": started, "end_time": started + 5000, "user_id": "ada", **more}
    lines = [
        "artifact_uri: file:///anywhere/../../else",
        "lifecycle_stage: active",
        *(f"{k}: {v}" for k, v in meta.items()),
    ]
    write(root / run / "meta.yaml", "\n".join(dict.fromkeys(lines)).encode())
    write(root / run / "params" / "lr", b"0.1")
    write(root / run / "metrics" / "val" / "loss", b"1600000000000 0.5 0\n1600000000001 nan 1\nbroken\n")
    write(root / run / "tags" / "mlflow.user", b"Ada <x> Lovelace\n")
    write(root / run / "tags" / "mlflow.runName", b"a run")
    write(root / run / "artifacts" / "best" / "model.safetensors", content)


def test_runs_are_commits_in_the_order_in_which_they_were_started(bench, tmp_path):
    root = tmp_path / "mlruns"
    mlflow_run(root / "7", RUN, 1_600_000_009_000, network())
    mlflow_run(root / "7", "2" * 32, 1_600_000_001_000, network(layer_0_bias=1))
    write(root / "7" / "meta.yaml", b"experiment_id: '7'\nname: x\n")
    (root / "7" / "outside").symlink_to("/")
    (root / "7" / RUN / "artifacts" / "passwd").symlink_to("/etc/passwd")
    assert is_mlflow(root)
    run(bench, root, mlflow_versions(root))
    assert bench.git("log", "-2", "--format=%an|%at|%s|%b").split("\n\n")[0] == (
        f"Ada x Lovelace|1600000014|a run|MLflow run {RUN}"
    )
    assert bench.read("model/best/model.safetensors") == network()
    assert bench.git("ls-tree", "-r", "--name-only", "HEAD:model") == "best/model.safetensors"
    metrics = json.loads(bench.read(f".lamella/runs/{RUN}/metrics.json"))
    assert metrics["val/loss"] == [
        {"step": 0, "value": 0.5, "time": 1600000000000}, {"step": 1, "value": "nan", "time": 1600000000001}
    ]  # fmt: skip
    assert json.loads(bench.read(f".lamella/runs/{RUN}/params.json")) == {"lr": "0.1"}
    assert_at_rest(bench)


def test_a_user_that_is_a_list_is_nobody(tmp_path):
    mlflow_run(tmp_path, RUN, 1, b"x", user_id="\n- a")
    (tmp_path / RUN / "tags" / "mlflow.user").unlink()
    assert [version.author for version in mlflow_versions(tmp_path)] == [None]


def test_deleted_and_unreadable_runs_are_passed_over(tmp_path):
    root = tmp_path / "mlruns"
    assert not is_mlflow(tmp_path)
    mlflow_run(root, RUN, 1, b"x")
    text = (root / RUN / "meta.yaml").read_bytes()
    for bad in (text.replace(b"active", b"deleted"), text + b"\nx: !!python/object:os.system y", b"\xff"):
        write(root / RUN / "meta.yaml", bad)
        assert not is_mlflow(root)
        with pytest.raises(UsageError, match="holds no runs"):
            mlflow_versions(root)
