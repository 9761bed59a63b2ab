"""Changes of weights are carried to other versions, taken back, and scaled, with Git's own verbs underneath."""

from __future__ import annotations

import math

import ml_dtypes
import numpy
import pytest
from safetensors.numpy import save

import lamella
from lamella.core.errors import NotFoundError, UsageError
from tests.e2e.mergebench import MODEL, branch_off, numbers, weights
from tests.e2e.workbench import Workbench


def moved(**by: float) -> bytes:
    """Return the model of the start with tensors moved as a whole; `h_0` is the tensor `h.0`."""
    start = numbers(weights())
    return weights({name.replace("_", "."): [x + by[name] for x in start[name.replace("_", ".")]] for name in by})


def first(bench: Workbench, tensor: str = "h.0") -> float:
    """Return the first number of a tensor in the worktree, which was 1."""
    return numbers(bench.read(MODEL))[tensor][0]


@pytest.fixture
def line(bench: Workbench) -> Workbench:
    """Return three commits that move one tensor by 2, by 10 and by 100, the second of them tagged `skill`."""
    bench.commit(MODEL, weights())
    bench.git("tag", "start")
    bench.commit(MODEL, moved(h_0=2), "by two")
    bench.commit(MODEL, moved(h_0=12, h_1=3), "a skill")
    bench.git("tag", "skill")
    bench.commit(MODEL, moved(h_0=112, h_1=3), "by a hundred")
    return bench


def test_what_is_reverted_at_the_tip_is_the_parent_bit_for_bit(line):
    line.lamella("revert", "--no-edit", "HEAD")
    assert line.git("rev-parse", f"HEAD:{MODEL}") == line.git("rev-parse", f"HEAD~2:{MODEL}")
    assert line.read(MODEL) == moved(h_0=12, h_1=3)
    assert line.git("status", "--porcelain") == ""
    assert line.filters_run("status") == 0


def test_an_older_change_is_taken_back_and_later_ones_stay(line):
    line.lamella("revert", "--no-edit", "skill")
    assert line.read(MODEL) == moved(h_0=102)


def test_a_change_is_added_to_a_branch_that_lacks_others(line):
    line.git("switch", "--quiet", "--create", "other", "start")
    line.commit(MODEL, moved(h_0=-0.5, h_2=7))
    line.lamella("cherry-pick", "skill")
    assert line.read(MODEL) == moved(h_0=9.5, h_1=3, h_2=7)
    assert line.git("log", "-1", "--format=%B").rstrip() == "a skill"


def test_a_rebase_carries_every_change(line):
    line.git("switch", "--quiet", "--create", "other", "start")
    line.commit(MODEL, moved(h_0=0.5, head=1))
    line.lamella("rebase", "--quiet", "other", "main")
    assert line.read(MODEL) == moved(h_0=112.5, h_1=3, head=1)
    assert line.git("rev-list", "--count", "start..HEAD") == "4"


@pytest.mark.parametrize(("scale", "expected"), [("0.5", 7.5), ("-1", -7.5), ("2", 22.5)])
def test_a_change_is_scaled_where_the_branch_moved_the_tensor_too(line, scale, expected):
    line.git("switch", "--quiet", "--create", "other", "start")
    line.commit(MODEL, moved(h_0=2.5, head=1))
    line.lamella("cherry-pick", "--scale", scale, "skill")
    assert line.read(MODEL) == moved(h_0=expected, h_1=3 * float(scale), head=1)
    assert line.git("log", "-1", "--format=%(trailers:key=Lamella-Scale,valueonly)").strip() == scale
    assert line.git("status", "--porcelain") == ""
    assert line.filters_run("status") == 0


def test_it_is_scaled_also_where_git_alone_would_take_the_whole_file(line):
    line.git("switch", "--quiet", "--create", "other", "skill~1")
    line.lamella("cherry-pick", f"--scale={0.5}", "-x", "skill")
    assert line.read(MODEL) == moved(h_0=7, h_1=1.5)
    skill = line.git("rev-parse", "skill")
    message = f"a skill\n\nLamella-Scale: 0.5\n(cherry picked from commit {skill})"
    assert line.git("log", "-1", "--format=%B").rstrip() == message
    assert line.git("log", "-1", "--format=%an %ad") == line.git("log", "-1", "--format=%an %ad", "skill")


