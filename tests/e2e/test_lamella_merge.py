"""`lamella merge`: what is refused before Git starts, what a dry run says, and how each way of merging ends."""

from __future__ import annotations

import io
import json

import numpy
import pytest

from tests.e2e.mergebench import MODEL, OPPOSED, branch_off, numbers, weights
from tests.e2e.test_conflicts import TWO


def npz(**arrays):
    made = io.BytesIO()
    numpy.savez(made, **arrays)
    return made.getvalue()


def untouched(bench):
    """Return what a refusal has to leave as it is."""
    return bench.git("rev-parse", "HEAD"), bench.git("status", "--porcelain"), bench.read(MODEL)


def test_a_dry_run_says_what_would_become_of_every_tensor_and_touches_nothing(bench):
    branch_off(bench, *TWO)
    before = untouched(bench)
    told = bench.try_lamella("merge", "other", "--dry-run")
    assert told.code == 4
    assert told.out == (
        f"{MODEL}: 1 tensor from ours, 1 from theirs, 2 in conflict\n"
        "  embed  f32  [4]  changed by theirs           theirs\n"
        "  h.0    f32  [4]  changed by ours and theirs  CONFLICT  "
        "the sides moved in opposite directions: cosine -1.00\n"
        "  h.1    f32  [4]  changed by ours and theirs  CONFLICT  "
        "the sides moved in opposite directions: cosine -1.00\n"
        "  head   f32  [4]  changed by ours             ours\n"
        "  1 tensor unchanged\n"
        "the merge would stop: somebody has to decide\n"
    )
    assert "h.2    f32  [4]  unchanged" in bench.try_lamella("merge", "other", "--dry-run", "--all").out
    assert untouched(bench) == before
    assert json.loads(bench.try_lamella("merge", "other", "--dry-run", "--json").out)["outcome"] == "conflicts"
    report = json.loads(bench.lamella("merge", "other", "--dry-run", "--json", "--strategy", "linear"))
    assert (report["type"], report["outcome"]) == ("merge-preview", "merged")
    assert [one["how"] for one in report["files"][0]["tensors"]] == ["theirs", "linear", "linear", "ours", "ours"]


def test_a_dry_run_foresees_that_no_file_can_hold_the_result(bench):
    words = {"words": numpy.array(["x", "y"]), "a": numpy.zeros(4, "f4")}
    bench.lamella("track", "*.npz")
    branch_off(bench, npz(**words, b=words["a"]), npz(**words, c=words["a"]), npz(**words), path="m.npz")
    reason = "m.npz: no side has just these tensors, and files of npz that say more than that are not written anew\n"
    for options in (["--dry-run"], []):
        told = bench.try_lamella("merge", "other", *options)
        assert (told.code, told.out.startswith(reason)) == (4, True)
    assert bench.git("status", "--porcelain", "m.npz") == "UU m.npz"


def test_a_dry_run_tells_of_other_files_in_conflict(bench):
    bench.write("notes.txt", b"start\n")
    bench.git("add", "notes.txt")
    branch_off(bench, weights({"h.0": (2.0, 3.0, 4.0, 5.0)}), weights({"h.0": (3.0, 4.0, 5.0, 6.0)}))
    assert bench.lamella("merge", "other", "--dry-run").endswith("the merge would go through")
    for branch in ("other", "main"):
        bench.git("switch", "--quiet", branch)
        bench.write("notes.txt", f"{branch}\n".encode())
        bench.git("commit", "--quiet", "--all", "--message", "notes")
    before = untouched(bench)
    told = bench.try_lamella("merge", "other", "--dry-run")
    assert told.code == 4
    assert told.out.endswith("notes.txt: in conflict, Git's business\nthe merge would stop: somebody has to decide\n")
    assert json.loads(bench.try_lamella("merge", "other", "--dry-run", "--json").out)["others"] == ["notes.txt"]
    assert untouched(bench) == before
    assert json.loads(bench.try_lamella("merge", "other", "--json").out)["others"] == ["notes.txt"]


def test_a_model_that_one_side_has_removed_is_told_as_one(bench):
    branch_off(bench, weights({"h.0": (2.0, 3.0, 4.0, 5.0)}), weights({"h.0": (3.0, 4.0, 5.0, 6.0)}))
    bench.git("rm", "--quiet", MODEL)
    bench.git("commit", "--quiet", "--message", "gone")
    assert f"{MODEL}: one side removed, renamed or replaced it" in bench.try_lamella("merge", "other", "--dry-run").out
    report = json.loads(bench.try_lamella("merge", "other", "--json").out)
    assert (report["others"], [one["path"] for one in report["files"]]) == ([], [MODEL])
    assert report["files"][0]["failure"] == "ours removed it, or has it elsewhere; the other changed it"


