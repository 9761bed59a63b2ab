"""The first section of the page of a comparison: what a person asks, in that order, and the total."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from lamella.core.limits import MAX_PAGE_LIST
from lamella.model.graph_difference import ADDED, CHANGED, MOVED, REMOVED, RENAMED, REWIRED
from lamella.ops.changes import MetadataChange
from lamella.ops.comparison import ModelComparison, Total
from lamella.pages import states
from lamella.pages.diff_bars import bar, moved_most
from lamella.pages.markup import Markup, broken, element, joined, shown
from lamella.pages.numbers import NONE, count, counted, figure, percent

_OPENED = 8
"""Rows of a table that is open from the start."""


def summary(comparison: ModelComparison) -> Markup:
    """Return what changed of interface, structure, weights, training and data, and how much in one number."""
    questions = [
        ("Interface", *_interface(comparison)),
        ("Structure", _structure(comparison), None),
        ("Weights", f"{_weights(comparison)}{_furthest(comparison)}", None),
        ("Training", *_metadata(comparison.training, "value")),
        ("Data", _data(comparison.total), None),
        ("Other metadata", *_metadata(comparison.untold, "entry", "entries")),
    ]
    answers = element("dl", *(_question(*question) for question in questions), class_="questions")
    return joined([_title(comparison), element("div", answers, _total(comparison.total), class_="answers")])


def _title(comparison: ModelComparison) -> Markup:
    names = element(
        "h1",
        element("span", broken(comparison.before), class_="old"),
        " ",
        element("span", "→ ", class_="arrow"),
        element("span", broken(comparison.after)),
        id="summary-title",
    )
    return joined([names, element("p", _lede(comparison), class_="lede"), _sides(comparison)])


def _lede(comparison: ModelComparison) -> str:
    nodes = comparison.graph.nodes if comparison.graph else ()
    if comparison.model_id_before == comparison.model_id_after and not nodes:
        return "Both hold the same weights under the same names."
    if comparison.model_id_before == comparison.model_id_after:
        return f"Both hold the same weights; {counted(len(nodes), 'node')} of the graph changed."
    found = Counter(states.state(difference) for difference in comparison.tensors)
    moved = found[states.CHANGED] + found[states.SLIGHT] + found[states.ROUNDING]
    verbs = [(number, "was" if number == 1 else "were", what) for number, what in _alone(comparison) if number]
    alone = [f"{count(number)} {verb} {what}" for number, verb, what in verbs]
    weights = "; ".join([f"{count(moved)} of {counted(len(comparison.tensors), 'tensor')} moved", *alone])
    graph = comparison.graph
    changes = {"interface": bool(comparison.interface), **({"graph": bool(graph.nodes)} if graph else {})}
    told = []
    for changed, words in ((True, "changed"), (False, "as before")):
        names = [f"the {name}" for name, what in changes.items() if what is changed]
        verb = "" if changed else "is " if len(names) == 1 else "are "
        if names:
            told.append(f"{' and '.join(names)} {verb}{words}")
    return f"{weights}. {'; '.join(told).capitalize()}."


def _sides(comparison: ModelComparison) -> Markup:
    rows = [
        ("before", comparison.format_before, comparison.parameters_before, comparison.model_id_before),
        ("after", comparison.format_after, comparison.parameters_after, comparison.model_id_after),
    ]
    table = element(
        "table",
        element("caption", "The two models", class_="unseen"),
        _head("", "format", "parameters", "model id", right=(2,)),
        element(
            "tbody",
            *(
                element(
                    "tr",
                    element("th", side, scope="row"),
                    element("td", shown(container)),
                    element("td", count(parameters), class_="n"),
                    element("td", element("code", shown(model_id[:12]), title=shown(model_id))),
                )
                for side, container, parameters, model_id in rows
            ),
        ),
        class_="sides",
    )
    return element("div", table, class_="wide")


def _question(label: str, answer: str, more: Markup | None) -> Markup:
    """Return a question with its answer, which opens what it sums up."""
    if more is None:
        return element("div", element("dt", label), element("dd", answer))
    opened = element("details", element("summary", answer), more, open=more.count("<tr>") <= _OPENED)
    return element("div", element("dt", label), element("dd", opened))


def _interface(comparison: ModelComparison) -> tuple[str, Markup | None]:
    changes = comparison.interface
    if not changes:
        return "as before", None
    rows = [(f"{change.what} {change.name}".strip(), change.before, change.after) for change in changes]
    return counted(len(changes), "change"), _changes(rows)


def _structure(comparison: ModelComparison) -> str:
    graph, alignment = comparison.graph, comparison.alignment
    if graph is not None:
        counts = Counter(what for node in graph.nodes for what in node.whats)
        parts = [
            f"{count(counts[what])} {what}"
            for what in (ADDED, REMOVED, CHANGED, MOVED, RENAMED, REWIRED)
            if counts[what]
        ]
        whole = f"{count(graph.matched)} of {counted(graph.nodes_after, 'node')} matched"
        return f"{', '.join(parts)}; {whole}" if parts else f"as before, {counted(graph.nodes_after, 'node')}"
    moved = sum(pair.moved for pair in alignment.layers)
    renamed = sum(pair.before != pair.after for pair in alignment.layers)
    figures = (
        (len(alignment.added_layers), "added"),
        (len(alignment.removed_layers), "removed"),
        (moved, "moved"),
        (renamed, "renamed"),
    )
    parts = [f"{counted(number, 'layer')} {what}" for number, what in figures if number]
    return f"{', '.join(parts)}; judging by names" if parts else "the same layers, judging by names"


def _weights(comparison: ModelComparison) -> str:
    found = Counter(states.state(difference) for difference in comparison.tensors)
    said = (
        (states.SLIGHT, "within ε"),
        (states.ROUNDING, "by rounding only"),
        (states.UNREAD, "not compared"),
    )
    total = counted(len(comparison.tensors), "tensor")
    parts = [f"{count(found[states.CHANGED])} of {total} changed"]
    parts += [f"{count(found[what])} {words}" for what, words in said if found[what]]
    parts += [f"{count(number)} {what}" for number, what in _alone(comparison) if number]
    return ", ".join(parts)


def _furthest(comparison: ModelComparison) -> str:
    top = moved_most(comparison, 1)
    return f"; furthest {shown(top[0][0])}, by {percent(top[0][1])}" if top else ""


def _alone(comparison: ModelComparison) -> tuple[tuple[int, str], ...]:
    return (len(comparison.alignment.added), "added"), (len(comparison.alignment.removed), "removed")


def _metadata(changes: Sequence[MetadataChange], noun: str, plural: str = "") -> tuple[str, Markup | None]:
    if not changes:
        return "no difference recorded", None
    rows = [(change.key, change.before, change.after) for change in changes]
    verb = "differs" if len(changes) == 1 else "differ"
    return f"{counted(len(changes), noun, plural)} {verb}", _changes(rows)


def _data(total: Total) -> str:
    known = [part.distance for part in total.parts if part.name == "data" and part.distance is not None]
    if not known:
        return "not recorded"
    return "the same" if not known[0] else f"{percent(known[0])} of all samples are on one side alone"


def _changes(rows: Sequence[tuple[str, str | None, str | None]]) -> Markup:
    kept = rows[:MAX_PAGE_LIST]
    body = [
        element(
            "tr",
            element("th", broken(name), scope="row"),
            element("td", NONE if before is None else shown(before)),
            element("td", NONE if after is None else shown(after)),
        )
        for name, before, after in kept
    ]
    table = element("table", _head("", "before", "after"), element("tbody", *body), class_="changes")
    beyond = element("p", f"and {count(len(rows) - len(kept))} more") if len(rows) > len(kept) else None
    return joined([table, beyond])


def _head(*labels: str, right: Iterable[int] = ()) -> Markup:
    flush = set(right)
    cells = [
        element("th", label, scope="col", class_="n" if index in flush else None) if label else element("td")
        for index, label in enumerate(labels)
    ]
    return element("thead", element("tr", *cells))


def _total(total: Total) -> Markup:
    rows = [
        element(
            "tr",
            element("th", shown(part.name), scope="row"),
            element("td", "not known" if part.distance is None else figure(part.distance), class_="n"),
            element("td", None if part.distance is None else bar(part.distance)),
            element("td", f"× {part.weight:g}", class_="n weight"),
        )
        for part in total.parts
    ]
    return element(
        "aside",
        element("p", element("span", "T", class_="letter"), element("b", figure(total.value)), class_="figure"),
        element("p", "Total distance: 0 is the same model, 1 has nothing in common.", class_="small"),
        element("table", _head("part", "distance", "", "weight", right=(1, 3)), element("tbody", *rows)),
        class_="total",
        aria_label="Total distance",
    )