def test_half_of_a_change_is_taken_back(line):
    line.lamella("revert", "--scale", "0.5", "skill")
    assert line.read(MODEL) == moved(h_0=107, h_1=1.5)
    skill = line.git("rev-parse", "skill")
    message = f'Revert "a skill"\n\nThis reverts commit {skill}.\n\nLamella-Scale: 0.5'
    assert line.git("log", "-1", "--format=%B").rstrip() == message


def arrays(draw, **more):
    dtype = ml_dtypes.bfloat16
    return {name: draw.standard_normal(300).astype(dtype) for name in ("both", "theirs", "ours")} | more


def test_half_is_correctly_rounded_and_what_the_commit_did_not_touch_stays_bit_for_bit(bench):
    draw = numpy.random.default_rng(3)
    steps, strange = numpy.array([4]), numpy.array([math.nan, -0.0, math.inf, 1.0], "f4")
    base = arrays(draw, steps=steps, strange=strange, counted=steps)
    both = base["both"].copy()
    both[:100] = draw.standard_normal(100)
    theirs = base | {"both": both, "theirs": arrays(draw)["theirs"], "new": numpy.ones(4, "f4"), "counted": steps + 1}
    ours = base | {name: array for name, array in arrays(draw).items() if name != "theirs"}
    ours |= {"steps": steps + 5, "strange": strange[::-1].copy(), "mine": numpy.zeros(2, "f4")}
    branch_off(bench, save(ours), save(theirs), save(base))
    said = bench.try_lamella("cherry-pick", "--scale", "0.5", "other")
    assert said.code == 0, said
    assert f"{MODEL}: 2 tensors are new, gone or no float of one shape, and taken whole" in said.err
    with lamella.load(bench.root / MODEL) as model:
        found = {name: model[name] for name in model}
    wide = {
        name: [side[name].astype("f8") for side in (base, ours, theirs)] for name in ("both", "theirs")
    }  # fmt: skip
    for name, (start, mine, its) in wide.items():
        half = (mine + 0.5 * (its - start)).astype(ml_dtypes.bfloat16)
        assert found[name].tobytes() == numpy.where(its == start, ours[name], half).tobytes()
    assert found["both"][100:].tobytes() == ours["both"][100:].tobytes()
    for name in ("ours", "steps", "strange", "mine"):
        assert found[name].tobytes() == ours[name].tobytes()
    for name in ("new", "counted"):
        assert found[name].tobytes() == theirs[name].tobytes()


def test_a_layer_that_a_picked_commit_added_is_added_and_one_that_it_removed_is_removed(bench):
    theirs = weights({"h.3": (1.0, 1.0)}, without=("h.1",))
    branch_off(bench, moved(head=1), theirs)
    bench.lamella("cherry-pick", "other")
    assert list(numbers(bench.read(MODEL))) == ["embed", "h.0", "h.2", "head", "h.3"]
    bench.lamella("revert", "--no-edit", "HEAD")
    assert numbers(bench.read(MODEL)) == numbers(moved(head=1))


def test_a_merge_needs_the_parent_that_it_is_a_change_from(line):
    line.git("switch", "--quiet", "--create", "other", "start")
    line.commit(MODEL, moved(head=4))
    line.lamella("merge", "--quiet", "skill")
    merged = line.git("rev-parse", "HEAD")
    for arguments in (("revert", "--no-edit"), ("revert", "--scale", "0.5"), ("cherry-pick", "--scale", "0.5")):
        assert line.try_lamella(*arguments, merged).code != 0
        assert line.git("rev-parse", "HEAD") == merged
    line.lamella("revert", "--scale", "0.5", "-m", "1", merged)
    assert line.read(MODEL) == moved(h_0=6, h_1=1.5, head=4)
    line.git("reset", "--quiet", "--hard", merged)
    line.lamella("revert", "--no-edit", "-m", "2", merged)
    assert line.read(MODEL) == moved(h_0=12, h_1=3)


