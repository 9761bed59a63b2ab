"""What a tensor is called after a merge: the changes that sides made to its name, step by step."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

from lamella.model.layers import MOST_BLOCKS
from lamella.model.tensor_names import MOST_STEPS, separator

_NUMBERED = re.compile(r"(.*?)(\d{1,18})\Z", re.ASCII | re.DOTALL)

Path = tuple[str, ...]
"""The first steps of a name."""


def split(name: str) -> Path:
    """Return the steps of a name, which `separator` stands between."""
    return tuple(name.split(separator(name), MOST_STEPS - 1))


@dataclass(frozen=True, slots=True)
class Block:
    """A numbered step of a name: what it is in, the text before its number, and the digits."""

    within: Path
    text: str
    digits: str

    @property
    def path(self) -> Path:
        """All steps up to this one."""
        return (*self.within, self.text + self.digits)

    @property
    def stack(self) -> Path:
        """What is the same for all blocks beside each other."""
        return (*self.within, self.text)

    @property
    def number(self) -> int:
        """What the digits mean."""
        return int(self.digits)


def blocks(path: Path) -> Iterator[Block]:
    """Yield the numbered steps of a name, the outermost first, as many as alignment looks at."""
    count = 0
    for at, step in enumerate(path):
        found = _NUMBERED.match(step) if count < MOST_BLOCKS else None
        if found is not None:
            count += 1
            yield Block(path[:at], found[1], found[2])


Steps = tuple[Hashable, ...]


def merge_steps(base: Steps, sides: Sequence[Steps]) -> Steps | None:
    """Return a name with the changes of all sides, None where two changed the same step, each in its own way.

    Where all have as many steps, each is by itself; else what a side changed is all from the first step that differs to
    the last.
    """
    changed = list(dict.fromkeys(side for side in sides if side != base))
    if len(changed) <= 1:
        return changed[0] if changed else base
    if all(len(side) == len(base) for side in changed):
        merged = [_merged_step(*column) for column in zip(base, *changed, strict=True)]
        return None if None in merged else tuple(merged)
    edits = sorted({_edit(base, side) for side in changed}, key=lambda edit: edit[:2])
    made, at = list(base), len(base) + 1
    for start, stop, steps in reversed(edits):
        if stop > at or (start == at):
            return None
        made[start:stop] = steps
        at = start
    return tuple(made)


def _merged_step(base: Hashable, *sides: Hashable) -> Hashable:
    changed = {side for side in sides if side != base}
    return None if len(changed) > 1 else changed.pop() if changed else base


def _edit(base: Steps, side: Steps) -> tuple[int, int, Steps]:
    """Return from where to where, in `base`, a side has other steps, and these."""
    shared = min(len(base), len(side))
    start = next((at for at in range(shared) if base[at] != side[at]), shared)
    behind = next((at for at in range(shared - start) if base[-1 - at] != side[-1 - at]), shared - start)
    return start, len(base) - behind, side[start : len(side) - behind]