@pytest.mark.parametrize("tracking", ["ours", "theirs"])
def test_a_branch_from_before_a_model_was_tracked_is_merged_or_taken_whole(bench, tracking):
    bench.git("rm", "--quiet", ".gitattributes")
    branch_off(bench, weights({"head": (0.0, 0.0, 0.0, 0.0)}), weights({"h.0": (2.0, 2.0, 2.0, 2.0)}))
    bench.lamella("track", "*.safetensors")
    bench.git("add", ".gitattributes")
    bench.commit(MODEL, weights({"h.1": (5.0, 5.0, 5.0, 5.0)}))
    if tracking == "theirs":
        bench.git("switch", "--quiet", "other")
        told = bench.try_lamella("merge", "main", "--dry-run")
        assert (told.code, "the merge would stop" in told.out) == (4, True)
        assert bench.try_lamella("merge", "main").code == 4
        assert "from before it was tracked, so only a whole file can be taken" in bench.lamella("conflicts")
        bench.lamella("resolve", MODEL, "--theirs")
        bench.lamella("merge", "--continue")
        assert bench.read(MODEL) == weights({"h.1": (5.0, 5.0, 5.0, 5.0)})
        return
    told = bench.lamella("merge", "other", "--dry-run").splitlines()
    assert told == [
        f"{MODEL}: a side has it in Git whole, so that only the merge itself can tell",
        "the merge would go through",
    ]
    bench.lamella("merge", "other")
    assert numbers(bench.read(MODEL))["h.0"] == (2.0, 2.0, 2.0, 2.0)
    assert numbers(bench.read(MODEL))["h.1"] == (5.0, 5.0, 5.0, 5.0)
    assert bench.git("rev-list", "--count", "--merges", "HEAD") == "1"


@pytest.mark.parametrize("hook", ["pre-commit", "commit-msg"])
def test_a_commit_that_is_refused_says_that_the_merge_is_still_there(bench, hook):
    branch_off(bench, *TWO)
    place = bench.root / ".git/hooks" / hook
    place.parent.mkdir(exist_ok=True)
    place.write_text("#!/bin/sh\necho never >&2; exit 1\n")
    place.chmod(0o755)
    refused = bench.try_lamella("merge", "other", "--strategy", "linear")
    assert (refused.code, refused.err.splitlines()[0]) == (2, "error: never")
    assert "the merge is still under way: `lamella merge --continue` tries again" in refused.err
    place.unlink()
    bench.lamella("merge", "--continue")
    assert bench.lamella("merge", "--replay", "HEAD").endswith(".json")


@pytest.mark.parametrize("merged", [("other",), ("other", "main")])
def test_a_record_is_found_however_the_user_likes_trailers_to_be(bench, merged):
    branch_off(bench, *TWO)
    for name, value in (("separators", "="), ("where", "start"), ("ifexists", "doNothing"), ("ifmissing", "doNothing")):
        bench.git("config", f"trailer.{name}", value)
    message = "merged\n\nLamella-Merge: .lamella/merges/none.json"
    bench.git("branch", "side", "HEAD")
    bench.lamella("merge", *merged, "--strategy", "linear", "-m", message)
    assert bench.lamella("merge", "--replay", "HEAD").startswith(f"{MODEL}: the same bits, by linear\n")
    assert ", made from .lamella/merges/" in bench.lamella("merge", "--replay", "HEAD")


def test_what_is_no_commit_is_told_as_it_was_typed(bench):
    branch_off(bench, *TWO)
    bench.git("tag", "blob", f"HEAD:{MODEL}")
    bench.git("switch", "--quiet", "--orphan", "unborn")
    for merged, said in (("blob", "the branch has no commits yet"), ("other", "the branch has no commits yet")):
        for more in ((), ("main",)):
            refused = bench.try_lamella("merge", merged, *more)
            assert (refused.code, refused.err.splitlines()[0]) == (3, f"error: {said}")
    bench.git("switch", "--quiet", "main")
    for more in ((), ("other",)):
        refused = bench.try_lamella("merge", "blob", *more)
        assert (refused.code, refused.err.splitlines()[0]) == (3, "error: 'blob' is no commit")


def test_a_dry_run_goes_by_what_a_fast_forward_is_asked_for(bench):
    bench.commit(MODEL, weights())
    bench.git("switch", "--quiet", "--create", "other")
    bench.commit(MODEL, weights({"h.1": (0.0, 0.0, 0.0, 0.0)}))
    bench.git("switch", "--quiet", "main")
    assert bench.lamella("merge", "other", "--no-ff", "--dry-run").endswith("the merge would go through")
    assert bench.lamella("merge", "other", "--ff-only", "--dry-run").endswith("the branch would move on")
    bench.commit(MODEL, weights({"h.0": (0.0, 0.0, 0.0, 0.0)}))
    refused = bench.try_lamella("merge", "other", "--ff-only", "--dry-run")
    assert (refused.code, "cannot just move on" in refused.err) == (2, True)


