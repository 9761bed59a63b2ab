"""The README says what is so: its commands work, its picture is a real session, what it names exists."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lamella.cli.group import COMMANDS
from scripts.make_session_picture import SHOWN, Exchange, chosen, draw, exchanges
from tests.docs.console import Step, agrees, play, session

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/*/*.md")])
FORMATS = ROOT / "docs" / "spec"
PICTURE = ROOT / "docs" / "images" / "session.svg"
TRAINING = re.search(
    r"^```python train\.py\n(.*?)^```$", (ROOT / "docs/guide/getting-started.md").read_text(), re.M | re.S
)


def test_the_quick_start_runs_as_it_is_printed(git_environment, tmp_path):
    assert TRAINING is not None
    (tmp_path / "train.py").write_text(TRAINING[1])
    actions = session(README)
    second = next(number for number, action in enumerate(actions) if action == steps_of("lamella status", actions))
    actions.insert(second, Step("python ../train.py 2 hidden.weight output.weight"))
    actions.insert(0, Step("mkdir model && cd model && python ../train.py 1"))
    played = play(actions, tmp_path)
    assert not [(step, answer) for step, answer in played if answer.code or not agrees(step.answer, answer.lines)]


def steps_of(command: str, actions: list) -> Step:
    return next(action for action in actions if isinstance(action, Step) and action.command == command)


def test_every_command_named_in_a_page_exists():
    named = {
        (str(page.relative_to(ROOT)), verb)
        for page in PAGES
        if page.parent != FORMATS
        for verb in re.findall(r"(?:^|[`$(]\s?|&& )lamella ([a-z][a-z-]*)", without_manifests(page), re.M)
    }
    assert named
    assert not {(page, verb) for page, verb in named if verb not in COMMANDS}


def without_manifests(page: Path) -> str:
    """Return a page without the first lines of manifests, which begin as a command does."""
    return re.sub(r"^lamella manifest \d$", "", page.read_text(encoding="utf-8"), flags=re.M)


def test_the_table_of_the_readme_has_every_command_that_people_run():
    table = README[README.index("## What is there") : README.index("## Measured")]
    called_by_others = {"version", "filter-process", "diff-driver", "merge-driver", "textconv", "hook"}
    assert {command for command in COMMANDS if f"`{command}`" not in table} == called_by_others


def test_every_target_of_make_that_the_readme_names_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"(?:`|^    )make ([a-z]+)", README, re.M))
    assert {"demo", "test"} <= named <= targets


def test_the_place_of_the_benchmarks_can_be_found():
    assert re.search(r"^<!-- bench:begin -->\n.*?^<!-- bench:end -->$", README, re.M | re.S)


def test_the_picture_shows_commands_that_exist_and_stays_within_its_frame():
    picture = ElementTree.parse(PICTURE).getroot()
    texts = [element for element in picture.iter() if element.tag.endswith("text")]
    commands = [element.text.split() for element in texts if element.get("class") == "command"]
    assert len(commands) == len(SHOWN)
    assert all(words[1] == "git" or words[2] in COMMANDS for words in commands)
    width, height = (float(length) for length in picture.get("viewBox").split()[2:])
    assert all(float(text.get("x")) + float(text.get("textLength")) <= width for text in texts)
    assert all(float(text.get("y")) <= height for text in texts)


def test_a_transcript_is_taken_apart_into_commands_and_answers():
    transcript = "\n# why\n$ git a\none\ntwo\n# checked\nthree\n$ git b\n\nfour\n"
    assert exchanges(transcript.splitlines(keepends=True)) == [
        Exchange("git a", ("one", "two")), Exchange("git b", ())
    ]  # fmt: skip


def test_commands_are_chosen_in_their_order():
    one, two = Exchange("git a", ("1",)), Exchange("git a", ("2",))
    assert chosen([one, two], ["git a", "git a"]) == [one, two]
    with pytest.raises(ValueError, match="no further command"):
        chosen([one, two], ["git b"])


def test_a_drawing_holds_any_text():
    picture = ElementTree.fromstring(draw([Exchange("echo '<&>'", ('<&>  "x"',))]))
    assert [element.text for element in picture.iter() if element.tag.endswith("text")] == ["$ echo '<&>'", '<&>  "x"']
