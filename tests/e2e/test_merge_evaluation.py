"""A command of the user's judges a merge before it is committed, and what no side had is told and recorded."""

from __future__ import annotations

import json
import signal
import subprocess
import time

import pytest

from lamella.core.errors import ConflictError
from tests.e2e.mergebench import MODEL, OPPOSED, branch_off, weights
from tests.e2e.workbench import PROGRAM, Workbench

OURS = weights({"h.0": (2.0, 2.0, 3.0, 4.0)})
THEIRS = weights({"h.0": (1.0, 2.0, 3.0, 6.0)})
BOTH = weights({"h.0": (2.0, 2.0, 3.0, 6.0)})


@pytest.fixture
def sides(bench: Workbench) -> Workbench:
    branch_off(bench, OURS, THEIRS)
    return bench


def merges(bench: Workbench) -> int:
    return int(bench.git("rev-list", "--count", "--merges", "HEAD"))


def record(bench: Workbench) -> dict[str, object]:
    """Return the record of the merge that HEAD is."""
    path = bench.git("log", "-1", "--format=%(trailers:key=Lamella-Merge,valueonly)").strip()
    found: dict[str, object] = json.loads(bench.read(path))
    return found


def test_a_merge_that_passes_is_committed_with_what_was_said_of_it(sides):
    sides.git("config", "lamella.evaluateMetric", "accuracy")
    command = "cmp -s {model} expected && echo accuracy: 0.75"
    sides.write("expected", BOTH)
    told = json.loads(sides.lamella("merge", "other", "--json", "--evaluate", command))
    assert told["outcome"] == "merged"
    (said,) = told["evaluations"]
    assert (said["path"], said["status"], said["metric"], said["value"]) == (MODEL, 0, "accuracy", 0.75)
    assert record(sides)["evaluation"] == {"command": command, "status": 0, "metric": "accuracy", "value": 0.75}
    assert not (sides.root / ".git/lamella/evaluation.json").exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("echo too bad >&2; false", f"{MODEL} failed with status 1: too bad"),
        ("exit 125", f"the command cannot judge {MODEL}"),
        ("kill -SEGV $$", "was ended by SIGSEGV"),
        ("no-such-program", f"ended with status 127, as a shell that cannot run it, on {MODEL}"),
        ("sleep 60", "took more than 0.5 s"),
    ],
)
def test_a_merge_that_fails_is_not_committed_and_stays_under_way(sides, command, said):
    head = sides.git("rev-parse", "HEAD")
    sides.git("config", "lamella.evaluate", command)
    sides.git("config", "lamella.evaluateTimeout", "0.5" if "sleep" in command else "60")
    refused = sides.try_lamella("merge", "other")
    assert (refused.code, said in refused.err) == (ConflictError.exit_code, True), refused
    assert "hint: `lamella merge --continue` tries again, with `--no-evaluate`" in refused.err
    assert sides.git("rev-parse", "HEAD") == head
    assert sides.read(MODEL) == BOTH
    assert sides.try_lamella("merge", "--continue").code == ConflictError.exit_code
    sides.lamella("merge", "--continue", "--no-evaluate")
    assert (merges(sides), sides.read(MODEL)) == (1, BOTH)


def test_what_failed_is_taken_back(sides):
    before = sides.git("rev-parse", "HEAD")
    assert sides.try_lamella("merge", "other", "--evaluate", "false").code == ConflictError.exit_code
    sides.lamella("merge", "--abort")
    assert (sides.git("rev-parse", "HEAD"), sides.read(MODEL)) == (before, OURS)
    sides.lamella("merge", "other")
    assert merges(sides) == 1


def test_what_was_asked_for_holds_until_the_merge_is_done(bench):
    branch_off(bench, *OPPOSED)
    assert bench.try_lamella("merge", "other", "--evaluate", "test -e allowed").code == ConflictError.exit_code
    bench.lamella("resolve", "h.0", "--theirs")
    refused = bench.try_lamella("merge", "--continue")
    assert (refused.code, "the merge is not committed" in refused.err) == (ConflictError.exit_code, True)
    bench.write("allowed", b"")
    bench.lamella("merge", "--continue")
    assert merges(bench) == 1
    assert record(bench)["evaluation"]["command"] == "test -e allowed"


@pytest.mark.parametrize("ending", [("merge", "--abort"), ("switch", "-q", "main")])
def test_what_was_asked_for_is_nothing_to_the_next_merge(bench, ending):
    branch_off(bench, *OPPOSED)
    if ending[0] == "merge":
        bench.try_lamella("merge", "other", "--evaluate", "false")
    else:
        assert bench.try_lamella("merge", "other", "--evaluate", "false", "--ff-only").code == 2
    bench.lamella(*ending)
    bench.try_git("merge", "other")
    bench.lamella("resolve", "h.0", "--theirs")
    bench.lamella("merge", "--continue")
    assert merges(bench) == 1


