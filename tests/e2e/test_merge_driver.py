"""Plain Git merges the tensors that both sides changed, and stops as it does for text where it must."""

from __future__ import annotations

from io import BytesIO

import numpy
import pytest

from tests.e2e.mergebench import MODEL, OPPOSED, branch_off, numbers, weights
from tests.formats.torch_writer import archive, mapping, tensor

OURS = weights({"h.0": (2.0, 2.0, 3.0, 4.0), "h.1": (9.0, 9.0, 9.0, 9.0)})
THEIRS = weights({"h.0": (1.0, 2.0, 3.0, 6.0), "h.2": (7.0, 7.0, 7.0, 7.0)})
BOTH = weights({"h.0": (2.0, 2.0, 3.0, 6.0), "h.1": (9.0, 9.0, 9.0, 9.0), "h.2": (7.0, 7.0, 7.0, 7.0)})


def test_a_merge_takes_from_each_side_what_it_changed_and_merges_within_a_tensor(bench):
    branch_off(bench, OURS, THEIRS)
    merged = bench.try_git("merge", "--no-edit", "other")
    assert merged.code == 0
    assert f"lamella: {MODEL}: 1 tensor from ours, 1 from theirs, 1 merged by three-way\n" in merged.err
    assert bench.read(MODEL) == BOTH
    assert bench.git("status", "--porcelain") == ""
    assert bench.lamella("fsck").endswith("everything is sound")


def test_opposite_changes_stop_the_merge_with_ours_in_a_file_that_loads(bench):
    branch_off(bench, *OPPOSED)
    merged = bench.try_git("merge", "other")
    assert merged.code == 1
    assert f"Merge conflict in {MODEL}" in merged.out
    assert f"lamella: {MODEL}: 1 tensor in conflict; see `lamella conflicts`\n" in merged.err
    assert bench.read(MODEL) == OPPOSED[0]
    assert bench.git("status", "--porcelain") == f"UU {MODEL}"
    bench.git("merge", "--abort")
    assert bench.read(MODEL) == OPPOSED[0]
    assert bench.git("status", "--porcelain") == ""


@pytest.mark.parametrize("verb", [("cherry-pick", "other"), ("rebase", "other")])
def test_a_change_that_is_carried_over_is_added_and_stops_nothing(bench, verb):
    branch_off(bench, *OPPOSED)
    bench.git(*verb)
    assert numbers(bench.read(MODEL))["h.0"] == (1.0, 2.0, 3.0, 4.0)
    assert bench.git("status", "--porcelain") == ""


def test_a_merge_that_a_rebase_makes_again_is_merged_by_the_rules_of_the_project(bench):
    branch_off(bench, OURS, THEIRS)
    bench.git("merge", "--no-edit", "other")
    bench.git("switch", "--quiet", "--create", "notes", "HEAD~2")
    bench.commit("notes.txt", b"read me")
    bench.git("switch", "--quiet", "main")
    bench.write(".lamella/config.toml", b'[merge]\nstrategy = "theirs"\n')
    bench.git("rebase", "--quiet", "--rebase-merges", "notes")
    assert len(bench.git("rev-parse", "HEAD^1", "HEAD^2", "HEAD^1^").split()) == 3
    assert bench.read("notes.txt") == b"read me"
    assert numbers(bench.read(MODEL))["h.0"] == (1.0, 2.0, 3.0, 6.0)


def test_a_revert_takes_back_its_change_of_a_tensor_that_changed_since(bench):
    bench.commit(MODEL, weights())
    bench.commit(MODEL, weights({"h.0": (3.0, 2.0, 3.0, 4.0)}))
    bench.commit(MODEL, weights({"h.0": (4.0, 2.0, 3.0, 5.0)}))
    bench.git("revert", "--no-edit", "HEAD~1")
    assert numbers(bench.read(MODEL))["h.0"] == (2.0, 2.0, 3.0, 5.0)


def test_a_revert_of_the_tip_gives_back_its_bits(bench):
    before = weights({"h.0": (0.1, 0.2, 0.3, 1e-40)})
    bench.commit(MODEL, before)
    bench.commit(MODEL, weights({"h.0": (0.7, 1e30, 0.3, 0.5), "head": (0.0, 0.0, 0.0, 0.0)}))
    bench.git("revert", "--no-edit", "HEAD")
    assert bench.read(MODEL) == before


