"""What a merge leaves to decide is listed, decided tensor by tensor, and then committed, or taken back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest

from lamella.testing.models import model, spec
from tests.e2e.mergebench import MODEL, OPPOSED, START, branch_off, numbers, weights
from tests.e2e.workbench import PROGRAM

TWO = (
    weights({"h.0": (2.0, 3.0, 4.0, 5.0), "h.1": (0.0, 0.0, 0.0, 0.0), "head": (5.0, 5.0, 5.0, 5.0)}),
    weights({"h.0": (0.0, 1.0, 2.0, 3.0), "h.1": (2.0, 4.0, 6.0, 8.0), "embed": (3.0, 3.0, 3.0, 3.0)}),
)
"""Two tensors that moved in opposite directions, and one that each side alone changed."""


def test_a_merge_stops_is_resolved_and_goes_on(bench):
    branch_off(bench, *TWO)
    stopped = bench.try_lamella("merge", "other")
    assert stopped.code == 4, stopped
    assert stopped.out == (
        f"{MODEL}: 1 tensor from ours, 1 from theirs, 2 in conflict\n"
        "  h.0: the sides moved in opposite directions: cosine -1.00\n"
        "  h.1: the sides moved in opposite directions: cosine -1.00\n"
        "stopped: somebody has to decide\n"
    )
    assert numbers(bench.read(MODEL)) == {
        **numbers(TWO[0]), "embed": (3.0, 3.0, 3.0, 3.0),
    }  # fmt: skip
    refused = bench.try_lamella("merge", "--continue")
    assert refused.code == 4
    assert f"still in conflict: {MODEL}" in refused.err
    assert bench.lamella("resolve", "h.0", "--theirs") == f"{MODEL}: 1 tensor resolved, 1 left"
    listed = bench.lamella("conflicts")
    assert f"{MODEL}: 1 tensor in conflict, 1 resolved\n  h.0  resolved: theirs\n  h.1  opposed" in listed
    assert bench.lamella("resolve", "h.*", "--base") == f"{MODEL}: 2 tensors resolved, settled and staged"
    assert bench.git("status", "--porcelain") == f"M  {MODEL}"
    bench.lamella("merge", "--continue")
    expected = {**START, "embed": (3.0, 3.0, 3.0, 3.0), "head": (5.0, 5.0, 5.0, 5.0)}
    assert numbers(bench.read(MODEL)) == expected
    assert bench.git("rev-list", "--count", "--merges", "HEAD") == "1"
    assert bench.git("status", "--porcelain") == ""
    assert bench.lamella("conflicts") == "nothing is in conflict"
    bench.git("switch", "--quiet", "--detach", "HEAD^1")
    bench.git("switch", "--quiet", "main")
    assert numbers(bench.read(MODEL)) == expected


def test_the_status_says_what_is_under_way_and_what_is_to_be_done(bench):
    branch_off(bench, *TWO)
    bench.try_git("merge", "other")
    told = bench.lamella("status")
    assert "a merge is under way: decide about what is in conflict, or `lamella merge --abort` takes it back" in told
    assert told.endswith(f"in conflict after a merge (`lamella conflicts`):\n  {MODEL}, 2 tensors")
    bench.lamella("resolve", "h.0", "--ours")
    assert bench.lamella("status").endswith(f"{MODEL}, 1 tensor")
    bench.lamella("resolve", "h.1", "--ours")
    told = bench.lamella("status")
    assert "a merge is under way: `lamella merge --continue` ends it, `lamella merge --abort` takes it back" in told
    assert f"staged for the next commit:\n  {MODEL}" in told
    report = json.loads(bench.lamella("status", "--json"))
    assert (report["under_way"], report["undecided"]) == ("merge", {})


def test_the_status_has_git_s_letters_for_other_files_in_conflict(bench):
    bench.write("notes.txt", b"start\n")
    bench.git("add", "notes.txt")
    branch_off(bench, weights({"h.1": (0.0, 0.0, 0.0, 0.0)}), weights({"h.0": (2.0, 2.0, 3.0, 4.0)}))
    bench.git("rm", "--quiet", "notes.txt", MODEL)
    bench.git("commit", "--quiet", "--message", "gone")
    bench.git("switch", "--quiet", "other")
    bench.write("notes.txt", b"changed\n")
    bench.git("commit", "--quiet", "--all", "--message", "changed")
    bench.git("switch", "--quiet", "main")
    bench.try_git("merge", "other")
    report = json.loads(bench.lamella("status", "--json"))
    assert (report["conflicts"], report["others"]) == ([MODEL], [["DU", "notes.txt"]])


def test_conflicts_are_listed_as_json_with_their_scores(bench):
    branch_off(bench, *OPPOSED)
    bench.try_git("merge", "other")
    told = "the sides moved in opposite directions: cosine -1.00; overlap 1.00, clash 1.00\n"
    assert f"  h.0  opposed, changed by ours and theirs\n      {told}" in bench.try_lamella("conflicts").out
    report = json.loads(bench.lamella("conflicts", "--json"))
    assert (report["type"], report["verb"], report["others"]) == ("conflicts", "merge", [])
    (file,) = report["files"]
    (tensor,) = file["found"]["conflicts"]
    assert (file["path"], tensor["name"], tensor["kind"], tensor["changed_by"]) == (MODEL, "h.0", "opposed", [0, 1])
    assert tensor["score"]["cosine"] == pytest.approx(-1)
    assert tensor["choices"][:3] == ["ours", "theirs", "base"]


@pytest.mark.parametrize("act", ["git", "lamella"])
def test_an_abort_gives_back_the_exact_tree(bench, act):
    branch_off(bench, *TWO)
    bench.try_lamella("merge", "other")
    bench.lamella("resolve", "h.0", "--ours")
    getattr(bench, act)("merge", "--abort")
    assert bench.read(MODEL) == TWO[0]
    assert bench.git("status", "--porcelain") == ""
    assert bench.try_lamella("merge", "--abort").code == 2


@pytest.mark.parametrize("lost", [False, True])
def test_a_tensor_in_conflict_can_be_merged_by_a_strategy(bench, lost):
    branch_off(bench, *OPPOSED)
    bench.try_git("merge", "other")
    if lost:
        for state in (bench.root / ".git/lamella/merging").iterdir():
            state.unlink()
    bench.lamella("resolve", MODEL, "--strategy", "three-way")
    assert numbers(bench.read(MODEL))["h.0"] == START["h.0"]
    assert bench.git("status", "--porcelain") == f"M  {MODEL}"


def test_what_one_strategy_refuses_is_merged_by_another(bench):
    branch_off(bench, *TWO)
    assert bench.try_lamella("merge", "other", "--strategy", "fisher").code == 4
    assert "not every side keeps the squared gradients of an optimizer for it" in bench.lamella("conflicts")
    assert bench.lamella("resolve", "h.*", "--strategy", "average").endswith("settled and staged")
    bench.lamella("merge", "--continue")
    found = numbers(bench.read(MODEL))
    assert (found["h.0"], found["h.1"]) == ((1.0, 2.0, 3.0, 4.0), (1.0, 2.0, 3.0, 4.0))


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_git_itself_can_take_a_side(bench, side):
    branch_off(bench, *OPPOSED)
    bench.try_git("merge", "other")
    bench.git("checkout", f"--{side}", "--", MODEL)
    assert bench.read(MODEL) == OPPOSED[side == "theirs"]
    bench.git("add", MODEL)
    bench.git("commit", "--quiet", "--no-edit")
    assert bench.read(MODEL) == OPPOSED[side == "theirs"]
    assert bench.git("status", "--porcelain") == ""


def test_what_somebody_edited_is_not_overwritten_and_can_be_added(bench):
    branch_off(bench, *TWO)
    bench.try_git("merge", "other")
    mine = weights({"h.0": (42.0, 42.0, 42.0, 42.0)})
    bench.write(MODEL, mine)
    refused = bench.try_lamella("resolve", MODEL, "--ours")
    assert refused.code == 4
    assert f"{MODEL} was edited since it was merged" in refused.err
    assert bench.read(MODEL) == mine
    assert f"`git checkout --ours -- {MODEL}` drops what was edited" in refused.err
    bench.lamella("add", MODEL)
    bench.lamella("merge", "--continue")
    assert bench.read(MODEL) == mine


def test_what_git_merged_once_more_is_dropped_as_the_hint_says(bench):
    branch_off(bench, *TWO)
    bench.try_git("merge", "other")
    bench.git("checkout", "--merge", "--", MODEL)
    refused = bench.try_lamella("resolve", "h.*", "--theirs")
    assert (refused.code, f"`git checkout --ours -- {MODEL}` drops what was edited" in refused.err) == (4, True)
    bench.git("checkout", "--ours", "--", MODEL)
    assert bench.lamella("resolve", "h.*", "--theirs").endswith("settled and staged")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nothing.*", "--ours"), 3, "'nothing.*' names no tensor in conflict"),
        (("h.0",), 2, "it is not said how to resolve"),
        (("h.0", "--ours", "--path", "other.safetensors"), 3, "other.safetensors is no model file in conflict"),
        (("h.0", "--strategy", "tise"), 2, "there is no merge strategy 'tise'"),
    ],
)
def test_what_cannot_be_resolved_so_is_refused_and_changes_nothing(bench, arguments, code, said):
    branch_off(bench, *OPPOSED)
    bench.try_git("merge", "other")
    refused = bench.try_lamella("resolve", *arguments)
    assert refused.code == code
    assert said in refused.err
    assert "1 tensor in conflict" in bench.lamella("conflicts")


@pytest.mark.parametrize("act", ["git", "lamella"])
def test_a_killed_driver_leaves_ours_and_everything_can_be_taken_back_or_resolved(bench, act):
    branch_off(bench, *TWO)
    driver = bench.git("config", "merge.lamella.driver")
    bench.git("config", "merge.lamella.driver", "kill -9 $$")
    assert bench.try_git("merge", "other").code != 0
    bench.git("config", "merge.lamella.driver", driver)
    assert bench.read(MODEL) == TWO[0]
    getattr(bench, act)("merge", "--abort")
    assert bench.read(MODEL) == TWO[0]
    assert bench.git("status", "--porcelain") == ""


def test_after_a_killed_driver_conflicts_are_found_anew(bench):
    branch_off(bench, *TWO)
    driver = bench.git("config", "merge.lamella.driver")
    bench.git("config", "merge.lamella.driver", "kill -9 $$")
    bench.try_git("merge", "other")
    bench.git("config", "merge.lamella.driver", driver)
    assert "2 tensors in conflict" in bench.lamella("conflicts")
    bench.lamella("resolve", "h.*", "--ours")
    assert numbers(bench.read(MODEL)) == {**numbers(TWO[0]), "embed": (3.0, 3.0, 3.0, 3.0)}


def test_a_lamella_that_is_killed_with_its_git_leaves_the_tree_as_it_was(bench):
    branch_off(bench, *TWO)
    begun = bench.root / ".git" / "begun"
    bench.git("config", "merge.lamella.driver", f"touch '{begun}'; sleep 60")
    process = subprocess.Popen([PROGRAM, "merge", "other"], cwd=bench.root, start_new_session=True)
    while not begun.exists():
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert bench.read(MODEL) == TWO[0]
    refused = bench.try_lamella("merge", "other")
    assert (refused.code, "another git process is at work" in refused.err) == (4, True)
    (bench.root / ".git/index.lock").unlink()
    bench.lamella("init")
    bench.lamella("merge", "other", "--strategy", "linear")
    assert bench.git("diff", "HEAD", "--name-only") == ""


def test_gc_and_fsck_keep_all_that_a_conflict_needs(bench):
    branch_off(bench, weights({"h.0": (2.0, 2.0, 3.0, 4.0), "h.1": (5.0, 5.0, 5.0, 5.0)}),
               weights({"h.0": (1.0, 2.0, 3.0, 6.0), "h.1": (-5.0, -5.0, -5.0, -5.0)}))  # fmt: skip
    bench.try_git("merge", "other")
    merged = bench.read(MODEL)
    bench.lamella("gc", "--grace-days", "0")
    assert bench.lamella("fsck").endswith("everything is sound")
    (bench.root / MODEL).write_bytes(bench.blob(f"AUTO_MERGE:{MODEL}"))
    bench.lamella("checkout")
    assert bench.read(MODEL) == merged
    bench.lamella("resolve", "h.1", "--theirs")
    assert numbers(bench.read(MODEL))["h.0"] == (2.0, 2.0, 3.0, 6.0)
    assert numbers(bench.read(MODEL))["h.1"] == (-5.0, -5.0, -5.0, -5.0)


def counted(number: int) -> bytes:
    """Return a model with a tensor of integers, which nobody averages."""
    return model([spec("step", 4, dtype="i32"), spec("weight", 4)], {"step": number})


@pytest.mark.parametrize("verb", ["rebase", "cherry-pick", "revert", "merge"])
@pytest.mark.parametrize("ends", [True, False])
def test_whatever_stopped_goes_on_or_is_taken_back(bench, verb, ends):
    branch_off(bench, counted(1), counted(2), counted(0))
    bench.commit(MODEL, counted(3), "ours again")
    head = bench.git("rev-parse", "HEAD")
    stopped = bench.try_git(verb, "HEAD~1" if verb == "revert" else "other")
    assert stopped.code != 0
    assert bench.read(MODEL) != b""
    listed = bench.lamella("conflicts")
    assert "step  not-averaged, changed by ours and theirs\n      several sides changed it, and i32" in listed
    assert f"a {verb} is under way" in bench.lamella("status")
    if not ends:
        bench.lamella("merge", "--abort")
        assert (bench.git("rev-parse", "HEAD"), bench.read(MODEL)) == (head, counted(3))
        assert bench.git("status", "--porcelain") == ""
        return
    while bench.git("ls-files", "--unmerged"):
        bench.lamella("resolve", "step", "--theirs")
        bench.try_lamella("merge", "--continue")
    expected = {"rebase": 3, "cherry-pick": 2, "revert": 0, "merge": 2}[verb]
    assert bench.read(MODEL) == counted(expected)
    assert bench.git("status", "--porcelain") == ""
    assert "Conflicts" not in bench.git("log", "-1", "--format=%B")


@pytest.mark.parametrize("verb", ["cherry-pick", "revert"])
@pytest.mark.parametrize("ends", [True, False])
def test_a_sequence_of_which_the_user_committed_one_goes_on_or_is_left(bench, verb, ends):
    branch_off(bench, counted(1), counted(2), counted(0))
    bench.git("switch", "--quiet", "other")
    bench.commit(MODEL, counted(4))
    bench.git("switch", "--quiet", "main")
    assert bench.try_git(verb, "--no-edit", "other~1", "other").code != 0
    bench.lamella("resolve", "step", "--ours")
    bench.git("commit", "--quiet", "--no-edit", "--allow-empty")
    head = bench.git("rev-parse", "HEAD")
    assert f"a {verb} is under way" in bench.lamella("status")
    for merged in (("other",), ("other", "main")):
        refused = bench.try_lamella("merge", *merged)
        assert (refused.code, f"a {verb} is under way" in refused.err) == (4, True)
    if ends:
        bench.try_lamella("merge", "--continue")
        bench.lamella("resolve", "step", "--theirs")
        bench.lamella("merge", "--continue")
        assert bench.read(MODEL) == counted({"cherry-pick": 4, "revert": 2}[verb])
    else:
        assert "taken back: what was committed meanwhile stays" in bench.try_lamella("merge", "--abort").err
        assert bench.git("rev-parse", "HEAD") == head
    assert bench.git("status", "--porcelain") == ""
    assert bench.try_lamella("merge", "--continue").code == 2


def test_changes_that_are_not_committed_are_not_lost(bench):
    branch_off(bench, *TWO)
    mine = weights({"embed": (7.0, 7.0, 7.0, 7.0)})
    bench.write(MODEL, mine)
    refused = bench.try_lamella("merge", "other")
    assert refused.code == 4
    assert refused.err == (
        f"error: Your local changes to the following files would be overwritten by merge: {MODEL}\n"
        "hint: commit them, or put them aside with `git stash`\n"
    )
    assert bench.read(MODEL) == mine


@pytest.mark.parametrize(
    ("ways", "said"),
    [
        ((), "it is not said how to resolve"),
        (("--ours", "--theirs"), "two ways to resolve are named"),
        (("--base", "--strategy", "average"), "two ways to resolve are named"),
    ],
)
def test_a_tensor_is_resolved_in_one_way(bench, ways, said):
    branch_off(bench, *TWO)
    bench.try_lamella("merge", "other")
    refused = bench.try_lamella("resolve", "h.0", *ways)
    assert (refused.code, said in refused.err) == (2, True)
    assert "h.0  opposed" in bench.lamella("conflicts")
