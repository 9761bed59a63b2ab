"""Evaluating a model by a command: which metric is read from what it prints, and what is no answer."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.core.errors import BackendError, UsageError
from lamella.ops.evaluate import Evaluator, read_metric

PRINTED = {
    "accuracy: 0.93": 0.93,
    "accuracy=0.93": 0.93,
    "accuracy = -1e-3": -0.001,
    "epoch 3  accuracy: 0.93, loss: 2.5": 0.93,
    "accuracy: 93.5%": 93.5,
    "The accuracy: 1.": 1.0,
    "accuracy: 0.5\naccuracy: 0.75\ndone": 0.75,
    "accuracy: 0.5 accuracy: 0.75": 0.75,
    "step 1\raccuracy: 0.5\rstep 2\raccuracy: 0.75\r": 0.75,
    "accuracy: \x1b[1;32m0.93\x1b[0m": 0.93,
    "{'loss': 0.1, 'accuracy': 0.93}": 0.93,
    '{"accuracy": 0.93}': 0.93,
    '{"accuracy": 1}\n{"loss": 2}': 1.0,
    '  {"loss": 1, "accuracy": 0.25}  ': 0.25,
    'accuracy: 0.1\n{"accuracy": 0.93}\nbye': 0.93,
    '{"accuracy": 0.93}\naccuracy: 0.1': 0.1,
    'log {"accuracy": 0.93}': 0.93,
    "accuracy: NaN": math.nan,
    '{"accuracy": NaN}': math.nan,
    '{"accuracy": -Infinity}': -math.inf,
    '{"accuracy": 1e999}': math.inf,
    f'{{"accuracy": {"9" * 400}}}': math.inf,
}

NOTHING = [
    "",
    "0.93",
    "accuracy",
    "accuracy: high",
    "eval_accuracy: 0.93",
    "top.accuracy: 0.93",
    "accuracy_score: 0.93",
    "Accuracy: 0.93",
    "accuracy: 1_000",
    '{"accuracy": "high"}',
    '{"accuracy": true}',
    '{"accuracy": null}',
    '{"accuracy": ',
    '["accuracy", 1]',
    '{"accuracy":' + "[" * 200_000,
]


@pytest.mark.parametrize("text", PRINTED)
def test_a_metric_is_read(text):
    assert read_metric(text, "accuracy") == pytest.approx(PRINTED[text], nan_ok=True)


@pytest.mark.parametrize("text", NOTHING, ids=range(len(NOTHING)))
def test_what_is_no_metric_is_not_read(text):
    assert read_metric(text, "accuracy") is None


def test_a_name_is_no_pattern():
    assert read_metric("f1x: 2\nf1.macro: 3", "f1.macro") == 3
    assert read_metric("f1xmacro: 2", "f1.macro") is None
    assert read_metric("(a+)+: 2", "(a+)+") == 2


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["{}: {!r}", "{}={!r}", '{{"{}": {!r}}}']))
def test_every_float_is_read_as_it_was_printed(number, form):
    assert read_metric(form.format("loss", number), "loss") == number


@given(st.text(max_size=200), st.text(min_size=1, max_size=5))
def test_any_text_is_read_or_not(text, name):
    found = read_metric(text, name)
    assert found is None or isinstance(found, float)


@pytest.mark.parametrize("text", ["accuracy" * 130_000, "accuracy " * 110_000, "accuracy: " + "1" * 10**6, "{" * 10**6])
def test_a_megabyte_of_anything_is_read_in_bounded_time(text):
    started = time.process_time()
    read_metric(text, "accuracy")
    assert time.process_time() - started < 5


def evaluated(tmp_path, command, metric="accuracy", **options):
    return Evaluator(command, tmp_path, None, metric, **options).evaluate(tmp_path / "a model's", "commit 1234567")


def test_the_command_finds_the_model_and_what_is_added(tmp_path):
    (tmp_path / "a model's").write_text("bytes")
    evaluator = Evaluator(
        'cat {model} "$LAMELLA_MODEL" && echo " accuracy: $LAMELLA_REVISION"', tmp_path, None, "accuracy"
    )
    found = evaluator.evaluate(tmp_path / "a model's", "it", {"LAMELLA_REVISION": "17"})
    assert (found.status, found.value) == (0, 17)
    assert found.lines == ("bytesbytes accuracy: 17",)


def test_without_a_metric_the_status_is_the_answer(tmp_path):
    for status in (0, 1, 2, 124):
        assert evaluated(tmp_path, f"exit {status}", None).status == status
    assert evaluated(tmp_path, "exit 125", None).skipped


def test_a_model_that_cannot_be_measured_is_skipped(tmp_path):
    found = evaluated(tmp_path, "exit 125")
    assert found.skipped
    assert found.value is None


@pytest.mark.parametrize(
    ("command", "kind", "said"),
    [
        ("kill -SEGV $$", "command-failed", "ended by SIGSEGV on commit 1234567"),
        ("kill -KILL $$", "command-failed", "ended by SIGKILL"),
        ("exit 139", "command-failed", "crashed with status 139"),
        ("exit 128", "command-failed", "crashed with status 128"),
        ("echo ValueError: no >&2; exit 1", "command-failed", "status 1 on commit 1234567: ValueError: no"),
        ("no-such-program", "command-failed", "status 127, as a shell that cannot run it, on commit 1234567"),
        ("echo hello", "metric-missing", "did not print 'accuracy' on commit 1234567"),
        ("echo accuracy: 1 >&2", "metric-missing", "did not print"),
        ("echo accuracy: nan", "metric-missing", "printed nan for 'accuracy'"),
        ("echo accuracy: inf", "metric-missing", "printed inf for"),
    ],
)
def test_what_is_no_answer_is_an_error(tmp_path, command, kind, said):
    with pytest.raises(BackendError) as caught:
        evaluated(tmp_path, command)
    assert caught.value.kind == kind
    assert said in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("metric", [None, "accuracy"])
@pytest.mark.parametrize(("command", "status"), [("no-such-program", 127), ("./here", 126), ("exit 127", 127)])
def test_a_program_that_cannot_be_run_says_nothing_of_the_model(tmp_path, command, status, metric):
    (tmp_path / "here").write_text("no right to be run")
    with pytest.raises(BackendError) as caught:
        evaluated(tmp_path, command, metric)
    assert caught.value.kind == "command-failed"
    assert f"status {status}" in caught.value.message
    assert "the shell finds what it calls" in caught.value.hint


def test_a_command_that_hangs_is_an_error(tmp_path):
    with pytest.raises(BackendError) as caught:
        evaluated(tmp_path, "echo accuracy: 1; sleep 600", timeout_seconds=0.5)
    assert caught.value.kind == "command-failed"
    assert "took more than 0.5 s" in caught.value.message
    assert "--timeout" in caught.value.hint


@pytest.mark.parametrize(
    ("command", "options"),
    [(" ", {}), ("a\0b", {}), ("true", {"metric": " "}), ("true", {"timeout_seconds": 0}),
     ("true", {"timeout_seconds": math.nan})],
)  # fmt: skip
def test_what_cannot_be_run_is_refused(tmp_path, command, options):
    with pytest.raises(UsageError):
        Evaluator(command, tmp_path, None, **options)
