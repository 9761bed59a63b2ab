"""The program `lamella`: find the command, run it, and turn faults into one sentence, a hint and an exit code."""

from __future__ import annotations

import contextlib
import errno
import gc
import sys
from importlib import import_module
from io import TextIOWrapper

from lamella.core.errors import LamellaError

DIRECT = {
    "version": "lamella.cli.direct.version",
    "filter-process": "lamella.cli.direct.filter_process",
    "textconv": "lamella.cli.direct.textconv",
    "merge-driver": "lamella.cli.direct.merge_driver",
}
"""Commands that start without click: they are run by other programs, or often, and import only what they need."""

_OBJECTS_A_COLLECTION = 50_000
"""New objects between two searches for cycles: the values of a model with many thousand tensors are in none, and to
search every 700, as Python does, takes a tenth of the time."""

INTERRUPTED = 130
BROKEN_PIPE = 141


def main(arguments: list[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    gc.set_threshold(_OBJECTS_A_COLLECTION)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name need not exist in the terminal's encoding
    try:
        code = _run(arguments)
        print(end="", flush=True)
    except BrokenPipeError:
        _close_output()
        # Git calls a driver that fails dead, and says so behind what a pager showed.
        return 0 if arguments[:1] == ["diff-driver"] else BROKEN_PIPE
    except OSError as exc:
        if exc.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        from lamella.core.fsio import backend_error

        _close_output()
        return _report(backend_error(exc, "the output"), as_json=False)
    return code


def _run(arguments: list[str]) -> int:
    try:
        if arguments and arguments[0] in DIRECT and not {"--help", "-h"} & set(arguments):
            code: int = import_module(DIRECT[arguments[0]]).run(arguments[1:])
            return code
        from lamella.cli.group import run

        return run(arguments)
    except LamellaError as error:
        return _report(error, as_json="--json" in arguments)
    except KeyboardInterrupt as exc:
        state = str(exc) or "nothing is half done, run the command again to finish it"
        print(f"interrupted; {state}", file=sys.stderr)
        return INTERRUPTED


def _report(error: LamellaError, *, as_json: bool) -> int:
    from lamella.cli.faults import report

    return report(error, as_json=as_json)


def _close_output() -> None:
    """Drop what was not written, which would fail once more when the program ends."""
    with contextlib.suppress(OSError):
        sys.stdout.close()


if __name__ == "__main__":
    sys.exit(main())
