"""`gc --repack` makes a history smaller and quicker to restore, and every version is the file that it was."""

from __future__ import annotations

import json
import math
import struct

import pytest

from lamella.testing.codecs import nudged, weights
from tests.e2e.workbench import Workbench

MODEL = "model.safetensors"
SHAPES = {"encoder.weight": (64, 50), "encoder.bias": (64,), "decoder.weight": (50, 64)}


def model(tensors: dict[str, bytes]) -> bytes:
    header, offset = {}, 0
    for name, data in tensors.items():
        header[name] = {"dtype": "BF16", "shape": SHAPES[name], "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"".join(tensors.values())


@pytest.fixture(scope="module")
def history() -> list[bytes]:
    """Return a training: every step moves every weight a little."""
    tensors = {name: weights(math.prod(shape), 2, seed) for seed, (name, shape) in enumerate(SHAPES.items())}
    files = [model(tensors)]
    for step in range(1, 12):
        tensors = {name: nudged(data, 2, step) for name, data in tensors.items()}
        files.append(model(tensors))
    return files


@pytest.fixture
def trained(bench: Workbench, history: list[bytes]) -> Workbench:
    for step, data in enumerate(history):
        bench.commit(MODEL, data, f"step {step}")
        bench.git("tag", f"step-{step}")
    return bench


def packs(bench: Workbench) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (bench.root / ".git/lamella/packs").iterdir()}


def test_a_history_gets_smaller_and_every_version_is_what_it_was(trained, history):
    before = packs(trained)
    foreseen = json.loads(trained.lamella("gc", "--repack", "--dry-run", "--json"))["repacked"]
    assert packs(trained) == before
    report = json.loads(trained.lamella("gc", "--repack", "--json"))["repacked"]
    assert report["objects"] == foreseen["objects"] == len(SHAPES) * len(history) + 1
    assert report["before_nbytes"] == foreseen["before_nbytes"] == sum(map(len, before.values()))
    assert report["after_nbytes"] == sum(map(len, packs(trained).values())) < report["before_nbytes"]
    assert report["costliest_after"] <= 2
    for step, data in enumerate(history):
        trained.git("checkout", "--quiet", f"step-{step}")
        assert trained.read(MODEL) == data
    assert trained.lamella("fsck").endswith("everything is sound")


def test_a_second_time_nothing_is_written(trained):
    assert trained.lamella("gc", "--repack").splitlines()[2].startswith("repacked ")
    before = packs(trained)
    assert "nothing to repack" in trained.lamella("gc", "--repack").splitlines()
    assert packs(trained) == before


def test_work_goes_on_after_a_repack(trained, history):
    trained.lamella("gc", "--repack")
    data = history[-1][:-6000] + nudged(history[-1][-6000:], 2, 99)
    before = sum(map(len, packs(trained).values()))
    trained.commit(MODEL, data, "one more step")
    assert sum(map(len, packs(trained).values())) - before < len(data) / 2
    trained.git("checkout", "--quiet", "HEAD~1")
    trained.git("checkout", "--quiet", "main")
    assert trained.read(MODEL) == data


def test_a_repack_needs_no_worktree(trained):
    assert "repacked" in json.loads(trained.lamella("-C", ".git", "gc", "--repack", "--json"))


def test_an_empty_repository_has_nothing_to_repack(make_repository):
    bench = Workbench(make_repository().root)
    bench.lamella("init")
    assert bench.lamella("gc", "--repack").splitlines()[-1] == "nothing to repack"


def test_a_version_that_was_left_behind_goes_though_others_leaned_on_it(trained, history):
    trained.git("tag", "--delete", "step-0")
    trained.git("switch", "--quiet", "--orphan", "later")
    trained.git("checkout", "--quiet", "main", "--", ".gitattributes")
    for step, data in enumerate(history[1:], 1):
        trained.commit(MODEL, data, f"step {step}")
        trained.git("tag", "--force", f"step-{step}")
    trained.git("branch", "--delete", "--force", "main")
    trained.git("reflog", "expire", "--expire=now", "--expire-unreachable=now", "--all")
    (trained.root / ".git/ORIG_HEAD").unlink(missing_ok=True)
    report = json.loads(trained.lamella("gc", "--repack", "--grace-days", "0", "--json"))
    assert report["kept_objects"] > len(SHAPES) * (len(history) - 1) + 1
    assert trained.lamella("gc").splitlines()[1].startswith(f"kept {len(SHAPES) * (len(history) - 1) + 1} objects, ")
    trained.git("checkout", "--quiet", "step-1")
    assert trained.read(MODEL) == history[1]