def test_without_a_commit_changes_wait_in_the_index_and_add_up(line):
    line.git("switch", "--quiet", "--create", "other", "start")
    line.lamella("cherry-pick", "-n", "--scale", "0.5", "skill", "main")
    assert line.read(MODEL) == moved(h_0=55, h_1=1.5)
    assert line.git("status", "--porcelain") == f"M  {MODEL}"
    assert line.git("rev-parse", "HEAD") == line.git("rev-parse", "start")


@pytest.fixture
def stopped(line: Workbench) -> Workbench:
    """Return a sequence of three halved changes of which the second has stopped, for a conflict in another file."""
    line.git("switch", "--quiet", "--create", "work", "start")
    line.commit(MODEL, moved(h_1=4), "one")
    line.write("notes.txt", b"theirs\n")
    line.git("add", "notes.txt")
    line.commit(MODEL, moved(h_1=8), "two")
    line.commit(MODEL, moved(h_1=12), "three")
    line.git("switch", "--quiet", "--create", "other", "start")
    line.write("notes.txt", b"ours\n")
    line.git("add", "notes.txt")
    line.git("commit", "--quiet", "--message", "notes")
    line.git("tag", "before")
    ended = line.try_lamella("cherry-pick", "--scale", "0.5", "start..work")
    assert ended.code == 1, ended
    assert "1 commit not applied yet" in ended.err
    assert line.git("status", "--porcelain") == f"M  {MODEL}\nAA notes.txt"
    assert line.read(MODEL) == moved(h_1=4)
    return line


def test_a_sequence_that_stopped_goes_on_with_its_scale(stopped):
    assert stopped.try_lamella("cherry-pick", "--continue").code != 0
    stopped.git("add", "notes.txt")
    stopped.lamella("cherry-pick", "--continue")
    assert stopped.read(MODEL) == moved(h_1=6)
    subjects = stopped.git("log", "--format=%s %(trailers:key=Lamella-Scale,valueonly,separator=)", "before..")
    assert subjects.split("\n") == ["three 0.5", "two 0.5", "one 0.5"]
    assert stopped.try_lamella("cherry-pick", "--continue").code != 0


def test_what_stopped_can_be_left_out(stopped):
    stopped.lamella("cherry-pick", "--skip")
    assert stopped.read(MODEL) == moved(h_1=4)
    assert stopped.git("log", "--format=%s", "before..").split("\n") == ["three", "one"]


def test_all_of_it_can_be_taken_back(stopped):
    stopped.lamella("cherry-pick", "--abort")
    assert stopped.git("rev-parse", "HEAD") == stopped.git("rev-parse", "before")
    assert stopped.read(MODEL) == moved()
    assert stopped.git("status", "--porcelain") == ""


def test_what_git_ended_by_itself_is_not_taken_up_again(stopped):
    stopped.git("cherry-pick", "--abort")
    stopped.git("reset", "--quiet", "--hard", "start")
    assert stopped.try_lamella("cherry-pick", "--continue").code != 0
    assert stopped.git("rev-parse", "HEAD") == stopped.git("rev-parse", "start")
    stopped.lamella("cherry-pick", "--scale", "0.5", "skill")


def test_merge_goes_on_with_all_of_a_sequence_and_takes_back_all_of_it(stopped):
    stopped.git("add", "notes.txt")
    stopped.lamella("merge", "--continue")
    assert stopped.git("log", "--format=%s", "before..").split("\n") == ["three", "two", "one"]
    assert stopped.read(MODEL) == moved(h_1=6)


def test_a_merge_that_stops_later_has_nothing_to_do_with_a_sequence_that_was_left(stopped):
    stopped.git("cherry-pick", "--skip")
    here = stopped.git("rev-parse", "HEAD")
    assert stopped.try_git("merge", "work").code == 1
    stopped.lamella("merge", "--abort")
    assert stopped.git("rev-parse", "HEAD") == here
    assert stopped.git("status", "--porcelain") == ""


