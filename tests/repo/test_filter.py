"""The long-running filter, alone and under Git."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from tempfile import TemporaryFile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lamella
from lamella.core.errors import BackendError, FormatError, LamellaError, UsageError
from lamella.repo import setup
from lamella.repo.attributes import track
from lamella.repo.filter import serve
from lamella.repo.packetline import MAX_PACKET_NBYTES
from tests.repo.committing import commit

GREETING = (
    b"0016git-filter-client\n000eversion=2\n00000015capability=clean\n0016capability=smudge\n0015capability=delay\n0000"
)
GREETED = b"0016git-filter-server\n000eversion=2\n00000015capability=clean\n0016capability=smudge\n0000"
SUCCESS, ERROR, ABORT, END = b"0013status=success\n0000", b"0011status=error\n0000", b"0011status=abort\n0000", b"0000"


class Reversing:
    """Turns content round; some paths ask for trouble."""

    def clean(self, path, content):
        if path.startswith("refuse early"):
            raise UsageError("no", kind="bad-argument", hint="yes")
        data = content.read(3) if path.startswith("part") else content.read()
        if path.startswith("bug early"):
            raise ZeroDivisionError
        yield data[::-1]
        if path.startswith("refuse late"):
            raise UsageError("no", kind="bad-argument")
        if path.startswith("bug late"):
            raise ZeroDivisionError
        if path.startswith("read late"):
            content.read()

    def smudge(self, path, content):
        return [] if path.startswith("nothing") else [content.read()[::-1]]


def framed(data):
    packets = [data[start : start + MAX_PACKET_NBYTES] for start in range(0, len(data), MAX_PACKET_NBYTES)]
    return b"".join(b"%04x" % (len(packet) + 4) + packet for packet in packets)


def request(command, path, data=b"", *more):
    fields = [f"command={command}\n".encode(), b"pathname=" + os.fsencode(path) + b"\n", *more]
    return b"".join(framed(field) for field in fields) + END + framed(data) + END


def talk(raw, handler=None):
    """Return what is answered to `raw`, the exception that ended the conversation, and the complaints."""
    complaints = []
    raised = None
    with TemporaryFile() as stdin, TemporaryFile() as stdout:
        stdin.write(raw)
        stdin.seek(0)
        try:
            serve(stdin.fileno(), stdout.fileno(), handler or Reversing(), lambda *what: complaints.append(what))
        except Exception as error:
            raised = error
        stdout.seek(0)
        return stdout.read(), raised, complaints


def test_no_more_is_agreed_than_both_sides_know():
    assert talk(GREETING) == (GREETED, None, [])
    only_clean = GREETING[: GREETING.index(b"0016cap")] + END
    assert talk(only_clean)[0].endswith(b"00000015capability=clean\n0000")


@pytest.mark.parametrize("data", [b"", b"a", b"abc" * 100_000])
@pytest.mark.parametrize("command", ["clean", "smudge"])
def test_a_request_is_answered_with_what_the_handler_makes(command, data):
    answer, raised, _ = talk(GREETING + request(command, "a", data))
    assert raised is None
    assert answer == GREETED + SUCCESS + framed(data[::-1]) + END + END


def test_requests_follow_each_other_and_what_is_not_known_is_passed_over():
    more = (b"ref=refs/heads/main\n", b"treeish=" + b"0" * 40 + b"\n", b"blob=" + b"0" * 40 + b"\n", b"odd\n")
    raw = GREETING + request("smudge", "a", b"12", *more) + request("clean", "b", b"34") + request("smudge", "nothing")
    assert talk(raw)[0] == GREETED + SUCCESS + b"000621" + END * 2 + SUCCESS + b"000643" + END * 2 + SUCCESS + END * 2


def test_a_path_keeps_every_byte():
    seen = []

    class Noting(Reversing):
        def clean(self, path, content):
            seen.append(os.fsencode(path))
            return []

    paths = [b"a b", b"\xff\xfe", "ü".encode(), b"a=b", b"a\nb\n"]
    talk(GREETING + b"".join(request("clean", os.fsdecode(path)) for path in paths), Noting())
    assert seen == paths


def test_a_refusal_names_the_path_and_the_next_request_is_answered():
    raw = GREETING + request("clean", "refuse early", b"1" * 200_000) + request("clean", "b", b"34")
    answer, raised, complaints = talk(raw)
    assert raised is None
    assert answer == GREETED + ERROR + SUCCESS + b"000643" + END * 2
    assert [(path, error.message, error.hint) for path, error in complaints] == [("refuse early", "no", "yes")]


def test_a_refusal_after_the_first_piece_takes_the_answer_back():
    answer, raised, complaints = talk(GREETING + request("clean", "refuse late", b"12") + request("clean", "b", b"34"))
    assert raised is None
    assert answer == GREETED + SUCCESS + b"000621" + END + ERROR + SUCCESS + b"000643" + END * 2
    assert len(complaints) == 1


@pytest.mark.parametrize(
    ("path", "expected", "bug"),
    [
        ("bug early", ABORT, ZeroDivisionError),
        ("bug late", SUCCESS + b"000621" + END + ABORT, ZeroDivisionError),
        ("read late", SUCCESS + b"000621" + END + ABORT, RuntimeError),
    ],
)
def test_a_bug_ends_the_conversation_in_the_protocols_words(path, expected, bug):
    answer, raised, complaints = talk(GREETING + request("clean", path, b"12") + request("clean", "b"))
    assert answer == GREETED + expected
    assert type(raised) is bug
    assert complaints == []


def test_what_a_handler_does_not_read_is_dropped():
    raw = GREETING + request("clean", "part", b"abc" + bytes(300_000)) + request("clean", "b", b"12")
    assert talk(raw)[0] == GREETED + SUCCESS + b"0007cba" + END * 2 + SUCCESS + b"000621" + END * 2


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"0000",
        b"0016git-filter-server\n",
        b"0016git-filter-client\n000eversion=1\n0000",
        b"0016git-filter-client\n0000",
        GREETING[:-1],
        GREETING + request("clean", "a", b"12")[:-1],
        GREETING + request("clean", "a", b"12")[:-7],
        GREETING + request("list_available_blobs", "a"),
        GREETING + b"0012command=clean\n0000",
        GREETING + b"0000",
        GREETING + request("clean", "a")[:-4] + b"zzzz",
    ],
)
def test_what_is_not_the_protocol_is_refused_and_never_answered_with_success(raw):
    answer, raised, complaints = talk(raw)
    assert isinstance(raised, FormatError)
    assert raised.kind == "protocol"
    assert complaints == []
    assert b"status=" not in answer


@settings(max_examples=300, deadline=None)
@given(cut=st.integers(0, 400), noise=st.binary(max_size=40))
def test_hostile_input_raises_nothing_but_a_format_error(cut, noise):
    raw = GREETING + request("clean", "a", b"x" * 50) + request("smudge", "refuse", b"y" * 50)
    _, raised, _ = talk(raw[:cut] + noise)
    assert raised is None or isinstance(raised, FormatError)


def test_git_may_go_at_any_time():
    stdin, feed = os.pipe()
    source, stdout = os.pipe()
    os.close(source)
    os.write(feed, GREETING)
    with pytest.raises(BackendError) as caught:
        serve(stdin, stdout, Reversing(), lambda *what: None)
    assert caught.value.kind == "git-failed"
    for fd in (stdin, feed, stdout):
        os.close(fd)


def test_large_content_passes_while_git_speaks_before_it_listens():
    data = os.urandom(3_000_000)
    stdin, feed = os.pipe()
    source, stdout = os.pipe()
    server = threading.Thread(target=serve, args=(stdin, stdout, Reversing(), lambda *what: None))
    server.start()
    with os.fdopen(feed, "wb") as to_server, os.fdopen(source, "rb") as from_server:
        to_server.write(GREETING + request("smudge", "a", data))
        to_server.flush()
        expected = GREETED + SUCCESS + framed(data[::-1]) + END + END
        assert from_server.read(len(expected)) == expected
        to_server.close()
        server.join()
    os.close(stdin)
    os.close(stdout)


PROGRAM = """
import sys
from lamella.repo.filter import serve
from tests.repo.test_filter import Reversing

