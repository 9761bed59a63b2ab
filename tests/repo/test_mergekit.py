"""mergekit's configurations are read as they are documented, and what is no recipe is refused by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.core.errors import FormatError, UsageError
from lamella.model.merging.recipe import Case, Recipe, Slice, Source, value_of
from lamella.repo.mergekit import read_recipe

LEVELS = b"""\
slices:
  - sources:
      - model: base
        layer_range: [0, 4]
      - model: tuned@v2
        layer_range: [0, 4]
        parameters:
          weight: 4
    parameters:
      weight: 3
      density:
        - filter: mlp
          value: [0, 1]
merge_method: ties
base_model: base
parameters:
  weight: 1
  density: [.2, 6e-1]
  normalize: yes
out_dtype: torch.bfloat16
dtype: float32
"""


def _plain(value: float) -> tuple[Case, ...]:
    return (Case(None, (value,)),)


def test_a_recipe_becomes_a_value():
    tuned = Source("tuned@v2", (0, 4), {"weight": _plain(4.0)})
    part = Slice((Source("base", (0, 4)), tuned), None, {"weight": _plain(3.0), "density": (Case("mlp", (0.0, 1.0)),)})
    common = {"weight": _plain(1.0), "density": (Case(None, (0.2, 0.6)),), "normalize": _plain(1.0)}
    assert read_recipe(LEVELS) == Recipe("ties", (part,), "base", (common,), "bf16")


def test_the_nearest_level_that_fits_decides():
    recipe = read_recipe(LEVELS)
    part = recipe.slices[0]
    levels = [(source.parameters, part.parameters, *recipe.parameters) for source in part.sources]
    assert [value_of(one, "weight", "layers.1.mlp.up", 0.5) for one in levels] == [3.0, 4.0]
    assert value_of(levels[0], "density", "layers.1.mlp.up", 0.25) == 0.25
    assert value_of(levels[0], "density", "layers.1.attention.q", 0.25) == pytest.approx(0.3)
    assert value_of(levels[0], "normalize", "x", 0) == 1.0
    assert value_of(levels[0], "lambda", "x", 0) is None


@pytest.mark.parametrize("depth", [0, 0.1, 1 / 3, 0.5, 0.77, 1])
def test_a_gradient_is_interpolated_between_its_neighbours(depth):
    gradient = (0.0, 0.5, 0.3, 0.7, 1.0)
    steps = [0, 0.25, 0.5, 0.75, 1]
    at = max(number for number, step in enumerate(steps) if step <= depth)
    expected = gradient[-1]
    if at < 4:
        expected = gradient[at] + (depth - steps[at]) / 0.25 * (gradient[at + 1] - gradient[at])
    assert Case(None, gradient).at(depth) == pytest.approx(expected)


def test_a_module_is_a_level_of_its_own():
    text = b"modules: {decoder: {models: [{model: a}], parameters: {scale: 2}}}\nmerge_method: passthrough"
    recipe = read_recipe(text + b"\nparameters: {scale: 3}")
    assert recipe.slices == (Slice((Source("a"),)),)
    assert value_of(recipe.parameters, "scale", "x", 0) == 2.0


def test_models_are_named_once_and_revisions_may_be_spelled_out():
    text = b"models: [{model: {path: m, revision: v1}}, {model: b}]\nbase_model: {model: {path: c}}\nmerge_method: ties"
    assert read_recipe(text).models() == ("m@v1", "b", "c")
    assert read_recipe(LEVELS).models() == ("base", "tuned@v2")


def test_what_does_not_change_weights_is_a_warning():
    text = b"models: [{model: a}]\nmerge_method: linear\ntokenizer: {source: union}\nchat_template: auto"
    assert [one.split()[1] for one in read_recipe(text).warnings] == ["tokenizer", "chat"]
    assert len(read_recipe(b"models: [{model: a}]\nmerge_method: linear\ntokenizer_source: base").warnings) == 1


def _with(**lines: str) -> bytes:
    whole = {"models": "[{model: a}, {model: b}]", "merge_method": "linear", **lines}
    return "".join(f"{key}: {value}\n" for key, value in whole.items() if value).encode()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "has to be a mapping"),
        (b"- a", "has to be a mapping"),
        (_with(merge_metod="x"), "no key 'merge_metod'"),
        (_with(merge_method=""), "merge_method has to be a text"),
        (_with(merge_method="[a]"), "merge_method has to be a text"),
        (_with(models=""), "has none of them"),
        (_with(slices="[{sources: [{model: a, layer_range: [0, 1]}]}]"), "models and slices"),
        (_with(models="a"), "a list with something in it"),
        (_with(models="[a]"), "models[0] has to be a mapping"),
        (_with(models="[{model: [a]}]"), "models[0].model has to be a text"),
        (_with(models='[{model: "a\\0b"}]'), "models[0].model has to be a text"),
        (_with(models="[{}]"), "models[0].model has to be a text"),
        (_with(models="[{model: a}, {model: a}]"), "names 'a' twice"),
        (_with(models="[{model: {path: a, lora: b}}]"), "an adapter"),
        (_with(models="[{model: a, weights: 1}]"), "no key 'weights'"),
        (_with(parameters="[1]"), "a mapping of parameters"),
        (_with(parameters="{weight: heavy}"), "not 'heavy'"),
        (_with(parameters="{weight: .inf}"), "not '.inf'"),
        (_with(parameters="{weight: 1e999}"), "not '1e999'"),
        (_with(parameters="{weight: []}"), "a list with something in it"),
        (_with(parameters="{weight: [[1]]}"), "has to be a number"),
        (_with(parameters="{weight: {filter: a, value: 1}}"), "has to be a number"),
        (_with(parameters="{weight: [{filter: a}]}"), "has to be a number"),
        (_with(parameters="{weight: [{filter: [a], value: 1}]}"), "the filter of weight"),
        (_with(parameters="{weight: [{values: 1}]}"), "no key 'values'"),
        (_with(parameters="{weight: [1, {value: 1}]}"), "has to be a mapping of filter, value"),
        (_with(dtype="int8"), "dtype cannot be 'int8'"),
        (_with(tokenizer="{tokens: {a: {source: b}}}"), "tokenizer.tokens"),
        (_with(tokenizer="{pad_to_multiple_of: 8}"), "tokenizer.pad_to_multiple_of"),
        (_with(models="", modules="{a: {models: [{model: a}]}, b: {models: [{model: a}]}}"), "one module"),
        (_with(models="", modules="{a: {}}"), "one of models and slices"),
        (_with(models="", slices="[{sources: []}]"), "a list with something in it"),
        (_with(models="", slices="[{sources: [{model: a}]}]"), "layer_range has to be two numbers"),
        (_with(models="", slices="[{sources: [{model: a, layer_range: [4, 4]}]}]"), "two numbers"),
        (_with(models="", slices="[{sources: [{model: a, layer_range: [0, -4]}]}]"), "two numbers"),
        (_with(models="", slices="[{sources: [{model: a, layer_range: [0, 99999999]}]}]"), "two numbers"),
        (
            _with(models="", slices="[{residual_weight: 1, sources: [{model: a, layer_range: [0, 4]}]}]"),
            "residual_weight",
        ),
        (
            _with(models="", slices="[{sources: [{model: a, layer_range: [0, 4]}, {model: b, layer_range: [0, 3]}]}]"),
            "3 and 4 layers",
        ),
        (_with(models="[" + ", ".join(f"{{model: m{n}}}" for n in range(65)) + "]"), "too many models"),
    ],
)
def test_what_is_no_recipe_is_refused_by_name(text, said):
    with pytest.raises(UsageError) as caught:
        read_recipe(text)
    assert caught.value.kind == "bad-argument"
    assert said in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        b"models: &m [{model: a}]\nslices: *m",
        b"a: &a [x]\nb: &b [*a, *a]\nc: &c [*b, *b]",
        b"models: !!python/object/apply:os.system ['true']",
        b"merge_method: !!python/name:os.system",
        b"<<: {merge_method: linear}",
        b"parameters: {weight: " + b"[" * 5000,
        b"\xff\xfe",
        b"merge_method: linear\n---\nmerge_method: ties",
        b"x: " + b"y" * (2 << 20),
    ],
)
def test_what_is_more_than_plain_yaml_is_refused(text):
    with pytest.raises(FormatError) as caught:
        read_recipe(text)
    assert caught.value.kind == "header-malformed"
    assert caught.value.hint


NODES = st.recursive(
    st.sampled_from(["linear", "0.5", "[0, 1]", "~", "model", "a@b", "{}", "[]", "true", "-1", "'x'"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[" + ", ".join(items) + "]"),
        st.dictionaries(
            st.sampled_from(["model", "parameters", "weight", "filter", "value", "sources", "layer_range", "tokens"]),
            inner,
            max_size=3,
        ).map(lambda items: "{" + ", ".join(f"{key}: {value}" for key, value in items.items()) + "}"),
    ),
    max_leaves=8,
)
KEYS = [
    "models",
    "slices",
    "modules",
    "merge_method",
    "base_model",
    "parameters",
    "dtype",
    "tokenizer",
    "chat_template",
]


@given(st.dictionaries(st.sampled_from(KEYS), NODES, max_size=5))
def test_nothing_else_escapes(lines):
    text = "".join(f"{key}: {value}\n" for key, value in lines.items())
    try:
        assert isinstance(read_recipe(text.encode()), Recipe)
    except (UsageError, FormatError) as exc:
        assert len(exc.message) < 400
