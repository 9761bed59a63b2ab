"""One tensor through its versions, as a web page: how far each moved it, and how long it is since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from lamella.core.limits import MAX_PAGE_ROWS
from lamella.pages.charts import line
from lamella.pages.frame import framed
from lamella.pages.markup import Markup, broken, element, joined, shown
from lamella.pages.numbers import counted, figure
from lamella.pages.page import page

_MOST_POINTS = 120


@dataclass(frozen=True, slots=True)
class TensorVersion:
    """A tensor as one version has it.

    `version` is what people call the version, a tag or a short commit id; `date` is written as pages show it, as
    2026-05-17. `mean_absolute` is D, the mean |b - a| from the version before, and `norm` the Euclidean norm; None
    where there is none to tell, as D of the first version.
    """

    version: str
    date: str
    author: str
    subject: str
    mean_absolute: float | None
    norm: float | None


def history_page(tensor: str, path: str, versions: Sequence[TensorVersion]) -> str:
    """Return the history of one tensor of the model at `path`, oldest version first, as the text of one HTML page.

    A page holds some thousand versions, the latest ones, and tells how many more there are.
    """
    kept = versions[-MAX_PAGE_ROWS:]
    sections = [
        ("history", "History", _charts(tensor, path, kept)),
        ("versions", "Versions", _table(kept, len(versions) - len(kept)) if kept else None),
    ]
    rows = [[shown(v.version), shown(v.date), shown(v.subject), *_numbers(v)] for v in kept]
    title = f"{shown(tensor)}, {shown(path)}"
    return page(title, framed("Tensor history", sections), {"versions": rows}, ("history.js",))


def _charts(tensor: str, path: str, versions: Sequence[TensorVersion]) -> Markup:
    changes = [version.mean_absolute for version in versions]
    norms = [version.norm for version in versions]
    head = element("h1", broken(tensor), id="history-title")
    if not versions:
        return joined([head, element("p", f"No version of {shown(path)} has this tensor.", class_="lede")])
    first, last = versions[0], versions[-1]
    since = f" from {shown(first.date)} to {shown(last.date)}" if first.date != last.date else f", {shown(first.date)}"
    return joined(
        [
            head,
            element(
                "p", f"{counted(len(versions), 'version')} in {shown(path)},{since}".replace(",,", ","), class_="lede"
            ),
            element(
                "div",
                _chart("D", "mean |b − a| from the version before", changes, 0.0),
                _chart("norm", "Euclidean norm", norms, None),
                _picker(versions),
                class_="history",
            ),
        ]
    )


def _chart(name: str, meaning: str, values: Sequence[float | None], floor: float | None) -> Markup:
    """Return one chart, from `floor` or from the least value, with its ends at its side."""
    known = [value for value in values if value is not None and isfinite(value)]
    low, high = (min(known) if floor is None else floor, max(known)) if known else (0.0, 0.0)
    path, points = line(values, low, high)
    field = element(
        "svg",
        element("path", class_="after", d=path),
        element("path", class_="points", d=points) if len(values) <= _MOST_POINTS else None,
        element("path", class_="cursor"),
        viewBox="0 0 400 100",
        preserveAspectRatio="none",
        role="img",
        aria_label=f"{meaning}, from {figure(low)} to {figure(high)}",
    )
    ends = element("div", element("span", figure(high, 4)), element("span", figure(low, 4)), class_="scale-y")
    kind = "floating" if low else None
    return element("figure", element("figcaption", name, " ", element("small", meaning)), ends, field, class_=kind)


def _picker(versions: Sequence[TensorVersion]) -> Markup:
    last = len(versions) - 1
    slider = element("input", type="range", id="at", min=0, max=last, value=last, aria_label="Version")
    return joined([slider, element("p", id="said", role="status")])


def _table(versions: Sequence[TensorVersion], earlier: int) -> Markup:
    heads = [
        element("th", label, scope="col", class_="n" if label in ("D", "norm") else None)
        for label in ("version", "date", "D", "norm", "author", "what")
    ]
    rows = [
        element(
            "tr",
            element("th", shown(version.version), scope="row"),
            element("td", shown(version.date), class_="date"),
            *(element("td", text, class_="n") for text in _numbers(version)),
            element("td", shown(version.author)),
            element("td", shown(version.subject), class_="what"),
        )
        for version in reversed(versions)
    ]
    told = f"{counted(earlier, 'earlier version')} not in this page." if earlier else None
    table = element("table", element("thead", element("tr", *heads)), element("tbody", *rows), class_="versions")
    return joined([element("div", table, class_="wide"), element("p", told, class_="small") if told else None])


def _numbers(version: TensorVersion) -> tuple[str, str]:
    return figure(version.mean_absolute), figure(version.norm, 5)