def complain(path, error):
    assert isinstance(error, Exception)
    sys.stderr.write(f"{path}: {error.message}\\n")

serve(0, 1, Reversing(), complain)
"""


@pytest.fixture
def filtered_repository(git_repository, tmp_path):
    """A repository whose *.bin files pass through the reversing filter; Git starts it as it starts lamella."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    paths = f"{Path(lamella.__file__).parents[1]}:{Path(__file__).parents[2]}"
    setup.install(git_repository, f"PYTHONPATH='{paths}' '{sys.executable}' '{script}'")
    track(git_repository.root / ".gitattributes", "*.bin")
    return git_repository


def test_git_cleans_and_smudges_through_the_filter(filtered_repository):
    git = filtered_repository
    contents = {"a.bin": b"", "b.bin": b"xyz", "d e/ü.bin": os.urandom(1_000_000), "plain": b"xyz"}
    commit(git, contents)
    assert git.run("cat-file", "blob", "HEAD:b.bin") == b"zyx"
    assert git.run("cat-file", "blob", "HEAD:d e/ü.bin") == contents["d e/ü.bin"][::-1]
    assert git.run("cat-file", "blob", "HEAD:plain") == b"xyz"
    for path in contents:
        (git.root / path).unlink()
    git.run("checkout", "--", ".")
    assert {path: (git.root / path).read_bytes() for path in contents} == contents
    assert git.run("status", "--porcelain") == b"?? .gitattributes\n"


def test_git_refuses_a_path_that_the_filter_refuses(filtered_repository):
    git = filtered_repository
    for name in ("refuse early.bin", "refuse late.bin", "fine.bin"):
        (git.root / name).write_bytes(b"1")
    for name in ("refuse early.bin", "refuse late.bin"):
        with pytest.raises(LamellaError, match="clean filter 'lamella' failed"):
            git.run("add", "--", name)
    git.run("add", "fine.bin")
    assert git.run("ls-files") == b"fine.bin\n"


def test_git_survives_a_bug_in_the_filter(filtered_repository):
    git = filtered_repository
    (git.root / "bug late.bin").write_bytes(b"1")
    result = subprocess.run(["git", "add", "bug late.bin"], cwd=git.root, capture_output=True, check=False)
    assert result.returncode != 0
    assert b"ZeroDivisionError" in result.stderr
    assert git.run("ls-files") == b""
