"""How a fault is shown: one sentence and a hint on stderr, or one JSON object on stdout."""

from __future__ import annotations

import json
import sys

from lamella.core.errors import LamellaError
from lamella.core.text import printable


def report(error: LamellaError, *, as_json: bool) -> int:
    """Print `error` and return its exit code."""
    if as_json:
        fields = {"kind": error.kind, "message": error.message, "hint": error.hint, "exit_code": error.exit_code}
        print(json.dumps({"type": "error", "version": 1, **fields}))
    else:
        print(f"error: {printable(error.message)}", file=sys.stderr)
        if error.hint:
            print(f"hint: {printable(error.hint)}", file=sys.stderr)
    return error.exit_code
