"""The guide does what it says: its commands are run in order and answer what it shows."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.docs.console import Answer, Step, agrees, play, session, steps

GUIDES = sorted((Path(__file__).parents[2] / "docs" / "guide").glob("*.md"))
SHOWN_DIRECTORY = "/models"
GOLDEN = Path(__file__).parents[1] / "golden" / "graphs"
"""Files of real frameworks, which pages find in `golden`."""


@pytest.fixture(params=GUIDES, ids=lambda page: page.stem)
def played(request: pytest.FixtureRequest, git_environment: Path, tmp_path: Path) -> list[tuple[Step, Answer]]:
    shutil.copytree(GOLDEN, tmp_path / "golden")
    return play(session(request.param.read_text(encoding="utf-8")), tmp_path)


def test_the_guide_runs_as_it_is_printed(played, tmp_path):
    wrong = []
    for number, (step, answer) in enumerate(played):
        lines = tuple(line.replace(str(tmp_path), SHOWN_DIRECTORY) for line in answer.lines)
        if not agrees(step.answer, lines):
            wrong.append("\n".join((f"$ {step.command}", *lines, "", "but the guide says", *step.answer)))
        following = played[number + 1][0].command if number + 1 < len(played) else ""
        if answer.code and following != "echo $?":
            wrong.append(f"$ {step.command}\nended with {answer.code}")
    assert not wrong, "\n\n".join(wrong)


def test_a_page_is_read_as_a_session():
    page = "# A\n```console\n$ one\na\nb\n$ two\n```\ntext\n```python x.py\nx = 1\n```\n```python\nignored\n```\n"
    first, second, file = session(page)
    assert (first, second) == (Step("one", ("a", "b")), Step("two"))
    assert (file.name, file.text) == ("x.py", "x = 1\n")


def test_answers_and_exit_codes_are_kept_apart(tmp_path):
    played = play(steps("$ echo a; echo b >&2\n$ false\n$ echo $?\n$ printf c\n"), tmp_path)
    assert [answer for _, answer in played] == [
        Answer(("a", "b"), 0), Answer((), 1), Answer(("1",), 0), Answer(("c",), 0)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (("a",), ("a",)),
        (("8c3cf5a x",), ("0123456789ab x",)),
        (("1.1 MiB stored, 87.1% of 2 MiB",), ("900 KiB stored, 3% of 2.0 MiB",)),
        (("a", "..."), ("a",)),
        (("a", "...", "d"), ("a", "b", "c", "d")),
        ((), ()),
    ],
)
def test_an_answer_that_differs_only_in_what_varies_agrees(expected, actual):
    assert agrees(expected, actual)


@pytest.mark.parametrize(
    ("expected", "actual"),
    [(("a",), ("b",)), (("a",), ()), ((), ("a",)), (("a", "...", "d"), ("a", "b")), (("2 tensors",), ("3 tensors",))],
)
def test_another_answer_does_not_agree(expected, actual):
    assert not agrees(expected, actual)
