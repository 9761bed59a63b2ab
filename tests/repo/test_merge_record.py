"""The record of a merge: one text for one record, docs/spec/merge.md as it says, and nothing else read."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from lamella.core import limits
from lamella.core.errors import FormatError
from lamella.model.merging.rules import Choice, Rules
from lamella.repo.git import GitOid
from lamella.repo.merge_record import (
    VERSION,
    Evaluated,
    MergedPath,
    MergeRecord,
    describe_rules,
    is_running,
    parse_record,
    record_path,
    record_text,
)

PAGE = (Path(__file__).parents[2] / "docs" / "spec" / "merge.md").read_text(encoding="utf-8")
EXAMPLE = PAGE[PAGE.index("```json\n") + len("```json\n") : PAGE.index("```\n\n1.")].encode()

OIDS = st.integers(0, 2**160 - 1).map(lambda number: GitOid(f"{number:040x}"))
NUMBERS = st.floats(-100, 100)
TEXTS = st.text(max_size=8)
CHOICES = st.builds(Choice, TEXTS, st.dictionaries(TEXTS.filter(lambda name: name != "strategy"), NUMBERS, max_size=2))
RULES = st.builds(
    Rules,
    CHOICES,
    st.lists(st.tuples(TEXTS, CHOICES), max_size=2).map(tuple),
    st.dictionaries(TEXTS, CHOICES, max_size=2),
    st.lists(NUMBERS, max_size=3).map(tuple),
    st.booleans(),
    st.floats(0, 1),
)


@st.composite
def records(draw: st.DrawFn) -> MergeRecord:
    sides = draw(st.lists(OIDS, min_size=2, max_size=4))
    blobs = st.tuples(*([st.none() | OIDS] * len(sides)))
    paths = st.builds(MergedPath, st.text(min_size=1), st.none() | OIDS, blobs, RULES, OIDS, st.just("ab" * 32))
    listed = draw(st.lists(paths, max_size=2, unique_by=lambda one: one.path))
    evaluation = st.builds(Evaluated, TEXTS, st.integers(0, 255), st.none() | TEXTS, st.none() | NUMBERS)
    return MergeRecord(
        draw(st.none() | OIDS), tuple(sides), tuple(listed), tuple(draw(st.lists(TEXTS))), draw(st.none() | evaluation)
    )


RECORD = MergeRecord(
    GitOid("1" * 40),
    (GitOid("2" * 40), GitOid("3" * 40)),
    (MergedPath("m", None, (GitOid("4" * 40), None), Rules(Choice("linear")), GitOid("5" * 40), "6" * 64),),
)


@given(records())
def test_a_record_comes_back_from_its_text(record):
    text = record_text(record)
    found = parse_record(text)
    assert sorted(found.paths, key=lambda one: one.path) == sorted(record.paths, key=lambda one: one.path)
    assert replace(found, paths=()) == replace(record, paths=())
    assert record_text(found) == text


def test_the_example_of_the_page_is_read_and_written():
    record = parse_record(EXAMPLE)
    assert record_text(record) == EXAMPLE
    assert record.strategy == "linear weights=0.75,0.25 embed.*=ours resolved=1"
    assert record_path(EXAMPLE) == f".lamella/merges/{blake3(EXAMPLE).hexdigest()[:32]}.json"


def test_the_page_names_every_key_its_version_and_its_limits():
    rows = re.findall(r"^\| (.+?) \| (?:(\w+) \| )?\S", PAGE, re.M)
    keys = {key for cell, _ in rows for key in re.findall(r"`([a-z_ ]+)`", cell)}
    parsed = json.loads(EXAMPLE)
    (path,) = parsed["paths"].values()
    assert keys == {*parsed, *path, *path["rules"], *(field.name for field in fields(Evaluated))}
    assert PAGE.startswith(f"# Record of a merge, version {VERSION}\n")
    assert f"{limits.MAX_MERGE_NBYTES} bytes a text, {limits.MAX_MERGE_SIDES} sides" in PAGE


def test_a_later_version_is_refused_with_the_way_out():
    text = record_text(RECORD).replace(b'"lamella merge": 1', b'"lamella merge": 2')
    with pytest.raises(FormatError, match="of version 2, which this program does not read") as refused:
        parse_record(text)
    assert (refused.value.kind, refused.value.hint) == ("merge-record-version", "upgrade lamella")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"base"', b'"bases"'),
        (b'"sides": [', b'"more": 1,\n "sides": ['),
        (b'"lamella merge": 1', b'"lamella merge": 1.0'),
        (b'"lamella merge": 1', b'"lamella merge": true'),
        (b'"lamella merge": 1', b'"lamella merge": [1, 2]'),
        (b"2" * 40, b"2" * 39),
        (b"2" * 40, b"A" * 40),
        (b"2" * 40, b"2" * 39 + b"\\n"),
        (b"6" * 64, b"6" * 63),
        (b'"m"', b'""'),
        (b'"checks": []', b'"checks": [1]'),
        (b'"checks": []', b'"checks": "ab"'),
        (b'"checks": []', b'"checks": []  '),
        (b'"evaluation": null', b'"evaluation": []'),
        (b'"evaluation": null', b'"evaluation": {"command": "c", "status": 1e999, "metric": null, "value": null}'),
        (b'"opposition": 0.5', b'"opposition": NaN'),
        (b'"opposition": 0.5', b'"opposition": 2'),
        (b'"weights": []', b'"weights": {}'),
        (b'"paths": {', b'"paths": {"x": 1,'),
        (b'"paths": {', b'"paths": [' + b"[" * 100_000),
        (b"}\n", b"}"),
    ],
    ids=repr,
)  # fmt: skip
def test_what_no_writer_has_written_is_refused(before, after):
    text = record_text(RECORD)
    assert before in text
    with pytest.raises(FormatError):
        parse_record(text.replace(before, after))


@given(st.binary() | st.text().map(lambda text: json.dumps({"lamella merge": text}).encode()))
def test_nothing_but_an_error_of_ours_comes_of_any_text(text):
    with pytest.raises(FormatError):
        parse_record(text)


def test_a_text_that_is_too_long_is_not_looked_at(monkeypatch):
    monkeypatch.setattr("lamella.repo.merge_record.MAX_MERGE_NBYTES", 10)
    with pytest.raises(FormatError, match="more than 10 bytes"):
        parse_record(record_text(RECORD))


@pytest.mark.parametrize(
    ("rules", "line"),
    [
        (Rules(), "three-way"),
        (Rules(Choice("ties", {"density": 0.2, "b": 1})), "ties b=1 density=0.2"),
        (Rules(Choice("linear"), weights=(0.5, 0.5)), "linear weights=0.5,0.5"),
        (Rules(Choice("linear"), weights=(0.99, 0.01), settles=False), "ema 0.99"),
        (Rules(Choice("x"), (("a\nb", Choice("ours")),)), "x a\\nb=ours"),
        (Rules(Choice("x"), (("a", Choice("ours")),) * 5), "x a=ours a=ours a=ours and 2 patterns more"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_line_for_people_is_one_line(rules, line):
    assert describe_rules(rules) == line
    assert is_running(rules) == line.startswith("ema")
