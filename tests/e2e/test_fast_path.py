"""After the program's own verbs Git believes its index: a `git status` starts no filter."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from lamella.core import fsio
from lamella.ops.add import add
from lamella.repo.filling import fill
from lamella.testing.faults import power_cut
from lamella.testing.models import network
from tests.e2e.workbench import PROGRAM, Workbench

MODELS = ("a.safetensors", "deep/er/b.safetensors", "deep/c.safetensors")


def fill_bench(bench: Workbench) -> None:
    """Commit two versions of three models."""
    for version in (0, 1):
        for path in MODELS:
            bench.write(path, network(note=path, layer_1_bias=version))
        bench.lamella("add", ".")
        bench.git("commit", "--quiet", "-m", f"version {version}")


def leftovers(bench: Workbench) -> list[str]:
    return [str(path) for path in bench.root.rglob(f"{fsio.TEMPORARY_PREFIX}*")]


def test_the_counter_sees_a_filter_at_work(bench):
    bench.write("a.safetensors", network())
    assert bench.filters_run("add", "a.safetensors") == 1


@pytest.mark.parametrize(
    "verb",
    [
        ("checkout", "--quiet", "HEAD~1"),
        ("switch", "--quiet", "--detach", "HEAD~1"),
        ("restore", "."),
        ("checkout", "--quiet", "--", "."),
        ("checkout", "--quiet", "-f"),
    ],
    ids=" ".join,
)
def test_status_runs_no_filter_after(bench, verb):
    fill_bench(bench)
    for path in MODELS:
        (bench.root / path).unlink()
    if verb[1:2] == ("--quiet",) and verb[-1] == "HEAD~1":
        bench.git("reset", "--quiet", "--hard")
    bench.lamella(*verb)
    assert bench.filters_run("status", "--porcelain") == 0
    assert bench.git("status", "--porcelain") == ""


def test_status_runs_no_filter_after_add(bench):
    fill_bench(bench)
    for path in MODELS:
        bench.write(path, network(note=path, layer_2_bias=1))
    bench.lamella("add", *MODELS)
    assert bench.filters_run("status", "--porcelain") == 0
    assert bench.filters_run("commit", "--quiet", "-m", "third") == 0


def test_a_file_that_changes_right_after_add_is_still_seen(bench):
    bench.write("a.safetensors", network())
    bench.lamella("add", "a.safetensors")
    with (bench.root / "a.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"!")
    assert bench.git("status", "--porcelain") == "AM a.safetensors"


@pytest.mark.parametrize("version", [2, 3, 4])
def test_every_version_of_the_index_is_patched(bench, version):
    bench.git("config", "index.version", str(version))
    bench.git("update-index", f"--index-version={version}")
    fill_bench(bench)
    bench.lamella("checkout", "--quiet", "HEAD~1")
    assert bench.filters_run("status", "--porcelain") == 0


def test_a_split_index_works_through_the_filter(bench):
    bench.git("update-index", "--split-index")
    fill_bench(bench)
    bench.lamella("checkout", "--quiet", "HEAD~1")
    assert bench.read("a.safetensors") == network(note="a.safetensors")
    assert bench.git("status", "--porcelain") == ""


@pytest.mark.parametrize("moment", range(0, 24, 3))
def test_a_checkout_cut_anywhere_is_finished_by_the_next(bench, moment):
    fill_bench(bench)
    bench.git("checkout", "--quiet", "HEAD~1", env={"LAMELLA_INSIDE": f"{bench.root}/.git"})
    with power_cut(moment), bench.repository() as repository:
        fill(repository)
    assert bench.git("status", "--porcelain") == ""
    with bench.repository() as repository:
        assert not fill(repository).failed
    for path in MODELS:
        assert bench.read(path) == network(note=path)
    assert bench.git("status", "--porcelain") == ""
    assert not leftovers(bench)


@pytest.mark.parametrize("moment", range(4))
def test_a_checkout_that_is_killed_is_finished_by_the_next(bench, moment):
    big = os.urandom(24_000_000)
    bench.write("a.safetensors", big)
    bench.write("b.safetensors", network())
    bench.lamella("add", ".")
    bench.git("commit", "--quiet", "-m", "big")
    for path in ("a.safetensors", "b.safetensors"):
        (bench.root / path).unlink()
    process = subprocess.Popen([PROGRAM, "checkout", "--quiet", "--", "."], cwd=bench.root, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while moment and not leftovers(bench) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.0005)
    time.sleep(0.01 * moment)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (bench.root / ".git" / "index.lock").unlink(missing_ok=True)
    assert ".lamella-tmp" not in bench.git("status", "--porcelain")
    bench.lamella("checkout", "--quiet", "--", ".")
    assert (bench.read("a.safetensors"), bench.read("b.safetensors")) == (big, network())
    assert bench.git("status", "--porcelain") == ""
    assert not leftovers(bench)


def test_gc_removes_what_a_killed_process_left_beside_a_model(bench):
    fill_bench(bench)
    left = bench.write(f"deep/er/{fsio.TEMPORARY_PREFIX}0123456789abcdef", b"half a model")
    assert bench.git("status", "--porcelain") == ""
    assert "removed 1 unfinished file" in bench.lamella("gc")
    assert not left.exists()


def test_a_locked_index_is_told_and_nothing_is_half_done(bench):
    fill_bench(bench)
    bench.git("checkout", "--quiet", "HEAD~1", env={"LAMELLA_INSIDE": f"{bench.root}/.git"})
    lock = bench.root / ".git" / "index.lock"
    lock.write_bytes(b"")
    ended = bench.try_lamella("checkout")
    assert ended.code == 4
    assert ended.err.startswith("error: ")
    assert "hint: wait for the other git command to end" in ended.err
    lock.unlink()
    bench.lamella("checkout")
    assert bench.read("a.safetensors") == network(note="a.safetensors")
    assert bench.git("status", "--porcelain") == ""


def test_without_hard_links_git_learns_of_the_files_by_itself(bench, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    bench.write("a.safetensors", network())
    with bench.repository() as repository:
        assert [file.path for file in add(repository, ["a.safetensors"]).files] == ["a.safetensors"]
        assert bench.filters_run("status", "--porcelain") == 0
        bench.git("commit", "--quiet", "-m", "added")
        (bench.root / "a.safetensors").unlink()
        bench.git("checkout", "--", ".", env={"LAMELLA_SMUDGE": "manifest"})
        assert fill(repository).paths == ("a.safetensors",)
    assert bench.read("a.safetensors") == network()
    assert bench.git("status", "--porcelain") == ""
