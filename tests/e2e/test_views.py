"""Files whose tensors share bytes, through a repository: added, changed, checked, collected, brought back."""

from __future__ import annotations

import json

import numpy
import pytest

from lamella.cli.main import main
from lamella.core.config import StoreConfig
from lamella.ops.add import add
from lamella.ops.diff import diff
from lamella.ops.fsck import fsck
from lamella.ops.gc import gc
from lamella.ops.repository import Repo
from lamella.repo.filling import fill
from lamella.repo.repository import Repository
from lamella.testing.models import LAYERS, model, network
from tests.toy import Placed, toy

pytestmark = pytest.mark.usefixtures("toys")

MODEL = "model.safetensors"
ARRAY = numpy.random.default_rng(0).standard_normal((300, 200)).astype("<f4")
PLACED = {
    "w": Placed("f32", (300, 200), 0),
    "tied": Placed("f32", (300, 200), 0),
    "turned": Placed("f32", (200, 300), 0, (4, 800)),
    "hidden": Placed("f32", (100, 700), 240_000 + 2_000_000, (4, 400)),
}
GAP = numpy.random.default_rng(1).bytes(2_000_000 + 280_000)
FILE = toy(PLACED, ARRAY.tobytes() + GAP, {"step": "1"})


def test_a_file_with_views_comes_back_and_nothing_of_a_view_is_missed(bench):
    bench.commit(MODEL, FILE, "first")
    changed = toy(PLACED, (ARRAY + 1).tobytes() + GAP, {"step": "2"})
    bench.commit(MODEL, changed, "second")
    with Repository.open(bench.root, StoreConfig(grace_seconds=0)) as repository:
        (change,) = diff(repository, ["HEAD~1", "HEAD"]).files
        assert {tensor.name for tensor in change.tensors} == {"w", "tied", "turned"}
        assert [(one.key, one.before, one.after) for one in change.metadata] == [("step", "1", "2")]
        assert fsck(repository).sound
        report = gc(repository)
        assert (report.dropped_objects, fsck(repository).sound) == (0, True)
        for revision, content in (("HEAD~1", FILE), ("HEAD", changed)):
            bench.write(MODEL, bench.blob(f"{revision}:{MODEL}"))
            assert fill(repository).failed == ()
            assert bench.read(MODEL) == content


def test_what_only_a_view_named_is_collected_and_what_it_is_made_of_is_not(bench):
    bench.commit(MODEL, FILE, "first")
    # The transposed tensor as an object of its own, which nothing but the view's id mentions once its file is gone.
    bench.commit("other.safetensors", toy({"t": Placed("f32", (200, 300), 0)}, ARRAY.T.tobytes()), "other")
    bench.git("reset", "--quiet", "--hard", "HEAD~1")
    bench.git("reflog", "expire", "--expire=now", "--all")
    bench.git("prune", "--expire=now")
    with Repository.open(bench.root, StoreConfig(grace_seconds=0)) as repository:
        assert gc(repository).dropped_objects >= 1
        assert fsck(repository).sound
    with Repo.open(bench.root) as repo:
        found = repo.snapshot("HEAD", MODEL)
        assert (found["turned"] == ARRAY.T).all()
        assert found["hidden"].tobytes() == numpy.frombuffer(GAP[2_000_000:], "<f4").reshape(700, 100).T.tobytes()


def test_damage_of_a_part_is_named_by_what_it_is(bench):
    bench.commit(MODEL, FILE, "first")
    with Repository.open(bench.root) as repository:
        lost = {row.object.hex() for row in repository.manifest("HEAD", MODEL).rows if row.part}
        for pack in repository.store.packs.iterdir():
            pack.unlink()
        repository.store.refresh()
        report = fsck(repository)
    assert not report.sound
    assert lost <= {tensor.object for tensor in report.tensors}
    assert {tensor.tensor for tensor in report.tensors} >= {"w", None}
    assert "turned" not in {tensor.tensor for tensor in report.tensors}


def test_a_folder_of_shards_is_a_mapping_of_arrays(bench):
    for number in range(2):
        bench.commit(f"llm/{number}.safetensors", model(LAYERS[number::2]), "shard")
    bench.commit(MODEL, network(), "whole")
    with Repo.open(bench.root) as repo:
        shards, whole = repo.snapshot("HEAD", "llm"), repo.snapshot("HEAD", MODEL)
        assert set(shards) == set(whole)
        assert all((shards[name] == whole[name]).all() for name in whole)
        assert shards.model_id == whole.model_id
        assert shards.read("layer.1.bias", 4, 9) == whole.read("layer.1.bias", 4, 9)
        assert {spec.name: spec for spec in shards.specs()} == {spec.name: spec for spec in whole.specs()}
        assert ("layer.1.bias" in shards, "x" in shards, shards.get("x"), len(shards)) == (True, False, None, 8)
        assert repr(shards) == "<LoadedModel HEAD:llm: 8 tensors in 2 files>"


def test_it_is_looked_into_from_any_folder(bench, monkeypatch, capfd):
    bench.commit(f"deep/{MODEL}", FILE)
    monkeypatch.chdir(bench.root / "deep")
    for name in (MODEL, f"HEAD:./{MODEL}", f"HEAD:deep/{MODEL}", f":deep/{MODEL}", "HEAD:.", "."):
        assert main(["ls", name, "--json"]) == 0
        report = json.loads(capfd.readouterr().out)
        assert {tensor["name"] for tensor in report["tensors"]} == PLACED.keys()
        assert report["files"][0]["metadata"] == {"step": "1"}


def test_a_merge_of_files_with_views_is_as_good_as_a_written_one(bench):
    placed = {**PLACED, "more": Placed("f32", (70_000,), 240_000)}
    start = ARRAY.tobytes() + GAP
    bench.commit(MODEL, toy(placed, start), "first")
    bench.git("switch", "--quiet", "--create", "side")
    side = bytearray(start)
    side[300_000] ^= 1
    bench.commit(MODEL, toy(placed, bytes(side)), "side")
    bench.git("switch", "--quiet", "main", "--force")
    bench.write(MODEL, toy(placed, start))
    main_ = bytearray(start)
    main_[-5] ^= 1
    bench.write(MODEL, toy(placed, bytes(main_)))
    with bench.repository() as repository:
        add(repository, [MODEL])
    bench.git("commit", "--quiet", "--message", "main")
    bench.git("config", "--remove-section", "merge.lamella")
    bench.git("merge", "--quiet", "--no-edit", "side", env={"LAMELLA_SMUDGE": "manifest"})
    with bench.repository() as repository:
        manifest = repository.manifest("HEAD", MODEL)
        both = bytearray(main_)
        both[300_000] ^= 1
        assert {row.spec.name for row in manifest.views} == {"tied", "turned", "hidden"}
        bench.write(MODEL, bench.blob(f"HEAD:{MODEL}"))
        assert fill(repository).failed == ()
        assert bench.read(MODEL) == toy(placed, bytes(both))
