"""Whatever is wrong: one sentence, a hint, an exit code, no traceback, and nothing lost or written elsewhere."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest

from lamella.cli.main import BROKEN_PIPE
from lamella.repo.filling import fill
from lamella.testing.models import network
from tests.e2e.workbench import PROGRAM, Workbench, run

MODEL = "model.safetensors"
FIRST = network()


def header(text: str) -> bytes:
    return len(text).to_bytes(8, "little") + text.encode()


def entry(start: int, stop: int, shape: str = "[2]") -> str:
    return f'{{"dtype":"F32","shape":{shape},"data_offsets":[{start},{stop}]}}'


LIES = {
    "cut": FIRST[:-7],
    "cut in the header": FIRST[:100],
    "longer": FIRST + b"more",
    "huge length": b"\xff\xff\xff\xff\0\0\0\0{" + bytes(100),
    "length beyond the file": b"\xff\xff\0\0\0\0\0\0{" + bytes(100),
    "overlapping spans": header(f'{{"a":{entry(0, 8)},"b":{entry(4, 12)}}}') + bytes(12),
    "a span out of the file": header(f'{{"a":{entry(0, 8)}}}') + bytes(4),
    "a span of terabytes": header(f'{{"a":{entry(0, 4 * 10**15, "[1000000000000000]")}}}') + bytes(8),
    "a name twice": header(f'{{"a":{entry(0, 8)},"a":{entry(0, 8)}}}') + bytes(8),
    "deep JSON": header('{"a":' + "[" * 5000 + "]" * 5000 + "}"),
    "an unknown dtype": header('{"a":{"dtype":"F1","shape":[],"data_offsets":[0,0]}}'),
    "a control character": header(f'{{"a\\u001b[31m":{entry(0, 8)}}}') + bytes(8),
}


@pytest.mark.parametrize("content", LIES.values(), ids=LIES)
def test_a_lying_model_is_kept_as_plain_bytes_with_a_warning(bench, content):
    bench.write(MODEL, content)
    ended = bench.try_lamella("add", MODEL)
    assert ended.code == 0
    warned = ended.err.removeprefix(f"warning: {MODEL}: ").removesuffix("; it is kept as plain bytes\n")
    assert len(ended.err) - len(warned) == len(f"warning: {MODEL}: ; it is kept as plain bytes\n")
    assert warned.isprintable()
    bench.write("other.safetensors", content)
    assert f"lamella: warning: other.safetensors: {warned}; it is kept" in bench.try_git("add", ".").err
    assert bench.git("rev-parse", ":other.safetensors") == bench.git("rev-parse", f":{MODEL}")
    (bench.root / MODEL).unlink()
    bench.lamella("restore", MODEL)
    assert bench.read(MODEL) == content


NO_REPOSITORY = "error: not a git repository (or any of the parent directories): .git\n"
NO_REVISION = "hint: `git branch --all` and `git tag` list the names there are; put `--` before a path that is gone\n"


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (("nope",), 2, "error: there is no command 'nope'\nhint: `lamella --help` lists the commands\n"),
        (("statsu",), 2, "error: there is no command 'statsu'\nhint: did you mean `lamella status`?\n"),
        (("--nope",), 2, "error: no such option '--nope'\nhint: `lamella --help` explains\n"),
        (("gc", "--nope"), 2, "error: no such option '--nope'\nhint: `lamella gc --help` explains\n"),
        (
            ("log", "-n", "x"), 2,
            "error: invalid value for '-n' / '--max-count': 'x' is not a valid integer range\n"
            "hint: `lamella log --help` explains\n",
        ),
        (("add",), 2, "error: missing argument 'PATHS...'\nhint: `lamella add --help` explains\n"),
        (
            ("diff", "--nope"), 2,
            "error: no such option '--nope'; did you mean '--no-index'?\nhint: `lamella diff --help` explains\n",
        ),
        (("version", "x"), 2, "error: unknown argument 'x'\nhint: see `lamella version --help`\n"),
        (("filter-process", "x"), 2, "error: filter-process takes no arguments\nhint: Git calls it by itself\n"),
        (
            ("-C", "gone", "status"), 2,
            "error: cannot enter gone: No such file or directory\nhint: `lamella --help` explains\n",
        ),
        (("log", "gone"), 3, f"error: 'gone' is neither a revision nor a file\n{NO_REVISION}"),
        (("diff", "HEAD", "HEAD", "HEAD"), 2, "error: at most two revisions can be compared\nhint: name one or two\n"),
        (
            ("show", "HEAD:gone.safetensors"), 3,
            "error: HEAD has no model file 'gone.safetensors'\nhint: `lamella ls-files` lists the model files\n",
        ),
        (
            ("show", ":gone.safetensors"), 3,
            "error: the index has no model file 'gone.safetensors'\nhint: `lamella ls-files` lists the model files\n",
        ),
        (
            ("show", "HEAD:.gitattributes"), 3,
            "error: HEAD has no model file '.gitattributes'\nhint: `lamella ls-files` lists the model files\n",
        ),
        (
            ("show", f"gone:{MODEL}"), 3,
            "error: no revision is called 'gone'\nhint: `git branch --all` and `git tag` list the names there are\n",
        ),
        (("show", "--json", "HEAD"), 2, None),
        (
            ("track", "!negative"), 2,
            "error: the pattern '!negative' is negative, which Git forbids here\n"
            "hint: name files or folders here, as in '*.safetensors'\n",
        ),
        (("hook", "no-such-hook"), 2, None),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)  # fmt: skip
def test_a_mistake_on_the_command_line_is_one_sentence_and_a_hint(bench, command, code, said):
    ended = bench.try_lamella(*command)
    assert ended.code == code
    if said is None:
        assert "--json" in command or ended.err.startswith("error: ")
    else:
        assert ended.err == said
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("command", ["status", "log", "add x", "gc", "fsck", "checkout", "commit", "doctor", "track x"])
def test_outside_a_repository_that_is_said(elsewhere, git_environment, command):
    ended = run(elsewhere, PROGRAM, *command.split())
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == f"{NO_REPOSITORY}hint: run `lamella init` here, or go into a repository\n"


def test_with_json_a_fault_is_json_too(elsewhere, git_environment):
    ended = run(elsewhere, PROGRAM, "status", "--json")
    assert (ended.code, ended.err) == (2, "")
    assert json.loads(ended.out) == {
        "type": "error",
        "version": 1,
        "kind": "not-a-repository",
        "message": NO_REPOSITORY.removeprefix("error: ").strip(),
        "hint": "run `lamella init` here, or go into a repository",
        "exit_code": 2,
    }


def test_from_a_directory_that_is_gone(bench):
    shell = f'mkdir gone && cd gone && rmdir ../gone && "{PROGRAM}" status'
    ended = run(bench.root, "sh", "-c", shell, env={"PYTHONPATH": ""})
    assert ended.code == 3
    assert ended.err.startswith("error: ")
    assert "Traceback" not in ended.err


def test_without_git_that_is_said(bench, elsewhere):
    ended = bench.try_lamella("status", env={"PATH": str(elsewhere)})
    assert ended.code == 7
    assert ended.err.startswith("error: cannot run git: ")
    assert ended.err.endswith("hint: install Git and put it on the PATH\n")


@pytest.mark.parametrize("name", ["LAMELLA_CLEAN", "LAMELLA_SMUDGE"])
def test_a_setting_with_another_value_is_told(bench, name):
    ended = bench.try_lamella("filter-process", env={name: "nonsense"})
    assert ended.code == 2
    assert ended.err.startswith(f"error: {name} is 'nonsense'\nhint: set it to ")


@pytest.mark.parametrize("content", [b"", b"garbage", b"0016git-filter-server\n"])
def test_a_filter_that_is_not_spoken_to_as_git_does_ends_with_a_sentence(bench, content):
    ended = subprocess.run([PROGRAM, "filter-process"], cwd=bench.root, input=content, capture_output=True, check=False)
    assert ended.returncode == 6
    assert ended.stderr.startswith(b"error: ")
    assert b"Traceback" not in ended.stderr


def hostile_commit(bench: Workbench, *entries: tuple[str, str, str]) -> str:
    """Commit a tree of (mode, object, name) as a stranger's program could have written it."""
    raw = b"".join(f"{mode.lstrip('0')} {name}\0".encode() + bytes.fromhex(oid) for mode, oid, name in entries)
    tree = bench.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", given=os.fsdecode(raw))
    return bench.git("commit-tree", tree, "-m", "hostile")


