"""Archives, whose directories have checksums of their tensors, in merges."""

from __future__ import annotations

import io

import numpy as np
import pytest


def archive(**changed):
    arrays = {name: np.full((64, 64), changed.get(name, 0), np.float32) for name in "abcdefgh"}
    made = io.BytesIO()
    np.savez(made, **arrays)
    return made.getvalue()


@pytest.fixture
def merged(bench):
    """Return a repository with two branches that changed different tensors of an archive."""
    bench.lamella("track", "*.npz")
    bench.git("add", ".gitattributes")
    bench.commit("m.npz", archive())
    bench.git("switch", "--quiet", "-c", "side")
    bench.commit("m.npz", archive(b=1))
    bench.git("switch", "--quiet", "main")
    bench.commit("m.npz", archive(g=2))
    return bench


def test_tensors_of_two_versions_are_never_put_under_the_checksums_of_one(merged):
    merged.git("config", "--remove-section", "merge.lamella")
    merged.try_git("merge", "--quiet", "-X", "theirs", "-m", "mixed", "side")
    merged.try_git("commit", "--quiet", "--all", "-m", "mixed")
    blob = merged.blob("HEAD:m.npz")
    assert blob.startswith(b"lamella manifest")
    (merged.root / "m.npz").unlink()
    ended = merged.try_lamella("checkout", "--", "m.npz")
    assert ended.code != 0
    assert "m.npz" in ended.err
    assert "the manifest has tensors of two versions" in ended.err
    assert not (merged.root / "m.npz").exists() or merged.read("m.npz") == blob
    assert merged.try_lamella("fsck").code != 0
    merged.git("checkout", "HEAD~1", "--", "m.npz")
    np.load(io.BytesIO(merged.read("m.npz")))["g"]


def test_a_merge_of_different_tensors_has_checksums_of_its_own(merged):
    merged.git("merge", "--quiet", "-m", "both", "side")
    with np.load(io.BytesIO(merged.read("m.npz"))) as found:
        assert [(name, float(found[name].max())) for name in "abg"] == [("a", 0), ("b", 1), ("g", 2)]


def test_a_side_can_be_taken(merged):
    merged.git("config", "--remove-section", "merge.lamella")
    assert merged.try_git("merge", "--quiet", "-m", "both", "side").code != 0
    merged.git("checkout", "--theirs", "m.npz")
    merged.lamella("add", "m.npz")
    merged.git("commit", "--quiet", "-m", "theirs")
    assert merged.read("m.npz") == archive(b=1)
