"""A Git that was told of no merge driver merges manifests as text; what it cannot merge is told and lost nowhere."""

from __future__ import annotations

import pytest

from lamella.testing.models import LAYERS, model, network, spec
from tests.e2e.conftest import MakeBench
from tests.e2e.workbench import Workbench

MODEL = "model.safetensors"


@pytest.fixture
def bench(make_bench: MakeBench) -> Workbench:
    """Return a repository that was set up before there was a merge driver."""
    made = make_bench()
    made.git("config", "--remove-section", "merge.lamella")
    return made


def branch_off(bench: Workbench, ours: dict[str, int], theirs: dict[str, int]) -> None:
    """Commit a network on main, `theirs` on the branch other, `ours` on main again."""
    bench.commit(MODEL, network())
    bench.git("switch", "--quiet", "--create", "other")
    bench.commit(MODEL, network(**theirs), "theirs")
    bench.git("switch", "--quiet", "main")
    bench.commit(MODEL, network(**ours), "ours")


NAMES = [spec.name.replace(".", "_") for spec in LAYERS]


@pytest.mark.parametrize("distance", [1, 2, 5])
@pytest.mark.parametrize("first", [0, 2])
def test_changes_of_different_tensors_merge_by_themselves(bench, first, distance):
    ours, theirs = NAMES[first], NAMES[first + distance]
    branch_off(bench, {ours: 1}, {theirs: 2})
    bench.git("merge", "--quiet", "--no-edit", "other")
    assert bench.read(MODEL) == network(**{ours: 1, theirs: 2})
    assert bench.git("status", "--porcelain") == ""


def test_interleaved_changes_of_every_tensor_merge(bench):
    branch_off(bench, dict.fromkeys(NAMES[::2], 1), dict.fromkeys(NAMES[1::2], 2))
    bench.git("merge", "--quiet", "--no-edit", "other")
    assert bench.read(MODEL) == network(**{name: 1 + number % 2 for number, name in enumerate(NAMES)})


def test_a_merge_that_mixes_two_structures_never_becomes_a_file(bench):
    first, second = spec("a", 100), spec("m", 100)
    bench.commit(MODEL, model([first, second, spec("y", 100)]))
    bench.git("switch", "--quiet", "--create", "other")
    bench.commit(MODEL, model([spec("b", 100), second, spec("y", 100)]), "renames the first")
    bench.git("switch", "--quiet", "main")
    bench.commit(MODEL, model([first, second, spec("z", 50)]), "replaces the last")
    bench.git("merge", "--quiet", "-X", "theirs", "--no-edit", "other")
    text = bench.read(MODEL)
    assert text.startswith(b"lamella manifest 1\n")
    assert bench.git("status", "--porcelain") == ""
    for filled in (bench.try_lamella("checkout"), bench.try_lamella("checkout", "--", MODEL)):
        assert filled.code == 4
        assert "take one side with `git checkout REV -- PATH`" in filled.err
        assert bench.read(MODEL) == text
    checked = bench.try_lamella("fsck")
    merge = bench.git("rev-parse", "--short=10", "HEAD")
    assert checked.code == 5
    assert f"broken: {MODEL}, version of {merge}: the manifest lists other tensors" in checked.out
    bench.git("checkout", "--quiet", "HEAD^1", "--", MODEL)
    assert bench.read(MODEL) == model([first, second, spec("z", 50)])


def test_the_same_change_on_both_sides_is_no_conflict(bench):
    branch_off(bench, {"layer_1_bias": 1, "layer_3_bias": 1}, {"layer_1_bias": 1})
    bench.git("merge", "--quiet", "--no-edit", "other")
    assert bench.read(MODEL) == network(layer_1_bias=1, layer_3_bias=1)


