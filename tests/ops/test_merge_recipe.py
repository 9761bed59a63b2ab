"""Models made by recipes: what every tensor becomes, held against NumPy, and what is refused before it is made."""

from __future__ import annotations

import json
import re
from itertools import permutations
from pathlib import Path

import ml_dtypes
import numpy
import pytest
from safetensors.numpy import load_file, save, save_file

from lamella.core.errors import ConflictError, NotFoundError, UsageError
from lamella.ops.load import load
from lamella.ops.merge_recipe import RECIPE, merge_recipe

LAYERS = 4
LAYER = {"self_attn.q_proj.weight": (6, 6), "mlp.up_proj.weight": (5, 6), "input_layernorm.weight": (6,)}


def decoder(seed: int, layers: int = LAYERS, dtype: object = numpy.float32) -> dict[str, numpy.ndarray]:
    """Return a small decoder, its names as those of Llama."""
    draw = numpy.random.default_rng(seed)
    shapes = {"model.embed_tokens.weight": (7, 6)}
    shapes |= {f"model.layers.{n}.{name}": shape for n in range(layers) for name, shape in LAYER.items()}
    shapes |= {"model.norm.weight": (6,), "lm_head.weight": (7, 6)}
    return {name: draw.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}


A, B, C = decoder(1), decoder(2), decoder(3)


@pytest.fixture
def work(tmp_path) -> Path:
    """Return a folder with three models."""
    for name, tensors in (("a", A), ("b", B), ("base", C)):
        save_file(tensors, tmp_path / f"{name}.safetensors", {"format": "pt"})
    return tmp_path


def made(work: Path, text: str, **options: object) -> dict[str, numpy.ndarray]:
    """Return the tensors that a recipe makes."""
    merge_recipe(text.encode(), Path("out.safetensors"), work, force=True, **options)
    return load_file(work / "out.safetensors")


def layer_of(name: str) -> int | None:
    found = re.search(r"layers\.(\d+)\.", name)
    return None if found is None else int(found[1])


def weighted(pairs: list[tuple[float, numpy.ndarray]], normalize: bool = True) -> numpy.ndarray:
    total = sum(weight * tensor.astype(numpy.float64) for weight, tensor in pairs)
    return (total / sum(weight for weight, _ in pairs) if normalize else total).astype(numpy.float32)


