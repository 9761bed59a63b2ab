"""What strangers wrote is shown without obeying it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.core.text import printable


@given(st.text())
def test_what_is_shown_is_printable_and_can_be_encoded(text):
    assert printable(text).isprintable()
    printable(text).encode("utf-8")


@pytest.mark.parametrize("text", ["h.0.attn.weight", "слой 3", "層/重み", "naïve"])
def test_plain_text_is_shown_as_it_is(text):
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2J", r"a\x1b[2J"),
        ("two\nlines", r"two\nlines"),
        ("gpj.\u202etxt", r"gpj.\u202etxt"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_would_drive_a_terminal_or_turn_a_line_around_is_spelled_out(text, shown):
    assert printable(text) == shown
