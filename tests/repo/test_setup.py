"""The settings through which Git calls Lamella."""

from __future__ import annotations

import stat
import subprocess

import pytest

from lamella.repo import setup
from lamella.repo.attributes import track
from lamella.repo.git import Git
from tests.repo.committing import commit

NAMES = [
    "filter.lamella.process",
    "filter.lamella.required",
    "diff.lamella.command",
    "diff.lamella.textconv",
    "diff.lamella.xfuncname",
    "merge.lamella.name",
    "merge.lamella.driver",
    "merge.lamella.recursive",
]


def value(git, name):
    return git.run("config", "--local", "--get", name, check=False).decode().strip()


def test_installing_sets_what_is_missing_once(git_repository):
    assert setup.install(git_repository, "lamella") == NAMES
    assert value(git_repository, "filter.lamella.process") == "lamella filter-process"
    assert value(git_repository, "filter.lamella.required") == "true"
    before = (git_repository.git_dir / "config").stat()
    assert setup.install(git_repository, "lamella") == []
    assert (git_repository.git_dir / "config").stat() == before


def test_installing_repairs_what_differs(git_repository):
    setup.install(git_repository, "/old/lamella")
    git_repository.run("config", "--add", "filter.lamella.process", "another")
    commands = ["filter.lamella.process", "diff.lamella.command", "diff.lamella.textconv", "merge.lamella.driver"]
    assert setup.install(git_repository, "'/a folder/lamella'") == commands
    assert git_repository.run("config", "--get-all", "filter.lamella.process").decode() == (
        "'/a folder/lamella' filter-process\n"
    )


def test_uninstalling_leaves_the_configuration_as_it_was(git_repository):
    file = git_repository.git_dir / "config"
    git_repository.run("config", "diff.lamella.wordRegex", "mine")
    before = git_repository.run("config", "--local", "--list")
    setup.install(git_repository, "lamella")
    assert set(setup.installed(git_repository)) == set(NAMES)
    assert sorted(setup.uninstall(git_repository)) == sorted(NAMES)
    assert setup.uninstall(git_repository) == []
    assert git_repository.run("config", "--local", "--list") == before
    assert "filter" not in file.read_text()


def test_nothing_global_is_read_or_written(git_repository, git_environment):
    git_repository.run("config", "--global", "filter.lamella.process", "theirs")
    before = (git_environment / "gitconfig").read_bytes()
    assert setup.install(git_repository, "lamella") == NAMES
    setup.uninstall(git_repository)
    assert (git_environment / "gitconfig").read_bytes() == before


@pytest.mark.parametrize("kind", ["bare", "worktree", "submodule"])
def test_every_kind_of_repository_is_set_up(kind, make_repository, tmp_path):
    outer = make_repository("outer")
    commit(outer, {"a": b"1"})
    if kind == "bare":
        git = make_repository("bare", "--bare")
    elif kind == "worktree":
        outer.run("worktree", "add", "--quiet", "--", str(tmp_path / "linked"))
        git = Git.discover(tmp_path / "linked")
    else:
        commit(make_repository("inner"), {"a": b"1"})
        outer.run("submodule", "--quiet", "add", "--", str(tmp_path / "inner"), "part")
        git = Git.discover(outer.root / "part")
    assert setup.install(git, "lamella") == NAMES
    assert (value(outer, NAMES[0]) != "") == (kind == "worktree")


def test_the_command_is_run_by_a_shell(git_repository, tmp_path):
    folder = tmp_path / "a folder"
    folder.mkdir()
    program = folder / "lamella"
    program.write_text(f"#!/bin/sh\necho \"$@\" >'{tmp_path}/called'\nexit 1\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    setup.install(git_repository, f"'{program}'")
    track(git_repository.root / ".gitattributes", "*.pt")
    (git_repository.root / "a.pt").write_bytes(b"1")
    added = subprocess.run(["git", "add", "a.pt"], cwd=git_repository.root, capture_output=True, check=False)
    assert added.returncode != 0, "the filter is required"
    assert (tmp_path / "called").read_text() == "filter-process\n"


def test_a_hunk_is_headed_by_the_name_of_its_tensor(git_repository):
    setup.install(git_repository, "lamella")
    git_repository.run("config", "--unset", "filter.lamella.process")
    git_repository.run("config", "--unset", "filter.lamella.required")
    git_repository.run("config", "--unset", "diff.lamella.textconv")
    track(git_repository.root / ".gitattributes", "m")
    rows = [f"{number}.weight f32 {number + 1},4\n  {number:064x}\n".encode() for number in range(5)]
    commit(git_repository, {"m": b"lamella manifest 1\n" + b"".join(rows)})
    changed = rows[3].replace(b"03\n", b"ff\n")
    (git_repository.root / "m").write_bytes(b"lamella manifest 1\n" + b"".join([*rows[:3], changed, rows[4]]))
    shown = git_repository.run("diff", "--no-ext-diff", "--unified=0").decode().splitlines()
    assert [line for line in shown if line.startswith("@@")] == ["@@ -9 +9 @@ 3.weight f32 4,4"]