def test_a_merge_that_is_not_evaluated_says_so(bench, sides):
    told = sides.try_lamella("merge", "other", "--evaluate", "true", "--no-commit")
    assert "not evaluated: `lamella merge --continue` evaluates and commits" in told.err
    sides.lamella("merge", "--abort")
    bench.git("switch", "--quiet", "--create", "behind", "main~1")
    told = bench.try_lamella("merge", "main", "--evaluate", "false")
    assert (told.code, "not evaluated: there is no merge commit" in told.err) == (0, True)
    assert "not evaluated" not in bench.try_lamella("merge", "main", "--evaluate", "false").err


def test_an_interruption_says_that_the_merge_is_under_way(sides):
    command = [PROGRAM, "merge", "other", "--evaluate", "touch begun; sleep 60"]
    process = subprocess.Popen(command, cwd=sides.root, start_new_session=True, stderr=subprocess.PIPE, text=True)
    while not (sides.root / "begun").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert said.endswith(
        "interrupted; a merge is under way: `lamella merge --continue` goes on, `lamella merge --abort` takes it back\n"
    )
    (sides.root / "begun").unlink()
    sides.lamella("merge", "--continue", "--no-evaluate")
    assert merges(sides) == 1


def test_a_command_that_the_project_tracks_is_never_run(sides):
    sides.write(".lamella/config.toml", b'[lamella]\nevaluate = "touch evil"\n')
    sides.write("gitconfig", b"[lamella]\n\tevaluate = touch evil\n")
    sides.git("add", ".")
    sides.git("commit", "--quiet", "--message", "evil")
    sides.git("config", "include.path", "../gitconfig")
    sides.git("config", "--global", "lamella.evaluate", "touch evil")
    sides.lamella("merge", "other")
    assert merges(sides) == 1
    assert not (sides.root / "evil").exists()


def test_models_that_the_merge_leaves_alone_are_not_judged(sides):
    sides.commit("still.safetensors", weights())
    sides.lamella("merge", "other", "--evaluate", "echo {model} >> judged")
    assert sides.read("judged").decode() == f"{sides.root / MODEL}\n"


def test_a_timeout_that_is_none_is_refused_before_anything_changes(sides):
    sides.git("config", "lamella.evaluateTimeout", "soon")
    refused = sides.try_lamella("merge", "other", "--evaluate", "true")
    assert (refused.code, "lamella.evaluateTimeout is no number of seconds" in refused.err) == (2, True)
    assert sides.git("status", "--porcelain") == ""


def test_changes_that_cancel_are_told_and_recorded(bench):
    branch_off(bench, weights({"h.0": (3.0, 4.0, 5.0, 6.0)}), weights({"h.0": (-1.0, 0.0, 1.0, 2.1)}))
    said = bench.lamella("merge", "other", "--strategy", "linear")
    assert f"{MODEL}: h.0: warning: the change since the base has 0.0" in said
    (sentence,) = record(bench)["checks"]
    assert sentence.startswith(f"{MODEL}: h.0: the change since the base has 0.0")


def test_a_merge_of_several_branches_is_judged_beside_the_worktree(sides):
    sides.git("switch", "--quiet", "--create", "third", "main~1")
    sides.commit(MODEL, weights({"h.0": (1.0, 2.0, 9.0, 4.0)}))
    sides.git("switch", "--quiet", "main")
    before = sides.git("rev-parse", "HEAD")
    refused = sides.try_lamella("merge", "other", "third", "--evaluate", "exit 3")
    assert (refused.code, f"{MODEL} failed with status 3" in refused.err) == (ConflictError.exit_code, True)
    assert (sides.git("rev-parse", "HEAD"), sides.read(MODEL)) == (before, OURS)
    assert len(sides.git("worktree", "list").split("\n")) == 1
    sides.write("expected", weights({"h.0": (2.0, 2.0, 9.0, 6.0)}))
    command = f"cmp {{model}} {sides.root}/expected"
    told = json.loads(sides.lamella("merge", "other", "third", "--json", "--evaluate", command))
    assert [(one["path"], one["status"]) for one in told["evaluations"]] == [(MODEL, 0)]
    assert record(sides)["evaluation"]["command"] == command
    assert sides.git("rev-list", "--parents", "-1", "HEAD").count(" ") == 3
    refused = sides.try_lamella("merge", "--into", "third", "--ema", "0.9", "--evaluate", "false")
    assert refused.code == ConflictError.exit_code
