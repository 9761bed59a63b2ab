"""Plain Git merges the tensors that both sides changed, and stops as it does for text where it must."""

from __future__ import annotations

import pytest

from tests.e2e.mergebench import MODEL, OPPOSED, branch_off, numbers, weights

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
