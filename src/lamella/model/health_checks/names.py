"""What the name of a tensor tells about what it is for."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"\d+", re.ASCII)
_STEP = re.compile(r"[./]")
MOST_STEPS = 64
"""Steps of a name that are told apart; a name of thousands of dots is not one."""

_STATE = re.compile(
    r"optim|exp_avg|adam|momentum|velocit|(?:^|[./_])(?:mu|nu|slots?|first_moment|second_moment|ema)(?:[./_]|$)",
    re.IGNORECASE,
)
_VARIANCES = frozenset({"running_var", "moving_variance", "moving_var", "variance", "var"})
_WRAPPERS = ("/.ATTRIBUTES/VARIABLE_VALUE", ":0")
"""What TensorFlow puts behind each name."""

_STARTS_AT_ZERO = re.compile(r"lora_b|lora_up", re.IGNORECASE)


def family(name: str) -> str:
    """Return what the tensors of repeated layers have in common: the name with a star for each number."""
    return _NUMBER.sub("*", name)


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """Return a key that sorts names as a person would, numbers by what they are."""
    parts = re.split(r"(\d{1,18})", name, flags=re.ASCII)
    return tuple((int(part), "") if index % 2 else (-1, part) for index, part in enumerate(parts))


def blocks(one: str, other: str) -> tuple[str, str]:
    """Return the repeated blocks that two tensors of one family are in: all up to the first step that differs."""
    ends = []
    steps, others = _STEP.split(one, MOST_STEPS), _STEP.split(other, MOST_STEPS)
    apart = next((at for at, (left, right) in enumerate(zip(steps, others, strict=False)) if left != right), 0)
    for found, name in ((steps, one), (others, other)):
        ends.append(name[: len(".".join(found[: apart + 1]))])
    return ends[0], ends[1]


def is_optimizer_state(name: str) -> bool:
    """Say whether a tensor is what an optimizer remembers, of which nearly everything is healthy."""
    return _STATE.search(name) is not None


def is_mask(name: str) -> bool:
    """Say whether a tensor is added to attention scores to rule some out, mostly with minus infinity."""
    return "mask" in name.lower()


def is_variance(name: str) -> bool:
    """Say whether a tensor is the variance by which a normalisation divides."""
    for wrapper in _WRAPPERS:
        name = name.removesuffix(wrapper)
    return _STEP.split(name)[-1] in _VARIANCES and not is_optimizer_state(name)


def starts_at_zero(name: str) -> bool:
    """Say whether a matrix is all zeros before it is trained: the second half of a low-rank adapter."""
    return _STARTS_AT_ZERO.search(name) is not None
