"""The lines in a repository's own Git configuration through which Git calls Lamella."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from lamella.repo.git import Git

_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_TENSOR_LINE = "^[^[:space:]].*$"
"""In a manifest a tensor's name stands at the beginning of a line and its object below, indented."""


def _wanted(command: str) -> dict[str, str]:
    return {
        "filter.lamella.process": f"{command} filter-process",
        "filter.lamella.required": "true",
        "diff.lamella.command": f"{command} diff-driver",
        "diff.lamella.textconv": f"{command} textconv",
        "diff.lamella.xfuncname": _TENSOR_LINE,
        "merge.lamella.name": "weights, tensor by tensor",
        "merge.lamella.driver": f"{command} merge-driver %O %A %B %L %P",
        "merge.lamella.recursive": "lamella",
    }


def calls_us(git: Git) -> bool:
    """Say whether Git has a command for model files, in whichever of its configurations."""
    return bool(git.run("config", "--get", "filter.lamella.process", check=False))


def merges_by_us(git: Git) -> bool:
    """Say whether Git has a command that merges model files, in whichever of its configurations."""
    return bool(git.run("config", "--get", "merge.lamella.driver", check=False))


def can_start(command: str, environment: Mapping[str, str] | None) -> bool:
    """Say whether a shell would find the program that `command` begins with."""
    from shutil import which

    try:
        words = shlex.split(command)
    except ValueError:
        return False
    program = next((word for word in words if not _ASSIGNMENT.match(word)), "")
    return which(program, path=environment.get("PATH") if environment else None) is not None


def installed(git: Git) -> dict[str, str]:
    """Return our settings as they stand in the repository's own configuration."""
    listing = git.run("config", "--local", "--null", "--get-regexp", r"^(filter|diff|merge)\.lamella\.", check=False)
    rows = (row.partition("\n") for row in listing.decode("utf-8", "surrogateescape").split("\0")[:-1])
    ours = _wanted("")
    return {name: value for name, _, value in rows if name in ours}


def install(git: Git, command: str) -> list[str]:
    """Make Git filter and show model files with `command`, quoted for a shell; return the settings that changed.

    Only this repository's own configuration is written, and only where it differs.
    """
    before = installed(git)
    changed = {name: value for name, value in _wanted(command).items() if before.get(name) != value}
    for name, value in changed.items():
        git.run("config", "--local", "--replace-all", name, value)
    return list(changed)


def uninstall(git: Git) -> list[str]:
    """Remove our settings; return those that were there."""
    removed = list(installed(git))
    for name in removed:
        git.run("config", "--local", "--unset-all", name)
    return removed