def test_another_change_that_stops_later_is_taken_back_alone(stopped):
    stopped.git("cherry-pick", "--skip")
    here = stopped.git("rev-parse", "HEAD")
    for abort in (("cherry-pick", "--abort"), ("merge", "--abort")):
        assert stopped.try_git("cherry-pick", "work~1").code == 1
        stopped.lamella(*abort)
        assert stopped.git("rev-parse", "HEAD") == here
    assert here != stopped.git("rev-parse", "before")


def test_merge_takes_back_all_of_a_sequence(stopped):
    stopped.lamella("merge", "--abort")
    assert stopped.git("rev-parse", "HEAD") == stopped.git("rev-parse", "before")
    assert stopped.read(MODEL) == moved()
    assert stopped.try_lamella("cherry-pick", "--continue").code != 0


def test_what_was_thrown_away_by_hand_can_still_be_left_out(stopped):
    stopped.git("reset", "--quiet", "--hard")
    stopped.lamella("cherry-pick", "--skip")
    assert stopped.git("log", "--format=%s", "before..").split("\n") == ["three", "one"]
    assert stopped.read(MODEL) == moved(h_1=4)


def test_without_commits_a_sequence_that_stopped_is_not_said_to_go_on(line):
    line.git("switch", "--quiet", "--create", "other", "start")
    line.write("notes.txt", b"theirs\n")
    line.git("add", "notes.txt")
    line.commit(MODEL, moved(h_2=2), "with notes")
    line.git("switch", "--quiet", "--create", "here", "start")
    line.write("notes.txt", b"ours\n")
    line.git("add", "notes.txt")
    line.git("commit", "--quiet", "--message", "notes")
    ended = line.try_lamella("cherry-pick", "-n", "--scale", "0.5", "other", "skill")
    assert ended.code == 1
    assert "--continue" not in ended.err
    assert f"not applied: {line.git('rev-parse', 'skill')[:10]}" in ended.err


@pytest.mark.parametrize("how", ["--continue", "--skip", "--abort", "--quit"])
def test_a_single_change_that_stopped_ends_in_every_way(line, how):
    line.write("notes.txt", b"one\n")
    line.git("add", "notes.txt")
    line.commit(MODEL, moved(h_0=112, h_1=3, h_2=6), "with notes")
    line.write("notes.txt", b"two\n")
    line.git("commit", "--quiet", "--all", "--message", "other notes")
    before = line.git("rev-parse", "HEAD")
    assert line.try_lamella("revert", "--scale", "0.5", "HEAD~1").code == 1
    line.git("rm", "--quiet", "notes.txt")
    line.lamella("revert", how)
    taken = moved(h_0=112, h_1=3, h_2=3)
    assert line.read(MODEL) == (taken if how in ("--continue", "--quit") else moved(h_0=112, h_1=3, h_2=6))
    assert line.git("rev-parse", "HEAD~1" if how == "--continue" else "HEAD") == before
    line.git("reset", "--quiet", "--hard")
    assert line.try_lamella("revert", "--abort").code != 0, "what is over cannot be taken back"
    line.lamella("cherry-pick", "--scale", "0.5", "skill")


def test_what_waits_for_a_decision_is_scaled_as_well(bench):
    theirs = weights({"h.0": [11, 2, 3, 4]}, without=["h.2"])
    branch_off(bench, weights({"h.0": [2, 3, 4, 5], "h.2": [9.0] * 4}), theirs)
    assert bench.try_lamella("cherry-pick", "--scale", "0.5", "other").code == 1
    assert first(bench) == 1 + 1 + 5
    assert "h.2" in bench.lamella("conflicts")
    bench.lamella("resolve", "h.2", "--theirs")
    bench.lamella("cherry-pick", "--continue")
    assert numbers(bench.read(MODEL)) == numbers(weights({"h.0": [7, 3, 4, 5]}, without=["h.2"]))
    assert bench.git("log", "-1", "--format=%(trailers:key=Lamella-Scale,valueonly)").strip() == "0.5"


