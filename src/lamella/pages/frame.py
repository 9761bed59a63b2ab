"""What every page has around and in its sections: the bar with its links, the headings, a box to search, the foot."""

from __future__ import annotations

from collections.abc import Sequence

from lamella.pages.markup import Markup, element, joined

Section = tuple[str, str, Markup | None]
"""An anchor, a heading, and what is below; None is a section that the page does not have."""


def framed(kind: str, sections: Sequence[Section]) -> Markup:
    """Return the body of a page; the first section opens it and shows no heading of its own."""
    kept = [section for section in sections if section[2] is not None]
    links = [element("a", heading, href=f"#{anchor}") for anchor, heading, _ in kept[1:]]
    switch = element("button", "Theme", type="button", id="theme", aria_label="Switch between light and dark")
    bar = element(
        "header",
        element("a", "Skip to the report", href=f"#{kept[0][0]}", class_="skip"),
        element("span", element("b", "lamella"), f" {kind.lower()}", class_="brand"),
        element("nav", *links, aria_label="Sections") if links else None,
        switch,
        class_="bar",
    )
    return joined([bar, element("main", *(_section(*section) for section in kept)), _foot()])


def search_box(identifier: str, hint: str, label: str) -> Markup:
    """Return a field to search in, which shows `hint` while it is empty and is called `label`."""
    return element(
        "input",
        type="search",
        id=identifier,
        placeholder=hint,
        aria_label=label,
        autocomplete="off",
        spellcheck="false",
    )


def _section(anchor: str, heading: str, body: Markup | None) -> Markup:
    """Return one section; one that begins with its own first heading gets no second."""
    title = None if body is not None and "<h1" in body else element("h2", heading, id=f"{anchor}-title")
    return element("section", title, body, id=anchor, aria_labelledby=f"{anchor}-title")


def _foot() -> Markup:
    return element("footer", "Written by Lamella. This page is one file: it loads nothing and sends nothing.")
