"""The settings that a project shares: what they may say, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamella.core.config import DiffConfig, HealthConfig
from lamella.core.errors import FormatError
from lamella.model.merging.rules import Choice, Rules
from lamella.repo.settings import PATH, diff_settings, health_settings, merge_settings


def write(root: Path, text: str) -> Path:
    path = root / PATH
    path.parent.mkdir()
    path.write_bytes(text.encode())
    return root


def test_a_project_without_settings_has_the_defaults(tmp_path: Path) -> None:
    assert diff_settings(tmp_path) == diff_settings(None) == DiffConfig()
    assert diff_settings(write(tmp_path, "[gates]\nx = 1\n")) == DiffConfig()


def test_weights_and_epsilons_are_read_in_their_order(tmp_path: Path) -> None:
    write(tmp_path, '[diff]\nweights = {structure = 2, data = 0}\n[diff.epsilon]\n"*" = 1e-3\n"*.bias" = 0\n')
    assert diff_settings(tmp_path) == DiffConfig(structure=2, data=0, epsilons=(("*", 1e-3), ("*.bias", 0)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[diff", "malformed"),
        ("diff = 3", "diff is no table"),
        ("[diff]\nweight = {}", "no setting 'weight'"),
        ("[diff]\nweights = {colour = 1}", "no setting 'colour'"),
        ("[diff]\nweights = {data = true}", "diff.weights.data is no number"),
        ("[diff.epsilon]\na = '1'", "diff.epsilon.a is no number"),
        ("[diff.epsilon]\na = 1" + 400 * "0", "diff.epsilon.a is too large"),
        ("[diff]\nweights = {data = -1}", "no weights and epsilons"),
        ("[diff.epsilon]\na = nan", "no weights and epsilons"),
        ("[diff]\nweights = {structure = 0, parameters = 0, data = 0, hyperparameters = 0}", "no weights"),
        ("a = " + "[" * 5000, "malformed"),
        ("#" * (1 << 21), "more than"),
        ("\udcff", "malformed"),
    ],
)
def test_what_is_not_understood_is_refused_in_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / PATH
    path.parent.mkdir()
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(FormatError, match=said) as caught:
        diff_settings(tmp_path)
    assert caught.value.kind == "settings-malformed"
    assert "\n" not in caught.value.message


def test_what_fails_a_model_is_read(tmp_path: Path) -> None:
    assert health_settings(None) == health_settings(tmp_path) == HealthConfig("error", ())
    write(tmp_path, '[health]\nfail-on = "note"\nskip = ["constant"]\n')
    assert health_settings(tmp_path) == HealthConfig("note", ("constant",))


@pytest.mark.parametrize("text", ['fail-on = "bad"', "fail-on = []", "skip = 1", "skip = [1]", "fail = 1"])
def test_what_fails_a_model_is_one_of_few_words(tmp_path: Path, text: str) -> None:
    with pytest.raises(FormatError) as caught:
        health_settings(write(tmp_path, f"[health]\n{text}\n"))
    assert caught.value.kind == "settings-malformed"


def test_how_models_are_merged_is_read_in_its_order(tmp_path: Path) -> None:
    assert merge_settings(None) == merge_settings(tmp_path) == Rules()
    text = """
    [merge]
    strategy = {strategy = "ties", density = 0.2}
    opposition = 0.25
    [merge.strategies]
    "*" = "linear"
    "embed.*" = "ours"
    """
    rules = merge_settings(write(tmp_path, text))
    assert rules.choice == Choice("ties", {"density": 0.2})
    assert rules.choices == (("*", Choice("linear")), ("embed.*", Choice("ours")))
    assert rules.opposition == 0.25


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("merge = 3", "merge is no table"),
        ("[merge]\ncolour = 3", "merge has no setting 'colour'"),
        ("[merge]\nweights = [1]", "merge has no setting 'weights'"),
        ("[merge]\nstrategy = {density = 1}", r"\[merge\]: strategy is neither"),
        ("[merge]\nopposition = 3", r"\[merge\]: opposition is not from 0 to 1"),
    ],
)
def test_settings_of_merges_that_say_nothing_are_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(FormatError, match=said) as refused:
        merge_settings(write(tmp_path, text))
    assert refused.value.kind == "settings-malformed"