def agree(found: dict[str, numpy.ndarray], expected: dict[str, numpy.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        numpy.testing.assert_allclose(found[name], tensor, rtol=2e-7, atol=1e-12, err_msg=name)


def test_weights_of_all_levels_with_gradients_and_filters(work):
    text = """
models:
  - model: a.safetensors
    parameters:
      weight:
        - {filter: self_attn, value: [0, 0.5, 0.3, 0.7, 1]}
        - {filter: layernorm, value: 2}
  - model: b.safetensors
    parameters: {weight: [1, 0]}
merge_method: linear
parameters: {weight: 3}
"""

    def gradient(points: list[float], layer: int | None) -> float:
        depth = 0.0 if layer is None else layer / (LAYERS - 1)
        return float(numpy.interp(depth, numpy.linspace(0, 1, len(points)), points))

    def weight(name: str) -> float:
        if "self_attn" in name:
            return gradient([0, 0.5, 0.3, 0.7, 1], layer_of(name))
        return 2.0 if "layernorm" in name else 3.0

    expected = {n: weighted([(weight(n), A[n]), (gradient([1, 0], layer_of(n)), B[n])]) for n in A}
    agree(made(work, text), expected)


def test_a_sum_need_not_be_divided(work):
    text = _linear("a", "b").replace("weight: 1", "weight: .75, normalize: false")
    agree(made(work, text), {name: weighted([(0.75, A[name]), (0.75, B[name])], normalize=False) for name in A})


def test_layers_are_put_upon_each_other(work):
    text = """
slices:
  - sources: [{model: a.safetensors, layer_range: [0, 3]}]
  - sources: [{model: b.safetensors, layer_range: [1, 3]}]
  - sources: [{model: a.safetensors, layer_range: [3, 4]}]
merge_method: passthrough
"""
    taken = [(A, 0), (A, 1), (A, 2), (B, 1), (B, 2), (A, 3)]
    expected = {
        f"model.layers.{n}.{rest}": model[f"model.layers.{k}.{rest}"]
        for n, (model, k) in enumerate(taken)
        for rest in LAYER
    }
    expected |= {name: A[name] for name in ("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight")}
    report = merge_recipe(text.encode(), None, work)
    assert all(one.strategy is None for one in report.tensors)
    found = made(work, text)
    assert found.keys() == expected.keys()
    assert all(found[name].tobytes() == tensor.tobytes() for name, tensor in expected.items())


def test_what_is_before_the_layers_is_the_first_slices_and_what_is_behind_the_last_ones(work):
    text = """
slices:
  - sources: [{model: b.safetensors, layer_range: [0, 1]}]
  - sources: [{model: a.safetensors, layer_range: [3, 4]}]
merge_method: passthrough
"""
    found = made(work, text)
    assert found["model.embed_tokens.weight"].tobytes() == B["model.embed_tokens.weight"].tobytes()
    for name in ("model.norm.weight", "lm_head.weight"):
        assert found[name].tobytes() == A[name].tobytes()


def test_slices_of_other_layers_are_merged(work):
    text = """
slices:
  - sources:
      - {model: a.safetensors, layer_range: [0, 3], parameters: {weight: [0, 1]}}
      - {model: b.safetensors, layer_range: [1, 4], parameters: {weight: [{filter: layers.1., value: 3}, {value: 1}]}}
merge_method: linear
"""
    found = made(work, text)
    for number, weight, other in ((0, 0.0, 3.0), (1, 0.5, 1.0), (2, 1.0, 1.0)):
        for rest in LAYER:
            mine, its = A[f"model.layers.{number}.{rest}"], B[f"model.layers.{number + 1}.{rest}"]
            expected = weighted([(weight, mine), (other, its)])
            numpy.testing.assert_allclose(found[f"model.layers.{number}.{rest}"], expected, rtol=2e-7, atol=1e-12)


def test_a_passed_model_is_scaled_and_cast(work):
    scale = "[{filter: o_proj, value: 0}, {filter: q_proj, value: -.5}]"
    text = f"{{models: [{{model: a.safetensors, parameters: {{scale: {scale}}}}}], merge_method: passthrough"
    text += ", dtype: bfloat16}"
    for name, tensor in made(work, text).items():
        expected = (A[name] * numpy.float32(-0.5 if "q_proj" in name else 1)).astype(ml_dtypes.bfloat16)
        assert tensor.tobytes() == expected.tobytes()


@pytest.mark.parametrize(("dtype", "numpy_dtype"), [("float16", "float16"), ("float32", "float32"), ("", None)])
def test_results_are_rounded_once(tmp_path, dtype, numpy_dtype):
    tensors = [decoder(seed, dtype=ml_dtypes.bfloat16) for seed in (1, 2)]
    for name, one in zip("ab", tensors, strict=True):
        save_file(one, tmp_path / f"{name}.safetensors")
    text = "{models: [{model: a.safetensors}, {model: b.safetensors}], merge_method: linear, parameters: {weight: 1}"
    found = made(tmp_path, f"{text}, out_dtype: {dtype}}}" if dtype else text + "}")
    for name, tensor in found.items():
        mean = (tensors[0][name].astype(numpy.float64) + tensors[1][name].astype(numpy.float64)) / 2
        assert tensor.tobytes() == mean.astype(numpy_dtype or ml_dtypes.bfloat16).tobytes()


def test_models_of_several_dtypes_need_to_be_told_one(tmp_path):
    save_file({"x": A["model.norm.weight"].astype(numpy.float16)}, tmp_path / "a.safetensors")
    save_file({"x": B["model.norm.weight"].astype(ml_dtypes.bfloat16)}, tmp_path / "b.safetensors")
    text = "{models: [{model: a.safetensors}, {model: b.safetensors}], merge_method: linear, parameters: {weight: 1}"
    with pytest.raises(UsageError, match="x has the dtypes bf16 and f16"):
        merge_recipe(f"{text}}}".encode(), None, tmp_path)
    halves = [A["model.norm.weight"].astype(numpy.float16), B["model.norm.weight"].astype(ml_dtypes.bfloat16)]
    mean = sum(half.astype(numpy.float64) for half in halves) / 2
    assert made(tmp_path, f"{text}, dtype: float16}}")["x"].tobytes() == mean.astype(numpy.float16).tobytes()


def test_the_same_file_comes_again_and_says_how_it_was_made(work):
    text = "{models: [{model: a.safetensors}, {model: b.safetensors}], merge_method: linear, parameters: {weight: 1}}"
    report = merge_recipe(text.encode(), Path("one.safetensors"), work)
    merge_recipe(text.encode(), Path("two.safetensors"), work)
    assert (work / "one.safetensors").read_bytes() == (work / "two.safetensors").read_bytes()
    swapped = (
        "{models: [{model: b.safetensors}, {model: a.safetensors}], merge_method: linear, parameters: {weight: 1}}"
    )
    assert merge_recipe(swapped.encode(), Path("three.safetensors"), work).written.model_id == report.written.model_id
    with load(work / "one.safetensors") as opened, load(work / "a.safetensors") as first:
        assert opened.model_id == report.written.model_id
        made = json.loads(opened.metadata()[RECIPE])
        assert (made["recipe"], made["inputs"]["a.safetensors"]) == (text, first.model_id)
        assert opened.metadata()["format"] == "pt"


def test_a_folder_gets_shards(work):
    text = "{models: [{model: a.safetensors}], merge_method: passthrough}"
    merge_recipe(text.encode(), Path("out"), work, shard_nbytes=500)
    assert (work / "out" / "model.safetensors.index.json").is_file()
    with load(work / "out") as opened, load(work / "a.safetensors") as whole:
        assert opened.files > 1
        assert opened.model_id == whole.model_id
    again = "{models: [{model: out}], merge_method: passthrough}"
    assert merge_recipe(again.encode(), None, work).inputs == {"out": whole.model_id}


def test_revisions_are_named_where_models_are(bench):
    bench.commit("m.safetensors", save(A))
    bench.git("tag", "v1")
    bench.commit("m.safetensors", save(B))
    ids = set()
    for name in ("v1", "v1:m.safetensors", "m.safetensors@v1", "HEAD~1", "HEAD~1:./m.safetensors"):
        report = merge_recipe(
            f"{{models: [{{model: '{name}'}}], merge_method: passthrough}}".encode(), None, bench.root
        )
        ids.add(report.inputs[name])
    with load("v1:m.safetensors", repo=bench.root) as opened:
        assert ids == {opened.model_id}
    text = (
        "{models: [{model: m.safetensors}, {model: m.safetensors@v1}], merge_method: linear, parameters: {weight: 1}}"
    )
    agree(made(bench.root, text), {name: weighted([(1, A[name]), (1, B[name])]) for name in A})


@pytest.mark.parametrize(
    ("name", "hint"),
    [("org/model", "nothing is downloaded"), ("nothing", "a file of a revision"), ("x.safetensors@v9", None)],
)
def test_a_model_that_is_not_here_is_not_downloaded(bench, name, hint):
    with pytest.raises(NotFoundError) as caught:
        merge_recipe(f"{{models: [{{model: {name}}}], merge_method: passthrough}}".encode(), None, bench.root)
    assert hint is None or hint in caught.value.hint


def test_integers_are_kept_where_they_are_equal_and_never_averaged(tmp_path):
    steps = numpy.arange(4)
    for name, last in (("a", steps), ("b", steps), ("c", steps + 1)):
        save_file({"ids": last, "x": numpy.ones(3, numpy.float32) * len(name)}, tmp_path / f"{name}.safetensors")
    assert made(tmp_path, _linear("a", "b"))["ids"].tolist() == steps.tolist()
    with pytest.raises(UsageError, match="ids is i64, which no formula takes"):
        made(tmp_path, _linear("a", "c"))


def test_counters_of_batches_become_the_largest(tmp_path):
    for name, seen in (("a", 3), ("b", 7)):
        tensors = {"bn.num_batches_tracked": numpy.array(seen), "x": numpy.ones(3, numpy.float32)}
        save_file(tensors, tmp_path / f"{name}.safetensors")
    assert made(tmp_path, _linear("a", "b"))["bn.num_batches_tracked"].tolist() == 7


def test_the_order_of_models_means_nothing_where_two_hold_the_same(tmp_path):
    draw = numpy.random.default_rng(0)
    same, other = (draw.standard_normal(500).astype(numpy.float32) for _ in range(2))
    for name, values in (("a", same), ("b", same), ("c", other)):
        save_file({"x": values}, tmp_path / f"{name}.safetensors")
    parts = [
        f"{{model: {name}.safetensors, parameters: {{weight: {w}}}}}"
        for name, w in zip("abc", (0.1, 0.7, 0.3), strict=True)
    ]
    found = [
        made(tmp_path, f"{{models: [{', '.join(order)}], merge_method: linear, parameters: {{normalize: false}}}}")["x"]
        for order in permutations(parts)
    ]
    assert len({one.tobytes() for one in found}) == 1


def test_what_a_narrower_dtype_cannot_hold_is_refused_with_the_way_out(work):
    save_file({**A, "model.norm.weight": A["model.norm.weight"] * 0 + 1e6}, work / "a.safetensors")
    with pytest.raises(ConflictError, match=r"model\.norm\.weight: 6 elements would not be finite") as caught:
        made(work, _linear("a", "b", dtype="float16"))
    assert "a wider `dtype:` holds what overflows" in caught.value.hint
    assert not (work / "out.safetensors").exists()


def test_directions_that_have_no_mean_are_refused_with_another_way_out(work):
    save_file({name: -tensor for name, tensor in A.items()}, work / "b.safetensors")
    text = "models: [{model: a.safetensors}, {model: b.safetensors}]\nmerge_method: karcher\n"
    with pytest.raises(ConflictError) as caught:
        made(work, text)
    assert caught.value.hint == "nothing was written; choose another `merge_method:` for it"


def test_values_that_are_not_finite_stop_the_merge(work):
    broken = {name: tensor.copy() for name, tensor in B.items()}
    broken["model.layers.2.mlp.up_proj.weight"][1, 1] = numpy.nan
    save_file(broken, work / "b.safetensors")
    text = "{models: [{model: a.safetensors}, {model: b.safetensors}], merge_method: linear, parameters: {weight: 1}}"
    with pytest.raises(ConflictError, match=r"layers\.2\.mlp"):
        merge_recipe(text.encode(), Path("out.safetensors"), work)
    assert sorted(one.name for one in work.iterdir()) == ["a.safetensors", "b.safetensors", "base.safetensors"]


def _linear(*models: str, **more: str) -> str:
    listed = ", ".join(f"{{model: {one}.safetensors}}" for one in models)
    rest = "".join(f", {key}: {value}" for key, value in more.items())
    return f"{{models: [{listed}], merge_method: linear, parameters: {{weight: 1}}{rest}}}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{models: [{model: a.safetensors}], merge_method: liniar}", "'liniar' is not one"),
        ("{models: [{model: a.safetensors}], merge_method: arcee_fusion}", "'arcee_fusion' is not one"),
        ("{models: [{model: a.safetensors}], merge_method: linear}", "needs 'weight'"),
        (
            "{models: [{model: a.safetensors}], merge_method: linear, parameters: {weight: {filter: a, value: 1}}}",
            "has to be a number",
        ),
        (
            "{models: [{model: a.safetensors, parameters: {wieght: 1}}], merge_method: passthrough}",
            "no parameter 'wieght'",
        ),
        (
            "{models: [{model: a.safetensors}, {model: b.safetensors}], merge_method: passthrough}",
            "merges at most 1 models",
        ),
        (_linear("a", "b", base_model="base.safetensors"), "has no base"),
        (
            _linear("a", "b", parameters="{weight: 1, normalize: 2}").replace("{weight: 1}, parameters: ", ""),
            "cannot be 2",
        ),
        (_linear("a", "fewer"), "fewer.safetensors has no tensor 'lm_head.weight'"),
        (_linear("fewer", "a"), "fewer.safetensors has no tensor 'lm_head.weight'"),
        (_linear("a", "wider"), "model.embed_tokens.weight has the shapes [7,6] and [9,6]"),
        (
            "{slices: [{sources: [{model: a.safetensors, layer_range: [0, 5]}]}], merge_method: passthrough}",
            "a.safetensors has no layer 4",
        ),
        (
            "{slices: [{sources: [{model: flat.safetensors, layer_range: [0, 1]}]}], merge_method: passthrough}",
            "no layers with numbers",
        ),
        (
            "{slices: [{sources: [{model: two.safetensors, layer_range: [0, 1]}]}], merge_method: passthrough}",
            "more than one stack of them: decoder. and encoder.",
        ),
    ],
)
def test_what_cannot_be_followed_is_refused_before_anything_is_made(work, text, said):
    save_file({name: tensor for name, tensor in A.items() if name != "lm_head.weight"}, work / "fewer.safetensors")
    wide = numpy.zeros((9, 6), numpy.float32)
    save_file({**A, "model.embed_tokens.weight": wide}, work / "wider.safetensors")
    save_file({"weight": wide}, work / "flat.safetensors")
    save_file({f"{one}.{n}.w": wide for one in ("encoder", "decoder") for n in range(2)}, work / "two.safetensors")
    before = sorted(one.name for one in work.iterdir())
    with pytest.raises(UsageError) as caught:
        merge_recipe(text.encode(), Path("out"), work)
    assert said in caught.value.message
    assert caught.value.hint
    assert sorted(one.name for one in work.iterdir()) == before


def test_shapes_are_held_against_each_other_before_a_file_is_hashed(work, monkeypatch):
    save_file({**A, "lm_head.weight": numpy.zeros((9, 6), numpy.float32)}, work / "wider.safetensors")
    monkeypatch.setattr("lamella.repo.disk_model_file.identify_file", None)
    with pytest.raises(UsageError, match=r"lm_head\.weight has the shapes"):
        merge_recipe(_linear("a", "wider").encode(), Path("out"), work)


def test_few_lines_do_not_make_millions_of_tensors(work):
    text = "slices:\n" + "  - sources: [{model: a.safetensors, layer_range: [0, 4]}]\n" * 12
    report = merge_recipe((text + "merge_method: passthrough\n").encode(), None, work)
    assert len(report.tensors) == 12 * LAYERS * len(LAYER) + 3
    text = "slices:\n" + "  - sources: [{model: a.safetensors, layer_range: [0, 999999]}]\n"
    with pytest.raises(UsageError, match="no layer 4"):
        merge_recipe((text + "merge_method: passthrough\n").encode(), None, work)
