"""`lamella version`: which program this is, and whether its kernels are native."""

from __future__ import annotations

import json
import sys

from lamella import __version__
from lamella.codec.kernels import IS_NATIVE
from lamella.core.errors import UsageError


def run(arguments: list[str]) -> int:
    """Print the version, and return 0."""
    if arguments not in ([], ["--json"]):
        raise UsageError(f"unknown argument {arguments[0]!r}", kind="bad-argument", hint="see `lamella version --help`")
    kernels = "native" if IS_NATIVE else "plain Python (slow; install from a wheel, or with a C++ compiler)"
    python = ".".join(map(str, sys.version_info[:3]))
    if arguments:
        fields = {"lamella": __version__, "native": IS_NATIVE, "python": python}
        print(json.dumps({"type": "version", "version": 1, **fields}))
    else:
        print(f"lamella {__version__}, kernels {kernels}, Python {python}")
    return 0
