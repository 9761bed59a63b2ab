"""Reading a recipe as mergekit's configurations have it: YAML text becomes a value, or is refused by name.

The format is described in mergekit's README and `docs/merge_methods.md`. What is asked for beside weights, as
tokenizers are, becomes a warning where the weights do not depend on it, and is refused where they do.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from difflib import get_close_matches

from lamella.core.errors import UsageError
from lamella.core.limits import MAX_MERGED_MODELS
from lamella.model.merging.recipe import Case, Parameters, Recipe, Setting, Slice, Source
from lamella.repo.yaml_nodes import Node, parse_yaml

_KEYS = (
    *("models", "slices", "modules", "merge_method", "base_model", "parameters", "dtype", "out_dtype"),
    *("tokenizer", "tokenizer_source", "chat_template"),
)
_DTYPES = {"float16": "f16", "bfloat16": "bf16", "float32": "f32", "float64": "f64"}
_TRUE, _FALSE = ("true", "yes", "on"), ("false", "no", "off")
_NUMBER = re.compile(r"[-+]?(\d{1,18}(\.\d{0,18})?|\.\d{1,18})([eE][-+]?\d{1,3})?", re.ASCII)
_NAMED = "the name of a model on disk, REV:PATH or PATH@REV"
_GROUPS = "merge some of them first, and the results then"
_LAYER = re.compile(r"\d{1,6}", re.ASCII)


def read_recipe(data: bytes) -> Recipe:
    """Return the recipe that a configuration of mergekit's is.

    Raises FormatError (header-malformed) for what is no plain YAML, and UsageError (bad-argument) for keys and values
    that a recipe does not have, and for what Lamella does not do.
    """
    top = _mapping(parse_yaml(data), "a recipe", _KEYS)
    method = _text(top.get("merge_method"), "merge_method", "say `merge_method: linear`, for example")
    given = [key for key in ("models", "slices", "modules") if top.get(key)]
    if len(given) != 1:
        found = f"this has {' and '.join(given)}" if given else "this has none of them"
        raise _refused(
            f"a recipe has one of models, slices and modules, and {found}", "list what it takes in `models:`"
        )
    parameters: tuple[Parameters, ...] = (_parameters(top.get("parameters"), "parameters"),)
    body = top
    if given == ["modules"]:
        body, own = _module(top["modules"])
        parameters = (own, *parameters)
    base = _model(top["base_model"], "base_model") if top.get("base_model") else None
    recipe = Recipe(method, _slices(body), base, parameters, _dtype(top), _warnings(top))
    if len(recipe.models()) > MAX_MERGED_MODELS:
        raise _refused(f"it names {len(recipe.models())} models, more than {MAX_MERGED_MODELS}", _GROUPS)
    return recipe


def _refused(message: str, hint: str) -> UsageError:
    return UsageError(message, kind="bad-argument", hint=hint)


def _mapping(node: Node, what: str, keys: Collection[str]) -> dict[str, Node]:
    """Return a mapping that has no other keys than these."""
    if not isinstance(node, dict):
        raise _refused(f"{what} has to be a mapping of {', '.join(keys)}", "write each behind its key, as `key: value`")
    for key in node:
        if key not in keys:
            close = get_close_matches(key[:40], keys, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"one of {', '.join(keys)}"
            raise _refused(f"{what} has no key {key[:40]!r}", hint)
    return node


def _list(node: Node, what: str) -> list[Node]:
    if not isinstance(node, list) or not node:
        raise _refused(f"{what} has to be a list with something in it", "begin each of its lines with a dash")
    return node


def _text(node: Node, what: str, hint: str) -> str:
    if not isinstance(node, str) or not node or "\0" in node:
        raise _refused(f"{what} has to be a text", hint)
    return node


def _model(node: Node, what: str) -> str:
    """Return how a model is called; a mapping of its path and revision is spelled as PATH@REV."""
    if isinstance(node, dict):
        whole = _mapping(node, what, ("model", "path", "revision", "lora", "override_architecture"))
        if whole.get("lora"):
            raise _refused(f"{what} puts an adapter on a model", "merge the adapter into the model first")
        if "model" in whole:
            return _model(whole["model"], what)
        path = _text(whole.get("path"), f"{what}.path", _NAMED)
        return f"{path}@{_text(whole['revision'], f'{what}.revision', _NAMED)}" if whole.get("revision") else path
    return _text(node, what, _NAMED)


def _module(node: Node) -> tuple[dict[str, Node], Parameters]:
    """Return the one module of a model, and what goes for it."""
    if not isinstance(node, dict) or len(node) != 1:
        said = "modules has to be a mapping of one module: models of several are merged as a whole only"
        raise _refused(said, "leave out `modules:` and list the models in `models:`")
    [(name, inner)] = node.items()
    body = _mapping(inner, f"modules.{name[:40]}", ("models", "slices", "parameters"))
    if bool(body.get("models")) == bool(body.get("slices")):
        raise _refused(f"modules.{name[:40]} has one of models and slices", "list what it takes in one of them")
    return body, _parameters(body.get("parameters"), f"modules.{name[:40]}.parameters")


def _slices(body: dict[str, Node]) -> tuple[Slice, ...]:
    if body.get("models"):
        sources = [_source(one, f"models[{n}]", ranged=False) for n, one in enumerate(_list(body["models"], "models"))]
        return (Slice(_different(sources, "models")),)
    return tuple(_slice(one, f"slices[{number}]") for number, one in enumerate(_list(body["slices"], "slices")))


def _slice(node: Node, what: str) -> Slice:
    whole = _mapping(node, what, ("sources", "base_model", "parameters", "residual_weight"))
    if whole.get("residual_weight") is not None:
        raise _refused(f"{what} has a residual_weight, which is not done", "leave it out")
    listed = _list(whole.get("sources"), f"{what}.sources")
    sources = [_source(one, f"{what}.sources[{number}]", ranged=True) for number, one in enumerate(listed)]
    lengths = {one.layers[1] - one.layers[0] for one in sources if one.layers is not None}
    if len(lengths) > 1:
        raise _refused(
            f"the sources of {what} have {' and '.join(map(str, sorted(lengths)))} layers", "give each as many"
        )
    base = _model(whole["base_model"], f"{what}.base_model") if whole.get("base_model") else None
    return Slice(_different(sources, what), base, _parameters(whole.get("parameters"), f"{what}.parameters"))


def _different(sources: list[Source], what: str) -> tuple[Source, ...]:
    names = [one.model for one in sources]
    twice = next((name for name in names if names.count(name) > 1), None) if len(names) <= MAX_MERGED_MODELS else ""
    if twice is not None:
        said = f"{what} names {twice[:80]!r} twice" if twice else f"{what} names too many models"
        raise _refused(said, "add their weights, and name it once" if twice else _GROUPS)
    return tuple(sources)


def _source(node: Node, what: str, *, ranged: bool) -> Source:
    whole = _mapping(node, what, ("model", "layer_range", "parameters") if ranged else ("model", "parameters"))
    layers = _layers(whole.get("layer_range"), f"{what}.layer_range") if ranged else None
    return Source(_model(whole.get("model"), f"{what}.model"), layers, _parameters(whole.get("parameters"), what))


def _layers(node: Node, what: str) -> tuple[int, int]:
    found = (
        [int(one) for one in node if isinstance(one, str) and _LAYER.fullmatch(one)] if isinstance(node, list) else []
    )
    if not isinstance(node, list) or len(node) != 2 or len(found) != 2 or found[0] >= found[1]:
        raise _refused(
            f"{what} has to be two numbers: the first layer, and the first that is left out",
            "the first 16 layers are `layer_range: [0, 16]`",
        )
    return found[0], found[1]


def _parameters(node: Node, what: str) -> Parameters:
    if node is None:
        return {}
    if not isinstance(node, dict):
        raise _refused(f"{what} has to be a mapping of parameters", "for example `parameters: {weight: 0.5}`")
    return {name: _setting(value, f"{name[:40]} of {what}") for name, value in node.items() if value is not None}


def _setting(node: Node, what: str) -> Setting:
    """Return a number, a gradient, or cases by what names contain."""
    if not isinstance(node, list) or not any(isinstance(one, dict) for one in node):
        return (Case(None, _gradient(node, what)),)
    cases = []
    for number, one in enumerate(node):
        whole = _mapping(one, f"{what}[{number}]", ("filter", "value"))
        wanted = whole.get("filter")
        if isinstance(wanted, list | dict):
            said = f"the filter of {what} has to be a text, a part of the names that are meant"
            raise _refused(said, "for example `{filter: attn, value: 0.5}`")
        cases.append(Case(None if wanted in (None, "*") else wanted, _gradient(whole.get("value"), what)))
    return tuple(cases)


def _gradient(node: Node, what: str) -> tuple[float, ...]:
    return tuple(_number(one, what) for one in _list(node, what)) if isinstance(node, list) else (_number(node, what),)


def _number(node: Node, what: str) -> float:
    """Return a number; yes is 1 and no is 0."""
    text = node.lower() if isinstance(node, str) else ""
    if text in _TRUE or text in _FALSE:
        return float(text in _TRUE)
    found = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(found):
        shown = f", not {text[:40]!r}" if text else ""
        said = f"{what} has to be a number, a list of numbers, or a list of filters and values{shown}"
        raise _refused(said, "for example 0.5, [0, 1], or [{filter: attn, value: 0.5}, {value: 1}]")
    return found


def _dtype(top: dict[str, Node]) -> str | None:
    """Return the dtype of the result: sums are made in float64 whatever `dtype` says, and rounded once."""
    found = None
    for key in ("dtype", "out_dtype"):
        node = top.get(key)
        if node is not None:
            name = _text(node, key, f"one of {', '.join(_DTYPES)}").removeprefix("torch.")
            if name not in _DTYPES:
                raise _refused(f"{key} cannot be {name[:40]!r}", f"one of {', '.join(_DTYPES)}")
            found = _DTYPES[name]
    return found


def _warnings(top: dict[str, Node]) -> tuple[str, ...]:
    """Return what is not done and changes no weight; refuse what would change them."""
    found = []
    tokenizer, source = top.get("tokenizer"), top.get("tokenizer_source")
    if tokenizer is not None:
        whole = _mapping(tokenizer, "tokenizer", ("source", "tokens", "pad_to_multiple_of"))
        for key in ("tokens", "pad_to_multiple_of"):
            if whole.get(key) is not None:
                raise _refused(
                    f"tokenizer.{key} changes rows of the vocabulary one by one, which is not done",
                    "leave it out, or change the vocabularies before they are merged",
                )
        source = whole.get("source")
    if source is not None or tokenizer is not None:
        found.append("no tokenizer is looked at: rows of the vocabularies are merged by their numbers")
    if top.get("chat_template") is not None:
        found.append("no chat template is written: it is no part of the weights")
    return tuple(found)
