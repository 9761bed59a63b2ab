"""Where a tensor stands in a model of repeated blocks, as its name tells: the stack, the block, the module."""

from __future__ import annotations

import re
from dataclasses import dataclass

_MOST_STEPS = 32
_NUMBER = re.compile(r"\d{1,9}\Z", re.ASCII)
_NUMBERED = re.compile(r"(.*\D)(\d{1,9})\Z", re.ASCII | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Place:
    """The block, as ``h.3``, the `stack` of all of them, the block's number, and the `kind` of module within it.

    `inside` are the names of tensors in this place, with * where they differ.
    """

    stack: str
    number: int
    block: str
    kind: str
    inside: str


def place(name: str) -> Place | None:
    """Return where the tensor called `name` stands, None where its name has no numbered step.

    The number is the first step that is nothing else, as in ``h.3.attn.weight``, or that ends in one, as in
    ``layer_3/attn/kernel``. Numbers below that, those of experts, are one kind. What a module calls its tensors, its
    last step, is no part of the kind, unless it is all there is.
    """
    separator = "/" if "/" in name else "."
    steps = name.split(separator, _MOST_STEPS)
    at, stack = _numbered_step(steps[:-1], separator)
    if at < 0:
        return None
    number = int(re.findall(r"\d+\Z", steps[at], re.ASCII)[0])
    below = ["*" if _NUMBER.match(step) else step for step in steps[at + 1 :]]
    module = below[:-1] or below
    block = separator.join(steps[: at + 1])
    inside = separator.join([block, *module, *(["*"] if below[1:] else [])])
    return Place(stack, number, block, separator.join(module), inside)


def block(module: str) -> str:
    """Return the block that a module is part of, down to its number; where there is none, its first two steps."""
    separator = "/" if "/" in module else "."
    steps = module.split(separator, _MOST_STEPS)
    at, _ = _numbered_step(steps, separator)
    return separator.join(steps[: at + 1] if at >= 0 else steps[:2])


def _numbered_step(steps: list[str], separator: str) -> tuple[int, str]:
    """Return the position of the step with the block's number and what stands before the number, or -1."""
    for at, step in enumerate(steps):
        if _NUMBER.match(step):
            return at, separator.join(steps[:at])
    for at, step in enumerate(steps):
        if found := _NUMBERED.match(step):
            return at, separator.join([*steps[:at], found[1]])
    return -1, ""
