"""A page loads nothing, runs nothing but its own scripts, and gives its data back as they were."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.pages.markup import element
from lamella.pages.page import embedded, page
from tests.pages.parsed import Parsed
from tests.pages.test_markup import HOSTILE

SCRIPTS = sorted(item.name for item in (files("lamella.pages") / "assets").iterdir() if item.name.endswith(".js"))
JSON = st.recursive(
    HOSTILE | st.integers() | st.booleans() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(HOSTILE, inner)
)


@given(JSON, HOSTILE)
def test_data_reads_back_and_ends_nothing(data, title):
    made = page(title, element("p", "body", id="here"), data, ())
    parsed = Parsed(made)
    assert parsed.data == data
    assert len(parsed.all("script")) == 2
    assert parsed.all("p") == [{"id": "here"}]
    made.encode("utf-8")


@given(JSON)
def test_embedded_data_is_plain_ascii_without_a_sign_that_html_knows(data):
    text = embedded(data)
    assert text.isascii()
    assert not set("<>&") & set(text)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_json_has_no_word_for_is_refused(value):
    with pytest.raises(ValueError, match="Out of range"):
        embedded([value])


def test_the_policy_names_what_the_page_holds_and_allows_nothing_else():
    made = page("t", element("p"), {}, ("table.js",))
    parsed = Parsed(made)
    (meta,) = parsed.all("meta", http_equiv="Content-Security-Policy")
    policy = dict(part.strip().split(" ", 1) for part in meta["content"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        digest = b64encode(sha256(parsed.text(tag).encode()).digest()).decode()
        assert policy[directive] == f"'sha256-{digest}'"
    assert set(policy) == {"default-src", "style-src", "script-src", "base-uri", "form-action"}
    assert made.index("Content-Security-Policy") < made.index("<style>")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_makes_no_markup_of_text_and_asks_nobody(name):
    script = (files("lamella.pages") / "assets" / name).read_text(encoding="utf-8")
    markup = "innerHTML|outerHTML|insertAdjacentHTML|document.write|eval|Function|setHTMLUnsafe"
    others = "fetch|XMLHttpRequest|WebSocket|sendBeacon|import|cookie|localStorage"
    assert not re.findall(rf"\b({markup}|{others})\b", script)
    assert set(re.findall(r"https?://[^\"']*", script)) <= {"http://www.w3.org/2000/svg"}


def test_the_style_loads_nothing():
    style = (files("lamella.pages") / "assets" / "page.css").read_text(encoding="utf-8")
    assert not re.findall(r"url\(|@import|@font-face|image-set", style)