def test_a_pull_merges_by_the_rules_of_the_project(bench, elsewhere):
    branch_off(bench, *OPPOSED)
    pulled = bench.try_git("pull", "--no-rebase", "--no-edit", ".", "other")
    assert pulled.code == 1
    assert bench.git("status", "--porcelain") == f"UU {MODEL}"
    bench.git("merge", "--abort")
    bench.write(".lamella/config.toml", b'[merge]\nstrategy = "linear"\n')
    bench.git("pull", "--no-rebase", "--no-edit", ".", "other")
    assert numbers(bench.read(MODEL))["h.0"] == (1.0, 2.0, 3.0, 4.0)


def test_a_stash_is_added_to_what_was_committed_meanwhile(bench):
    bench.commit(MODEL, weights())
    bench.write(MODEL, weights({"h.0": (2.0, 2.0, 3.0, 4.0)}))
    bench.git("stash")
    bench.commit(MODEL, weights({"h.0": (1.0, 2.0, 3.0, 9.0)}))
    bench.git("stash", "pop")
    assert numbers(bench.read(MODEL))["h.0"] == (2.0, 2.0, 3.0, 9.0)


def test_histories_that_cross_are_merged_against_what_they_come_from(bench):
    branch_off(bench, weights({"h.0": (5.0, 2.0, 3.0, 4.0)}), weights({"h.0": (1.0, 5.0, 3.0, 4.0)}))
    bench.git("branch", "before", "main")
    bench.git("merge", "--no-edit", "other")
    bench.commit(MODEL, weights({"h.0": (5.0, 5.0, 5.0, 4.0)}))
    bench.git("switch", "--quiet", "other")
    bench.git("merge", "--no-edit", "before")
    bench.commit(MODEL, weights({"h.0": (5.0, 5.0, 3.0, 5.0)}))
    assert len(bench.git("merge-base", "--all", "main", "other").split()) == 2
    bench.git("merge", "--no-edit", "main")
    assert numbers(bench.read(MODEL))["h.0"] == (5.0, 5.0, 5.0, 5.0)


def test_a_file_renamed_on_one_side_is_merged_under_its_new_name(bench):
    bench.commit(MODEL, weights())
    bench.git("switch", "--quiet", "--create", "other")
    bench.git("mv", MODEL, "renamed.safetensors")
    bench.git("commit", "--quiet", "-m", "renamed")
    bench.git("switch", "--quiet", "main")
    bench.commit(MODEL, OURS)
    bench.git("switch", "--quiet", "other")
    bench.commit("renamed.safetensors", THEIRS)
    bench.git("switch", "--quiet", "main")
    bench.git("merge", "--no-edit", "other")
    assert bench.read("renamed.safetensors") == BOTH
    assert not (bench.root / MODEL).exists()
    assert bench.git("status", "--porcelain") == ""


@pytest.mark.parametrize(("side", "there"), [("--ours", True), ("--theirs", False)])
def test_a_file_that_one_side_removed_is_taken_whole_or_goes(bench, side, there):
    bench.commit(MODEL, weights())
    bench.git("switch", "--quiet", "--create", "other")
    bench.git("rm", "--quiet", MODEL)
    bench.git("commit", "--quiet", "-m", "removed")
    bench.git("switch", "--quiet", "main")
    bench.commit(MODEL, OURS)
    assert bench.try_git("merge", "other").code == 1
    assert f"{MODEL}: theirs removed it, or has it elsewhere; the other changed it" in bench.lamella("conflicts")
    refused = bench.try_lamella("resolve", MODEL, "--strategy", "linear")
    assert (refused.code, "can only be taken whole" in refused.err) == (2, True)
    assert bench.lamella("resolve", MODEL, side) == f"{MODEL}: the whole file resolved, settled and staged"
    bench.lamella("merge", "--continue")
    assert (bench.root / MODEL).exists() == there
    assert bench.git("status", "--porcelain") == ""


