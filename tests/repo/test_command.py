"""Running a command of the user's: how it ended, what is kept of its output, and that nothing of it is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from lamella.core.errors import BackendError
from lamella.core.limits import MAX_COMMAND_OUTPUT_NBYTES
from lamella.repo.command import run_command
from tests.repo.processes import gone


def test_status_output_and_errors_are_kept_apart(tmp_path):
    ended = run_command("echo out; echo err >&2; exit 3", tmp_path)
    assert (ended.status, ended.signal, ended.timed_out) == (3, None, False)
    assert (ended.output, ended.errors) == (b"out\n", b"err\n")
    assert 0 < ended.seconds < 30


def test_it_runs_in_the_directory_with_the_variables_that_are_added(tmp_path):
    ended = run_command('pwd; echo "$A|$B"', tmp_path, {"PATH": os.environ["PATH"], "A": "1"}, {"B": "2 '3'"})
    assert ended.output.decode().splitlines() == [str(tmp_path), "1|2 '3'"]


def test_what_we_inherit_is_seen_where_no_environment_is_given(tmp_path, monkeypatch):
    monkeypatch.setenv("INHERITED", "yes")
    assert run_command('echo "$INHERITED$B"', tmp_path, None, {"B": "!"}).output == b"yes!\n"


def test_it_has_no_stdin(tmp_path):
    assert run_command("cat; echo end", tmp_path, timeout_seconds=20).output == b"end\n"


def test_a_signal_is_told_from_a_status(tmp_path):
    ended = run_command("kill -SEGV $$", tmp_path)
    assert (ended.status, ended.signal) == (0, signal.SIGSEGV)


def test_a_command_without_end_is_ended_with_all_that_it_started(tmp_path):
    started = time.monotonic()
    line = "sleep 600 & echo $! > child; trap '' TERM; while :; do sleep 0.1; done"
    ended = run_command(line, tmp_path, timeout_seconds=0.5)
    assert ended.timed_out
    assert ended.signal == signal.SIGKILL
    assert time.monotonic() - started < 20
    assert gone(int((tmp_path / "child").read_text()))


def test_a_command_that_heeds_the_first_signal_can_clean_up(tmp_path):
    ended = run_command("trap 'echo bye; exit 0' TERM; while :; do sleep 0.05; done", tmp_path, timeout_seconds=0.5)
    assert ended.timed_out
    assert ended.output == b"bye\n"


def test_what_a_command_leaves_behind_ends_with_it(tmp_path):
    ended = run_command("sleep 600 & echo $!", tmp_path)
    assert ended.status == 0
    assert gone(int(ended.output))


def test_what_left_its_group_does_not_hold_us_up(tmp_path):
    started = time.monotonic()
    ended = run_command("setsid sh -c 'sleep 15' & echo said", tmp_path)
    assert ended.output == b"said\n"
    assert time.monotonic() - started < 12


def test_only_the_end_of_megabytes_is_kept(tmp_path):
    ended = run_command("head -c 20000000 /dev/zero | tr '\\0' 'x'; echo; echo the end", tmp_path)
    assert len(ended.output) == MAX_COMMAND_OUTPUT_NBYTES
    assert ended.output.endswith(b"x\nthe end\n")


def test_last_lines_are_those_of_stderr_where_there_are_any(tmp_path):
    assert run_command("seq 30; echo oh no >&2; exit 1", tmp_path).last_lines() == ("oh no",)
    assert run_command("seq 30", tmp_path).last_lines()[-2:] == ("29", "30")
    assert run_command("printf '\\377\\n'", tmp_path).last_lines() == ("\N{REPLACEMENT CHARACTER}",)


def test_a_directory_that_is_gone_is_said(tmp_path):
    with pytest.raises(BackendError) as caught:
        run_command("true", tmp_path / "gone")
    assert caught.value.kind == "command-failed"


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 1), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=lambda one: str(one)
)
def test_a_signal_to_us_ends_the_command_too(tmp_path, number, code):
    program = (
        "import pathlib, signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from lamella.repo.command import run_command\n"
        "try:\n    run_command('echo $$ > child; sleep 600', pathlib.Path.cwd())\n"
        "except KeyboardInterrupt:\n    raise SystemExit(1)\n"
    )
    ours = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path)
    until = time.monotonic() + 30
    while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text().strip():
        assert time.monotonic() < until
        time.sleep(0.02)
    ours.send_signal(number)
    assert ours.wait(30) == code
    assert gone(int((tmp_path / "child").read_text()))


@pytest.fixture
def interruptible():
    """Have Control-C raise, as in a program that somebody started by hand."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


ENDED_BY = pytest.mark.parametrize(
    ("number", "raised"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit), (signal.SIGHUP, SystemExit)],
    ids=str,
)


@ENDED_BY
def test_a_signal_while_the_command_is_being_started_ends_it_too(tmp_path, monkeypatch, interruptible, number, raised):
    started = []

    class Signalled(subprocess.Popen):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            started.append(self.pid)
            os.kill(os.getpid(), number)

    monkeypatch.setattr(subprocess, "Popen", Signalled)
    with pytest.raises(raised):
        run_command("sleep 600", tmp_path)
    assert gone(started[0])
    assert signal.getsignal(signal.SIGTERM) == signal.getsignal(signal.SIGHUP) == signal.SIG_DFL


@ENDED_BY
def test_a_signal_while_the_command_is_being_ended_leaves_nothing_of_it(tmp_path, interruptible, number, raised):
    deaf = "trap '' TERM; sleep 600 & echo $! > child"
    line = f"{deaf}; trap 'kill -$NUMBER $PPID; exit' TERM; while :; do sleep 0.05; done"
    with pytest.raises(raised):
        run_command(line, tmp_path, None, {"NUMBER": str(int(number))}, timeout_seconds=0.5)
    assert gone(int((tmp_path / "child").read_text()))


def test_no_thread_to_listen_with_leaves_nothing_of_the_command(tmp_path, monkeypatch):
    def refused(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refused)
        with pytest.raises(RuntimeError):
            run_command("echo $$ > child; sleep 600", tmp_path)
    child = tmp_path / "child"
    assert not child.exists() or not child.read_text() or gone(int(child.read_text()))
