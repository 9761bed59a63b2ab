"""Fixtures that several rooms share: real Git repositories that see nothing of the machine's configuration."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Hashable
from pathlib import Path

import pytest
from hypothesis import settings

from lamella.repo.git import Git
from tests.toy import toys as toys

# How long an example takes is the machine's matter.
settings.register_profile("lamella", deadline=None)
settings.load_profile("lamella")

CONFIGURATION = """\
[user]
    name = Ada Lovelace
    email = ada@example.org
[init]
    defaultBranch = main
[gc]
    auto = 0
[maintenance]
    auto = false
[protocol "file"]
    allow = always
[advice]
    detachedHead = false
"""


@pytest.fixture
def git_environment(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Hide the machine's and the user's Git from everything that the test starts; return the new home directory."""
    home = tmp_path_factory.mktemp("home")
    for name in [name for name in os.environ if name.startswith(("GIT_", "LAMELLA_", "XDG_"))]:
        monkeypatch.delenv(name)
    configuration = home / "gitconfig"
    configuration.write_text(CONFIGURATION)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(configuration))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(home.parent))
    return home


@pytest.fixture(scope="session")
def prepared() -> dict[Hashable, Path]:
    """Keep repositories to be copied, by what made them: making one takes a dozen processes."""
    return {}


@pytest.fixture
def copy_of(
    git_environment: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, prepared: dict[Hashable, Path]
) -> Callable[..., Path]:
    """Return a function that copies a repository, as `prepare(folder, *options)` made it once, to the test's directory.

    What Git's index has of files is not true of the copies: `git status` reads them anew.
    """

    def copied(prepare: Callable[..., None], name: str = "repository", *options: str) -> Path:
        key = (prepare, options)
        if key not in prepared:
            root = tmp_path_factory.mktemp("prepared") / "work"
            prepare(root, *options)
            prepared[key] = root
        return Path(shutil.copytree(prepared[key], tmp_path / name, symlinks=True))

    return copied


@pytest.fixture
def make_repository(git_environment: Path, tmp_path: Path) -> Callable[..., Git]:
    """Return a function that makes a repository under the test's directory, with options for `git init`."""

    def make(name: str = "repository", *options: str) -> Git:
        return Git.init(tmp_path / name, *options)

    return make


@pytest.fixture
def git_repository(make_repository: Callable[..., Git]) -> Git:
    """Return an empty repository with a worktree, on the branch `main`."""
    return make_repository()
