"""A DVC project becomes a project of Lamella's, with its history."""

from __future__ import annotations

import hashlib
import json

import pytest

from lamella.ops.fsck import fsck
from lamella.ops.import_dvc import import_dvc
from lamella.ops.migrate import MigrateReport
from lamella.repo.checkout import file_pieces
from lamella.repo.git import Git
from lamella.testing.models import network
from tests.e2e.lfsbench import keep, lfs_bench
from tests.e2e.workbench import Workbench

MODEL = "model.safetensors"
FIRST, SECOND, THIRD = network(), network(layer_1_weight=1), network(layer_2_bias=2)


@pytest.fixture
def bench(git_repository: Git) -> Workbench:
    bench = lfs_bench(git_repository.root)
    bench.write(".dvc/config", b"[core]\n")
    bench.write(".dvc/.gitignore", b"/cache\n")
    keep(bench, {".gitattributes": b"*.txt text\n"}, "init")
    return bench


def cached(bench: Workbench, content: bytes, ending: str = "") -> str:
    digest = hashlib.md5(content).hexdigest()
    bench.write(f".dvc/cache/files/md5/{digest[:2]}/{digest[2:]}{ending}", content)
    return digest + ending


def dvc(bench: Workbench, path: str, content: bytes, md5: str | None = None) -> dict[str, bytes]:
    """Keep a file as `dvc add` does, and return what goes into Git."""
    bench.write(path, content)
    digest = md5 or cached(bench, content)
    text = f"outs:\n- md5: {digest}\n  size: {len(content)}\n  hash: md5\n  path: {path.rpartition('/')[2]}\n"
    return {f"{path}.dvc": text.encode()}


def run(bench: Workbench, *patterns: str, **options: object) -> MigrateReport:
    with bench.repository() as repository:
        return import_dvc(repository, patterns, **options)


def restored(bench: Workbench, revision: str, path: str = MODEL) -> bytes:
    with bench.repository() as repository:
        return b"".join(map(bytes, file_pieces(repository.store, repository.manifest(revision, path))))


def assert_at_rest(bench: Workbench) -> None:
    assert bench.git("status", "--porcelain") == ""
    with bench.repository() as repository:
        assert fsck(repository).sound


def test_outputs_become_models_and_their_files_go(bench):
    keep(bench, {**dvc(bench, MODEL, FIRST), ".gitignore": f"/{MODEL}\n/other\n".encode()}, "first")
    keep(bench, dvc(bench, MODEL, SECOND), "second")
    report = run(bench)
    assert (report.rewritten, report.files, report.absent) == (2, 2, ())
    assert [restored(bench, revision) for revision in ("HEAD~1", "HEAD")] == [FIRST, SECOND]
    assert bench.git("ls-files").splitlines() == [
        ".dvc/.gitignore", ".dvc/config", ".gitattributes", ".gitignore", MODEL
    ]  # fmt: skip
    assert bench.read(".gitignore") == b"/other\n"
    assert bench.read(MODEL) == SECOND
    assert not (bench.root / f"{MODEL}.dvc").exists()
    assert bench.git("log", "-2", "--format=%s").split() == ["second", "first"]
    assert bench.git("check-attr", "filter", MODEL).endswith("lamella")
    assert_at_rest(bench)


def test_folders_and_stages_are_taken_and_the_pipeline_stays(bench):
    listing = [
        {"md5": cached(bench, FIRST), "relpath": "a.safetensors"},
        {"md5": cached(bench, b"x"), "relpath": "b/x"},
    ]
    md5 = cached(bench, json.dumps(listing).encode(), ".dir")
    lock = (
        f"schema: '2.0'\nstages:\n  t:\n    cmd: x\n    outs:\n    - path: out.pt\n      md5: {cached(bench, SECOND)}\n"
    )
    keep(
        bench,
        {
            "data.dvc": f"outs:\n- md5: {md5}\n  path: data\n".encode(),
            ".gitignore": b"/data\n/out.pt\n",
            "dvc.lock": lock.encode(),
            "dvc.yaml": b"stages:\n  t:\n    cmd: x\n",
        },
        "pipeline",
    )
    run(bench)
    assert restored(bench, "HEAD", "data/a.safetensors") == FIRST == bench.read("data/a.safetensors")
    assert bench.read("data/b/x") == b"x"
    assert bench.read("out.pt") == SECOND
    assert (bench.root / "dvc.lock").exists()
    assert not (bench.root / "data.dvc").exists()
    assert not (bench.root / ".gitignore").exists()
    assert bench.read(".gitattributes").count(b"lamella diff") == 2
    assert_at_rest(bench)


def test_what_cannot_be_had_or_read_stays_as_it_is_and_is_told(bench):
    files = dvc(bench, MODEL, FIRST, md5="0" * 32) | dvc(bench, "d/ok.safetensors", SECOND)
    keep(
        bench,
        {**files, "evil.dvc": b"outs:\n- md5: " + b"1" * 32 + b"\n  path: ../evil\n", ".gitignore": b"*.safetensors\n"},
        "first",
    )
    (bench.root / MODEL).unlink()
    report = run(bench)
    assert {(absent.path, absent.kind) for absent in report.absent} == {
        (MODEL, "object-missing"), ("evil.dvc", "header-malformed")
    }  # fmt: skip
    assert {f"{MODEL}.dvc", "evil.dvc"} <= set(bench.git("ls-files").splitlines())
    assert restored(bench, "HEAD", "d/ok.safetensors") == SECOND


def test_patterns_choose_and_a_link_into_the_cache_becomes_a_file(bench):
    files = dvc(bench, MODEL, FIRST) | dvc(bench, "table.csv", b"a,b\n")
    digest = hashlib.md5(FIRST).hexdigest()
    (bench.root / MODEL).unlink()
    (bench.root / MODEL).symlink_to(bench.root / f".dvc/cache/files/md5/{digest[:2]}/{digest[2:]}")
    keep(bench, {**files, ".gitignore": f"/{MODEL}\n/table.csv\n".encode()}, "first")
    assert run(bench, "*.safetensors", dry_run=True).files == 1
    run(bench, "*.safetensors")
    assert not (bench.root / MODEL).is_symlink()
    assert bench.read(MODEL) == FIRST
    assert bench.read(".gitignore") == b"/table.csv\n"
    assert "table.csv.dvc" in bench.git("ls-files")
    assert_at_rest(bench)