def test_a_mode_that_one_side_changed_is_kept_when_a_conflict_is_settled(bench):
    branch_off(bench, *OPPOSED)
    bench.git("switch", "--quiet", "other")
    bench.git("update-index", "--chmod=+x", MODEL)
    (bench.root / MODEL).chmod(0o755)
    bench.git("commit", "--quiet", "-m", "executable")
    bench.git("switch", "--quiet", "main")
    bench.try_git("merge", "other")
    bench.lamella("resolve", MODEL, "--ours")
    assert bench.git("ls-files", "--stage", MODEL).startswith("100755")
    assert (bench.root / MODEL).stat().st_mode & 0o111
    assert bench.git("diff", "--name-only") == ""


def test_files_of_no_known_format_are_a_conflict_as_a_whole(bench):
    branch_off(bench, b"ours, whatever it is", b"theirs", b"the base")
    merged = bench.try_git("merge", "other")
    assert merged.code == 1
    assert "of no known format, so only a whole file can be taken; ours stands in the worktree" in merged.err
    assert bench.read(MODEL) == b"ours, whatever it is"
    bench.lamella("resolve", MODEL, "--theirs")
    assert bench.read(MODEL) == b"theirs"
    assert bench.git("status", "--porcelain") == f"M  {MODEL}"


def test_several_heads_at_once_are_refused_by_git_where_both_changed_a_model(bench):
    branch_off(bench, *OPPOSED)
    bench.git("branch", "third", "other~1")
    bench.git("switch", "--quiet", "third")
    bench.commit(MODEL, weights({"h.0": (9.0, 9.0, 9.0, 9.0)}))
    bench.git("switch", "--quiet", "main")
    before = bench.git("rev-parse", "HEAD")
    assert bench.try_git("merge", "other", "third").code != 0
    bench.git("reset", "--quiet", "--hard")
    assert (bench.git("rev-parse", "HEAD"), bench.read(MODEL)) == (before, OPPOSED[0])


def test_of_two_files_only_the_one_in_conflict_waits(bench):
    bench.commit("second.safetensors", weights())
    branch_off(bench, *OPPOSED)
    bench.git("switch", "--quiet", "other")
    bench.commit("second.safetensors", THEIRS)
    bench.git("switch", "--quiet", "main")
    bench.commit("second.safetensors", OURS)
    stopped = bench.try_lamella("merge", "other")
    assert stopped.code == 4
    assert "second.safetensors: 1 tensor from ours, 1 from theirs, 1 merged by three-way\n" in stopped.out
    assert bench.read("second.safetensors") == BOTH
    assert bench.git("status", "--porcelain") == f"UU {MODEL}\nM  second.safetensors"
    assert "second" not in bench.lamella("conflicts")


def test_a_linked_worktree_has_conflicts_of_its_own(bench, elsewhere):
    branch_off(bench, *OPPOSED)
    bench.git("branch", "again", "main")
    bench.git("worktree", "add", "--quiet", str(elsewhere / "linked"), "again")
    linked = type(bench)(elsewhere / "linked")
    assert linked.try_git("merge", "other").code == 1
    assert linked.read(MODEL) == OPPOSED[0]
    assert bench.lamella("conflicts") == "nothing is in conflict"
    assert bench.git("status", "--porcelain") == ""
    assert linked.lamella("resolve", "h.0", "--theirs").endswith("settled and staged")
    linked.lamella("merge", "--continue")
    assert linked.read(MODEL) == OPPOSED[1]
    assert linked.git("status", "--porcelain") == ""


def test_weights_that_are_not_here_leave_ours_and_say_why(bench, elsewhere):
    branch_off(bench, OURS, THEIRS)
    bench.git("clone", "--quiet", "--branch", "main", str(bench.root), str(elsewhere / "clone"))
    clone = type(bench)(elsewhere / "clone")
    clone.lamella("init")
    merged = clone.try_git("merge", "--no-edit", "origin/other")
    assert merged.code != 0
    assert f"lamella: {MODEL}: weights that it takes to merge it are not in this repository's store\n" in merged.err
    assert clone.read(MODEL) == bench.blob(f"main:{MODEL}")
    for pack in (bench.root / ".git/lamella/packs").iterdir():
        (clone.root / ".git/lamella/packs" / pack.name).write_bytes(pack.read_bytes())
    clone.lamella("checkout")
    assert clone.read(MODEL) == OURS


