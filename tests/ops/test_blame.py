"""Where tensors come from and how far each version moved them: `blame` and `history`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

import numpy as np
import pytest

from lamella.core.dtypes import DTYPES
from lamella.core.errors import NotFoundError, UsageError
from lamella.core.tensors import TensorSpec
from lamella.formats.safetensors.header import build_header
from lamella.ops.blame import blame
from lamella.ops.history import history
from lamella.repo.repository import Repository
from tests.e2e.workbench import Workbench

MODEL = "model.safetensors"
Arrays = Mapping[str, "np.ndarray[tuple[int, ...], np.dtype[np.float32]]"]


def file(arrays: Arrays) -> bytes:
    """Return a safetensors file of float32 arrays."""
    specs = [TensorSpec(name, DTYPES["f32"], array.shape) for name, array in arrays.items()]
    return build_header(specs, None) + b"".join(array.astype("<f4").tobytes() for array in arrays.values())


def blocks(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Return a stack of blocks of two layers."""
    generator = np.random.default_rng(seed)
    return {
        f"h.{block}.{layer}.weight": generator.normal(0, 0.02, (48, 32)).astype("f4")
        for block in range(count)
        for layer in ("up", "down")
    }


def trained(arrays: Arrays, names: list[str], seed: int = 1) -> dict[str, np.ndarray]:
    """Return the arrays with those named moved a little."""
    generator = np.random.default_rng(seed)
    noise = {name: generator.normal(0, 1e-3, arrays[name].shape).astype("f4") for name in names}
    return {name: array + noise[name] if name in noise else array for name, array in arrays.items()}


def test_each_tensor_has_the_commit_that_last_changed_it_and_how_far(bench: Workbench, repository: Repository) -> None:
    first = blocks(3)
    second = trained(first, ["h.1.up.weight"])
    one, two = bench.commit(MODEL, file(first), "one"), bench.commit(MODEL, file(second), "two")
    report = blame(repository, f"HEAD:{MODEL}")
    assert [commit.subject for commit in report.commits] == ["two", "one"]
    assert report.versions == 2
    found = {tensor.name: tensor for tensor in report.tensors}
    assert list(found) == list(first)
    assert {name: tensor.commit for name, tensor in found.items()} == {
        name: two if name == "h.1.up.weight" else one for name in first
    }
    moved = found["h.1.up.weight"]
    distance = np.abs(second["h.1.up.weight"].astype("f8") - first["h.1.up.weight"].astype("f8")).mean()
    assert moved.what == "changed"
    assert moved.sources[0].commit == one
    assert moved.sources[0].measures.mean_absolute == pytest.approx(distance, rel=1e-12)
    assert (found["h.0.up.weight"].what, found["h.0.up.weight"].sources) == ("added", ())


def test_behind_an_inserted_block_tensors_are_told_by_their_weights(bench: Workbench, repository: Repository) -> None:
    first = blocks(3)
    values = list(first.values())
    new = blocks(1, seed=9)
    grown = dict(zip(blocks(4), [*values[:2], *new.values(), *values[2:]], strict=True))
    grown = trained(grown, ["h.3.down.weight"])
    one, two = bench.commit(MODEL, file(first), "one"), bench.commit(MODEL, file(grown), "two")
    found = {tensor.name: tensor for tensor in blame(repository, f"HEAD:{MODEL}").tensors}
    assert [name for name, tensor in found.items() if tensor.commit == two] == [
        "h.1.up.weight",
        "h.1.down.weight",
        "h.3.down.weight",
    ]
    assert [found[f"h.1.{layer}.weight"].what for layer in ("up", "down")] == ["added", "added"]
    assert found["h.3.down.weight"].sources[0].name == "h.2.down.weight"
    assert found["h.3.up.weight"].name_then == "h.2.up.weight"
    assert found["h.3.up.weight"].commit == one


