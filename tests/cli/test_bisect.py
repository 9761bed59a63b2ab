"""`lamella bisect` as it is typed: what it prints, what programs read, and what Control-C leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import numpy
import pytest
import safetensors.numpy

from lamella.ops.commit import commit
from tests.e2e.workbench import PROGRAM
from tests.repo.processes import gone

WORSE = 4
JUDGE = "tail -c 4 {model} | od -An -tf4 | sed 's/^ */accuracy: /'"


@pytest.fixture
def line(bench) -> list[str]:
    """Commit six versions of one model, of which the fifth makes it worse."""
    with bench.repository() as repository:
        bench.git("rm", "--quiet", "--cached", "model.safetensors")
        bench.git("commit", "--quiet", "--message", "start")
        arrays = {f"h.{number}.weight": numpy.zeros(4, "f4") for number in range(8)}
        found = []
        for number in range(6):
            value = numpy.float32(number if number < WORSE else -5)
            arrays = {name: array + 1 for name, array in arrays.items()} | {"z": numpy.full(1, value, "f4")}
            found.append(commit(repository, arrays, "m.safetensors", f"step {number}").commit)
        return found


def test_the_version_that_made_it_worse_is_told(call, line):
    outcome = call("bisect", "run", JUDGE, "--good", line[0], "--metric", "accuracy", "--drop", "0.5")
    assert outcome.code == 0
    assert outcome.out.splitlines()[0] == f"{line[WORSE][:10]} is the first bad version"
    assert "accuracy 3 before, -5 after" in outcome.out
    assert "m.safetensors: 9 of 9 tensors changed" in outcome.out
    assert outcome.err.splitlines()[:2] == [f"testing {line[0][:10]} step 0 (the good version)", "  good: accuracy 0"]
    told = call("bisect", "log").out
    assert told.startswith("first bad version from ")
    assert f"{line[WORSE][:10]}  bad: accuracy -5 " in told
    assert f"found: {line[WORSE][:10]}, after 3 evaluations" in told
    assert call("bisect", "reset").err == "forgotten\n"
    assert call("bisect", "reset").err == "there was nothing to forget\n"
    assert call("bisect", "log").code == 3


def test_programs_read_one_object(call, line):
    given = ("--good", line[0], "--metric", "accuracy", "--drop", "0.5", "--json")
    outcome = call("bisect", "run", JUDGE, *given)
    found = json.loads(outcome.out)
    assert outcome.err == ""
    assert (found["type"], found["version"]) == ("bisect", 1)
    assert found["first_bad"]["commit"] == line[WORSE]
    assert (found["before"], found["after"], found["tensors"], found["evaluations"]) == (3, -5, 9, 3)
    told = json.loads(call("bisect", "log", "--json").out)
    assert told["answer"] == line[WORSE]
    assert [one["verdict"]["what"] for one in told["outcomes"]].count("bad") == 1
    failed = json.loads(call("bisect", "run", "false", "--good", line[0], "--json").out)
    assert (failed["type"], failed["kind"]) == ("error", "ends-agree")


def test_guilty_layers_are_told(call, line):
    given = ("--run", JUDGE, "--metric", "accuracy", "--drop", "0.5")
    outcome = call("bisect", "layers", line[3], "HEAD:m.safetensors", *given)
    assert outcome.code == 0
    assert outcome.out.splitlines()[:3] == [
        f"one layer of HEAD:m.safetensors makes {line[3]}:m.safetensors bad",
        "  z: 1 tensor changed",
        "  accuracy 3 before, -5 after",
    ]
    assert "testing the first model with 5 layers, h.0 to h.4" in outcome.err
    found = json.loads(call("bisect", "layers", line[3], "HEAD", *given, "--json").out)
    assert found["type"] == "bisect-layers"
    assert found["layers"] == [{"name": "z", "tensors": [["z", "z"]]}]
    assert not os.path.lexists(".git/lamella/bisect-layers")


def test_layers_of_files_need_no_repository(call, tmp_path, monkeypatch):
    alone = tmp_path / "alone"
    (alone / "temporary").mkdir(parents=True)
    monkeypatch.chdir(alone)
    monkeypatch.setenv("TMPDIR", str(alone / "temporary"))
    for name, value in (("a", 0), ("b", 1)):
        safetensors.numpy.save_file({"w": numpy.full(4, value, "f4")}, alone / f"{name}.safetensors")
    outcome = call(
        "bisect", "layers", "a.safetensors", "b.safetensors", "--run", "echo {model} >>seen; cmp {model} a.*"
    )
    assert outcome.out.startswith("one layer of b.safetensors makes a.safetensors bad\n  w: 1 tensor changed\n")
    assert str(alone / "temporary") in (alone / "seen").read_text()
    assert not list((alone / "temporary").iterdir())


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("run", "true"), 2, "missing option '--good'"),
        (("run", "true", "--good", "nobody"), 3, "no revision is called 'nobody'"),
        (("run", "true", "--good", "HEAD", "--metric", "a"), 2, "a metric needs one of --drop and --rise"),
        (("run", "true", "--good", "HEAD", "--drop", "1"), 2, "--drop and --rise say how far"),
        (("run", "true", "--good", "HEAD", "--repeat", "0"), 2, "1 to 1000 times"),
        (("run", "true", "--good", "HEAD", "--timeout", "0"), 2, "not above zero"),
        (("run", " ", "--good", "HEAD"), 2, "no command to run"),
        (("run", "python", "eval.py", "--good", "HEAD~1"), 3, "neither version has eval.py"),
        (("layers", "HEAD", "nothing", "--run", "true"), 3, "there is no model nothing"),
        (("layers", "HEAD~6", "HEAD", "--run", "true"), 3, "HEAD~6 has no model file"),
        (("walk",), 2, "walk"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_a_hint(call, line, arguments, code, said):
    outcome = call("bisect", *arguments)
    assert outcome.code == code
    assert said in outcome.err
    assert "hint: " in outcome.err
    assert outcome.out == ""


def test_a_revision_with_two_models_has_to_say_which(call, line, bench):
    with bench.repository() as repository:
        commit(repository, {"w": numpy.ones(3, "f4")}, "other.safetensors", "another")
    outcome = call("bisect", "layers", "HEAD~1", "HEAD", "--run", "true")
    assert outcome.code == 2
    assert "HEAD has 2 model files" in outcome.err
    assert "`HEAD:m.safetensors`" in outcome.err


def test_control_c_leaves_a_search_that_goes_on(bench, line, call):
    (bench.root / "slow").touch()
    command = f"echo $$ >>pids; while test -e slow; do sleep 0.05; done; {JUDGE}"
    given = ("bisect", "run", command, "--good", line[0], "--metric", "accuracy", "--drop", "0.5")
    started = subprocess.Popen([PROGRAM, *given], cwd=bench.root, stderr=subprocess.PIPE, process_group=0)
    until = time.monotonic() + 60
    while not (bench.root / "pids").exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    started.send_signal(signal.SIGINT)
    _, said = started.communicate(timeout=60)
    assert started.returncode == 130
    assert b"run the command again" in said
    assert not (bench.root / ".git/lamella/bisect-worktree").exists()
    assert gone(int((bench.root / "pids").read_text()))
    (bench.root / "slow").unlink()
    assert call(*given).out.startswith(line[WORSE][:10])
