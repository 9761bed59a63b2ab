"""Conversions and rearrangements of a model cost next to nothing, and outlive the file that they were made of."""

from __future__ import annotations

import ml_dtypes
import numpy
import pytest

from lamella.core.dtypes import DTYPES
from lamella.core.tensors import TensorSpec
from lamella.formats.safetensors.header import build_header
from lamella.ops.gc import gc
from lamella.repo.manifest import parse_manifest
from tests.e2e.test_collecting import forget
from tests.e2e.workbench import Workbench

Arrays = dict[str, numpy.ndarray]
NAMES = {"float64": "f64", "float32": "f32", "float16": "f16", "bfloat16": "bf16"}
MODEL = "model.safetensors"


def file(arrays: Arrays) -> bytes:
    specs = [TensorSpec(name, DTYPES[NAMES[array.dtype.name]], array.shape) for name, array in arrays.items()]
    return build_header(specs) + b"".join(numpy.ascontiguousarray(array).tobytes() for array in arrays.values())


def network(seed: int = 0) -> Arrays:
    """Return a transformer of two layers whose vocabulary does not fill its last chunk."""
    random = numpy.random.default_rng(seed)
    shapes = {"embed": (403, 192)}
    for layer in range(2):
        at = f"model.layers.{layer}"
        shapes |= {
            f"{at}.attn.q.weight": (192, 192),
            f"{at}.attn.k.weight": (64, 192),
            f"{at}.attn.v.weight": (64, 192),
        }
        shapes |= {f"{at}.up.weight": (512, 192), f"{at}.down.weight": (192, 512), f"{at}.norm.weight": (192,)}
    made = {name: (random.normal(size=shape) / 50).astype(numpy.float32) for name, shape in shapes.items()}
    made["model.layers.0.up.weight"].reshape(-1)[:6] = (-0.0, numpy.inf, -numpy.inf, 1e-40, 65520.0, 2.0**-25)
    return made


def cast(arrays: Arrays, dtype: type) -> Arrays:
    with numpy.errstate(over="ignore"):
        return {name: array.astype(dtype) for name, array in arrays.items()}


def stored_nbytes(bench: Workbench) -> int:
    return sum(path.stat().st_size for path in (bench.root / ".git/lamella/packs").iterdir())


def added(bench: Workbench, path: str, content: bytes) -> int:
    """Add and commit a file with the program and return by how many bytes the store grew."""
    before = stored_nbytes(bench)
    bench.write(path, content)
    bench.lamella("add", path)
    bench.git("commit", "--quiet", "-m", path)
    return stored_nbytes(bench) - before


def collect_without(bench: Workbench, path: str) -> None:
    """Remove a file and the history that had it, and collect all that nothing needs."""
    bench.git("rm", "--quiet", "--cached", path)
    (bench.root / path).unlink()
    bench.git("commit", "--quiet", "-m", "without")
    alone = bench.git("commit-tree", "HEAD^{tree}", "-m", "start anew")
    bench.git("reset", "--quiet", "--hard", alone)
    forget(bench)
    with bench.repository() as repository:
        gc(repository, grace_seconds=0)


def restored(bench: Workbench, path: str) -> bytes:
    (bench.root / path).unlink()
    bench.lamella("checkout", "HEAD", "--", path)
    return bench.read(path)


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, numpy.float16, numpy.float64], ids=lambda dtype: dtype.__name__)
def test_a_conversion_beside_the_model_costs_next_to_nothing(bench, dtype):
    content, converted = file(network()), file(cast(network(), dtype))
    assert added(bench, MODEL, content) > 500_000
    assert added(bench, "converted.safetensors", converted) < 8000
    collect_without(bench, MODEL)
    assert restored(bench, "converted.safetensors") == converted
    assert "everything is sound" in bench.lamella("fsck")


def test_a_conversion_of_the_next_version_is_made_of_that(bench):
    for seed in range(2):
        added(bench, MODEL, file(network(seed)))
        half = file(cast(network(seed), ml_dtypes.bfloat16))
        assert added(bench, "half.safetensors", half) < 8000
        assert restored(bench, "half.safetensors") == half


def test_a_conversion_in_place_leans_on_the_version_before(bench):
    added(bench, MODEL, file(network()))
    half = file(cast(network(), ml_dtypes.bfloat16))
    assert added(bench, MODEL, half) < 8000
    bench.git("checkout", "--quiet", "HEAD~1")
    assert bench.read(MODEL) == file(network())
    bench.git("checkout", "--quiet", "-")
    assert bench.read(MODEL) == half