def test_the_driver_says_how_it_is_called_and_fails_as_git_expects(bench):
    assert bench.try_lamella("merge-driver").code == 2
    assert "LAMELLA_MERGE" in bench.lamella("merge-driver", "--help")
    for name, content in (("o", b""), ("a", b"lamella manifest 9\n"), ("b", b"lamella manifest 1\n")):
        bench.write(name, content)
    failed = bench.try_lamella("merge-driver", "o", "a", "b", "7", MODEL)
    assert failed.code == 129
    assert failed.err.startswith(f"lamella: {MODEL}: manifest has version 9")
    assert bench.read("a") == b"lamella manifest 9\n"
    failed = bench.try_lamella("merge-driver", "o", "a", "b", "7", MODEL, env={"LAMELLA_MERGE": "[]"})
    assert (failed.code, "rules of a merge are malformed" in failed.err) == (129, True)


def test_any_name_and_any_folder_will_do(bench):
    path = 'a folder/it\'s $HOME "here".safetensors'
    bench.commit(path, OPPOSED[0])
    bench.git("switch", "--quiet", "--create", "other")
    bench.commit(path, weights({"h.0": (1.0, 2.0, 3.0, 4.0)}))
    bench.git("switch", "--quiet", "main")
    bench.commit(path, weights({"h.0": (9.0, 9.0, 9.0, 9.0)}))
    assert bench.try_git("merge", "other").code == 1
    inside = type(bench)(bench.root / "a folder")
    assert "h.0  opposed" in inside.lamella("conflicts")
    assert inside.lamella("conflicts", ".") == bench.lamella("conflicts", "a folder")
    done = inside.lamella("resolve", "h.*", "--theirs", "--path", path.partition("/")[2])
    assert done == f"{path}: 1 tensor resolved, settled and staged"
    assert numbers(bench.read(path))["h.0"] == (1.0, 2.0, 3.0, 4.0)


def test_a_file_that_cannot_hold_the_result_is_taken_whole(bench):
    shared = {"part": tensor("0", (4, 8), numel=64), "whole": tensor("0", (8, 8), numel=64)}
    base, ours, theirs = (archive(mapping(shared), {"0": bytes([0, 0, n, 64] * 64)}) for n in (0, 32, 64))
    branch_off(bench, ours, theirs, base)
    bench.try_lamella("merge", "other", "--strategy-for", "part=theirs")
    assert bench.git("status", "--porcelain") == f"UU {MODEL}"
    assert "shares its bytes with another tensor" in bench.lamella("conflicts")
    bench.lamella("resolve", MODEL, "--theirs")
    assert bench.read(MODEL) == theirs
    assert bench.git("status", "--porcelain") == f"M  {MODEL}"


@pytest.mark.parametrize(("side", "branch"), [("--ours", "main"), ("--theirs", "other")])
def test_an_archive_of_compressed_arrays_can_only_be_taken_whole(bench, side, branch):
    bench.lamella("track", "*.npz")
    bench.git("add", ".gitattributes")
    bench.commit("model.npz", _compressed(0))
    bench.git("switch", "--quiet", "--create", "other")
    bench.commit("model.npz", _compressed(1))
    bench.git("switch", "--quiet", "main")
    bench.commit("model.npz", _compressed(2))
    merged = bench.try_git("merge", "other")
    assert merged.code == 1
    assert "this npz file has no tensors that can be read, so only a whole file can be taken" in merged.err
    bench.git("checkout", side, "--", "model.npz")
    bench.git("add", "model.npz")
    assert bench.git("rev-parse", ":model.npz") == bench.git("rev-parse", f"{branch}:model.npz")
    bench.git("commit", "--no-edit", "--quiet")
    assert bench.git("status", "--porcelain") == ""


def _compressed(value: float) -> bytes:
    file = BytesIO()
    numpy.savez_compressed(file, weight=numpy.full((4, 8), value, numpy.float32))
    return file.getvalue()
