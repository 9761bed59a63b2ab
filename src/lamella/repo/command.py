"""A command that the user gave, run by the shell: bounded in time and in what is kept of its output."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Any

from lamella.core.errors import BackendError
from lamella.core.limits import KIB, MAX_COMMAND_OUTPUT_NBYTES

_READ_NBYTES = 64 * KIB
_GRACE_SECONDS = 2.0
"""What a command gets to end by itself when it is told to, and its output to arrive when it has ended."""

_ENDING: Mapping[signal.Signals, Callable[[int, FrameType | None], Any] | signal.Handlers] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}
"""What would end us, and what Python does about it if nobody says otherwise."""

_SHOWN_LINES = 20


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: by its own `status`, or by a signal, which is None where it was not.

    `timed_out` says that it was ended because its time had run out. Of `output` (stdout) and `errors` (stderr) the last
    bytes are kept.
    """

    status: int
    signal: int | None
    seconds: float
    timed_out: bool
    output: bytes
    errors: bytes

    def last_lines(self) -> tuple[str, ...]:
        """Return the last lines that it wrote to stderr, or to stdout where it wrote none there."""
        text = (self.errors.strip() or self.output.strip()).decode("utf-8", "replace")
        return tuple(line.strip() for line in text.splitlines() if line.strip())[-_SHOWN_LINES:]


def run_command(
    line: str,
    directory: Path,
    environment: Mapping[str, str] | None = None,
    added: Mapping[str, str] | None = None,
    timeout_seconds: float | None = None,
) -> Ended:
    """Run a line of the shell in `directory` and return how it ended; it has no stdin and no terminal.

    `environment` is all that it sees of the environment, None what we inherit; `added` comes to it. When this returns,
    or raises, nothing of the process group is left that the line started: it is ended with SIGTERM, then SIGKILL, where
    time runs out, where we are interrupted, however early, and where it left something behind. On SIGTERM and SIGHUP,
    SystemExit is raised, so that the caller cleans up too. Raises BackendError (command-failed) where there is no shell
    to start.
    """
    variables = [f"{name}={value}" for name, value in (added or {}).items()]
    command = ["env", *variables, "sh", "-c", line] if variables else ["sh", "-c", line]
    pipe, started = subprocess.PIPE, time.monotonic()
    with _SignalsHeld() as signals:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, cwd=directory, env=environment,
                bufsize=0, start_new_session=True,
            )  # fmt: skip
        except (OSError, ValueError) as exc:
            reason = f"cannot start the command: {exc}"
            raise BackendError(reason, kind="command-failed", hint="it is run by `sh` on the PATH") from exc
        assert process.stdout is not None and process.stderr is not None
        tails = [_Tail(stream) for stream in (process.stdout, process.stderr)]
        timed_out = False
        try:
            for tail in tails:
                tail.start()
            with signals.let_through():
                process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            seconds = time.monotonic() - started
            _end_group(process)
            output, errors = (tail.text() for tail in tails)
    code = -signal.SIGKILL if process.returncode is None else process.returncode  # it may wait for a disk for ever
    return Ended(max(code, 0), -code if code < 0 else None, seconds, timed_out, output, errors)


class _Tail:
    """The last bytes of a stream, read by a thread so that the command never waits for us."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._kept = bytearray()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def _listen(self) -> None:
        with self._stream:
            while piece := self._stream.read(_READ_NBYTES):
                self._kept += piece
                if len(self._kept) > 2 * MAX_COMMAND_OUTPUT_NBYTES:
                    del self._kept[:-MAX_COMMAND_OUTPUT_NBYTES]

    def text(self) -> bytes:
        """Return what there is, waiting a moment only for the end: what left the process group may hold the stream."""
        if self._thread.ident is None:
            self._stream.close()
        else:
            self._thread.join(_GRACE_SECONDS)
        return bytes(self._kept[-MAX_COMMAND_OUTPUT_NBYTES:])


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End what is left of the process group, which has the number of its leader."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_SECONDS)


class _SignalsHeld:
    """A `with` block in which the signals that end us wait, so that none comes between a command and its end.

    Where they are let through, and when the block ends, Control-C raises KeyboardInterrupt, and what would end us
    without a word SystemExit. Only the main thread can say so; a handler that is not Python's own stays.
    """

    def __init__(self) -> None:
        self._changed: list[signal.Signals] = []
        self._came: list[int] = []
        self._held = True

    def __enter__(self) -> _SignalsHeld:
        here = threading.current_thread() is threading.main_thread()
        for number, usual in _ENDING.items():
            if here and signal.getsignal(number) is usual:
                signal.signal(number, self._hear)
                self._changed.append(number)
        return self

    def __exit__(self, *exc_info: object) -> None:
        for number in self._changed:
            signal.signal(number, _ENDING[number])
        self._raise()

    @contextlib.contextmanager
    def let_through(self) -> Iterator[None]:
        """Raise what came, and at once what comes."""
        try:
            self._held = False
            self._raise()
            yield
        finally:
            self._held = True

    def _hear(self, number: int, _: object) -> None:
        self._came.append(number)
        if not self._held:
            self._held = True
            self._raise()

    def _raise(self) -> None:
        if self._came:
            number = self._came[0]
            self._came.clear()
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
