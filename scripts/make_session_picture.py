"""The picture of a session in the README: drawn from what the demonstration prints.

python scripts/demo.py | python scripts/make_session_picture.py
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

PICTURE = Path(__file__).parent.parent / "docs" / "images" / "session.svg"

SHOWN = (
    "lamella track", "lamella add model", "lamella commit -qm 'epoch 3",
    "lamella add model", "lamella commit -qm 'epoch 6",
    "lamella switch -c", "lamella add model", "lamella commit", "lamella diff",
    "git merge", "lamella log", "lamella tag", "lamella checkout", "lamella fsck", "git status",
)  # fmt: skip
"""How the commands begin that are shown, in their order; each is the next one of its kind."""

CHARACTER, LINE, SIZE, MARGIN, BAR = 7.8, 18, 13, 20, 34
"""Pixels: the advance of a character, the height of a line, the font, the margin, and the window's bar."""

STYLE = """\
.window { fill: #f6f8fa; stroke: #d0d7de; }
.dot { fill: #d0d7de; }
text { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; white-space: pre; }
.command { fill: #0550ae; font-weight: 600; }
.answer { fill: #1f2328; }
@media (prefers-color-scheme: dark) {
  .window { fill: #0d1117; stroke: #3d444d; }
  .dot { fill: #3d444d; }
  .command { fill: #79c0ff; }
  .answer { fill: #d1d7e0; }
}
"""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A command and the lines that it answered."""

    command: str
    answer: tuple[str, ...]


def exchanges(transcript: Iterable[str]) -> list[Exchange]:
    """Return the commands of a transcript; an answer ends where a comment, an empty line or a command stands."""
    found: list[tuple[str, list[str]]] = []
    answering = False
    for line in (line.rstrip("\n") for line in transcript):
        if line.startswith("$ "):
            found.append((line[2:], []))
            answering = True
        elif not line or line.startswith("# "):
            answering = False
        elif answering:
            found[-1][1].append(line)
    return [Exchange(command, tuple(answer)) for command, answer in found]


def chosen(all_of_them: Sequence[Exchange], beginnings: Sequence[str]) -> list[Exchange]:
    """Return for each beginning the next exchange that begins so; raise ValueError where there is none."""
    remaining = iter(all_of_them)
    found = []
    for beginning in beginnings:
        match = next((one for one in remaining if one.command.startswith(beginning)), None)
        if match is None:
            raise ValueError(f"the transcript has no further command {beginning!r}")
        found.append(match)
    return found


def draw(session: Sequence[Exchange]) -> str:
    """Return the session as SVG, dark where the reader's system is."""
    lines = [
        (kind, text)
        for exchange in session
        for kind, text in (("command", f"$ {exchange.command}"), *(("answer", line) for line in exchange.answer))
    ]
    width = round(2 * MARGIN + CHARACTER * max(len(text) for _, text in lines))
    height = BAR + LINE * len(lines) + MARGIN
    rows = [
        f'<text class="{kind}" x="{MARGIN}" y="{BAR + LINE * number + SIZE}" '
        f'textLength="{CHARACTER * len(text):.1f}" xml:space="preserve">{escape(text)}</text>'
        for number, (kind, text) in enumerate(lines)
    ]
    dots = [f'<circle class="dot" cx="{MARGIN + 16 * number}" cy="17" r="5"/>' for number in range(3)]
    frame = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return "\n".join((
        f'<svg xmlns="http://www.w3.org/2000/svg" {frame} role="img">',
        "<title>A session with Lamella</title>",
        f"<style>\n{STYLE}</style>",
        f'<rect class="window" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>',
        *dots, *rows, "</svg>", "",
    ))  # fmt: skip


if __name__ == "__main__":
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(draw(chosen(exchanges(sys.stdin), SHOWN)), encoding="utf-8")
