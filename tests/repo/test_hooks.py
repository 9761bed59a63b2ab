"""Hooks beside those of the user."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lamella.core import fsio
from lamella.repo import hooks
from lamella.repo.git import Git
from tests.repo.committing import commit

SHELL_HOOKS = {
    "sh": b'#!/bin/sh\ncat >stdin\necho "$@" >args\nexit 3\n',
    "bash with options": b'#!/bin/bash -eu\nset -o pipefail\ncat >stdin\necho "$@" >args\nexit 3\n',
    "env bash": b'#!/usr/bin/env bash\ncat >stdin\necho "$@" >args\nexit 3',
}
OTHER_HOOKS = {
    "python": (
        f"#!{sys.executable}\nimport sys\nopen('stdin', 'w').write(sys.stdin.read())\n"
        "print(*sys.argv[1:], file=open('args', 'w'))\nsys.exit(3)\n"
    ).encode(),
    "no first line": b'cat >stdin\necho "$@" >args\nexit 3\n',
}
HOOKS = SHELL_HOOKS | OTHER_HOOKS


@pytest.fixture
def directory(git_repository):
    path = git_repository.git_dir / "hooks"
    path.mkdir(exist_ok=True)
    for sample in path.iterdir():
        sample.unlink()
    return path


@pytest.fixture
def program(tmp_path):
    """A stand-in for lamella that notes how it was called and eats its stdin."""
    folder = tmp_path / "it's here"
    folder.mkdir()
    path = folder / "lamella"
    path.write_text('#!/bin/sh\necho "$@" >>"$(dirname "$0")/called"\ncat >"$(dirname "$0")/eaten"\nexit 9\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def command(program):
    return "'" + str(program).replace("'", "'\\''") + "'"


def put(directory, name, content, mode=0o755):
    (directory / name).write_bytes(content)
    (directory / name).chmod(mode)


def run(git, name, *args, stdin=b"refs\n", env=None):
    """Run a hook as git does: in the root, by a path relative to it."""
    return subprocess.run(
        [f".git/hooks/{name}", *args], cwd=git.root, input=stdin, capture_output=True, env=env, check=False
    )


def state(directory):
    return {path.name: (path.read_bytes(), path.stat().st_mode) for path in directory.iterdir()}


def test_where_there_was_nothing_small_files_come_and_go(git_repository, directory):
    report = hooks.install(git_repository, "lamella")
    assert report.changed == hooks.NAMES == hooks.installed(git_repository)
    assert report.notes == ()
    assert all(os.access(directory / name, os.X_OK) for name in hooks.NAMES)
    assert hooks.uninstall(git_repository) == hooks.NAMES
    assert list(directory.iterdir()) == []
    assert hooks.uninstall(git_repository) == ()


def test_a_missing_hooks_folder_is_made(git_repository, directory):
    directory.rmdir()
    assert hooks.install(git_repository, "lamella").changed == hooks.NAMES


@pytest.mark.parametrize("content", [*HOOKS.values()], ids=[*HOOKS])
def test_a_users_hook_keeps_stdin_arguments_and_status(content, git_repository, directory, program, command):
    put(directory, "pre-push", content)
    hooks.install(git_repository, command)
    assert run(git_repository, "pre-push", "origin", "a b").returncode == 3
    assert (git_repository.root / "stdin").read_bytes() == b"refs\n"
    assert (git_repository.root / "args").read_text() == "origin a b\n"
    assert (program.parent / "called").read_text() == "hook pre-push origin a b\n"
    assert (program.parent / "eaten").read_bytes() == b""


@pytest.mark.parametrize("content", [*HOOKS.values(), b"#!/bin/sh\n", b"#!/bin/sh", b"", b"\x7fELF\0\xff"])
@pytest.mark.parametrize("mode", [0o755, 0o700, 0o644])
def test_uninstalling_restores_every_byte(content, mode, git_repository, directory):
    for name in ("post-checkout", "pre-push", "pre-commit"):
        put(directory, name, content, mode)
    before = state(directory)
    hooks.install(git_repository, "lamella")
    hooks.install(git_repository, "/elsewhere/lamella")
    assert (directory / "pre-commit").read_bytes() == content
    hooks.uninstall(git_repository)
    assert state(directory) == before


@pytest.mark.parametrize("content", [None, *HOOKS.values()], ids=["none", *HOOKS])
def test_installing_again_changes_nothing_unless_the_command_did(content, git_repository, directory):
    if content:
        put(directory, "pre-push", content)
    hooks.install(git_repository, "lamella")
    before = state(directory)
    assert hooks.install(git_repository, "lamella").changed == ()
    assert state(directory) == before
    assert hooks.install(git_repository, "/new/lamella").changed == hooks.NAMES
    assert b"/new/lamella hook pre-push" in (directory / "pre-push").read_bytes()
    assert (directory / "pre-push").read_bytes().count(b">>> lamella >>>") == 1


def test_a_hook_that_git_does_not_run_is_not_brought_to_life(git_repository, directory, command):
    put(directory, "pre-push", SHELL_HOOKS["sh"], 0o644)
    hooks.install(git_repository, command)
    assert run(git_repository, "pre-push").returncode == 0
    assert not (git_repository.root / "args").exists()


def test_a_linked_hook_is_not_written_through(git_repository, directory, tmp_path, command):
    shared = tmp_path / "shared"
    shared.write_bytes(SHELL_HOOKS["sh"])
    shared.chmod(0o755)
    (directory / "pre-push").symlink_to(shared)
    (directory / "post-merge").symlink_to("nowhere")
    hooks.install(git_repository, command)
    assert shared.read_bytes() == SHELL_HOOKS["sh"]
    assert run(git_repository, "pre-push", "x").returncode == 3
    assert run(git_repository, "post-merge", "0").returncode == 0
    hooks.uninstall(git_repository)
    assert (directory / "pre-push").readlink() == shared
    assert os.readlink(directory / "post-merge") == "nowhere"


def test_without_the_program_one_line_says_so(git_repository, directory):
    hooks.install(git_repository, "/nowhere/lamella")
    result = run(git_repository, "post-checkout", "1", "2", "1")
    assert result.returncode == 0
    assert result.stdout == b""
    assert result.stderr.startswith(b"lamella is not installed")
    assert result.stderr.count(b"\n") == 1


@pytest.mark.parametrize("name", ["sh", "python"])
def test_inside_lamella_only_the_users_hook_runs(name, git_repository, directory, program, command):
    put(directory, "pre-push", HOOKS[name])
    hooks.install(git_repository, command)
    inside = {**os.environ, "LAMELLA_INSIDE": str(git_repository.git_dir)}
    assert run(git_repository, "pre-push", env=inside).returncode == 3
    assert not (program.parent / "called").exists()
    elsewhere = {**os.environ, "LAMELLA_INSIDE": "/another/.git"}
    assert run(git_repository, "pre-push", env=elsewhere).returncode == 3
    assert (program.parent / "called").exists()


def test_git_runs_the_hooks(git_repository, directory, program, command, make_repository):
    hooks.install(git_repository, command)
    commit(git_repository, {"a": b"1"})
    remote = make_repository("remote", "--bare")
    git_repository.run("switch", "--quiet", "--create", "side")
    commit(git_repository, {"b": b"1"})
    git_repository.run("switch", "--quiet", "main")
    git_repository.run("merge", "--quiet", "side")
    git_repository.run("push", "--quiet", str(remote.root), "main")
    called = [line.split()[1] for line in (program.parent / "called").read_text().splitlines()]
    assert called == ["post-checkout", "post-checkout", "post-merge", "pre-push"]


@pytest.mark.parametrize("where", ["worktree", "submodule", "bare"])
def test_every_kind_of_repository_gets_hooks_of_its_own(where, make_repository, tmp_path):
    outer = make_repository("outer")
    commit(outer, {"a": b"1"})
    if where == "worktree":
        outer.run("worktree", "add", "--quiet", "--", str(tmp_path / "linked"))
        git, expected = Git.discover(tmp_path / "linked"), outer.git_dir / "hooks"
    elif where == "submodule":
        commit(make_repository("inner"), {"a": b"1"})
        outer.run("submodule", "--quiet", "add", "--", str(tmp_path / "inner"), "part")
        git, expected = Git.discover(outer.root / "part"), outer.git_dir / "modules" / "part" / "hooks"
    else:
        git = make_repository("bare", "--bare")
        expected = git.git_dir / "hooks"
    assert hooks.install(git, "lamella").changed == hooks.NAMES
    assert all((expected / name).exists() for name in hooks.NAMES)
    assert hooks.uninstall(git) == hooks.NAMES


@pytest.mark.parametrize("path", [".husky", "/somewhere/shared", "../shared"])
def test_hooks_outside_the_repository_are_left_to_the_user(path, git_repository, directory):
    git_repository.run("config", "core.hooksPath", path)
    if not path.startswith("/"):
        (git_repository.root / path).mkdir()
    report = hooks.install(git_repository, "lamella")
    assert report.changed == ()
    assert len(report.notes) == 3
    assert 'lamella hook pre-push "$@" </dev/null || true' in report.notes[2]
    assert list(directory.iterdir()) == []
    assert hooks.uninstall(git_repository) == ()


def test_a_hooks_folder_that_is_a_link_to_the_outside_is_not_written(git_repository, directory, tmp_path):
    directory.rmdir()
    (tmp_path / "shared").mkdir()
    directory.symlink_to(tmp_path / "shared")
    assert hooks.install(git_repository, "lamella").notes
    assert list((tmp_path / "shared").iterdir()) == []


def test_a_configured_folder_inside_the_repository_is_used(git_repository):
    git_repository.run("config", "core.hooksPath", ".git/mine")
    assert hooks.install(git_repository, "lamella").changed == hooks.NAMES
    assert (git_repository.git_dir / "mine" / "pre-push").exists()


def test_a_hook_that_another_tool_put_over_ours_is_not_lost(git_repository, directory):
    put(directory, "pre-push", OTHER_HOOKS["python"])
    hooks.install(git_repository, "lamella")
    put(directory, "pre-push", b"#!/usr/bin/perl\n")
    report = hooks.install(git_repository, "lamella")
    assert report.changed == ()
    assert "pre-push.before-lamella is in the way" in report.notes[0]
    assert (directory / "pre-push").read_bytes() == b"#!/usr/bin/perl\n"
    assert (directory / "pre-push.before-lamella").read_bytes() == OTHER_HOOKS["python"]


@pytest.mark.parametrize("content", [None, *HOOKS.values()], ids=["none", *HOOKS])
def test_an_installation_that_stops_anywhere_is_finished_by_the_next(content, git_repository, directory):
    def stop_at(step):
        calls = iter(range(1000))

        def observer(operation, path):
            if next(calls) == step:
                raise KeyboardInterrupt

        return observer

    for step in range(200):
        for path in directory.iterdir():
            path.unlink()
        if content:
            put(directory, "pre-push", content)
        before = state(directory)
        try:
            with fsio.observe(stop_at(step)):
                hooks.install(git_repository, "lamella")
        except KeyboardInterrupt:
            stopped = True
        else:
            stopped = False
        hooks.install(git_repository, "lamella")
        assert hooks.installed(git_repository) == hooks.NAMES
        hooks.uninstall(git_repository)
        assert state(directory) == before
        if not stopped:
            break
    assert step > 10
