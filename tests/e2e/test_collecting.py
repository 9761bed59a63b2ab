"""`gc` keeps whatever any corner of Git still reaches, each proven alone, and drops the rest."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lamella.ops.gc import gc
from lamella.repo.checkout import file_pieces
from lamella.repo.manifest import parse_manifest
from lamella.store.gc import Collected
from lamella.testing.models import network
from tests.e2e.workbench import Workbench

MODEL = "model.safetensors"
KEPT, LOST = network(layer_1_weight=1), network(layer_2_weight=2)


def collect(bench: Workbench, *, grace_seconds: float = 0, dry_run: bool = False) -> Collected:
    with bench.repository() as repository:
        return gc(repository, grace_seconds=grace_seconds, dry_run=dry_run)


def can_be_restored(bench: Workbench, blob: str, content: bytes) -> bool:
    """Say whether the file of a manifest's blob is whole in the store."""
    with bench.repository() as repository:
        manifest = parse_manifest(bench.blob(blob))
        if not all(repository.store.contains(identity) for identity in manifest.objects()):
            return False
        return b"".join(bytes(piece) for piece in file_pieces(repository.store, manifest)) == content


def forget(bench: Workbench) -> None:
    """Empty every memory of Git's that is no ref: reflogs and what the last commands left behind."""
    bench.git("reflog", "expire", "--expire=now", "--expire-unreachable=now", "--all")
    for name in ("ORIG_HEAD", "FETCH_HEAD"):
        (bench.root / ".git" / name).unlink(missing_ok=True)


def aside(bench: Workbench) -> str:
    """Commit the model that is to be kept, leave its commit again, and return it."""
    commit = bench.commit(MODEL, KEPT, "kept")
    bench.git("reset", "--quiet", "--hard", "HEAD~1")
    return commit


def by_branch(bench: Workbench) -> None:
    bench.git("branch", "side", aside(bench))


def by_tag(bench: Workbench) -> None:
    bench.git("tag", "v1", aside(bench))


def by_annotated_tag(bench: Workbench) -> None:
    bench.git("tag", "-a", "-m", "release", "v1", aside(bench))


def by_tag_of_the_blob_alone(bench: Workbench) -> None:
    bench.git("tag", "blob", f"{aside(bench)}:{MODEL}")


def by_remote_branch(bench: Workbench) -> None:
    bench.git("update-ref", "refs/remotes/origin/main", aside(bench))


def by_note(bench: Workbench) -> None:
    bench.git("notes", "--ref=lamella", "add", "-C", bench.git("rev-parse", f"{aside(bench)}:{MODEL}"), "HEAD")


def by_replacement(bench: Workbench) -> None:
    bench.git("replace", bench.git("rev-parse", "HEAD"), aside(bench))


def by_stash(bench: Workbench) -> None:
    bench.write(MODEL, KEPT)
    bench.git("stash", "--quiet")


def by_second_stash(bench: Workbench) -> None:
    by_stash(bench)
    bench.write("notes.txt", b"text\n")
    bench.git("stash", "--quiet", "--include-untracked")


def by_untracked_file_of_a_stash(bench: Workbench) -> None:
    bench.write("untracked.safetensors", KEPT)
    bench.git("stash", "--quiet", "--include-untracked")


def by_index(bench: Workbench) -> None:
    bench.write(MODEL, KEPT)
    bench.lamella("add", MODEL)
    bench.write(MODEL, network())


def by_index_of_another_worktree(bench: Workbench) -> None:
    linked = add_worktree(bench)
    linked.write(MODEL, KEPT)
    linked.lamella("add", MODEL)
    linked.write(MODEL, network())


def by_detached_head_of_another_worktree(bench: Workbench) -> None:
    add_worktree(bench).git("checkout", "--quiet", "--detach", aside(bench))


def by_detached_head(bench: Workbench) -> None:
    bench.git("checkout", "--quiet", "--detach", aside(bench))


def by_merge_in_progress(bench: Workbench) -> None:
    commit = aside(bench)
    bench.git("merge", "--quiet", "--no-commit", "--no-ff", commit)
    bench.git("reset", "--quiet", "--", MODEL)


def by_cherry_pick_in_progress(bench: Workbench) -> None:
    commit = aside(bench)
    bench.commit(MODEL, network(layer_1_weight=5), "in the way")
    bench.git("config", "--remove-section", "merge.lamella")
    assert bench.try_git("cherry-pick", commit).code == 1
    bench.git("read-tree", "HEAD")


def by_rebase_in_progress(bench: Workbench) -> None:
    commit = aside(bench)
    bench.commit(MODEL, network(layer_1_weight=5), "in the way")
    bench.git("checkout", "--quiet", "--detach", commit)
    bench.git("config", "--remove-section", "merge.lamella")
    assert bench.try_git("rebase", "main").code == 1
    bench.git("read-tree", "HEAD")


def by_the_work_that_a_rebase_put_aside(bench: Workbench) -> None:
    base = bench.git("rev-parse", "HEAD")
    bench.commit("other.safetensors", network(layer_0_bias=1), "one")
    bench.git("switch", "--quiet", "--create", "side", base)
    bench.commit("other.safetensors", network(layer_0_bias=2), "two")
    bench.write(MODEL, KEPT)
    assert bench.try_git("rebase", "--autostash", "main").code == 1


def by_fetch(bench: Workbench) -> None:
    other = Workbench(bench.root.parent / "fetched")
    commit = aside(bench)
    bench.git("clone", "--quiet", "--bare", ".", str(other.root))
    bench.git("push", "--quiet", str(other.root), f"{commit}:refs/heads/side")
    bench.git("fetch", "--quiet", str(other.root), "side")
    bench.git("reflog", "expire", "--expire=now", "--expire-unreachable=now", "--all")