def test_a_file_that_comes_with_a_change_and_cannot_be_written_is_told(line):
    packs = line.root / ".git/lamella/packs"
    line.git("switch", "--quiet", "--create", "other")
    there = set(packs.iterdir())
    line.commit("second.safetensors", weights({"own": [0.25] * 40}, without=["h.2"]), "with a second model")
    (added,) = set(packs.iterdir()) - there
    line.git("switch", "--quiet", "main")
    added.unlink()
    (line.root / ".git/lamella/index.db").unlink()
    picked = line.try_lamella("cherry-pick", "--scale", "0.5", "other")
    assert (picked.code, "error: second.safetensors: " in picked.err) == (NotFoundError.exit_code, True), picked


def test_the_mode_that_a_commit_gave_a_model_is_taken_over(line):
    line.git("switch", "--quiet", "--create", "other", "start")
    line.git("update-index", "--chmod=+x", MODEL)
    line.commit(MODEL, moved(h_2=2), "can be run")
    line.git("update-index", "--chmod=+x", MODEL)
    line.git("commit", "--quiet", "--amend", "--no-edit")
    line.git("switch", "--quiet", "--force", "main")
    line.lamella("cherry-pick", "--scale", "0.5", "other")
    assert line.git("ls-tree", "--format=%(objectmode)", "HEAD", MODEL) == "100755"
    assert line.read(MODEL) == moved(h_0=112, h_1=3, h_2=1)


def test_text_beside_the_model_is_taken_whole(line):
    line.git("switch", "--quiet", "--create", "other", "start")
    line.write("notes.txt", b"theirs\n")
    line.git("add", "notes.txt")
    line.commit(MODEL, moved(h_2=2), "with notes")
    line.git("switch", "--quiet", "main")
    line.lamella("cherry-pick", "--scale", "0.5", "other")
    assert line.read(MODEL) == moved(h_0=112, h_1=3, h_2=1)
    assert line.read("notes.txt") == b"theirs\n"


def test_a_commit_without_a_change_is_kept_only_where_that_is_asked_for(line):
    line.git("commit", "--quiet", "--allow-empty", "--message", "nothing")
    nothing = line.git("rev-parse", "HEAD")
    assert line.try_lamella("cherry-pick", "--scale", "0.5", nothing).code == 1
    line.lamella("cherry-pick", "--skip")
    assert line.git("rev-parse", "HEAD") == nothing
    line.lamella("cherry-pick", "--allow-empty", "--scale", "0.5", nothing)
    assert line.git("log", "-1", "--format=%s") == "nothing"
    assert line.git("rev-parse", "HEAD~1") == nothing


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--scale", "nan", "skill"), UsageError.exit_code, "the scale 'nan' is no number"),
        (("--scale", "inf", "skill"), UsageError.exit_code, "the scale 'inf' is no number"),
        (("--scale", "1e300", "skill"), UsageError.exit_code, "a change cannot be scaled by 1e+300"),
        (("--scale", "0.5", "start~1"), UsageError.exit_code, "has no parent"),
        (("--scale", "0", "skill"), UsageError.exit_code, "a change cannot be scaled by 0"),
        (("--scale=17", "skill"), UsageError.exit_code, "a change cannot be scaled by 17"),
        (("skill", "--scale"), UsageError.exit_code, "--scale needs a value"),
        (("--scale", "0.5"), UsageError.exit_code, "no commit is named"),
        (("--scale", "0.5", "nothing"), NotFoundError.exit_code, "no revision is called 'nothing'"),
        (("--scale", "0.5", "-m", "1", "skill"), UsageError.exit_code, "has no parent number 1 to choose"),
        (("--scale", "0.5", "-m", "x", "skill"), UsageError.exit_code, "'x' is no number of a parent"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_sentence(line, arguments, code, said):
    head = line.git("rev-parse", "HEAD")
    for verb in ("cherry-pick", "revert"):
        refused = line.try_lamella(verb, *arguments)
        assert (refused.code, said in refused.err) == (code, True), refused
    assert line.git("rev-parse", "HEAD") == head
