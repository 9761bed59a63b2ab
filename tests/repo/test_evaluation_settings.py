"""Which command judges merges: what is no time is refused at once, and what was asked for is known or refused."""

from __future__ import annotations

import json

import pytest

from lamella.core.errors import FormatError, UsageError
from lamella.repo.evaluation_settings import (
    EvaluationSettings,
    ask_later,
    asked_before,
    evaluation_settings,
    forget_asked,
)

MERGED = "1" * 40


@pytest.mark.parametrize("seconds", ["", "soon", "0", "-5", "nan"])
def test_what_is_no_time_is_refused(git_repository, seconds):
    git_repository.run("config", "lamella.evaluateTimeout", seconds)
    assert evaluation_settings(git_repository) is None
    with pytest.raises(UsageError, match="no number of seconds") as refused:
        evaluation_settings(git_repository, "true")
    assert "`git config lamella.evaluateTimeout 600`" in (refused.value.hint or "")


@pytest.mark.parametrize("settings", [EvaluationSettings("true"), EvaluationSettings("./judge {model}", "loss", 2.5)])
def test_what_was_asked_for_is_known_until_it_is_forgotten(git_repository, settings):
    ask_later(git_repository, MERGED, settings)
    assert asked_before(git_repository, MERGED) == settings
    assert asked_before(git_repository, "2" * 40) is None
    forget_asked(git_repository)
    assert asked_before(git_repository, MERGED) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[" * 100_000,
        json.dumps({"merged": MERGED}),
        *(json.dumps({"merged": MERGED, "evaluate": one}) for one in ([], ["true"], [1, None, None], [None] * 3)),
        *(json.dumps({"merged": MERGED, "evaluate": ["true", *one]}) for one in ([1, None], [None, "x"], [[], 1.0])),
    ],
)
def test_what_cannot_be_known_lets_no_merge_through(git_repository, text):
    ask_later(git_repository, MERGED, EvaluationSettings("true"))
    (git_repository.git_dir / "lamella/evaluation.json").write_text(text)
    with pytest.raises(FormatError, match="how the merge is to be evaluated is malformed"):
        asked_before(git_repository, MERGED)
