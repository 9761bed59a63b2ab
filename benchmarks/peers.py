"""The ways to keep versions of a large file, each as the commands with which its users do it, all at their defaults."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

MODEL = "model.safetensors"
VERSION = "VERSION"
"""Stands in a command for the name of the version at hand: v0, v1 and so on."""

Command = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Contender:
    """A tool and its commands, run in a directory of its own where the model is the file MODEL.

    `prepare` runs once, before there is a model. For each version, `add` stores what MODEL holds and `keep` records it
    in the history. `away` takes the last version off the worktree, and `checkout` brings it back.
    """

    name: str
    version: str
    prepare: tuple[Command, ...]
    add: tuple[Command, ...]
    checkout: tuple[Command, ...]
    keep: tuple[Command, ...] = ()
    away: tuple[Command, ...] = (("rm", MODEL),)


def commands(listed: tuple[Command, ...], version: int) -> list[list[str]]:
    """Return the commands for the version of that number."""
    return [[word.replace(VERSION, f"v{version}") for word in command] for command in listed]


GIT_INIT = ("git", "init", "--quiet", "--initial-branch=main")
GIT_COMMIT = (("git", "add", "--all"), ("git", "commit", "--quiet", "--message", VERSION))


def cp(program: str, version: str) -> Contender:
    """Return the yardstick: a copy into a folder."""
    return Contender(
        "cp",
        version,
        prepare=(("mkdir", "store"),),
        add=((program, MODEL, f"store/{VERSION}"),),
        checkout=((program, f"store/{VERSION}", MODEL),),
    )


def git(program: str, version: str) -> Contender:
    """Return Git without any extension."""
    return Contender(
        "git",
        version,
        prepare=(GIT_INIT,),
        add=((program, "add", MODEL),),
        keep=GIT_COMMIT,
        checkout=((program, "checkout", "--quiet", "--", MODEL),),
    )


def git_lfs(program: str, version: str) -> Contender:
    """Return Git LFS, installed in the one repository only."""
    return Contender(
        "git-lfs",
        version,
        prepare=(GIT_INIT, (program, "install", "--local"), (program, "track", "*.safetensors")),
        add=(("git", "add", MODEL),),
        keep=GIT_COMMIT,
        checkout=(("git", "checkout", "--quiet", "--", MODEL),),
    )


def dvc(program: str, version: str) -> Contender:
    """Return DVC in a Git repository."""
    return Contender(
        "dvc",
        version,
        prepare=(
            GIT_INIT,
            (program, "init", "--quiet"),
            (program, "config", "core.analytics", "false"),
            (program, "config", "core.check_update", "false"),
        ),
        add=((program, "add", "--quiet", MODEL),),
        keep=GIT_COMMIT,
        checkout=((program, "checkout", "--quiet"),),
    )


def borg(program: str, version: str) -> Contender:
    """Return borg without encryption."""
    return Contender(
        "borg",
        version,
        prepare=((program, "init", "--encryption=none", "store"),),
        add=((program, "create", f"store::{VERSION}", MODEL),),
        checkout=((program, "extract", f"store::{VERSION}"),),
    )


def restic(program: str, version: str) -> Contender:
    """Return restic, which always encrypts."""
    return Contender(
        "restic",
        version,
        prepare=((program, "init", "--quiet", "--repo", "store"),),
        add=((program, "backup", "--quiet", "--repo", "store", MODEL),),
        checkout=((program, "restore", "latest", "--quiet", "--repo", "store", "--target", "."),),
    )


def lamella(program: str, version: str) -> Contender:
    """Return Lamella; its checkout replaces the version before, as going back and forth does."""
    return Contender(
        "lamella",
        version,
        prepare=(GIT_INIT, (program, "init"), (program, "track", "*.safetensors")),
        add=((program, "add", MODEL),),
        keep=(("git", "add", ".gitattributes"), (program, "commit", "--quiet", "--message", VERSION)),
        away=((program, "checkout", "HEAD~1"),),
        checkout=((program, "checkout", "main"),),
    )


MAKERS: dict[str, Callable[[str, str], Contender]] = {
    "cp": cp,
    "lamella": lamella,
    "git": git,
    "git-lfs": git_lfs,
    "dvc": dvc,
    "borg": borg,
    "restic": restic,
}


def found(places: Mapping[str, str]) -> tuple[list[Contender], list[str]]:
    """Return the contenders this machine has and the names of those it lacks; `places` says where, PATH elsewhere."""
    present, absent = [], []
    for name, make in MAKERS.items():
        program = shutil.which(places.get(name, name))
        if program is None:
            absent.append(name)
        else:
            present.append(make(os.path.abspath(program), version_of(program)))
    return present, absent


def version_of(program: str) -> str:
    """Return the number by which a program calls its version, or `unknown`."""
    for word in ("--version", "version"):
        result = subprocess.run([program, word], capture_output=True, text=True, check=False)
        number = re.search(r"\d+(?:\.\d+)+", result.stdout)
        if result.returncode == 0 and number:
            return number.group()
    return "unknown"


def environment(home: Path) -> dict[str, str]:
    """Return an environment in which nobody's settings, caches or identity are found, but those under `home`."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "XDG_", "BORG_", "RESTIC_"))}
    return kept | {
        "HOME": str(home),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Bench",
        "GIT_AUTHOR_EMAIL": "bench@example.org",
        "GIT_COMMITTER_NAME": "Bench",
        "GIT_COMMITTER_EMAIL": "bench@example.org",
        "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        "RESTIC_PASSWORD": "bench",
        "DVC_NO_ANALYTICS": "1",
        "DO_NOT_TRACK": "1",
    }
