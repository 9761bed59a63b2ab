"""Two branches that merged each other: what they have in common is what both merged, not what was before that."""

from __future__ import annotations

import pytest

from tests.e2e.mergebench import MODEL, OPPOSED, branch_off, numbers, weights

OURS = weights({"h.0": (2.0, 2.0, 3.0, 4.0), "h.1": (9.0, 9.0, 9.0, 9.0)})
THEIRS = weights({"h.0": (3.0, 2.0, 3.0, 6.0), "h.2": (7.0, 7.0, 7.0, 7.0)})
BOTH = {"h.0": (2.5, 2.0, 3.0, 6.0), "h.1": (9.0, 9.0, 9.0, 9.0), "h.2": (7.0, 7.0, 7.0, 7.0)}


def cross(bench, *resolving):
    """Merge each of two branches into the other, as it was before; where that stops, take these sides."""
    bench.git("branch", "mine")
    for branch, merged, side in (("main", "other", 0), ("other", "mine", 1)):
        bench.git("switch", "--quiet", branch)
        ended = bench.try_git("merge", "--no-edit", merged)
        assert ended.code == (1 if resolving else 0)
        if resolving:
            bench.lamella("resolve", "*", resolving[side])
            bench.git("commit", "--quiet", "--no-edit")
    bench.git("switch", "--quiet", "main")


@pytest.mark.parametrize("marker", [None, 9])
def test_a_change_on_top_of_what_both_merged_is_taken_as_it_is(bench, marker):
    if marker is not None:
        wanted = f"*.safetensors conflict-marker-size={marker}\n".encode()
        bench.write(".gitattributes", bench.read(".gitattributes") + wanted)
        bench.git("add", ".gitattributes")
    branch_off(bench, OURS, THEIRS)
    cross(bench)
    assert numbers(bench.read(MODEL))["h.0"] == BOTH["h.0"]
    changed = weights({**BOTH, "h.0": (2.5, 4.0, 3.0, 7.0)})
    bench.commit(MODEL, changed, "on top")
    assert len(bench.git("merge-base", "--all", "main", "other").split()) == 2
    merged = bench.try_git("merge", "--no-edit", "other")
    assert merged.code == 0, merged.err
    assert bench.read(MODEL) == changed
    assert bench.git("status", "--porcelain") == ""


@pytest.fixture
def going_on(bench):
    """Two branches that merged each other, and went on from there."""
    branch_off(bench, OURS, THEIRS)
    cross(bench)
    bench.git("switch", "--quiet", "other")
    bench.commit(MODEL, weights({**BOTH, "h.0": (5.5, 2.0, 1.0, 6.0)}), "on top of other")
    bench.git("switch", "--quiet", "main")
    bench.commit(MODEL, weights({**BOTH, "h.0": (3.5, 4.0, 3.0, 6.0)}), "on top of main")
    return bench


def test_both_sides_go_on_from_what_both_merged(going_on):
    going_on.git("merge", "--no-edit", "other")
    assert numbers(going_on.read(MODEL))["h.0"] == (4.5, 4.0, 1.0, 6.0)


def test_such_a_merge_is_recorded_and_replayed(going_on):
    going_on.lamella("merge", "other")
    going_on.git("gc", "--quiet", "--prune=now")
    going_on.lamella("gc", "--grace-days", "0")
    assert going_on.lamella("merge", "--replay", "HEAD").startswith(f"{MODEL}: the same bits, by three-way\n")


def test_what_was_resolved_alike_is_settled_and_a_change_on_top_of_it_is_asked_about(bench):
    branch_off(bench, *OPPOSED)
    cross(bench, "--ours", "--theirs")
    first = bench.git("rev-parse", "main")
    assert bench.git("rev-parse", "main^{tree}") == bench.git("rev-parse", "other^{tree}")
    bench.git("merge", "--no-edit", "other")
    bench.git("reset", "--quiet", "--hard", first)
    changed = weights({"h.0": (2.0, 3.0, 4.0, 6.0)})
    bench.commit(MODEL, changed, "on top")
    merged = bench.try_git("merge", "--no-edit", "other")
    assert merged.code == 1
    assert (
        f"{MODEL}: the versions that both sides come from cannot be merged: conflicts: 1; what differs is in conflict"
        in merged.err
    )
    assert bench.read(MODEL) == changed
    assert "h.0" in bench.lamella("conflicts")
    bench.lamella("resolve", "h.0", "--ours")
    bench.git("commit", "--quiet", "--no-edit")
    assert bench.read(MODEL) == changed


def test_what_was_decided_without_a_base_is_recorded_and_replayed(bench):
    branch_off(bench, *OPPOSED)
    cross(bench, "--ours", "--theirs")
    bench.commit(MODEL, weights({"h.0": (2.0, 3.0, 4.0, 6.0)}), "on top")
    assert bench.try_lamella("merge", "other").code == 4
    bench.lamella("resolve", "h.0", "--ours")
    bench.lamella("merge", "--continue")
    assert "Lamella-Merge: " in bench.git("log", "-1", "--format=%B")
    assert bench.lamella("merge", "--replay", "HEAD").startswith(f"{MODEL}: the same bits, ")
