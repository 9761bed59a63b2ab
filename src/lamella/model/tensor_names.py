"""What the name of a tensor tells, whatever framework gave it: its module, its like in other blocks, what it is for."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"\d+", re.ASCII)
_DIGITS = re.compile(r"(\d+)", re.ASCII)
_MOST_DIGITS = 18
_STEP = re.compile(r"[./]")
_LAYER = re.compile(r"(?:^|[./])([0-9]{1,6})[./]")
MOST_STEPS = 64
"""Steps of a name that are told apart; a name of thousands of dots is not one."""

_STATE = re.compile(
    r"optim|exp_avg|adam|momentum(?!_(?:encoder|model))|velocit|(?:^|[./_])(?:mu|nu|slots?|first_moment|second_moment|ema)(?:[./_]|$)",
    re.IGNORECASE,
)
_SECOND_MOMENTS = frozenset({"exp_avg_sq", "second_moment"})
_OPTIMIZER = re.compile(r"optim|opt_state|inner_state|adam", re.IGNORECASE)
_COUNTERS = frozenset({"step", "count", "iteration", "iterations"})
_RUNNING = frozenset({"running_mean", "running_var", "moving_mean", "moving_variance", "moving_var"})
_BUFFERS = _RUNNING | {"num_batches_tracked"}
_VARIANCES = frozenset({"running_var", "moving_variance", "moving_var", "variance", "var"})
_WRAPPERS = ("/.ATTRIBUTES/VARIABLE_VALUE", ":0")
"""What TensorFlow writes behind the name of every variable."""

_HOLDER = "/vars"
"""The list in which Keras keeps the variables that are a layer's own."""

_STARTS_AT_ZERO = re.compile(r"lora_b|lora_up", re.IGNORECASE)


def bare(name: str) -> str:
    """Return a name without what TensorFlow writes behind it."""
    for wrapper in _WRAPPERS:
        name = name.removesuffix(wrapper)
    return name


def separator(name: str) -> str:
    """Return what the steps of a name stand between: slashes where it has some, else dots."""
    return "/" if "/" in name else "."


def steps(name: str) -> list[str]:
    """Return the steps of a tensor's name, of which the last is what the tensor is to its module."""
    found = bare(name)
    return found.split(separator(found), MOST_STEPS - 1)


def module_of(name: str) -> str:
    """Return the module that a tensor stands in, "" where its name tells of none."""
    found = bare(name)
    module = found.rpartition(separator(found))[0]
    return module.removesuffix(_HOLDER) or module


def family(name: str) -> str:
    """Return what the tensors of repeated layers have in common: the name with a star for each number."""
    return _NUMBER.sub("*", name)


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """Return a key that sorts names as a person would, numbers by what they are."""
    parts = enumerate(_DIGITS.split(name))
    return tuple((int(part), part) if at % 2 and len(part) <= _MOST_DIGITS else (-1, part) for at, part in parts)


def blocks(one: str, other: str) -> tuple[str, str]:
    """Return the repeated blocks that two tensors of one family are in: all up to the first step that differs."""
    ends = []
    left, right = _STEP.split(one, MOST_STEPS), _STEP.split(other, MOST_STEPS)
    apart = next((at for at, (mine, its) in enumerate(zip(left, right, strict=False)) if mine != its), 0)
    for found, name in ((left, one), (right, other)):
        ends.append(name[: len(".".join(found[: apart + 1]))])
    return ends[0], ends[1]


def numbered(name: str) -> tuple[str, int, str] | None:
    """Split a name around its first step that is a number, as of a repeated layer; None where it has none.

    What stands before it, with its separator, is the same for all layers of a stack.
    """
    found = _LAYER.search(name)
    return None if found is None else (name[: found.start(1)], int(found[1]), name[found.end(1) :])


def is_optimizer_state(name: str) -> bool:
    """Say whether a tensor is what an optimizer remembers, of which nearly everything is healthy."""
    return _STATE.search(name) is not None


def second_moment_step(name: str) -> int | None:
    """Return which step of a name says that the tensor is an optimizer's mean of squared gradients, None where none.

    Letters as `nu` and `v` are believed only right behind a step that names the optimizer.
    """
    found = steps(name)
    for at, step in enumerate(found):
        if step in _SECOND_MOMENTS:
            return at
    optimizer = False
    for at, step in enumerate(found):
        if optimizer and (step in ("nu", "v") or step.endswith("_velocity")):
            return at
        optimizer = _OPTIMIZER.search(step) is not None or (optimizer and step.isdecimal())
    return None


def gram_step(name: str) -> int | None:
    """Return which step of a name, the last or the first, says that a tensor is the Gram matrix of a layer's inputs."""
    found = steps(name)
    return next((at for at in (len(found) - 1, 0) if found[at] == "gram"), None)


def is_counter(name: str) -> bool:
    """Say whether a tensor, if it is one number, counts steps of an optimizer, or batches that a normalisation saw."""
    last = steps(name)[-1]
    return last == "num_batches_tracked" or (last in _COUNTERS and is_optimizer_state(name))


def is_buffer(name: str) -> bool:
    """Say whether a tensor is what a normalisation remembers of its inputs, which no optimizer trains."""
    return steps(name)[-1] in _BUFFERS


def is_running_statistic(name: str) -> bool:
    """Say whether a tensor is the mean or the variance of what a normalisation saw, batch by batch."""
    return steps(name)[-1] in _RUNNING and not is_optimizer_state(name)


def is_mask(name: str) -> bool:
    """Say whether a tensor is added to attention scores to rule some out, mostly with minus infinity."""
    return "mask" in name.lower()


def is_variance(name: str) -> bool:
    """Say whether a tensor is the variance by which a normalisation divides."""
    return _STEP.split(bare(name))[-1] in _VARIANCES and not is_optimizer_state(name)


def starts_at_zero(name: str) -> bool:
    """Say whether a matrix is all zeros before it is trained: the second half of a low-rank adapter."""
    return _STARTS_AT_ZERO.search(name) is not None