def test_a_merge_has_the_change_from_either_side(bench: Workbench, repository: Repository) -> None:
    base = blocks(2)
    bench.commit(MODEL, file(base), "base")
    name = "h.0.up.weight"
    bench.git("switch", "--quiet", "-c", "side")
    theirs = bench.commit(MODEL, file(trained(base, [name], 1)), "theirs")
    bench.git("switch", "--quiet", "main")
    ours = bench.commit(MODEL, file(trained(base, [name], 2)), "ours")
    bench.git("merge", "--quiet", "-s", "ours", "--no-commit", "side")
    bench.commit(MODEL, file(trained(base, [name], 3)), "merge")
    merged = blame(repository, f"HEAD:{MODEL}", [name]).tensors[0]
    assert merged.what == "merged"
    assert [source.commit for source in merged.sources] == [ours, theirs]
    assert all(source.measures is not None for source in merged.sources)
    assert [version.commit.subject for version in history(repository, f"HEAD:{MODEL}", name).versions] == [
        *("merge", "theirs", "ours", "base")
    ]


def test_a_tensor_of_another_shape_is_reshaped(bench: Workbench, repository: Repository) -> None:
    generator = np.random.default_rng(0)
    small = {"emb.weight": generator.normal(0, 1, (40, 32)).astype("f4"), "out.weight": np.ones((3, 3), "f4")}
    large = {**small, "emb.weight": np.concatenate([small["emb.weight"], generator.normal(0, 1, (8, 32)).astype("f4")])}
    bench.commit(MODEL, file(small), "one")
    bench.commit(MODEL, file(large), "two")
    found = blame(repository, f"HEAD:{MODEL}", ["emb.*"]).tensors[0]
    assert found.what == "reshaped"
    assert found.sources[0].measures.count == 40 * 32
    assert found.sources[0].measures.mean_absolute == 0


def test_a_tensor_of_another_dtype_is_cast(bench: Workbench, repository: Repository) -> None:
    for name, dtype in (("f32", "<f4"), ("f16", "<f2")):
        header = build_header([TensorSpec("w", DTYPES[name], (3, 3))], None)
        bench.commit(MODEL, header + np.ones((3, 3), dtype).tobytes(), name)
    assert blame(repository, f"HEAD:{MODEL}").tensors[0].what == "cast"


def test_what_cannot_be_asked_is_said(bench: Workbench, repository: Repository) -> None:
    bench.commit(MODEL, file(blocks(1)))
    with pytest.raises(UsageError, match="index"):
        blame(repository, f":{MODEL}")
    with pytest.raises(NotFoundError, match="has no tensor like"):
        blame(repository, f"HEAD:{MODEL}", ["nothing.like.it"])
    with pytest.raises(NotFoundError, match="no model file"):
        blame(repository, "HEAD:absent.safetensors")
    with pytest.raises(NotFoundError, match="has no tensor") as caught:
        history(repository, f"HEAD:{MODEL}", "h.0.*")
    assert caught.value.hint == "name one tensor; `lamella blame` takes patterns"


@pytest.mark.parametrize("has_store", [True, False])
def test_without_the_weights_commits_are_still_known(bench: Workbench, *, has_store: bool) -> None:
    first = blocks(2)
    bench.commit(MODEL, file(first), "one")
    bench.commit(MODEL, file(trained(first, ["h.1.up.weight"])), "two")
    shutil.rmtree(bench.root / ".git" / "lamella")
    if has_store:
        (bench.root / ".git" / "lamella" / "packs").mkdir(parents=True)
    with bench.repository() as repository:
        found = blame(repository, f"HEAD:{MODEL}", ["h.1.up.weight"]).tensors[0]
        told = history(repository, f"HEAD:{MODEL}", "h.1.up.weight").versions
    assert found.sources[0].measures is None
    assert [(one.commit.subject, one.measures, one.norm) for one in told] == [("two", None, None), ("one", None, None)]


