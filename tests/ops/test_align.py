"""Models in a repository, on disk, or one of each are aligned; sketches are taken once and go with their objects."""

from __future__ import annotations

import numpy
import pytest

from lamella.core.errors import NotFoundError
from lamella.formats.safetensors.header import build_header
from lamella.ops.add import add
from lamella.ops.align import align_models
from lamella.ops.gc import gc
from lamella.repo import checkin, weights
from lamella.repo.arrays import spec_of
from lamella.repo.sketches import NAME, SketchCache
from lamella.repo.targets import opened_model

DRAWN = numpy.random.default_rng(0)
BLOCKS = [
    {part: DRAWN.standard_normal((64, 64), dtype="f4") for part in ("up.weight", "down.weight")}
    | {"norm.weight": numpy.ones(64, "f4")}
    for _ in range(4)
]


def file(blocks):
    specs, data = [], b""
    for number, block in enumerate(blocks):
        for name, array in block.items():
            spec, contiguous = spec_of(f"h.{number}.{name}", array)
            specs.append(spec)
            data += contiguous.tobytes()
    return build_header(specs) + data


def tuned(block):
    noise = {name: DRAWN.standard_normal(array.shape, "f4") for name, array in block.items()}
    return {name: array + numpy.float32(0.01) * noise[name] for name, array in block.items()}


OLD = file(BLOCKS)
NEW = file([tuned(block) for block in (BLOCKS[0], BLOCKS[2], BLOCKS[1], BLOCKS[3])])
TRUTH = {f"h.{was}.{part}": f"h.{now}.{part}" for was, now in enumerate((0, 2, 1, 3)) for part in BLOCKS[0]}


@pytest.fixture
def history(bench):
    bench.commit("model.safetensors", OLD, "old")
    bench.commit("model.safetensors", NEW, "new")
    (bench.root / "old.safetensors").write_bytes(OLD)
    return bench


@pytest.fixture
def cache(history):
    with history.repository() as repository:
        return SketchCache(repository.store_directory)


def align_names(bench, before, after, cache=None):
    with opened_model(before, bench.root) as old, opened_model(after, bench.root) as new:
        return align_models(old, new, cache)


@pytest.mark.parametrize("before", ["HEAD~1:model.safetensors", "old.safetensors"])
@pytest.mark.parametrize("after", ["HEAD:model.safetensors", "model.safetensors"])
@pytest.mark.parametrize("kept", [False, True])
def test_blocks_that_changed_places_are_found_wherever_the_models_are(history, cache, before, after, kept):
    report = align_names(history, before, after, cache if kept else None)
    assert {pair.before: pair.after for pair in report.alignment.pairs} == TRUTH
    assert {pair.before[:3] for pair in report.alignment.layers if pair.moved} in ({"h.1"}, {"h.2"})
    assert (report.before, report.after) == (before, after)


def test_no_weights_are_read_twice(history, cache, monkeypatch):
    names = ("HEAD~1:model.safetensors", "HEAD:model.safetensors")
    first = align_names(history, *names, cache)
    taken = []

    def counted(spec, read):
        taken.append(spec.name)
        return original(spec, read)

    original = weights.take_sketch
    monkeypatch.setattr(weights, "take_sketch", counted)
    assert align_names(history, *names, cache) == first
    assert not [name for name in taken if "norm" not in name]


def test_much_that_is_added_has_its_sketches_at_once(bench, repository, monkeypatch):
    monkeypatch.setattr(checkin, "EAGER_NBYTES", len(OLD) // 2)
    bench.write("model.safetensors", OLD)
    add(repository, ["model.safetensors"])
    kept = SketchCache(repository.store_directory)
    rows = repository.manifest("", "model.safetensors").tensors
    found = kept.find([(row.object, "f32") for row in rows])
    assert len(found) == 8
    with opened_model("model.safetensors", bench.root) as model:
        made = weights.ModelWeights(model).sketches([row.spec.name for row in rows])
    for row, sketch in zip(rows, made, strict=True):
        if row.spec.nbytes > 1000:
            assert found[row.object, "f32"] == sketch.tobytes()


def test_little_that_is_added_has_none(bench, repository):
    bench.write("model.safetensors", OLD)
    add(repository, ["model.safetensors"])
    assert not (repository.store_directory / NAME).exists()


def test_sketches_go_with_their_objects(history, cache):
    align_names(history, "HEAD~1:model.safetensors", "HEAD:model.safetensors", cache)
    with history.repository() as repository:
        rows = [repository.manifest(revision, "model.safetensors").tensors for revision in ("HEAD~1", "HEAD")]
        old, new = ([(row.object, "f32") for row in listed if row.spec.nbytes > 1000] for listed in rows)
        assert set(cache.find(old + new)) == {*old, *new}
        history.git("reset", "--quiet", "--hard", "HEAD~1")
        history.git("reflog", "expire", "--expire=now", "--expire-unreachable=now", "--all")
        (history.root / ".git" / "ORIG_HEAD").unlink(missing_ok=True)
        gc(repository, grace_seconds=0)
        assert set(cache.find(old + new)) == set(old)


def test_a_model_that_lacks_a_file_is_refused(history):
    with opened_model("old.safetensors", history.root) as old, opened_model("model.safetensors", history.root) as new:
        object.__setattr__(new, "missing", ("weights.bin",))
        with pytest.raises(NotFoundError, match="weights"):
            align_models(old, new)