def test_files_of_one_command_and_of_plain_git_are_made_of_each_other(bench):
    half = file(cast(network(), ml_dtypes.bfloat16))
    bench.write("a.safetensors", file(network()))
    bench.write("b.safetensors", half)
    bench.lamella("add", ".")
    nbytes = stored_nbytes(bench)
    bench.git("commit", "--quiet", "-m", "both")
    single = file(cast(network(), numpy.float16))
    bench.write("deep/c.safetensors", single)
    bench.git("add", "deep")
    assert (nbytes < len(file(network())), stored_nbytes(bench) - nbytes < 8000) == (True, True)
    bench.git("commit", "--quiet", "-m", "third")
    assert [restored(bench, "b.safetensors"), restored(bench, "deep/c.safetensors")] == [half, single]


def fused(arrays: Arrays) -> Arrays:
    made = {"embed": numpy.concatenate([arrays["embed"], numpy.zeros((45, 192), numpy.float32)])}
    for layer in range(2):
        at = f"model.layers.{layer}"
        made[f"{layer}.qkv"] = numpy.concatenate([arrays[f"{at}.attn.{part}.weight"] for part in "qkv"])
        made[f"{layer}.kernel"] = arrays[f"{at}.up.weight"].T
    return made


def test_fused_padded_and_transposed_tensors_are_made_of_the_others(bench):
    added(bench, MODEL, file(network()))
    made = file(fused(network()))
    assert added(bench, "fused.safetensors", made) < 4000
    collect_without(bench, MODEL)
    assert restored(bench, "fused.safetensors") == made
    assert "everything is sound" in bench.lamella("fsck")


def shard(arrays: Arrays, number: int) -> Arrays:
    """Return one of two shards: of `down` the columns are shared out, of everything else the rows."""
    found = {}
    for name, array in arrays.items():
        axis = 1 if "down" in name else 0
        found[name] = array if len(array) % 2 else numpy.split(array, 2, axis)[number]
    return found


def test_shards_of_another_width_are_made_of_the_whole(bench):
    added(bench, MODEL, file(network()))
    shards = {f"shard-{number}.safetensors": file(cast(shard(network(), number), numpy.float16)) for number in range(2)}
    for path, content in shards.items():
        assert added(bench, path, content) < 8000
    collect_without(bench, MODEL)
    for path, content in shards.items():
        assert restored(bench, path) == content


def test_a_vocabulary_grown_by_seven_rows_costs_seven_rows(bench):
    arrays = network()
    added(bench, MODEL, file(arrays))
    more = numpy.random.default_rng(9).normal(size=(7, 192)).astype(numpy.float32)
    grown = file(arrays | {"embed": numpy.concatenate([arrays["embed"], more])})
    assert added(bench, MODEL, grown) < 2 * more.nbytes
    assert restored(bench, MODEL) == grown
    added(bench, MODEL, file(arrays | {"embed": arrays["embed"][:-20] * 2}))
    assert parse_manifest(bench.blob(f"HEAD~1:{MODEL}")).rows[0].spec.shape == (410, 192)
    assert "everything is sound" in bench.lamella("fsck")


def test_a_tensor_that_was_converted_and_then_trained_is_stored_as_a_delta_on_it(bench):
    added(bench, MODEL, file(network()))
    half = cast(network(), ml_dtypes.bfloat16)
    added(bench, "half.safetensors", file(half))
    trained = {name: array.copy() for name, array in half.items()}
    for array in trained.values():
        array.reshape(-1)[::10] *= ml_dtypes.bfloat16(1.01)
    assert added(bench, "half.safetensors", file(trained)) < 0.3 * len(file(trained))
    collect_without(bench, MODEL)
    assert restored(bench, "half.safetensors") == file(trained)


def test_a_damaged_source_is_told_and_repaired_from_the_file_that_is_left(bench):
    arrays = network()
    added(bench, MODEL, file(arrays))
    pack = max((bench.root / ".git/lamella/packs").iterdir(), key=lambda path: path.stat().st_size)
    added(bench, "half.safetensors", file(cast(arrays, ml_dtypes.bfloat16)))
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 4
    pack.chmod(0o644)
    pack.write_bytes(data)
    ended = bench.try_lamella("fsck")
    assert ended.code == 5
    assert all(path in ended.out + ended.err for path in (MODEL, "half.safetensors"))
    bench.lamella("fsck", "--repair")
    assert "everything is sound" in bench.lamella("fsck")
    assert restored(bench, "half.safetensors") == file(cast(arrays, ml_dtypes.bfloat16))
