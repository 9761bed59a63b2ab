"""Names of tensors: unique, one line of text, and not more than memory holds."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.core.errors import FormatError
from lamella.formats import names
from lamella.formats.names import TensorNames

FEW = st.sampled_from(["", "a", "a#2", "a#3", "a#2#2", "#2", "b"])


@given(st.lists(FEW, max_size=30))
def test_names_are_unique_and_the_same_every_time(given_names):
    taken = TensorNames()
    found = [taken.take(name, 1) for name in given_names]
    assert len(set(found)) == len(found)
    again = TensorNames()
    assert found == [again.take(name, 1) for name in given_names]
    assert all(one == name or one.startswith(f"{name}#") for one, name in zip(found, given_names, strict=True))


def test_names_of_one_tensor_each_are_kept():
    taken = TensorNames()
    assert [taken.take(name, 0) for name in ("a/b:0", "größe", "a b", "")] == ["a/b:0", "größe", "a b", ""]


BROKEN = ["a\nb", "\x00", "\x1b[2J", "\x7f", "\x85", "\u2028", "\ud800", "x" * 8192, "é" * 4096]


@pytest.mark.parametrize("name", BROKEN, ids=ascii)
def test_names_that_are_not_one_line_of_text_are_refused(name):
    with pytest.raises(FormatError) as raised:
        TensorNames().take(name, 0)
    assert raised.value.kind == "header-malformed"


@pytest.mark.parametrize(("name", "dimensions"), [("", 0), ("x" * 100, 0), ("é" * 100, 0), ("", 64)])
def test_memory_is_bounded(monkeypatch, name, dimensions):
    monkeypatch.setattr(names, "MAX_NAMED_NBYTES", 50_000)
    taken = TensorNames()
    with pytest.raises(FormatError) as raised:
        for _ in range(200):
            taken.take(name, dimensions)
    assert raised.value.kind == "too-many-tensors"


def test_names_that_are_taken_already_are_passed_over_once():
    taken = TensorNames()
    start = time.process_time()
    for number in range(2, 30_000):
        taken.take(f"a#{number}", 0)
    for _ in range(30_000):
        taken.take("a", 0)
    assert time.process_time() - start < 5