def test_a_dry_run_of_a_fast_forward_lists_what_comes(bench):
    bench.commit(MODEL, weights())
    bench.git("switch", "--quiet", "--create", "other")
    bench.commit(MODEL, weights({"h.1": (0.0, 0.0, 0.0, 0.0)}))
    bench.git("switch", "--quiet", "main")
    told = bench.lamella("merge", "other", "--dry-run")
    assert told.endswith("the branch would move on")
    assert "h.1  f32  [4]  changed by theirs  theirs" in told
    assert bench.lamella("merge", "other").startswith("moved on to ")
    assert bench.lamella("merge", "other") == "already up to date"
    assert bench.lamella("merge", "other", "--dry-run") == "already up to date"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("other", "--strategy", "tise"), 2, "there is no merge strategy 'tise'"),
        (("other", "--strategy-for", "h.*=tise"), 2, "there is no merge strategy 'tise'"),
        (("other", "--strategy", "three-way", "--param", "colour=1"), 2, "no parameter 'colour'"),
        (("other", "--strategy", "linear", "--param", "normalize"), 2, "'' is no number"),
        (("other", "--strategy", "linear", "--weights", "1,2,3"), 2, "3 weights for 2 sides"),
        (("other", "--strategy-for", "h.*"), 2, "'h.*' is not GLOB=STRATEGY"),
        (("other", "--weights", "1,2"), 2, "--weights without --strategy"),
        (("nowhere",), 3, "no revision is called 'nowhere'"),
        ((), 3, "the branch has no upstream"),
        (("other", "--all"), 2, "--all goes with --dry-run"),
        (("other", "--abort"), 2, "go alone"),
        (("--continue",), 2, "no merge is under way"),
        (("other", "--ff-only"), 2, "ot possible to fast-forward"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_changes(bench, arguments, code, said):
    branch_off(bench, *TWO)
    before = untouched(bench)
    refused = bench.try_lamella("merge", *arguments)
    assert refused.code == code, refused
    assert said in refused.err
    assert untouched(bench) == before


def test_rules_of_the_command_line_reach_every_tensor(bench):
    branch_off(bench, *TWO)
    rules = ("--strategy", "linear", "--weights", "3,1", "--strategy-for", "h.1=theirs")
    merged = bench.lamella("merge", "other", *rules, "-m", "mine")
    assert f"{MODEL}: 1 tensor from ours, 1 from theirs, 1 merged by linear, 1 as decided\nmerged, in " in merged
    found = numbers(bench.read(MODEL))
    assert found["h.0"] == (1.5, 2.5, 3.5, 4.5)
    assert found["h.1"] == (2.0, 4.0, 6.0, 8.0)
    assert bench.git("log", "-1", "--format=%s") == "mine"
    assert bench.git("rev-list", "--count", "--merges", "HEAD") == "1"
    assert not list((bench.root / ".git/lamella/merging").iterdir())


def test_the_rules_of_the_project_hold_for_git_and_for_lamella(bench):
    bench.write(".lamella/config.toml", b'[merge.strategies]\n"*" = "linear"\n"h.1" = "ours"\n')
    branch_off(bench, *TWO)
    for act in (bench.git, bench.lamella):
        act("merge", "other", "-m", "merged")
        found = numbers(bench.read(MODEL))
        assert (found["h.0"], found["h.1"]) == ((1.0, 2.0, 3.0, 4.0), (0.0, 0.0, 0.0, 0.0))
        bench.git("reset", "--quiet", "--hard", "HEAD^1")


def test_how_a_merge_ended_is_told_as_json(bench):
    branch_off(bench, *TWO)
    stopped = bench.try_lamella("merge", "other", "--json")
    report = json.loads(stopped.out)
    assert (stopped.code, report["type"], report["outcome"], report["written"]) == (4, "merge", "conflicts", [MODEL])
    assert [one["name"] for one in report["files"][0]["conflicts"]] == ["h.0", "h.1"]


def test_a_merge_can_be_left_to_be_committed_and_squashed(bench):
    branch_off(bench, *TWO)
    head = bench.git("rev-parse", "HEAD")
    assert "not committed" in bench.lamella("merge", "other", "--strategy", "linear", "--no-commit")
    assert bench.git("rev-parse", "HEAD") == head
    bench.lamella("merge", "--continue")
    assert bench.git("rev-parse", "HEAD^1") == head
    bench.git("reset", "--quiet", "--hard", head)
    bench.lamella("merge", "other", "--strategy", "linear", "--squash")
    assert bench.git("rev-parse", "HEAD") == head
    assert bench.git("diff", "--cached", "--name-only") == MODEL


def test_a_squash_that_stops_says_how_it_is_taken_back(bench):
    branch_off(bench, *TWO)
    stopped = bench.try_lamella("merge", "other", "--squash")
    assert (stopped.code, "`git reset --merge` takes it back" in stopped.err) == (4, True)
    bench.git("reset", "--merge")
    assert (bench.git("status", "--porcelain"), bench.read(MODEL)) == ("", TWO[0])
    assert bench.try_lamella("merge", "other", "--squash").code == 4
    bench.lamella("resolve", "h.*", "--theirs")
    bench.git("commit", "--quiet", "--message", "squashed")
    assert numbers(bench.read(MODEL))["h.0"] == numbers(TWO[1])["h.0"]


def test_unrelated_histories_are_refused_and_then_merged_without_a_base(bench):
    bench.commit(MODEL, weights())
    bench.git("switch", "--quiet", "--orphan", "other")
    bench.write(".gitattributes", b"*.safetensors filter=lamella diff=lamella merge=lamella -text\n")
    bench.git("add", ".gitattributes")
    bench.commit(MODEL, weights({"h.0": (3.0, 4.0, 5.0, 6.0)}))
    bench.git("switch", "--quiet", "main")
    before = untouched(bench)
    refused = bench.try_lamella("merge", "other")
    assert (refused.code, untouched(bench)) == (2, before)
    assert "no common commit" in refused.err
    refused = bench.try_lamella("merge", "other", "--allow-unrelated-histories", "--strategy", "task-arithmetic")
    assert (refused.code, untouched(bench)) == (2, before)
    assert "needs the version that the sides come from" in refused.err
    stopped = bench.try_lamella("merge", "other", "--allow-unrelated-histories")
    assert stopped.code == 4
    assert "h.0: several sides added it" in stopped.out
    assert bench.lamella("resolve", "h.0", "--theirs").endswith("settled and staged")
    bench.lamella("merge", "--abort")
    bench.lamella("merge", "other", "--allow-unrelated-histories", "--strategy", "linear")
    assert numbers(bench.read(MODEL))["h.0"] == (2.0, 3.0, 4.0, 5.0)


def test_nothing_begins_while_something_else_is_under_way(bench):
    branch_off(bench, *OPPOSED)
    bench.try_git("merge", "other")
    refused = bench.try_lamella("merge", "other")
    assert refused.code == 4
    assert "a merge is under way" in refused.err


@pytest.mark.parametrize("merged", [("other",), ("other", "HEAD~1")])
def test_a_bare_repository_is_refused_by_what_it_lacks(bench, elsewhere, merged):
    branch_off(bench, *TWO)
    bench.git("clone", "--quiet", "--bare", ".", str(elsewhere / "bare"))
    refused = bench.try_lamella("-C", str(elsewhere / "bare"), "merge", *merged)
    assert (refused.code, refused.err.splitlines()[0]) == (2, "error: a bare repository has no files to merge into")


def test_a_clone_that_was_not_told_of_the_driver_is_sent_to_init(bench):
    branch_off(bench, *OPPOSED)
    bench.git("config", "--remove-section", "merge.lamella")
    before = untouched(bench)
    refused = bench.try_lamella("merge", "other")
    assert (refused.code, untouched(bench)) == (2, before)
    assert "run `lamella init`" in refused.err
    told = bench.lamella("doctor")
    assert "merge.lamella.driver not set" in told
    bench.lamella("init")
    assert bench.try_lamella("merge", "other").code == 4


def test_a_default_strategy_that_is_named_takes_weights(bench):
    branch_off(bench, weights({"h.0": (2.0, 3.0, 4.0, 5.0)}), weights({"h.0": (5.0, 6.0, 7.0, 8.0)}))
    bench.lamella("merge", "other", "--strategy", "three-way", "--weights", "3,1")
    assert numbers(bench.read(MODEL))["h.0"] == (2.75, 3.75, 4.75, 5.75)


def test_rows_that_one_side_added_are_told(bench):
    longer = weights({"h.0": (1.0, 2.0, 3.0, 4.0, 5.0)})
    branch_off(bench, weights({"h.0": (2.0, 2.0, 3.0, 4.0)}), longer)
    assert "1 tensor united row by row" in bench.lamella("merge", "other")
    assert numbers(bench.read(MODEL))["h.0"] == (2.0, 2.0, 3.0, 4.0, 5.0)