@pytest.mark.parametrize("edited", ["i64 [48,16]", "f32 [0,32]", "f32 [24,32]"])
def test_a_version_that_lists_what_its_file_has_not_leaves_the_others_known(bench: Workbench, edited: str) -> None:
    first = blocks(2)
    second = trained(first, ["h.1.up.weight"])
    bench.commit(MODEL, file(first), "one")
    bench.commit(MODEL, file(second), "two")
    text = bench.git("show", f"HEAD:{MODEL}") + "\n"
    entry = bench.git("hash-object", "-w", "--stdin", given=text.replace("f32 [48,32]", edited, 1))
    bench.git("update-index", "--cacheinfo", f"100644,{entry},{MODEL}")
    bench.git("commit", "--quiet", "-m", "edited by hand")
    bench.commit(MODEL, file(second), "repaired")
    with bench.repository() as repository:
        told = blame(repository, f"HEAD~1:{MODEL}")
        newest = history(repository, f"HEAD:{MODEL}", "h.0.up.weight").versions[0]
    subjects = {commit.commit: commit.subject for commit in told.commits}
    assert [subjects[one.commit] for one in told.tensors] == ["edited by hand", "one", "two", "one"]
    assert newest.commit.subject == "repaired"
    assert newest.norm == pytest.approx(float(np.linalg.norm(first["h.0.up.weight"].astype("f8"))))


def test_the_history_of_a_tensor_has_its_norm_and_every_step(bench: Workbench, repository: Repository) -> None:
    arrays, name = blocks(2), "h.0.up.weight"
    versions = [arrays]
    bench.commit(MODEL, file(arrays), "0")
    for number in range(1, 5):
        arrays = trained(arrays, [name] if number != 3 else ["h.1.up.weight"], number)
        versions.append(arrays)
        bench.commit(MODEL, file(arrays), str(number))
    told = history(repository, f"HEAD:{MODEL}", name).versions
    assert [one.commit.subject for one in told] == ["4", "2", "1", "0"]
    assert [one.norm for one in told] == pytest.approx(
        [float(np.linalg.norm(versions[n][name].astype("f8"))) for n in (4, 2, 1, 0)], rel=1e-12
    )
    assert told[-1].measures is None and told[-1].source is None
    steps = [np.abs(versions[n][name].astype("f8") - versions[n - 1][name].astype("f8")).mean() for n in (4, 2, 1)]
    assert [one.measures.mean_absolute for one in told[:-1]] == pytest.approx(steps, rel=1e-12)


def test_the_norm_of_a_tensor_that_grew_is_that_of_all_of_it(bench: Workbench, repository: Repository) -> None:
    first = {**blocks(2), "wte.weight": np.random.default_rng(3).normal(0, 0.02, (100, 32)).astype("f4")}
    rows = np.random.default_rng(4).normal(0, 0.02, (40, 32)).astype("f4")
    second = {**first, "wte.weight": np.concatenate([first["wte.weight"], rows])}
    bench.commit(MODEL, file(first), "one")
    bench.commit(MODEL, file(second), "two")
    grown, new = history(repository, f"HEAD:{MODEL}", "wte.weight").versions
    assert (grown.shape, grown.measures.mean_absolute) == ((140, 32), 0)
    assert [grown.norm, new.norm] == pytest.approx(
        [float(np.linalg.norm(one["wte.weight"].astype("f8"))) for one in (second, first)], rel=1e-12
    )


def test_a_version_that_cannot_be_read_is_told(bench: Workbench, repository: Repository) -> None:
    first = blocks(1)
    bench.commit(MODEL, file(first), "one")
    good = bench.git("show", f"HEAD:{MODEL}")
    bench.write(MODEL, b"lamella manifest 999\n")
    bench.git("commit", "--quiet", "--all", "-m", "broken")
    broken = bench.git("rev-parse", "HEAD")
    bench.write(MODEL, f"{good}\n".encode())
    bench.git("commit", "--quiet", "--all", "-m", "mended")
    assert blame(repository, f"HEAD:{MODEL}").unread == (broken,)
    assert history(repository, f"HEAD:{MODEL}", "h.0.up.weight").unread == (broken,)
    assert "cannot be read" in bench.try_lamella("blame", f"HEAD:{MODEL}").err