@pytest.mark.parametrize(("side", "version"), [("--ours", 1), ("--theirs", 2)])
@pytest.mark.parametrize("verb", ["git", "lamella"])
def test_changes_of_the_same_tensor_conflict_and_a_side_can_be_taken(bench, verb, side, version):
    branch_off(bench, {"layer_1_bias": 1}, {"layer_1_bias": 2})
    merged = bench.try_git("merge", "--no-edit", "other")
    assert merged.code == 1
    assert f"Merge conflict in {MODEL}" in merged.out
    text = bench.read(MODEL)
    assert text.startswith(b"lamella manifest 1\n")
    assert text.count(b"\n<<<<<<< HEAD\n") == 1
    act = getattr(bench, verb)
    act("checkout", "--quiet", side, "--", MODEL)
    assert bench.read(MODEL) == network(layer_1_bias=version)
    act("add", MODEL)
    act("commit", "--quiet", "-m", "merged")
    assert bench.git("status", "--porcelain") == ""
    assert bench.git("rev-list", "--count", "--merges", "HEAD") == "1"
    bench.git("checkout", "--quiet", "HEAD~1")
    bench.git("checkout", "--quiet", "main")
    assert bench.read(MODEL) == network(layer_1_bias=version)


def test_a_conflict_is_shown_and_cannot_be_added(bench):
    branch_off(bench, {"layer_1_bias": 1}, {"layer_1_bias": 2})
    bench.try_git("merge", "other")
    assert bench.git("status", "--porcelain") == f"UU {MODEL}"
    assert "\n++<<<<<<< HEAD\n" in bench.git("diff")
    assert bench.lamella("status") == (
        "on branch main\n"
        "a merge is under way: decide about what is in conflict, or `lamella merge --abort` takes it back\n"
        f"in conflict after a merge (`lamella conflicts`):\n  {MODEL}"
    )
    refused = bench.try_lamella("add", MODEL)
    assert refused.code == 4
    assert refused.err == (
        f"error: {MODEL} still has the conflict markers of a merge\n"
        "hint: take one side with `git checkout --ours PATH` or `--theirs`, then add it\n"
    )
    refused = bench.try_git("add", MODEL)
    assert refused.code != 0
    assert f"lamella: {MODEL} still has the conflict markers of a merge\n" in refused.err
    bench.git("merge", "--abort")
    assert bench.read(MODEL) == network(layer_1_bias=1)
    assert bench.git("status", "--porcelain") == ""


def test_markers_that_outlive_the_merge_are_still_shown_as_a_conflict(bench):
    branch_off(bench, {"layer_1_bias": 1}, {"layer_1_bias": 2})
    bench.try_git("merge", "other")
    bench.git("read-tree", "HEAD")
    assert bench.git("status", "--porcelain") == f" M {MODEL}"
    assert bench.lamella("status").endswith(f"in conflict after a merge (`lamella conflicts`):\n  {MODEL}")
    assert "still has the conflict markers of a merge" in bench.git("diff")
    assert "\n+<<<<<<< HEAD\n" in bench.git("diff", "--no-ext-diff")
    assert bench.try_lamella("diff").code == 4


def test_gc_and_fsck_work_in_the_middle_of_a_conflict(bench):
    branch_off(bench, {"layer_1_bias": 1}, {"layer_1_bias": 2})
    bench.try_git("merge", "other")
    assert bench.lamella("gc", "--grace-days", "0").startswith("dropped 0 objects")
    assert bench.lamella("fsck").endswith("everything is sound")
    bench.lamella("checkout", "--theirs", "--", MODEL)
    assert bench.read(MODEL) == network(layer_1_bias=2)


def test_a_conflict_that_was_committed_stops_neither_gc_nor_the_log(bench):
    bench.commit(MODEL, network())
    text = bench.blob(f"HEAD:{MODEL}").replace(b"skeleton\n", b"<<<<<<< HEAD\nskeleton\n=======\n>>>>>>> x\n")
    blob = bench.git("hash-object", "-w", "--stdin", given=text.decode())
    bench.git("update-index", "--cacheinfo", f"100644,{blob},{MODEL}")
    bench.git("commit", "--quiet", "-m", "broken")
    bench.git("commit", "--quiet", "--amend", "-m", "broken, and nothing else reaches the objects")
    assert bench.lamella("gc", "--grace-days", "0").startswith("dropped 0 objects")
    assert "still has the conflict markers of a merge" in bench.try_lamella("fsck").out
    assert "broken" in bench.lamella("log")


