"""The program `lamella`: find the command, run it, and turn faults into one sentence, a hint and an exit code."""

from __future__ import annotations

import sys
from importlib import import_module

from lamella.core.errors import LamellaError

DIRECT = {"version": "lamella.cli.direct.version", "filter-process": "lamella.cli.direct.filter_process"}
"""Commands that start without click: they are run by other programs, or often, and import only what they need."""

INTERRUPTED = 130
BROKEN_PIPE = 141


def main(arguments: list[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments and arguments[0] in DIRECT and not {"--help", "-h"} & set(arguments):
            code: int = import_module(DIRECT[arguments[0]]).run(arguments[1:])
            return code
        from lamella.cli.group import run

        return run(arguments)
    except LamellaError as error:
        from lamella.cli.faults import report

        return report(error, as_json="--json" in arguments)
    except KeyboardInterrupt:
        print("interrupted; nothing is half done, run the command again to finish it", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return BROKEN_PIPE


if __name__ == "__main__":
    sys.exit(main())