def test_a_commit_of_a_stranger_writes_nothing_outside_the_worktree(bench, elsewhere):
    bench.commit(MODEL, FIRST)
    attributes = bench.git("rev-parse", "HEAD:.gitattributes")
    blob = bench.git("rev-parse", f"HEAD:{MODEL}")
    link = bench.git("hash-object", "-w", "--stdin", given=str(elsewhere))
    inside = bench.git("mktree", given=f"100644 blob {blob}\tevil.safetensors\n")
    kept = ("100644", attributes, ".gitattributes")
    trees = [
        hostile_commit(bench, kept, ("040000", inside, "..")),
        hostile_commit(bench, kept, ("040000", inside, ".git")),
        hostile_commit(bench, kept, ("040000", inside, ".GIT")),
        hostile_commit(bench, kept, ("100644", blob, "../evil.safetensors")),
        hostile_commit(bench, kept, ("100644", blob, f"{elsewhere}/evil.safetensors")),
        hostile_commit(bench, kept, ("120000", link, "dir"), ("040000", inside, "dir")),
        hostile_commit(bench, kept, ("040000", inside, "dir"), ("120000", link, "dir")),
    ]
    before = {path for path in bench.root.parent.rglob("*.safetensors") if ".git/" not in str(path)}
    for commit in trees:
        ended = bench.try_lamella("checkout", "--quiet", "--force", commit)
        assert "Traceback" not in ended.err
        with bench.repository() as repository:
            fill(repository)
        bench.try_git("checkout", "--quiet", "--force", "main")
    after = {path for path in bench.root.parent.rglob("*.safetensors") if ".git/" not in str(path)}
    assert {path for path in after - before if not path.is_relative_to(bench.root / "dir")} == set()
    assert list(elsewhere.iterdir()) == []
    assert not list((bench.root / ".git").glob("evil*"))


