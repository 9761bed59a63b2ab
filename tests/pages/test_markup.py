"""Markup is well formed and text stays text, whatever stands in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.core.limits import MAX_PAGE_TEXT
from lamella.pages.markup import Markup, broken, element, joined, shown
from tests.pages.parsed import Parsed

HOSTILE = st.one_of(
    st.text(),
    st.sampled_from(
        [
            "</script><script>alert(1)</script>",
            "<!--",
            "-->",
            "]]>",
            "' onclick='x",
            '" autofocus="',
            "&lt;b&gt;",
            "\u202egnp.exe",
            "\u2066a\u2069",
            "\x00\x1b[2J\x7f",
            "\ud800",
            "<svg/onload=x>",
            "${data}",
            "$body",
            "\u2028",
        ]
    ),
)


@given(HOSTILE, HOSTILE)
def test_text_and_attributes_read_back_as_what_is_shown(text, value):
    page = Parsed(element("p", text, title=value))
    assert len(page.elements) == 1
    assert page.text("p").isprintable()
    expected = element("i", text)
    assert page.text("p") == Parsed(expected).text("i")
    assert page.all("p")[0]["title"].isprintable()


@given(HOSTILE)
def test_a_name_that_may_be_broken_reads_as_the_name(name):
    page = Parsed(element("p", broken(name)))
    assert page.text("p") == shown(name)
    assert {tag for tag, _ in page.elements} <= {"p", "wbr"}


@given(st.text(max_size=2000))
def test_what_is_shown_is_short_and_printable(text):
    assert len(shown(text)) <= MAX_PAGE_TEXT
    assert shown(text).isprintable()


def test_a_long_name_keeps_its_ends():
    name = "first." + "x" * 5000 + ".last"
    assert shown(name).startswith("first.")
    assert shown(name).endswith(".last")


@pytest.mark.parametrize(
    ("made", "written"),
    [
        (element("p", "a < b & c"), "<p>a &lt; b &amp; c</p>"),
        (element("p", Markup("<b>x</b>"), None, "y"), "<p><b>x</b>y</p>"),
        (element("td", class_="n", data_q='"'), '<td class="n" data-q="&quot;"></td>'),
        (element("input", hidden=True, disabled=False, value=None, size=3), '<input hidden size="3">'),
        (joined(["a", element("br"), "b"], ", "), "a, <br>, b"),
    ],
)
def test_elements_are_written_plainly(made, written):
    assert made == written
