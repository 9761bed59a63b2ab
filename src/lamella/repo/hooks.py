"""Our part in a repository's hooks, beside whatever the user has there, and its removal without a trace."""

from __future__ import annotations

import os
import re
import shlex
import stat
from dataclasses import dataclass
from pathlib import Path

from lamella.core import fsio
from lamella.repo.git import Git

NAMES = ("post-checkout", "post-merge", "pre-push")

_BEGIN = b"# >>> lamella >>>\n"
_END = b"# <<< lamella <<<\n"
_BLOCK = re.compile(re.escape(_BEGIN) + rb".*?" + re.escape(_END), re.DOTALL)

_SHELL = re.compile(rb"#! ?(/\S*/)?(env )?(sh|bash|dash|ash|ksh|zsh)( -[a-z]+)?\n")
"""A first line behind which our block can stand: what follows it is read by a shell of Bourne's family."""

_OTHERS = b'if [ -x "$0.before-lamella" ]; then exec "$0.before-lamella" "$@"; fi\n'
_OWN_HEAD = b"#!/bin/sh\n"
_ASIDE = ".before-lamella"


@dataclass(frozen=True, slots=True)
class HookReport:
    """The hooks that were written, and a sentence for each thing that is left to the user."""

    changed: tuple[str, ...]
    notes: tuple[str, ...] = ()


def install(git: Git, command: str) -> HookReport:
    """Make Git's hooks call `command`, quoted for a shell, before whatever they did already.

    A hook of the user's keeps its stdin, its arguments and its exit status: a shell script gets a marked block behind
    its first line, anything else is renamed aside and called by ours. Hooks that live outside this repository's own
    directory (core.hooksPath) are shared with others and are not touched; the notes then say what to add to them.
    """
    directory = _directory(git)
    if shared_directory(git) is not None:
        missing = (name for name in NAMES if name not in installed(git))
        return HookReport((), tuple(f"add to {directory / name}: {_line(command, name)}" for name in missing))
    fsio.make_directory(directory)
    changed, notes = [], []
    for name in NAMES:
        hook = directory / name
        before, after = _read(hook), None
        if _owned(before) or _takes_block(hook, before):
            after = _with_block(before, command, name)
        elif before is None or _move_aside(hook):
            after = _OWN_HEAD + _block(command, name) + _OTHERS
        else:
            notes.append(f"{hook}{_ASIDE} is in the way: merge it into {name}, then run `lamella init`")
        if after is not None and after != before:
            _write(hook, after)
            changed.append(name)
    return HookReport(tuple(changed), tuple(notes))


def installed(git: Git) -> tuple[str, ...]:
    """Return the names of the hooks that call us: by our block, or by a line that the user added to one of theirs."""
    directory = _directory(git)
    return tuple(name for name in NAMES if _has_block(directory / name) or _has_line(directory / name))


def shared_directory(git: Git) -> Path | None:
    """Return where the hooks are where that is outside of this repository's own directory."""
    directory = _directory(git)
    return None if directory.resolve().is_relative_to(git.common_dir.resolve()) else directory


def uninstall(git: Git) -> tuple[str, ...]:
    """Give every hook back the bytes it had before `install`; return the names of those that had our block."""
    directory = _directory(git)
    if shared_directory(git) is not None:
        return ()
    names = tuple(name for name in NAMES if _has_block(directory / name))
    for name in names:
        hook = directory / name
        content = _read(hook)
        aside = hook.with_name(hook.name + _ASIDE)
        if not _owned(content):
            _write(hook, _BLOCK.sub(b"", content or b""))
        elif os.path.lexists(aside):
            fsio.rename(aside, hook)
        else:
            fsio.remove(hook)
    return names


def _directory(git: Git) -> Path:
    """Return where git looks for hooks; core.hooksPath is relative to where a hook runs."""
    answer = git.run("rev-parse", "--git-path", "hooks")
    return git.root / os.fsdecode(answer.removesuffix(b"\n"))


def _has_block(hook: Path) -> bool:
    return bool(_BLOCK.search(_read(hook) or b""))


def _has_line(hook: Path) -> bool:
    line = rb"^[^#\n]*lamella\S* hook %s\b" % hook.name.encode()
    return bool(re.search(line, _read(hook) or b"", re.MULTILINE)) and os.access(hook, os.X_OK)


def _read(hook: Path) -> bytes | None:
    """Return the content of a hook, None where there is none; a dangling link is a hook without content."""
    try:
        return hook.read_bytes()
    except FileNotFoundError:
        return b"" if hook.is_symlink() else None
    except OSError as exc:
        raise fsio.backend_error(exc, hook) from exc


def _write(hook: Path, content: bytes) -> None:
    """Replace the hook; an existing one keeps its permissions."""
    mode = stat.S_IMODE(hook.stat().st_mode) if hook.is_file() else 0o777
    with fsio.Temporary(hook.parent, mode=mode) as temporary:
        temporary.write_at(content, 0)
        temporary.publish(hook.name)


def _owned(content: bytes | None) -> bool:
    """Say whether the whole file is ours."""
    return content is not None and _BLOCK.sub(b"", content) == _OWN_HEAD + _OTHERS


def _takes_block(hook: Path, content: bytes | None) -> bool:
    """Say whether a block can be put into the hook: one that git does not run today must not run tomorrow."""
    return bool(content and _SHELL.match(content) and os.access(hook, os.X_OK) and not hook.is_symlink())


def _with_block(content: bytes | None, command: str, name: str) -> bytes:
    rest = _BLOCK.sub(b"", content or b"")
    first, newline, others = rest.partition(b"\n")
    return first + newline + _block(command, name) + others


def _move_aside(hook: Path) -> bool:
    aside = hook.with_name(hook.name + _ASIDE)
    if os.path.lexists(aside):
        return False
    fsio.rename(hook, aside)
    return True


def _line(command: str, name: str) -> str:
    return f'{command} hook {name} "$@" </dev/null || true'


def _block(command: str, name: str) -> bytes:
    program = shlex.quote(shlex.split(command)[0])
    missing = "lamella is not installed here: model files stay as they are"
    script = (
        'if [ -z "${LAMELLA_INSIDE:-}" ] || [ "$LAMELLA_INSIDE" != "$(git rev-parse --absolute-git-dir)" ]; then\n'
        f"  if command -v {program} >/dev/null 2>&1; then\n"
        f"    {_line(command, name)}\n"
        "  else\n"
        f'    echo "{missing}" >&2\n'
        "  fi\n"
        "fi\n"
    )
    return _BEGIN + os.fsencode(script) + _END