def test_a_folder_that_became_a_link_is_not_written_through(bench, elsewhere):
    bench.commit(f"dir/{MODEL}", FIRST)
    (bench.root / "dir" / MODEL).unlink()
    (bench.root / "dir").rmdir()
    (bench.root / "dir").symlink_to(elsewhere)
    (elsewhere / MODEL).write_bytes(bench.blob(f"HEAD:dir/{MODEL}"))
    before = (elsewhere / MODEL).read_bytes()
    bench.lamella("checkout")
    assert (elsewhere / MODEL).read_bytes() == before
    assert bench.try_lamella("status").code == 0
    assert bench.lamella("fsck").endswith("everything is sound")


def test_a_name_cannot_drive_the_terminal(bench):
    name = "\x1b[31mred\x07.safetensors"
    bench.write(name, FIRST)
    for command in (("add", "."), ("status",), ("ls-files",)):
        ended = bench.try_lamella(*command)
        assert "\x1b" not in ended.out + ended.err
        assert "\\x1b[31mred\\x07.safetensors" in ended.out


def test_a_message_and_an_author_cannot_break_the_log(bench):
    bench.commit(MODEL, FIRST, "one\x01:100644 \x1b[31m\n\n\x01\x02 :000000\n: \n")
    bench.git("config", "user.name", "\x01Eve\x1b[0m")
    bench.git("config", "log.showSignature", "true")
    bench.git("config", "log.showRoot", "false")
    bench.commit(MODEL, network(layer_1_bias=1), ":100644 100644 a b M")
    lines = [json.loads(line) for line in bench.lamella("log", "--json").splitlines()]
    assert [line["message"].split("\n")[0] for line in lines] == [
        ":100644 100644 a b M", "one\x01:100644 \x1b[31m", "start",
    ]  # fmt: skip
    assert [len(line["files"]) for line in lines] == [1, 1, 0]
    assert "\x1b" not in bench.lamella("log")