def newer(bench: Workbench) -> None:
    """Commit a manifest of version 2, and leave it in the worktree."""
    bench.commit(MODEL, network())
    bench.commit("other.safetensors", network(layer_1_bias=1))
    text = bench.blob(f"HEAD:{MODEL}").replace(b"manifest 1", b"manifest 2", 1)
    blob = bench.git("hash-object", "-w", "--stdin", given=text.decode())
    bench.git("update-index", "--cacheinfo", f"100644,{blob},{MODEL}")
    bench.git("commit", "--quiet", "-m", "from the future")


VERSION_2 = "manifest has version 2, this program reads version 1"


def test_a_manifest_of_a_newer_version_is_refused_and_the_other_files_are_written(bench):
    newer(bench)
    for path in (MODEL, "other.safetensors"):
        (bench.root / path).unlink()
    ended = bench.try_lamella("checkout", "--", ".")
    assert ended.code == 6
    assert f"error: {MODEL}: {VERSION_2}\nhint: upgrade lamella\n" in ended.err
    assert bench.read("other.safetensors") == network(layer_1_bias=1)
    assert bench.read(MODEL) == bench.blob(f"HEAD:{MODEL}")
    assert f"only the manifest is here (`lamella checkout` gets the file):\n  {MODEL}" in bench.lamella("status")
    refused = bench.try_git("checkout", "-f", "HEAD~1")
    assert refused.code == 0
    refused = bench.try_git("checkout", "main")
    assert refused.code != 0
    assert f"lamella: {MODEL}: {VERSION_2}" in refused.err


@pytest.mark.parametrize(
    "command", [("diff", "HEAD~1", "HEAD"), ("gc", "--grace-days", "0"), ("show", f"HEAD:{MODEL}")]
)
def test_a_newer_version_stops_a_command_that_would_have_to_understand_it(bench, command):
    newer(bench)
    before = sorted((bench.root / ".git/lamella/packs").iterdir())
    ended = bench.try_lamella(*command)
    assert ended.code == 6
    assert ended.err.endswith(f": {VERSION_2}\nhint: upgrade lamella\n")
    assert ended.err.count("\n") == 2
    assert sorted((bench.root / ".git/lamella/packs").iterdir()) == before
    assert len(before) == 2


def test_a_cherry_pick_moves_one_tensor(bench):
    branch_off(bench, {"layer_1_bias": 1}, {"layer_2_bias": 2})
    bench.git("cherry-pick", "other")
    assert bench.read(MODEL) == network(layer_1_bias=1, layer_2_bias=2)


def test_a_revert_takes_back_one_tensor(bench):
    bench.commit(MODEL, network())
    bench.commit(MODEL, network(layer_1_bias=1))
    bench.commit(MODEL, network(layer_1_bias=1, layer_2_bias=1))
    bench.git("revert", "--no-edit", "HEAD~1")
    assert bench.read(MODEL) == network(layer_2_bias=1)


def test_a_rebase_replays_changes_of_tensors(bench):
    branch_off(bench, {"layer_1_bias": 1}, {"layer_2_bias": 2})
    bench.git("switch", "--quiet", "other")
    bench.commit(MODEL, network(layer_2_bias=2, layer_3_bias=3))
    bench.git("rebase", "--quiet", "main")
    assert bench.read(MODEL) == network(layer_1_bias=1, layer_2_bias=2, layer_3_bias=3)
    assert bench.git("status", "--porcelain") == ""
    bench.lamella("checkout", "--quiet", "HEAD~1")
    assert bench.read(MODEL) == network(layer_1_bias=1, layer_2_bias=2)


def test_a_rebase_that_conflicts_can_be_aborted(bench):
    branch_off(bench, {"layer_1_bias": 1}, {"layer_1_bias": 2})
    assert bench.try_git("rebase", "other").code == 1
    bench.git("rebase", "--abort")
    assert bench.read(MODEL) == network(layer_1_bias=1)
