"""Sizes of files as people type them."""

from __future__ import annotations

import re

from lamella.core.errors import UsageError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


def parse_size(text: str | None) -> int | None:
    """Return bytes, such as those of ``2GB`` and ``500MiB``, None for none; raise UsageError (bad-argument)."""
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,15})\s*([KMGT]I?|)B?", text.strip().upper())
    if match is None or not int(match[1]):
        raise UsageError(f"{text!r} is no size", kind="bad-argument", hint="for example 2GB, or 500MiB")
    return int(match[1]) * _UNITS[match[2]]
