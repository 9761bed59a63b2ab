"""The page of a comparison in a real browser: it filters, sorts, opens, folds, and stays within its window."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from fnmatch import fnmatchcase

import pytest

from lamella.core.limits import MAX_PAGE_ROWS
from lamella.pages.diff_page import diff_page
from lamella.pages.graph_page import graph_page
from lamella.pages.history_page import history_page
from tests.browser.chromium import DARK, LIGHT
from tests.pages import believable


def whole() -> str:
    return diff_page(believable.comparison(), believable.graphs())


def test_the_fragment_filters_the_table(browser):
    page = browser.dump(whole(), "q=h.1.attn.*")
    assert "8 of 216 tensors" in page.visible
    assert page.all("input", id="q")
    rows = [found for found in page.all("button", aria_expanded="false") if "data-row" in found]
    assert len(rows) == 6, "two of the eight are the same, and have nothing more to tell"


def test_the_fragment_filters_by_kind_of_change_and_sorts(browser):
    page = browser.dump(whole(), "what=added&sort=-1")
    assert "16 of 216 tensors" in page.visible
    assert page.all("button", data_what="added")[0]["aria-pressed"] == "true"
    assert page.all("th", aria_sort="descending")


def test_a_row_opens_with_its_charts(browser):
    page = browser.dump(whole(), "q=classifier.weight&open=6")
    assert page.text("figcaption") == "valuesdistance in ULPs, doublingspectrum of the changerows that moved most"
    assert [path["class"] for path in page.all("path")] == ["before", "after", "bars", "bars"]


QUERIES = (
    "h.*.attn.q_proj.weight",
    "*",
    "?mbed*",
    "LN_F",
    "*.bias",
    "h.1?.*",
    "*a*a*a*b*",
    "no such name",
    ".",
    "**",
    "h.*5*",
)


def test_globs_and_parts_of_names_are_found(browser):
    script = f"""
      const box = document.getElementById("q");
      const said = {json.dumps(QUERIES)}.map((query) => {{
        box.value = query;
        box.dispatchEvent(new Event("input"));
        return document.getElementById("found").textContent;
      }});
      document.body.dataset.said = JSON.stringify(said);
    """
    page = browser.after(whole(), script)
    rows = page.data["tensors"]["rows"]
    for query, said in zip(QUERIES, json.loads(page.all("body")[0]["data-said"]), strict=True):
        glob = query.lower() if set("*?") & set(query) else f"*{query.lower()}*"
        found = sum(any(name and fnmatchcase(name, glob) for name in row[:2]) for row in rows)
        assert said == (f"{found} of 216 tensors" if found < 216 else "216 tensors"), query


def test_a_page_within_another_page_keeps_working(browser):
    script = """
      document.getElementById("q").value = "h.1.*";
      document.getElementById("q").dispatchEvent(new Event("input"));
      parent.document.body.dataset.said = document.getElementById("found").textContent;
    """
    assert browser.narrow(whole(), script, 800)["data-said"] == "16 of 216 tensors"


def test_a_cell_of_the_map_leads_to_its_tensors(browser):
    page = browser.after(whole(), 'document.querySelector(".heat td:nth-child(3) button").click()')
    assert "2 of 216 tensors" in page.visible
    assert page.all("input", id="q")


def test_arrow_keys_go_from_cell_to_cell(browser):
    script = """
      const press = (key) => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
      document.querySelector(".heat button").focus();
      ["ArrowRight", "ArrowDown", "ArrowDown", "ArrowLeft", "ArrowUp", "ArrowRight"].forEach(press);
      document.body.dataset.at = document.activeElement.dataset.q;
    """
    page = browser.after(whole(), script)
    assert page.all("body")[0]["data-at"] == "h.1.attn.q_proj.*"
    assert sum(found.get("tabindex") != "-1" for found in page.all("button") if "data-q" in found) == 1 + 8


def test_headings_sort_and_numbers_sort_as_numbers(browser):
    script = """
      document.querySelector('[data-column="4"]').click();
      const cells = [...document.querySelectorAll("#table tbody tr")].map((row) => row.cells[4].textContent);
      document.body.dataset.cells = JSON.stringify(cells.slice(0, 50));
    """
    page = browser.after(whole(), script)
    shares = [float(text.rstrip("%")) for text in json.loads(page.all("body")[0]["data-cells"])]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == 93.0


def test_five_thousand_rows_are_written_as_they_are_wanted(browser):
    model = believable.comparison()
    tensors = tuple(
        replace(model.tensors[n % 200], after=replace(model.tensors[n % 200].after, name=f"t.{n}.w"))
        for n in range(6000)
    )
    page = browser.dump(diff_page(replace(model, tensors=tensors, graph=None)), "q=t.*")
    assert len(page.data["tensors"]["rows"]) == MAX_PAGE_ROWS
    assert 100 <= len(page.all("th", scope="row")) < 1500


def test_all_rows_are_shown_on_request(browser):
    few, all_rows = browser.dump(whole()), browser.after(whole(), 'document.getElementById("all").click()')
    assert few.text("span").count("h.12.mlp") == 0
    assert all_rows.text("span").count("h.12.mlp") == 4


def test_the_graphs_are_folded_searched_and_show_what_changed(browser):
    page = browser.dump(whole(), "g=Tanh")
    assert "12 lines found" not in page.visible
    assert "13 lines found" in page.visible
    folded = browser.dump(whole())
    assert len(folded.all("details")) == 3 + 16
    assert "12 as before" in folded.visible


def test_changes_only_hides_what_is_as_before(browser):
    page = browser.dump(whole(), "only=1")
    assert page.all("button", id="only")[0]["aria-pressed"] == "true"
    assert "embed2 nodes" not in page.visible.replace(" ", "")


def test_hostile_names_are_shown_and_not_obeyed(browser):
    evil = '</script><img src=x onerror="document.title=1">\u202e"\'&lt;'
    model = believable.comparison()
    first = replace(model.tensors[0], after=replace(model.tensors[0].after, name=evil))
    page = browser.dump(
        diff_page(replace(model, before=evil, tensors=(first, *model.tensors[1:])), believable.graphs())
    )
    assert not page.all("img")
    assert len(page.all("script")) == 2
    assert r"\u202e" in page.text("span")


@pytest.mark.parametrize(("scheme", "theme"), [(LIGHT, "light"), (DARK, "dark")])
def test_the_page_follows_the_system_and_the_switch_turns_it(browser, scheme, theme):
    assert browser.dump(whole(), scheme=scheme).all("html")[0]["data-theme"] == theme
    other = {"light": "dark", "dark": "light"}[theme]
    assert browser.dump(whole(), f"theme={other}", scheme=scheme).all("html")[0]["data-theme"] == other


def test_pictures_in_light_and_dark_wide_and_narrow(browser):
    pictures = {}
    for scheme in (LIGHT, DARK):
        for width in (1280, 390):
            picture = browser.screenshot(whole(), width, 1000, scheme=scheme)
            assert struct.unpack(">II", picture[16:24]) == (width, 1000)
            pictures[scheme, width] = picture
    assert len(set(pictures.values())) == 4


CONTRAST = """
  const field = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const light = (colour) => {
    field.fillStyle = colour;
    field.fillRect(0, 0, 1, 1);
    const parts = [...field.getImageData(0, 0, 1, 1).data].slice(0, 3).map((part) => part / 255);
    const [red, green, blue] = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const contrast = (part) => {
    const { color, backgroundColor } = getComputedStyle(part);
    const [low, high] = [light(color), light(backgroundColor)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const shades = [0, 1, 2, 3, 4, 5, 6, 7, 8].map((step) => {
    const cell = document.querySelector(".heat button");
    cell.parentElement.className = `s${step}`;
    return contrast(cell);
  });
  const pairs = ["ink", "soft", "accent", "other"].flatMap((ink) => ["paper", "wash"].map((paper) => {
    document.body.style = `color: var(--${ink}); background: var(--${paper})`;
    return contrast(document.body);
  }));
  document.body.dataset.contrast = JSON.stringify([...shades, ...pairs]);
"""


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
def test_every_text_can_be_read_on_its_ground(browser, scheme):
    """The least contrast of text is 4.5 (W3C, Web Content Accessibility Guidelines 2.2, 1.4.3)."""
    body = browser.after(whole(), CONTRAST, scheme=scheme).all("body")[0]
    contrasts = json.loads(body["data-contrast"])
    assert len(contrasts) == 9 + 8
    assert min(contrasts) >= 4.5


def graph() -> str:
    return graph_page(believable.graph(12), "model.onnx")


def history() -> str:
    return history_page("h.3.attn.q_proj.weight", "model.safetensors", believable.versions())


@pytest.mark.parametrize(("made", "width"), [(whole, 390), (whole, 320), (graph, 390), (history, 390)])
def test_nothing_is_wider_than_a_phone(browser, made, width):
    script = """
      const right = (part) => part.getBoundingClientRect().right;
      const parts = [...document.querySelectorAll("main *")].filter((part) => !part.closest(".wide, .unseen, #canvas"));
      const found = parts.filter((part) => right(part) > innerWidth + 1).map((part) => part.outerHTML.slice(0, 80));
      parent.document.body.dataset.width = innerWidth;
      parent.document.body.dataset.wide = JSON.stringify(found.slice(0, 5));
    """
    found = browser.narrow(made(), script, width)
    assert found["data-width"] == str(width)
    assert json.loads(found["data-wide"]) == []
