"""The history of a tensor in a real browser: the slider points at a version."""

from __future__ import annotations

from lamella.pages.history_page import history_page
from tests.pages import believable


def whole() -> str:
    return history_page("h.3.attn.q_proj.weight", "model.safetensors", believable.versions())


def test_the_fragment_points_at_a_version(browser):
    page = browser.dump(whole(), "at=8")
    assert page.all("path", class_="cursor")[0]["d"] == "M139.1 0V100"
    assert page.text("b").endswith("v0.8")
    assert len(page.all("tr", class_="told-of")) == 1
    assert page.all("input", id="at")[0]["aria-valuetext"] == "v0.8, 2026-03-21"


def test_the_slider_moves_both_charts(browser):
    script = """
      const slider = document.getElementById("at");
      slider.value = 0;
      slider.dispatchEvent(new Event("input"));
    """
    page = browser.after(whole(), script)
    assert [found["d"] for found in page.all("path", class_="cursor")] == ["M0.0 0V100"] * 2
    assert "D –, norm" in page.text("span")


def test_a_tensor_of_one_version_has_a_page(browser):
    page = browser.dump(history_page("w", "m", believable.versions(1)))
    assert page.text("b").endswith("v0.0")
