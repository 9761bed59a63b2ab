"""What the scripts of a comparison's page fill: the table of all tensors and the two graphs beside each other."""

from __future__ import annotations

from collections import Counter
from typing import Any

from lamella.pages.frame import search_box
from lamella.pages.markup import Markup, element, joined
from lamella.pages.numbers import count, counted
from lamella.pages.states import FLAGS, LABELS, STATES

_COLUMNS = (
    ("tensor", "", ""),
    ("dtype", "", ""),
    ("shape", "", ""),
    ("D", "n", "mean |b − a|"),
    ("relative", "n", "‖b − a‖ / ‖a‖"),
    ("1 − cos", "n", "cosine distance"),
    ("changed", "n", "share of elements that changed"),
    ("max", "n", "greatest |b − a|"),
    ("ULPs", "n", "greatest distance in units of the last place"),
    ("verdict", "", ""),
)

_NO_SCRIPT = element("noscript", element("p", "This part of the page needs its script to run.", class_="small"))


def tensor_section(tensors: dict[str, Any]) -> Markup | None:
    """Return the table's head, and what it is searched and filtered with."""
    rows = tensors["rows"]
    if not rows:
        return None
    heads = [
        element(
            "th",
            element("button", label, type="button", data_column=index, title=meaning or None),
            scope="col",
            class_=kind or None,
            aria_sort="none",
        )
        for index, (label, kind, meaning) in enumerate(_COLUMNS)
    ]
    table = element(
        "table",
        element("caption", "Every tensor and how far it moved", class_="unseen"),
        element("thead", element("tr", *heads)),
        element("tbody"),
        id="table",
    )
    search = search_box("q", "name or glob, as h.*.attn.*", "Search tensors by name or glob")
    beyond = tensors["total"] - len(rows)
    told = f"{counted(beyond, 'tensor')} that changed least are not in this page." if beyond else None
    return joined(
        [
            element("div", search, _chips(rows), class_="tools", role="search"),
            element("p", f"{count(len(rows))} tensors", id="found", class_="small", role="status"),
            element("p", told, class_="small") if told else None,
            _NO_SCRIPT,
            element("div", table, class_="wide"),
            element("p", element("button", "Show all", type="button", id="all"), id="beyond", hidden=True),
        ]
    )


def _chips(rows: list[list[Any]]) -> Markup:
    """Return a button for everything that readers can filter by and that holds for a tensor at all."""
    by_state = Counter(row[-2] for row in rows)
    chips = [("", "all", len(rows))]
    chips += [(STATES[index], LABELS[index], by_state[index]) for index in range(len(STATES)) if by_state[index]]
    chips += [(flag, flag, n) for bit, flag in enumerate(FLAGS) if (n := sum(row[-1] >> bit & 1 for row in rows))]
    buttons = [
        element(
            "button",
            label,
            element("small", count(number)),
            type="button",
            data_what=what,
            aria_pressed="true" if not what else "false",
        )
        for what, label, number in chips
    ]
    return element("div", *buttons, class_="chips", role="group", aria_label="Filter by kind of change")


def graph_section(graph: dict[str, Any] | None) -> Markup | None:
    """Return the frame of the two graphs, None where nothing is known of them."""
    if graph is None:
        return None
    search = search_box("g", "node, operator or module", "Search nodes")
    only = element("button", "changes only", type="button", id="only", aria_pressed="false")
    unlisted = f"{counted(graph['unlisted'], 'node')} as before not listed." if graph["unlisted"] else None
    beyond = f"{counted(graph['beyond'], 'further line')} not in this page." if graph["beyond"] else None
    return joined(
        [
            element("div", search, element("div", only, class_="chips"), class_="tools", role="search"),
            element(
                "p", *(f"{told} " for told in (unlisted, beyond) if told), class_="small", id="nodes", role="status"
            ),
            _NO_SCRIPT,
            element("div", id="columns"),
        ]
    )


def notes() -> Markup:
    """Return what the page's words mean, with their formulas."""
    meanings = (
        (
            "D",
            "mean |b − a| over the elements that are finite on both sides; a tensor is changed where D exceeds its ε",
        ),
        ("relative", "‖b − a‖ / ‖a‖, Euclidean norms"),
        ("1 − cos", "cosine distance of a and b as vectors, from 0 to 2"),
        (
            "ULPs",
            "distance in units of the last place of the coarser dtype; rounding only: no element moved by more than 1",
        ),
        ("effective rank", "exp of the entropy of the singular values of b − a over their sum (Roy and Vetterli 2007)"),
        ("T", "sum of weight × distance over the sum of the weights, of the parts that are known"),
    )
    return element(
        "dl", *(element("div", element("dt", word), element("dd", text)) for word, text in meanings), class_="notes"
    )
