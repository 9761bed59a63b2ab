"""A full or write-protected disk: one sentence, a hint, an exit code, and everything is as it was."""

from __future__ import annotations

import errno
import resource
import subprocess
from collections.abc import Callable

import pytest

from lamella.cli.main import main
from lamella.core import fsio
from lamella.testing.models import model, network, spec
from tests.e2e.workbench import PROGRAM, Workbench

MODEL = "model.safetensors"
FIRST, SECOND = network(), network(layer_1_weight=1)

FULL = "hint: nothing was lost; free some space and run the command again\n"
PROTECTED = "hint: check the owner and the permissions, and that the file system is mounted for writing\n"


@pytest.fixture
def call(bench: Workbench, monkeypatch: pytest.MonkeyPatch, capfd) -> Callable[..., tuple[int, str]]:
    """Return a function that runs a command in this process, and returns its code and what it said of faults."""
    monkeypatch.chdir(bench.root)

    def run(*arguments: str) -> tuple[int, str]:
        capfd.readouterr()
        code = main(list(arguments))
        return code, capfd.readouterr().err

    return run


def refuse(error: int, under: str) -> fsio.Observer:
    """Return an observer that refuses every change whose path has a part."""

    def observer(operation: str, path: str) -> None:
        if under in path and operation != "remove":
            raise OSError(error, "No space left on device" if error == errno.ENOSPC else "Read-only file system")

    return observer


@pytest.mark.parametrize(
    ("error", "hint"), [(errno.ENOSPC, FULL), (errno.EDQUOT, FULL), (errno.EROFS, PROTECTED), (errno.EACCES, PROTECTED)]
)
def test_a_store_that_cannot_be_written_stops_add(bench, call, error, hint):
    bench.commit(MODEL, FIRST)
    bench.write(MODEL, SECOND)
    before = bench.git("ls-files", "--stage")
    with fsio.observe(refuse(error, "/.git/lamella/")):
        code, said = call("add", MODEL)
    assert code == 7
    assert said.startswith("error: ")
    assert said.endswith(hint)
    assert said.count("\n") == 2
    assert bench.git("ls-files", "--stage") == before
    assert call("add", MODEL) == (0, "")
    assert call("fsck") == (0, "")


@pytest.mark.parametrize(("error", "hint"), [(errno.ENOSPC, FULL), (errno.EROFS, PROTECTED)])
def test_a_worktree_that_cannot_be_written_keeps_its_manifests(bench, call, error, hint):
    bench.commit(MODEL, FIRST)
    bench.commit("other.safetensors", SECOND)
    bench.git("checkout", "--quiet", "-f", "HEAD~2", env={"LAMELLA_INSIDE": f"{bench.root}/.git"})
    bench.git("checkout", "--quiet", "main", env={"LAMELLA_INSIDE": f"{bench.root}/.git"})
    with fsio.observe(refuse(error, f"{bench.root}/.lamella-tmp")):
        code, said = call("checkout")
    assert code == 7
    assert said.count("error: ") == 2
    assert said.endswith(hint)
    assert bench.read(MODEL) == bench.blob(f"HEAD:{MODEL}")
    assert bench.git("status", "--porcelain") == ""
    code, said = call("checkout")
    assert code == 0
    assert (bench.read(MODEL), bench.read("other.safetensors")) == (FIRST, SECOND)


@pytest.mark.parametrize("command", ["gc --grace-days 0", "fsck --repair"])
def test_a_store_that_cannot_be_written_is_not_collected_or_repaired(bench, call, command):
    commits = [bench.commit(MODEL, network(layer_1_bias=version)) for version in range(3)]
    bench.git("reset", "--quiet", "--hard", commits[0])
    if command.startswith("gc"):
        bench.git("reflog", "expire", "--expire=now", "--expire-unreachable=now", "--all")
        (bench.root / ".git/ORIG_HEAD").unlink()
    else:
        pack = max((bench.root / ".git/lamella/packs").iterdir(), key=lambda path: path.stat().st_size)
        content = bytearray(pack.read_bytes())
        content[len(content) // 2] ^= 1
        pack.write_bytes(content)
    with fsio.observe(refuse(errno.EROFS, "/.git/lamella/")):
        code, said = call(*command.split())
    assert code == 7
    assert said.endswith(PROTECTED)
    assert said.count("\n") == 2
    assert call(*command.split())[0] == 0
    assert call("fsck")[0] == 0


def test_reading_needs_no_store_that_can_be_written(bench, call):
    bench.commit(MODEL, FIRST)
    bench.commit(MODEL, SECOND)
    (bench.root / MODEL).unlink()
    (bench.root / ".git/lamella/index.db").unlink()
    with fsio.observe(refuse(errno.EROFS, "/.git/lamella/")):
        for command in (
            "show HEAD:model.safetensors",
            "diff HEAD~1 HEAD",
            "log",
            "status",
            "fsck",
            "ls-files",
            "checkout .",
        ):
            assert call(*command.split())[0] == 0, command
    assert bench.read(MODEL) == SECOND


def test_a_real_limit_on_the_length_of_files_is_met_as_a_full_disk(bench):
    bench.write(MODEL, model([spec("wide", 200_000)]))
    limit = 64 * 1024

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    ended = subprocess.run(
        [PROGRAM, "add", MODEL], cwd=bench.root, capture_output=True, text=True, preexec_fn=limited, check=False
    )
    assert ended.returncode == 7
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.count("\n") == 2
    assert "Traceback" not in ended.stderr
    assert bench.git("status", "--porcelain") == f"?? {MODEL}"
    assert not list((bench.root / ".git/lamella/packs").iterdir())
    bench.lamella("add", MODEL)


def test_a_real_limit_stops_git_add_with_a_sentence(bench):
    bench.write(MODEL, model([spec("wide", 200_000)]))
    limit = 64 * 1024

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    ended = subprocess.run(
        ["git", "add", MODEL], cwd=bench.root, capture_output=True, text=True, preexec_fn=limited, check=False
    )
    assert ended.returncode != 0
    assert f"lamella: {MODEL}: " in ended.stderr
    assert "Traceback" not in ended.stderr
    bench.git("add", MODEL)