def test_an_interrupted_command_says_one_line(bench):
    bench.write(MODEL, os.urandom(100_000_000))
    process = subprocess.Popen(
        [PROGRAM, "add", MODEL], cwd=bench.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 30
    packs = bench.root / ".git/lamella/packs"
    while not any(file.stat().st_size for file in packs.glob(".lamella-tmp-*")) and time.monotonic() < deadline:
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert err == "\ninterrupted; nothing is half done, run the command again to finish it\n"
    assert not list((bench.root / ".git/lamella").rglob(".lamella-tmp-*"))
    bench.write(MODEL, FIRST)
    bench.lamella("add", MODEL)


def test_a_verb_of_gits_that_is_interrupted_is_finished_by_running_again(bench):
    bench.commit(MODEL, FIRST)
    bench.commit(MODEL, network(layer_1_weight=1))
    hook = bench.write(".git/hooks/post-checkout", b"#!/bin/sh\nkill -INT $PPID\nsleep 1\n")
    hook.chmod(0o755)
    ended = bench.try_lamella("checkout", "--quiet", "HEAD~1")
    assert (ended.code, ended.err.splitlines()[-1][:11]) == (130, "interrupted")
    bench.lamella("checkout")
    assert bench.read(MODEL) == FIRST


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "command",
    ["version", "status", "log", "log --json", "ls-files", "--help", "log --help", "status --json"],
)
def test_a_reader_that_closes_early_is_told_by_the_exit_code(bench, command, unbuffered):
    for version in range(3):
        bench.commit(MODEL, network(layer_1_bias=version))
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen(
        [PROGRAM, *command.split()],
        cwd=bench.root,
        stdout=writing,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    os.close(writing)
    assert process.communicate(timeout=30)[1] == b""
    assert process.returncode == BROKEN_PIPE


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["version", "status", "log --json"])
def test_an_output_that_cannot_be_written_is_a_fault(bench, command, unbuffered):
    full = run(bench.root, "sh", "-c", f'"{PROGRAM}" {command} >/dev/full', env={"PYTHONUNBUFFERED": unbuffered})
    assert (full.code, full.err.splitlines()[0]) == (7, "error: no space left to write the output")
    assert run(bench.root, "sh", "-c", f'"{PROGRAM}" {command} >&-').code == 0


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_what_the_terminal_cannot_show_is_escaped(bench, encoding):
    bench.write("\u5c64.safetensors", FIRST)
    told = bench.lamella("status", env={"PYTHONIOENCODING": encoding})
    assert "  \\u5c64.safetensors\n" in f"{told}\n"
    refused = bench.try_lamella("show", ":\u5c64", env={"PYTHONIOENCODING": encoding})
    assert (refused.code, "'\\u5c64'" in refused.err) == (3, True)


def test_a_path_outside_the_worktree_is_refused(bench, tmp_path):
    outside = tmp_path / "outside.safetensors"
    outside.write_bytes(FIRST)
    refused = bench.try_lamella("add", "--json", str(outside))
    assert (refused.code, json.loads(refused.out)["kind"]) == (2, "path-outside-worktree")
    assert outside.read_bytes() == FIRST