def by_reflog(bench: Workbench) -> None:
    forget(bench)
    aside(bench)


def by_reflog_of_a_branch(bench: Workbench) -> None:
    forget(bench)
    bench.git("branch", "side", aside(bench))
    bench.git("branch", "--force", "side", "HEAD")


def add_worktree(bench: Workbench) -> Workbench:
    bench.git("worktree", "add", "--quiet", "--detach", str(bench.root.parent / "linked"), "HEAD")
    return Workbench(bench.root.parent / "linked")


FORGETFUL = (
    by_branch, by_tag, by_annotated_tag, by_tag_of_the_blob_alone, by_remote_branch, by_note, by_replacement, by_stash,
    by_untracked_file_of_a_stash, by_index, by_index_of_another_worktree, by_detached_head_of_another_worktree,
    by_detached_head, by_merge_in_progress, by_cherry_pick_in_progress, by_rebase_in_progress,
    by_the_work_that_a_rebase_put_aside,
)  # fmt: skip
REMEMBERING = (by_second_stash, by_fetch, by_reflog, by_reflog_of_a_branch)


@pytest.fixture
def based(bench: Workbench) -> Workbench:
    """Return a repository with a first version of the model, and a version that nothing reaches any more."""
    bench.commit(MODEL, network())
    bench.commit(MODEL, LOST)
    bench.git("reset", "--quiet", "--hard", "HEAD~1")
    return bench


@pytest.mark.parametrize("reach", [*FORGETFUL, *REMEMBERING], ids=lambda reach: reach.__name__)
def test_what_is_reached_is_kept(based: Workbench, reach: Callable[[Workbench], None]):
    lost = based.git("rev-parse", f"ORIG_HEAD:{MODEL}")
    forget(based)
    based.write(MODEL, KEPT)
    kept = based.git("hash-object", "-w", f"--path={MODEL}", MODEL)
    based.write(MODEL, network())
    based.git("checkout", "--quiet", "--", MODEL)
    reach(based)
    if reach in FORGETFUL:
        forget(based)
    assert collect(based).dropped_objects == 1
    assert can_be_restored(based, kept, KEPT)
    assert not can_be_restored(based, lost, LOST)


def test_what_nothing_reaches_is_dropped_and_the_gain_is_told(based):
    lost = based.git("rev-parse", f"ORIG_HEAD:{MODEL}")
    forget(based)
    before = sum(path.stat().st_size for path in (based.root / ".git/lamella/packs").iterdir())
    said = based.lamella("gc", "--grace-days", "0")
    after = sum(path.stat().st_size for path in (based.root / ".git/lamella/packs").iterdir())
    assert said.startswith("dropped 1 object, ")
    assert after < before
    assert not can_be_restored(based, lost, LOST)
    assert based.lamella("fsck").endswith("everything is sound")
    assert based.lamella("gc", "--grace-days", "0").startswith("dropped 0 objects, 0 B\n")


def test_a_dry_run_changes_nothing_and_says_the_same(based):
    lost = based.git("rev-parse", f"ORIG_HEAD:{MODEL}")
    forget(based)
    packs = {path.name: path.stat().st_mtime_ns for path in (based.root / ".git/lamella/packs").iterdir()}
    said = based.lamella("gc", "--grace-days", "0", "--dry-run")
    assert said.startswith("would drop 1 object, ")
    assert {path.name: path.stat().st_mtime_ns for path in (based.root / ".git/lamella/packs").iterdir()} == packs
    assert can_be_restored(based, lost, LOST)
    assert based.lamella("gc", "--grace-days", "0").startswith(said.splitlines()[0].replace("would drop", "dropped"))


def test_what_is_young_is_kept_and_the_reason_is_told(based):
    lost = based.git("rev-parse", f"ORIG_HEAD:{MODEL}")
    forget(based)
    said = based.lamella("gc")
    assert said.startswith("dropped 0 objects, 0 B\n")
    assert "of these, 1 object, " in said
    assert "are unreachable and kept by the grace period" in said
    assert can_be_restored(based, lost, LOST)


def test_a_file_that_was_only_hashed_by_git_add_is_dropped_after_its_grace(bench):
    bench.write(MODEL, KEPT)
    bench.git("add", MODEL)
    bench.git("rm", "--quiet", "--cached", MODEL)
    assert collect(bench, grace_seconds=3600).dropped_objects == 0
    assert collect(bench).dropped_objects == 9


def test_nothing_is_dropped_while_git_itself_is_damaged(based):
    lost = based.git("rev-parse", f"ORIG_HEAD:{MODEL}")
    forget(based)
    tree = based.git("rev-parse", "HEAD^{tree}")
    loose = based.root / ".git/objects" / tree[:2] / tree[2:]
    loose.unlink()
    ended = based.try_lamella("gc", "--grace-days", "0")
    assert ended.code == 7
    assert ended.err.startswith("error: ")
    assert can_be_restored(based, lost, LOST)


def test_an_unborn_branch_and_an_empty_store_are_no_fault(make_repository):
    bench = Workbench(make_repository().root)
    bench.lamella("init")
    assert bench.lamella("gc") == "dropped 0 objects, 0 B\nkept 0 objects, 0 B"
    assert bench.lamella("fsck") == "checked 0 packs, 0 objects, 0 B\neverything is sound"


@pytest.mark.parametrize("days", ["nan", "inf", "-1"])
def test_a_grace_that_is_no_length_of_time_drops_nothing(bench, days):
    bench.commit(MODEL, network())
    ended = bench.try_lamella("gc", "--grace-days", days)
    assert (ended.code, ended.out) == (2, "")
