"""Which variables the layers and optimizers of Keras have, in the order in which they are saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lamella.core.tensors import TensorSpec
from lamella.formats.keras.config import Layer

OPTIMIZER = "optimizer"
"""Where the variables of the optimizer lie."""

_KERNEL = ("kernel", "bias")
_CELL = ("kernel", "recurrent_kernel", "bias")
_SEPARABLE = ("depthwise_kernel", "pointwise_kernel", "bias")
_VARIABLES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("dense", "einsum_dense", "query_dense", "key_dense", "value_dense", "output_dense"), _KERNEL),
    **dict.fromkeys(("gate_dense", "conv1d", "conv2d", "conv3d", "depthwise_conv1d", "depthwise_conv2d"), _KERNEL),
    **dict.fromkeys(("conv1d_transpose", "conv2d_transpose", "conv3d_transpose"), _KERNEL),
    **dict.fromkeys(("separable_conv1d", "separable_conv2d"), _SEPARABLE),
    **dict.fromkeys(("cell", "lstm_cell", "gru_cell", "simple_rnn_cell", "conv_lstm_cell"), _CELL),
    "embedding": ("embeddings",),
    "reversible_embedding": ("embeddings", "reverse_embeddings"),
    "rms_normalization": ("scale",),
    "p_re_lu": ("alpha",),
    "normalization": ("mean", "variance", "count"),
    "seed_generator": ("seed_generator_state",),
    "random_generator": ("seed_generator_state",),
}
"""The variables of a class, or of the part of a layer that goes by that name; the last may be missing."""

_NORMALIZED: dict[str, tuple[str, ...]] = {
    "batch_normalization": ("moving_mean", "moving_variance"),
    "layer_normalization": (),
    "group_normalization": (),
}
"""What layers with a scale and a center, each of which may be missing, have behind these."""

_FROZEN = {"moving_mean", "moving_variance", "seed_generator_state", "mean", "variance", "count"}
"""Variables that are not trained."""

_PARTS = ("query_dense", "key_dense", "gate_dense", "value_dense", "output_dense", "forward_layer", "backward_layer")
_PART_ORDER = {name: order for order, name in enumerate((*_PARTS, "layer", "cell", "seed_generator"))}
"""The order in which parts of layers are made, which is that of the variables of the model."""

_MAX_PARTS = 8
"""Parts of parts of layers; no layer of Keras has so many."""

_SLOTS: dict[str, tuple[tuple[str, ...], ...]] = {
    **dict.fromkeys(("Adam", "AdamW", "Nadam", "Lamb"), (("momentum", "velocity"),)),
    "SGD": (("momentum",),),
    "Lion": (("momentum",),),
    "RMSprop": (("velocity",), ("momentum",), ("average_gradient",)),
    "Adagrad": (("accumulator",),),
    "Adadelta": (("accumulated_grad", "accumulated_delta_var"),),
    "Adamax": (("momentum", "norm"),),
    "Ftrl": (("accumulator", "linear"),),
}
"""What an optimizer keeps of each variable: all of the first tuple for each, then all of the second."""


def variable_names(kind: str, count: int, settings: Mapping[str, Any]) -> Sequence[str]:
    """Return the names of the `count` variables of a layer of class `kind`, less those that are not known."""
    if kind in _NORMALIZED:
        affine = [
            name for name, key in (("gamma", "scale"), ("beta", "center")) if settings.get(key, True) is not False
        ]
        for names in ([*affine, *_NORMALIZED[kind]], _NORMALIZED[kind]):
            if len(names) == count:
                return names
        return ()
    names = _VARIABLES.get(kind, ())
    biased = settings.get("use_bias")
    unbiased = tuple(name for name in names if name != "bias")
    candidates = [names] * (biased is not False) + [unbiased] * (biased is not True)
    return next((one for one in candidates if len(one) == count), ())


def optimizer_names(
    config: Mapping[str, Any],
    layers: Sequence[Layer],
    slots: Sequence[TensorSpec],
    owners: Mapping[str, Sequence[TensorSpec]],
    names: Mapping[str, str],
) -> dict[str, str]:
    """Return the names of the variables of the optimizer, `slots`, by path.

    `owners` are the variables of the objects of the model by their paths, and `names` what these are called by their
    own. A variable of the optimizer that belongs to one of the model is named after it where the configuration tells
    their order and the shapes of all of them agree; else by its number.
    """
    told: list[str] = []
    if slots and slots[0].shape == () and slots[0].dtype.name in ("i32", "i64"):
        told.append("iteration")
    optimizer = _dict(_dict(config, "compile_config"), "optimizer")
    rate = _dict(optimizer, "config").get("learning_rate")
    if told and (isinstance(rate, (int, float)) or (not optimizer and len(slots) > 1 and slots[1].shape == ())):
        told.append("learning_rate")
    if told and optimizer:
        trained = _trained(layers, owners, names)
        expected = list(_expected(optimizer, trained))
        if [shape for _, shape in expected] == [spec.shape for spec in slots[len(told) :]]:
            told += [name for name, _ in expected]
    return {
        spec.name: f"{OPTIMIZER}/{told[number] if number < len(told) else number}" for number, spec in enumerate(slots)
    }


def _expected(
    optimizer: Mapping[str, Any], trained: Sequence[tuple[str, tuple[int, ...]]]
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield name and shape of what an optimizer keeps of the variables that it trains."""
    settings = _dict(optimizer, "config")
    if settings.get("use_ema") or settings.get("gradient_accumulation_steps"):
        return
    rounds = list(_SLOTS.get(str(optimizer.get("class_name")), ()))
    if settings.get("amsgrad"):
        rounds.append(("velocity_hat",))
    without = {"momentum": settings.get("momentum", 1) == 0, "average_gradient": not settings.get("centered")}
    for keeps in rounds:
        if not without.get(keeps[0]):
            for name, shape in trained:
                yield from ((f"{name}/{kept}", shape) for kept in keeps)


def _trained(
    layers: Sequence[Layer], owners: Mapping[str, Sequence[TensorSpec]], names: Mapping[str, str]
) -> list[tuple[str, tuple[int, ...]]]:
    """Return name and shape of the variables that are trained, in the order of the model, if that is known."""
    numbers = {layer.path: number for number, layer in enumerate(layers)}
    frozen = {layer.path for layer in layers if layer.settings.get("trainable") is False}
    placed: list[tuple[int, list[int], str]] = []
    for owner in owners:
        if owner == OPTIMIZER:
            continue
        path = owner
        parts: list[str] = []
        while path and path not in numbers and len(parts) < _MAX_PARTS:
            path, _, part = path.rpartition("/")
            parts.append(part)
        if path not in numbers or any(part not in _PART_ORDER for part in parts):
            return []
        if path in frozen:
            continue
        placed.append((numbers[path], [_PART_ORDER[part] for part in reversed(parts)], owner))
    return [
        (names[spec.name], spec.shape)
        for _, _, owner in sorted(placed)
        for spec in owners[owner]
        if names[spec.name].rpartition("/")[2] not in _FROZEN
    ]


def _dict(entry: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = entry.get(key)
    return value if isinstance(value, dict) else {}
