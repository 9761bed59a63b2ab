"""Running git: finding repositories, translating failures, streaming."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lamella.core.errors import KINDS, BackendError, ConflictError, NotFoundError, UsageError
from lamella.repo.git import Git, passthrough
from lamella.repo.gitfaults import failure
from tests.repo.committing import commit


def test_a_repository_is_found_from_any_of_its_folders(git_repository):
    deep = git_repository.root / "a" / "b"
    deep.mkdir(parents=True)
    found = Git.discover(deep)
    assert found.directory == deep
    assert found.worktree == found.root == git_repository.root
    assert found.git_dir == found.common_dir == git_repository.root / ".git"
    assert found.index_path == git_repository.root / ".git" / "index"
    assert found.hash_name == "sha1"


def test_a_repository_is_found_through_a_symbolic_link_into_it(git_repository, tmp_path):
    (git_repository.root / "a").mkdir()
    (tmp_path / "link").symlink_to(git_repository.root / "a")
    assert Git.discover(tmp_path / "link").common_dir == git_repository.common_dir


def test_discovery_starts_one_process(git_repository, monkeypatch):
    started = []
    original = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda *args, **options: started.append(args) or original(*args, **options))
    Git.discover(git_repository.root)
    assert len(started) == 1


def test_a_bare_repository_has_no_worktree(make_repository):
    git = make_repository("bare", "--bare")
    assert git.worktree is None
    assert git.root == git.git_dir == git.common_dir
    assert git.run("rev-parse", "--is-bare-repository") == b"true\n"


def test_a_linked_worktree_has_its_own_directory_and_shares_the_common_one(git_repository, tmp_path):
    commit(git_repository, {"a": b"1"})
    git_repository.run("worktree", "add", "--quiet", "--", str(tmp_path / "linked"))
    linked = Git.discover(tmp_path / "linked")
    assert linked.common_dir == git_repository.common_dir
    assert linked.git_dir == git_repository.common_dir / "worktrees" / "linked"
    assert linked.index_path == linked.git_dir / "index"


def test_a_submodule_is_a_repository_of_its_own(make_repository):
    inner, outer = make_repository("inner"), make_repository("outer")
    commit(inner, {"a": b"1"})
    outer.run("submodule", "--quiet", "add", "--", str(inner.root), "part")
    found = Git.discover(outer.root / "part")
    assert found.worktree == outer.root / "part"
    assert found.git_dir == found.common_dir == outer.git_dir / "modules" / "part"


def test_a_sha256_repository_says_so(make_repository):
    assert make_repository("wide", "--object-format=sha256").hash_name == "sha256"


def test_inside_the_git_directory_there_is_no_worktree(git_repository):
    found = Git.discover(git_repository.git_dir)
    assert found.worktree is None
    assert found.git_dir == git_repository.git_dir


@pytest.mark.parametrize("given", [True, False])
def test_the_environment_chooses_the_repository_as_it_does_for_git(given, git_repository, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    variables = {"GIT_DIR": str(git_repository.git_dir), "GIT_INDEX_FILE": "other"}
    if given:
        found = Git.discover(elsewhere, {**os.environ, **variables})
    else:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        found = Git.discover(elsewhere)
    assert found.git_dir == git_repository.git_dir
    assert found.worktree == elsewhere
    assert found.index_path == elsewhere / "other"


def test_a_given_environment_may_name_directories_by_relative_paths(git_repository):
    deep = git_repository.root / "deep"
    deep.mkdir()
    found = Git.discover(deep, {**os.environ, "GIT_DIR": "../.git", "GIT_WORK_TREE": ".."})
    assert found.root == git_repository.root
    assert commit(found, {"deep/a": b"1"})


def test_a_given_environment_is_all_that_git_sees(git_repository, monkeypatch):
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Mallory")
    found = Git.discover(git_repository.root, {"PATH": os.environ["PATH"], "GIT_AUTHOR_NAME": "Bea"})
    assert found.run("var", "GIT_AUTHOR_IDENT", env={"GIT_AUTHOR_EMAIL": "b@example.org"}).startswith(b"Bea <b@")
    assert git_repository.run("var", "GIT_AUTHOR_IDENT").startswith(b"Mallory ")


def test_outside_a_repository_the_hint_is_init(git_environment, tmp_path):
    with pytest.raises(UsageError) as caught:
        Git.discover(tmp_path)
    assert caught.value.kind == "not-a-repository"
    assert "lamella init" in caught.value.hint


def test_a_directory_that_does_not_exist_is_named(git_environment, tmp_path):
    with pytest.raises(NotFoundError, match="nowhere is not a directory") as caught:
        Git.discover(tmp_path / "nowhere")
    assert caught.value.kind == "path-unknown"


@pytest.mark.parametrize("given", [True, False])
def test_a_missing_git_is_named(given, git_repository, tmp_path, monkeypatch):
    for tool in ("env", "sh"):
        (tmp_path / tool).symlink_to(f"/usr/bin/{tool}")
    monkeypatch.setenv("PATH", str(tmp_path))
    for start in (Git.discover, Git.init):
        with pytest.raises(BackendError) as caught:
            start(git_repository.root, environment={"PATH": str(tmp_path)} if given else None)
        assert caught.value.kind == "git-missing"
        assert caught.value.hint


def test_commands_run_in_the_root_and_passthrough_where_the_user_stands(git_repository):
    deep = git_repository.root / "deep"
    deep.mkdir()
    git = Git.discover(deep)
    assert git.run("rev-parse", "--show-prefix") == b"\n"
    (deep / "a").write_bytes(b"1")
    assert git.passthrough(["add", "--", "a"]) == 0
    assert git.run("ls-files") == b"deep/a\n"


def test_passthrough_returns_the_status_and_shows_everything(git_repository, capfd):
    assert git_repository.passthrough(["rev-parse", "--verify", "nothing"]) == 128
    assert (
        git_repository.passthrough(["-c", "alias.show-it=!echo $LAMELLA_INSIDE", "show-it"], {"LAMELLA_INSIDE": "1"})
        == 0
    )
    shown = capfd.readouterr()
    assert "Needed a single revision" in shown.err
    assert shown.out == "1\n"


def test_passthrough_works_outside_a_repository(git_environment, tmp_path, capfd):
    assert passthrough(["--version"], tmp_path) == 0
    assert capfd.readouterr().out.startswith("git version")


def test_passthrough_turns_a_signal_into_the_status_of_a_shell(git_repository, tmp_path):
    killed = tmp_path / "git"
    killed.write_text(f"#!{sys.executable}\nimport os\nos.kill(os.getpid(), {int(signal.SIGKILL)})\n")
    killed.chmod(0o755)
    assert passthrough([], tmp_path, {"PATH": f"{tmp_path}:{os.environ['PATH']}"}) == 128 + signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_the_keys_that_interrupt_are_left_to_git(git_repository, number):
    before = signal.getsignal(number)
    answers = f"alias.edit=!kill -{int(number)} {os.getpid()}; sleep 0.1; exit 5"
    assert git_repository.passthrough(["-c", answers, "edit"]) == 5
    interrupted = f"alias.edit=!kill -{int(number)} $$"
    assert git_repository.passthrough(["-c", interrupted, "edit"]) == 128 + number
    assert signal.getsignal(number) is before


def test_every_command_flushes_what_it_writes(git_repository):
    settings = git_repository.run("config", "--get-regexp", r"^core\.fsync").splitlines()
    assert settings == [b"core.fsync all", b"core.fsyncmethod fsync"]


def test_stdin_is_closed_unless_it_is_given(git_repository):
    empty = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391\n"
    assert git_repository.run("hash-object", "--stdin").decode() == empty
    assert git_repository.run("hash-object", "--stdin", input=memoryview(b"a")).decode() != empty


@pytest.mark.parametrize("revision", ["HEAD..HEAD", "^HEAD", "HEAD^!"])
def test_what_names_several_commits_or_shuts_one_out_is_no_revision(revision, git_repository):
    for subject in ("one", "two"):
        git_repository.run("commit", "--quiet", "--allow-empty", "-m", subject)
    with pytest.raises(NotFoundError) as caught:
        git_repository.resolve(revision)
    assert caught.value.kind == "revision-unknown"


@pytest.mark.parametrize("revision", ["nothing", "HEAD", "HEAD~3", "--all", "f" * 40 + "^{commit}", "", "a b", "@{u}"])
def test_a_revision_that_names_nothing_is_unknown(revision, git_repository):
    with pytest.raises(NotFoundError) as caught:
        git_repository.resolve(revision)
    assert caught.value.kind == "revision-unknown"


@pytest.mark.parametrize(
    "args",
    [
        ("log", "nothing"),
        ("ls-tree", "nothing"),
        ("log", "f" * 40),
        ("rev-list", "nothing..HEAD"),
        ("cat-file", "-p", "nothing"),
        ("merge", "nothing"),
    ],
)
def test_an_unknown_revision_is_told_apart(args, git_repository):
    commit(git_repository, {"a": b"1"})
    with pytest.raises(NotFoundError) as caught:
        git_repository.run(*args)
    assert caught.value.kind == "revision-unknown"
    assert not caught.value.message.startswith("fatal")


def test_an_unknown_path_is_told_apart(git_repository):
    commit(git_repository, {"a": b"1"})
    with pytest.raises(NotFoundError) as caught:
        git_repository.run("checkout", "--", "b")
    assert caught.value.kind == "path-unknown"


def test_a_locked_index_is_a_conflict(git_repository):
    (git_repository.root / "a").write_bytes(b"1")
    (git_repository.git_dir / "index.lock").touch()
    with pytest.raises(ConflictError) as caught:
        git_repository.run("add", "a")
    assert caught.value.kind == "lock-held"


def test_a_refusal_carries_what_git_said(git_repository):
    with pytest.raises(UsageError) as caught:
        git_repository.run("branch", "--", "a..b")
    assert caught.value.kind == "git-refused"
    assert caught.value.message == "'a..b' is not a valid branch name"


def test_messages_are_read_in_english(git_repository, monkeypatch):
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("LANGUAGE", "de")
    with pytest.raises(NotFoundError):
        git_repository.run("log", "nothing")


def test_a_status_can_be_ignored(git_repository):
    assert git_repository.run("config", "--get", "no.such", check=False) == b""


@pytest.mark.parametrize(
    ("status", "stderr", "kind"),
    [
        (-9, b"", "git-failed"),
        (1, b"", "git-refused"),
        (128, b"error: a\nfatal: loose object 11 (stored in x) is corrupt\n", "git-failed"),
        (128, b"error: unable to write file x: No space left on device\nfatal: unable to write\n", "no-space"),
        (128, b"error: insufficient permission: Permission denied\n", "read-only"),
        (128, b"fatal: detected dubious ownership in repository at '/x'\nTo add\n\n\tgit config\n", "git-refused"),
        (127, b"env: 'git': No such file or directory\n", "git-missing"),
        (128, b"\xff\xfe\n", "git-refused"),
    ],
)
def test_a_failure_is_classed_by_what_can_be_done(status, stderr, kind):
    error = failure(("gc", "--auto"), status, stderr)
    assert error.kind == kind
    assert isinstance(error, KINDS[kind])
    assert error.message
    assert not error.message.startswith(("fatal", "error"))


def test_a_command_streams_both_ways(git_repository):
    with git_repository.start("cat-file", "--batch-check", stdin="pipe") as running:
        for name in (b"a", b"b"):
            running.stdin.write(name + b"\n")
            running.stdin.flush()
            assert running.stdout.readline() == name + b" missing\n"


def test_a_stream_that_fails_raises_when_it_is_left(git_repository):
    with pytest.raises(NotFoundError), git_repository.start("rev-list", "nothing") as running:
        assert running.stdout.read() == b""
    assert "nothing" in running.errors[0]


def test_a_stream_that_is_left_by_an_exception_is_ended(git_repository):
    with pytest.raises(KeyError), git_repository.start("cat-file", "--batch", stdin="pipe") as running:
        raise KeyError
    assert running._process.returncode == -signal.SIGKILL


def test_much_on_stderr_does_not_block_a_stream(git_repository):
    args = ("-c", "alias.noise=!seq 100000 >&2; echo done", "noise")
    with git_repository.start(*args) as running:
        assert running.stdout.read() == b"done\n"


def test_init_leaves_an_existing_repository_as_it_is(git_repository):
    head = commit(git_repository, {"a": b"1"})
    again = Git.init(git_repository.root)
    assert again.resolve("HEAD") == head


def test_a_path_may_break_lines(git_environment, tmp_path):
    git = Git.init(tmp_path / "two\nlines")
    assert git.root == tmp_path / "two\nlines"
    assert git.index_path == git.root / ".git" / "index"
    commit(git, {"a": b"1"})
    assert Git.discover(git.git_dir).worktree is None


def test_outside_of_its_worktree_a_repository_is_used_from_the_root(git_repository, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    variables = {"GIT_DIR": str(git_repository.git_dir), "GIT_WORK_TREE": str(git_repository.root)}
    found = Git.discover(elsewhere, {**os.environ, **variables})
    assert found.directory == found.worktree == git_repository.root
    assert found.index_path == git_repository.index_path
    (git_repository.root / "a").write_bytes(b"1")
    assert found.passthrough(["add", "a"]) == 0


def test_init_makes_missing_folders(git_environment, tmp_path):
    assert Git.init(tmp_path / "x" / "y").worktree == Path(tmp_path / "x" / "y")
