"""The module that starts the `git` program, bound to one repository; only `command.py` starts processes beside it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, NewType

from lamella.core.buffers import Buffer
from lamella.core.errors import LamellaError
from lamella.repo.gitfaults import failure, not_started, unknown_revision

GitOid = NewType("GitOid", str)
"""The name of a Git object: 40 (SHA-1) or 64 (SHA-256) lower-case hexadecimal digits."""

_DURABLE = ("-c", "core.fsync=all", "-c", "core.fsyncMethod=fsync")
"""Git's own default leaves loose objects and references in the page cache. Versions before 2.36 ignore both."""

_UNATTENDED = {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_EDITOR": ":"}
"""Messages that `gitfaults` can read, and no question that nobody would answer."""

_NEXT = "--lamella-next"
_PROBE = (
    *("rev-parse", "--is-inside-work-tree", _NEXT, "--show-object-format", _NEXT, "--absolute-git-dir", _NEXT),
    *("--git-common-dir", _NEXT, "--git-path", "index", _NEXT, "--show-toplevel"),
)
"""Git repeats what it does not know, which tells answers apart that hold line feeds.

The last answer is missing where there is no worktree, and git says so on stderr.
"""


class Running:
    """A git command at work: write to `stdin`, read `stdout` to its end.

    Leaving the `with` block waits for the command and raises what `Git.run` would; leaving it by an exception ends
    the command at once. `errors` holds what it called an error, first ones first, complete once the block is left.
    """

    _KEPT_LINES = 100
    _LINE_NBYTES = 4096

    def __init__(self, args: Sequence[str], process: subprocess.Popen[bytes]) -> None:
        self._args = args
        self._process = process
        self._tail: deque[bytes] = deque(maxlen=self._KEPT_LINES)
        self.errors: list[str] = []
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def stdin(self) -> IO[bytes]:
        """The pipe into the command; there is one where it was started with `stdin="pipe"`."""
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def stdout(self) -> IO[bytes]:
        """The pipe out of the command."""
        assert self._process.stdout is not None
        return self._process.stdout

    def _listen(self) -> None:
        assert self._process.stderr is not None
        while line := self._process.stderr.readline(self._LINE_NBYTES):
            self._tail.append(line)
            if line.startswith((b"error: ", b"fatal: ")) and len(self.errors) < self._KEPT_LINES:
                self.errors.append(line[len("error: ") :].decode("utf-8", "replace").strip())

    def end(self) -> None:
        """Close the pipes, wait for the command, and raise where it failed; may be called twice."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        returncode = self._process.wait()
        self._listener.join()
        if self._process.stderr is not None:
            self._process.stderr.close()
        if returncode != 0:
            raise failure(self._args, returncode, b"".join(self._tail))

    def kill(self) -> None:
        """End the command, whatever it does, and say nothing about how it ended."""
        self._process.kill()
        with contextlib.suppress(LamellaError):
            self.end()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self.end()
        else:
            self.kill()


@dataclass(frozen=True, slots=True, eq=False)
class Git:
    """The git program in one repository.

    `directory` is where the user stands, in git's eyes the root where that is outside of the worktree (GIT_WORK_TREE);
    `worktree` is None in a bare repository. `git_dir` and `index_path` belong to
    this worktree alone, `common_dir` is shared by all of them. Commands run in `root`, so paths are relative to it,
    and every one runs with full fsync. `environment` is all that git sees of the environment, None what we inherit;
    where it names a directory by a relative path, only one that is given holds below the root.
    """

    directory: Path
    worktree: Path | None
    git_dir: Path
    common_dir: Path
    index_path: Path
    hash_name: str
    environment: Mapping[str, str] | None

    @classmethod
    def discover(cls, path: Path, environment: Mapping[str, str] | None = None) -> Git:
        """Find the repository around the directory `path` as git does, with one process.

        Raises UsageError (not-a-repository) where there is none.
        """
        directory = path.resolve()
        environment = _pinned(directory, environment)
        answer = _complete(_PROBE, directory, environment)
        answers = os.fsdecode(answer.stdout).split(f"\n{_NEXT}\n")
        inside = answers[0] == "true"
        if len(answers) != 6 or (inside and answer.returncode):
            raise failure(_PROBE, answer.returncode or 128, answer.stderr)
        git_dir, common_dir, index = (Path(os.path.normpath(directory / path)) for path in answers[2:5])
        worktree = Path(answers[5].removesuffix("\n")) if answers[5] else None
        standing = directory if inside or worktree is None else worktree
        return cls(standing, worktree, git_dir, common_dir, index, answers[1], environment)

    @classmethod
    def init(cls, path: Path, *options: str, environment: Mapping[str, str] | None = None) -> Git:
        """Make `path` a repository with `git init`, which leaves an existing one as it is."""
        path = path.absolute()
        args = ("init", "--quiet", *options, "--", os.fspath(path))
        answer = _complete(args, Path("/"), _pinned(path, environment))
        if answer.returncode:
            raise failure(args, answer.returncode, answer.stderr)
        return cls.discover(path, environment)

    @property
    def root(self) -> Path:
        """The directory that commands run in: the worktree, or the repository itself where it is bare."""
        return self.git_dir if self.worktree is None else self.worktree

    def run(
        self,
        *args: str,
        input: Buffer | None = None,  # noqa: A002 -- the name that subprocess gives it
        check: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> bytes:
        """Run a command to its end and return its stdout; `input` is its stdin, `env` is added to its variables.

        With `check`, a status other than 0 raises what `failure` makes of it; without, it is ignored.
        """
        answer = _complete(args, self.root, self.environment, env, input)
        if check and answer.returncode:
            raise failure(args, answer.returncode, answer.stderr)
        return answer.stdout

    def attempt(self, *args: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
        """Run a command to its end and return its status and all that it said, for verbs that may stop half way."""
        return _complete(args, self.root, self.environment, env)

    def start(
        self, *args: str, stdin: IO[bytes] | Literal["pipe"] | None = None, env: Mapping[str, str] | None = None
    ) -> Running:
        """Start a command whose stdout is read while it runs; `stdin` is a file, or "pipe" to write to."""
        source = subprocess.PIPE if stdin == "pipe" else subprocess.DEVNULL if stdin is None else stdin
        command, variables = _command(args, self.environment, {**_UNATTENDED, **(env or {})})
        pipe = subprocess.PIPE
        try:
            process = subprocess.Popen(command, stdin=source, stdout=pipe, stderr=pipe, cwd=self.root, env=variables)
        except OSError as exc:
            raise not_started(exc, self.root) from exc
        return Running(args, process)

    def resolve(self, revision: str) -> GitOid:
        """Return the object that `revision` names; raise NotFoundError (revision-unknown) where it names none."""
        args = ("rev-parse", "--verify", "--quiet", "--end-of-options", revision)
        oid = self.run(*args, check=False).decode().strip()
        if not oid.isalnum():  # a range has two, and what is not to be reached begins with a sign
            raise unknown_revision(revision)
        return GitOid(oid)

    def passthrough(
        self, args: Sequence[str], extra_env: Mapping[str, str] | None = None, *, to_stderr: bool = False
    ) -> int:
        """Run git in the user's directory, on the user's terminal, and return its status as a shell would."""
        return passthrough(args, self.directory, self.environment, extra_env, to_stderr=to_stderr)


def passthrough(
    args: Sequence[str],
    directory: Path,
    environment: Mapping[str, str] | None = None,
    extra_env: Mapping[str, str] | None = None,
    *,
    to_stderr: bool = False,
) -> int:
    """Run git with inherited stdin, stdout and stderr, in a repository or outside (`clone`); return its status.

    With `to_stderr` what it prints goes there, where stdout is for something else.
    Meanwhile the keys that interrupt are git's to answer: it asks an editor or a pager, which may go on.
    """
    command, variables = _command(args, environment, extra_env or {}, pager=True)
    with _left_to_git():
        try:
            status = subprocess.call(command, cwd=directory, env=variables, stdout=2 if to_stderr else None)
        except OSError as exc:
            raise not_started(exc, directory) from exc
    return status if status >= 0 else 128 - status


@contextlib.contextmanager
def _left_to_git() -> Iterator[None]:
    """Do nothing on SIGINT and SIGQUIT, as system(3) does; only the main thread can say so.

    A handler, and not SIG_IGN, which a new process would inherit. One that ignores a signal already goes on.
    """
    here = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGQUIT) if here}
    changed = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    try:
        for number in changed:
            signal.signal(number, lambda *_: None)
        yield
    finally:
        for number, handler in changed.items():
            signal.signal(number, handler)


def _pinned(directory: Path, environment: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Return the variables with the paths that git reads relative to its working directory made absolute.

    GIT_INTERNAL_SUPER_PREFIX, which git gives to a filter in a submodule, goes: commands that it starts refuse it.
    """
    if environment is None:
        return None
    kept = {name: value for name, value in environment.items() if name != "GIT_INTERNAL_SUPER_PREFIX"}
    relative = {name: kept[name] for name in ("GIT_DIR", "GIT_WORK_TREE") if kept.get(name)}
    return {**kept, **{name: os.fspath(directory / value) for name, value in relative.items()}}


def _command(
    args: Sequence[str], environment: Mapping[str, str] | None, added: Mapping[str, str], *, pager: bool = False
) -> tuple[list[str], Mapping[str, str] | None]:
    """Return a command and its variables. `env` adds to what is inherited, which only the front end may read."""
    command = ["git", *(() if pager else ("--no-pager",)), *_DURABLE, *args]
    if environment is not None:
        return command, {**environment, **added}
    return [*(("env", *(f"{name}={value}" for name, value in added.items())) if added else ()), *command], None


def _complete(
    args: Sequence[str],
    directory: Path,
    environment: Mapping[str, str] | None,
    added: Mapping[str, str] | None = None,
    data: Buffer | None = None,
) -> subprocess.CompletedProcess[bytes]:
    command, variables = _command(args, environment, {**_UNATTENDED, **(added or {})})
    try:
        # An empty input is a closed stdin.
        return subprocess.run(
            command, input=data or b"", capture_output=True, cwd=directory, env=variables, check=False
        )
    except OSError as exc:
        raise not_started(exc, directory) from exc
