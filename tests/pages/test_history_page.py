"""The page of one tensor's history shows every version as a point, a row and a place of the slider."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.pages.charts import line
from lamella.pages.history_page import TensorVersion, history_page
from tests.pages import believable
from tests.pages.parsed import Parsed
from tests.pages.test_markup import HOSTILE

NAME, PATH = "h.3.attn.q_proj.weight", "model.safetensors"


def test_every_version_is_a_point_a_row_and_a_place_of_the_slider():
    page = Parsed(history_page(NAME, PATH, believable.versions()))
    assert "24 versions in model.safetensors, from 2026-01-03 to 2026-08-21" in page.visible
    changes, norms = page.all("path", class_="points")
    assert (changes["d"].count("M"), norms["d"].count("M")) == (23, 24)
    assert page.all("input", id="at")[0]["max"] == "23"
    assert len(page.all("th", scope="row")) == len(page.data["versions"]) == 24
    assert page.text("th").index("v0.23") < page.text("th").index("v0.0")


def test_the_scale_of_changes_begins_at_zero():
    page = Parsed(history_page(NAME, PATH, believable.versions()))
    label = page.all("svg", role="img")[0]["aria-label"]
    assert label.startswith("mean |b − a| from the version before, from 0 to ")


def test_a_tensor_without_versions_has_a_page():
    page = Parsed(history_page(NAME, PATH, ()))
    assert "No version of model.safetensors has this tensor." in page.visible
    assert not page.all("input")


def test_thousands_of_versions_are_bounded_and_told():
    text = history_page(NAME, PATH, believable.versions(1) * 7000)
    assert "2,000 earlier versions not in this page." in Parsed(text).visible
    assert len(text) < 3_000_000


@given(HOSTILE, HOSTILE, st.none() | st.floats(), st.none() | st.floats())
def test_hostile_text_and_numbers_stay_text(text, other, change, norm):
    versions = [
        TensorVersion(text, other, text, other, change, norm),
        TensorVersion(other, text, other, text, 1.0, 2.0),
    ]
    made = history_page(text, other, versions)
    made.encode("utf-8")
    assert len(Parsed(made).all("script")) == 2


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ([0.0, 1.0], "M0.0 100.0L400.0 0.0"),
        ([0.0, None, 1.0], "M0.0 100.0M400.0 0.0"),
        ([0.0, float("inf"), 1.0], "M0.0 100.0M400.0 0.0"),
        ([1.0], "M0.0 0.0"),
        ([], ""),
    ],
)
def test_a_line_stops_where_there_is_no_value(values, path):
    assert line(values, 0.0, 1.0)[0] == path


def test_a_line_of_one_value_lies_in_the_middle():
    assert line([5.0, 5.0], 5.0, 5.0)[0] == "M0.0 50.0L400.0 50.0"
