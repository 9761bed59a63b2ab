"""Where a pickle ends, as the lengths of its opcodes tell: bytes behind it say nothing about what it holds."""

from __future__ import annotations

from lamella.core.limits import MAX_NAME_NBYTES
from lamella.formats.torch.pickle_values import malformed

_STOP = ord(".")

_FIXED = {1: b"\x80Kqh\x82", 2: b"M\x83", 4: b"Jrj\x84", 8: b"\x95G"}
_COUNTED = {1: b"\x8aU\x8cC", 4: b"\x8bTXB", 8: b"\x8d\x8e\x96"}
_LINES = {1: b"ILFSVpgP", 2: b"ci"}
"""Opcodes by the bytes of their argument, by the bytes of the count of its bytes, and by the lines that it is of."""


def _widths(opcodes: dict[int, bytes]) -> bytes:
    return bytes(next((width for width, codes in opcodes.items() if code in codes), 0) for code in range(256))


_FIXED_NBYTES, _COUNT_NBYTES, _LINE_COUNT = map(_widths, (_FIXED, _COUNTED, _LINES))


def end_of_pickle(data: bytes) -> int | None:
    """Return how long the pickle is that `data` begins with; None where it goes on behind the bytes there are.

    What it holds is not looked at, and may be malformed; so the answer depends on its own bytes alone. Raises
    FormatError (header-malformed) for a line that is longer than any name.
    """
    at, nbytes = 0, len(data)
    fixed, counts, lines = _FIXED_NBYTES, _COUNT_NBYTES, _LINE_COUNT
    while at < nbytes:
        code = data[at]
        at += 1
        if code == _STOP:
            return at
        if fixed[code]:
            at += fixed[code]
        elif counts[code]:
            start, at = at, at + counts[code]
            at += int.from_bytes(data[start:at], "little")
        else:
            for _ in range(lines[code]):
                stop = data.find(b"\n", at, at + MAX_NAME_NBYTES)
                if stop < 0 and at + MAX_NAME_NBYTES <= nbytes:
                    raise malformed(f"the line at byte {at} is too long")
                at = stop + 1 if stop >= 0 else nbytes + 1
    return None
