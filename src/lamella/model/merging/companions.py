"""What is kept beside a parameter, found by names and shapes: squared gradients of an optimizer, and Gram matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lamella.core.tensors import TensorSpec
from lamella.model.merging.averaging import is_averaged
from lamella.model.merging.models import Models
from lamella.model.merging.plan import Place
from lamella.model.merging.strategy import GRAM, SECOND_MOMENT
from lamella.model.tensor_names import gram_step, is_buffer, is_optimizer_state, second_moment_step, steps

_WRAPPERS = frozenset({"model", "module", "network", "params", "state_dict", "model_state_dict", "_orig_mod", "target"})
"""Steps that stand before the names of all parameters, and not always before what is kept beside them."""

_OPTIMIZERS = frozenset(
    {"optim", "optimizer", "optimizers", "optimizer_state", "optimizer_states", "optimizer_state_dict", "opt_state"}
)
_NUMBERED = 9
"""Digits that the number of a parameter has, at most."""

Key = tuple[str, ...]


class CompanionFinder:
    """Finds what the sides of a merge keep beside their tensors, None where that is not there or cannot be told.

    Three forms are known: the word behind the parameter's name, `NAME.exp_avg_sq`, or before it, `nu.NAME`, each behind
    names of an optimizer; Keras's `optimizer/..._velocity`, the steps of the name joined with underscores; and
    PyTorch's `optimizer.state.7.exp_avg_sq`, parameters being numbered as they stand in the state dict. Numbers are
    believed where shapes leave no other place for them.
    """

    def __init__(self, models: Models) -> None:
        self._models = models
        self._found: dict[tuple[str, int], Mapping[str, str]] = {}

    def __call__(self, kind: str, place: Place) -> Place | None:
        """Return where the companion of a tensor is, of the tensor's shape, or square for Gram matrices."""
        if (kind, place.side) not in self._found:
            specs = self._models.specs(place.side)
            self._found[kind, place.side] = _companions(kind, specs)
        name = self._found[kind, place.side].get(place.name)
        return None if name is None else Place(place.side, name)


def _companions(kind: str, specs: Sequence[TensorSpec]) -> dict[str, str]:
    """Return the companions of one kind by the names of the parameters that they are kept beside."""
    kept = [spec for spec in specs if _step_of(kind, spec.name) is not None]
    keys = {spec.name: _key(kind, spec.name) for spec in kept}
    parameters = [spec for spec in specs if spec.name not in keys and _is_parameter(spec)]
    numbered = [spec for spec in kept if _is_number(keys[spec.name])]
    named = [spec for spec in kept if not _is_number(keys[spec.name])]
    pairs = _by_number(numbered, keys, parameters)
    return pairs | _by_name(kind, named, keys, [spec for spec in parameters if spec.name not in pairs])


def _is_parameter(spec: TensorSpec) -> bool:
    if _step_of(GRAM, spec.name) is not None or is_optimizer_state(spec.name) or is_buffer(spec.name):
        return False
    return is_averaged(spec.dtype, named=False)


def _step_of(kind: str, name: str) -> int | None:
    """Return which step of a name says that a tensor is of a kind of companions."""
    return second_moment_step(name) if kind == SECOND_MOMENT else gram_step(name)


def _key(kind: str, name: str) -> Key:
    """Return the name of the parameter beside which a tensor is kept, by its steps, as far as its own name tells."""
    found, at = steps(name), _step_of(kind, name)
    assert at is not None
    if found[at].endswith("_velocity"):
        return (found[at].removesuffix("_velocity"),)
    if at < len(found) - 1:
        return tuple(found[at + 1 :])
    key = found[:at]
    while len(key) > 1 and (key[0] in _OPTIMIZERS or key[0] == "state" or (key[0].isdecimal() and key[1] == "state")):
        key = key[1:]
    if ".OPTIMIZER_SLOT" in key:
        key = key[: key.index(".OPTIMIZER_SLOT")]
    return tuple(key)


def _is_number(key: Key) -> bool:
    return len(key) == 1 and key[0].isascii() and key[0].isdecimal() and len(key[0]) <= _NUMBERED


def _by_name(
    kind: str, kept: Sequence[TensorSpec], keys: Mapping[str, Key], parameters: Sequence[TensorSpec]
) -> dict[str, str]:
    """Pair what names tell: by the whole name, else less what stands before all names, each key being met once."""
    pairs: dict[str, str] = {}
    taken: set[str] = set()
    for shown in (tuple, _unwrapped, _joined):
        left = [spec for spec in parameters if spec.name not in pairs]
        companions = _once({spec.name: (shown(keys[spec.name]), spec) for spec in kept})
        for key, spec in _once({spec.name: (shown(tuple(steps(spec.name))), spec) for spec in left}).items():
            found = companions.get(key)
            if found is not None and found.name not in taken and _fits(kind, found, spec):
                pairs[spec.name] = found.name
                taken.add(found.name)
    return pairs


def _once(keyed: Mapping[str, tuple[Key, TensorSpec]]) -> dict[Key, TensorSpec]:
    """Return tensors by their keys, those of which no other has the same."""
    found: dict[Key, list[TensorSpec]] = {}
    for key, spec in keyed.values():
        found.setdefault(key, []).append(spec)
    return {key: specs[0] for key, specs in found.items() if len(specs) == 1}


def _unwrapped(key: Key) -> Key:
    while len(key) > 1 and key[0] in _WRAPPERS:
        key = key[1:]
    return key


def _joined(key: Key) -> Key:
    return ("_".join(_unwrapped(key)),)


def _fits(kind: str, companion: TensorSpec, spec: TensorSpec) -> bool:
    return companion.shape == (spec.shape if kind == SECOND_MOMENT else spec.shape[-1:] * 2)


def _by_number(kept: Sequence[TensorSpec], keys: Mapping[str, Key], parameters: Sequence[TensorSpec]) -> dict[str, str]:
    """Pair numbered companions with parameters in their order, where the first and the last place they fit are one.

    Some parameters may have none, as those that are frozen, and so numbers may be left out; those of several
    optimizers, each of which begins with 0, are not told apart.
    """
    numbers = {int(keys[spec.name][0]): spec for spec in kept}
    if len(numbers) < len(kept):
        return {}
    ascending = sorted(numbers)
    shapes = [spec.shape for spec in parameters]
    wanted = [(number, numbers[number].shape) for number in ascending]
    first = _placed(wanted, shapes)
    most = ascending[-1] if ascending else 0
    last = _placed([(most - number, shape) for number, shape in reversed(wanted)], shapes[::-1])
    fitting = zip(ascending, first, reversed(last), strict=False) if len(first) == len(last) == len(wanted) else ()
    return {parameters[at].name: numbers[number].name for number, at, end in fitting if at == len(shapes) - 1 - end}


def _placed(wanted: Sequence[tuple[int, tuple[int, ...]]], shapes: Sequence[tuple[int, ...]]) -> list[int]:
    """Return the first places for shapes, as far from each other at least as their numbers, as many as have one."""
    found: list[int] = []
    at, before = 0, 0
    for number, shape in wanted:
        at += number - before
        while at < len(shapes) and shapes[at] != shape:
            at += 1
        if at >= len(shapes):
            break
        found.append(at)
        before = number
    return found
