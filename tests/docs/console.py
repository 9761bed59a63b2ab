"""Console blocks of a Markdown page, as a session: what is typed, what is answered, and running it for real."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r"^```(console|python|yaml) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ANY_LINES = "..."
END = "-- end of answer, exit code "

VARYING = (
    (re.compile(r"\b(?=[a-f]*\d)[0-9a-f]{7,64}\b"), "ID"),
    (re.compile(r"\b[\d.,]+ (B|[KMGT]iB|bytes)(?!\w)"), "SIZE"),
    (re.compile(r"\b[\d.]+%"), "SHARE"),
    (re.compile(r"\b(overlap|clash|cosine|accuracy) -?[\d.]+"), r"\1 X"),
    (re.compile(r"\b\d+ new\b"), "N new"),
    (re.compile(r"git version \S+"), "git version V"),
    (re.compile(r"\b\d{4}-\d\d-\d\d\b"), "DATE"),
    (re.compile(r" {2,}"), "  "),
)
"""What differs from one machine, or one version of a compressor, to the next."""


@dataclass(frozen=True, slots=True)
class Step:
    """A command and the lines that a page says it answers."""

    command: str
    answer: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class File:
    """A file that a page tells its reader to save."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command really answered."""

    lines: tuple[str, ...]
    code: int


def session(markdown: str) -> list[Step | File]:
    """Return what a reader of the page would do, in order."""
    found: list[Step | File] = []
    for language, name, text in BLOCK.findall(markdown):
        if language == "console":
            found += steps(text)
        elif name:
            found.append(File(name, text))
    return found


def steps(block: str) -> list[Step]:
    """Return the commands of one block with their answers."""
    found: list[Step] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append(Step(line[2:]))
        else:
            found[-1] = Step(found[-1].command, (*found[-1].answer, line))
    return found


def play(actions: list[Step | File], directory: Path) -> list[tuple[Step, Answer]]:
    """Do everything in one shell that starts in `directory`, and return each command with its answer."""
    script = []
    for action in actions:
        if isinstance(action, File):
            script.append(f"cat >{action.name} <<'END OF FILE'\n{action.text}END OF FILE\n")
        else:
            script.append(f'{action.command}\ncode=$?; printf "\\n{END}%d\\n" $code; (exit $code)\n')
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    run = subprocess.run(
        ["sh", "-c", "exec 2>&1\n" + "".join(script)],
        cwd=directory, env={**os.environ, "PATH": path}, stdout=subprocess.PIPE, check=False,
    )  # fmt: skip
    answers = re.findall(rf"(.*?)\n{END}(\d+)\n", run.stdout.decode(), re.DOTALL)
    commands = [action for action in actions if isinstance(action, Step)]
    assert len(answers) == len(commands), run.stdout.decode()
    return [
        (step, Answer(tuple(text.rstrip("\n").splitlines()), int(code)))
        for step, (text, code) in zip(commands, answers, strict=True)
    ]


def plain(line: str) -> str:
    """Return a line without what varies."""
    for pattern, replacement in VARYING:
        line = pattern.sub(replacement, line)
    return line.strip()


def agrees(expected: tuple[str, ...], actual: tuple[str, ...]) -> bool:
    """Say whether an answer is the one expected, where a line `...` stands for any lines or none."""
    pattern = "".join("(?:.*\n)*" if line == ANY_LINES else re.escape(plain(line)) + "\n" for line in expected)
    return re.fullmatch(pattern, "".join(f"{plain(line)}\n" for line in actual)) is not None
