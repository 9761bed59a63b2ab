"""`lamella version`: which program this is, and whether its kernels are native."""

from __future__ import annotations

import json
import sys

from lamella import __version__
from lamella.codec import kernels as coding
from lamella.core.errors import UsageError
from lamella.model import kernels as measuring


def run(arguments: list[str]) -> int:
    """Print the version, and return 0."""
    if arguments not in ([], ["--json"]):
        raise UsageError(f"unknown argument {arguments[0]!r}", kind="bad-argument", hint="see `lamella version --help`")
    is_native = coding.IS_NATIVE and measuring.IS_NATIVE
    kernels = "native" if is_native else "plain Python (slow; install from a wheel, or with a C++ compiler)"
    python = ".".join(map(str, sys.version_info[:3]))
    if arguments:
        fields = {"lamella": __version__, "native": is_native, "python": python}
        print(json.dumps({"type": "version", "version": 1, **fields}))
    else:
        print(f"lamella {__version__}, kernels {kernels}, Python {python}")
    return 0
