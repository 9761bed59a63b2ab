"""The page of a comparison says what changed, in the order in which a person asks, however odd the names are."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamella.core.limits import MAX_PAGE_DETAILS, MAX_PAGE_ROWS
from lamella.model.alignment import Alignment
from lamella.model.graph_difference import GraphDifference, NodeChange
from lamella.ops.changes import MetadataChange
from lamella.ops.comparison import InterfaceChange, ModelComparison, Total
from lamella.pages.diff_page import diff_page
from lamella.pages.states import LABELS
from tests.pages import believable
from tests.pages.parsed import Parsed
from tests.pages.test_markup import HOSTILE

NOTHING = Alignment((), (), (), (), (), ())


def empty() -> ModelComparison:
    whole = believable.comparison()
    return replace(
        whole, interface=(), graph=None, alignment=NOTHING, tensors=(), training=(), other=(), total=Total(())
    )


def test_a_page_answers_in_the_order_of_the_questions():
    page = Parsed(diff_page(believable.comparison(), believable.graphs()))
    anchors = [section["id"] for section in page.all("section")]
    assert anchors == ["summary", "graph", "map", "most", "tensors", "notes"]
    assert page.text("dt").index("Interface") < page.text("dt").index("Structure") < page.text("dt").index("Weights")
    assert "193 of 200 tensors moved; 16 were added." in page.visible
    assert "25.0% of all samples" in page.visible
    assert "0.0802" in page.visible


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "The interface and the graph changed."),
        ({"interface": ()}, "The graph changed; the interface is as before."),
        ({"interface": (), "graph": None}, "The interface is as before."),
        ({"interface": (), "graph": GraphDifference(1, 1, 1, (), ())}, "The interface and the graph are as before."),
    ],
)
def test_the_first_sentences_say_what_changed_at_all(changes, sentence):
    assert sentence in Parsed(diff_page(replace(believable.comparison(), **changes))).visible


def test_the_same_comparison_makes_the_same_page():
    assert diff_page(believable.comparison(), believable.graphs()) == diff_page(
        believable.comparison(), believable.graphs()
    )


@pytest.mark.parametrize(
    "made", [lambda: diff_page(believable.comparison(), believable.graphs()), lambda: diff_page(empty())]
)
def test_ids_are_unique_and_every_link_leads_to_one(made):
    page = Parsed(made())
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.elements:
        assert not {"src", "srcset", "action", "style", "onclick", "onload"} & set(attributes)
        assert attributes.get("href", "#summary").startswith("#")
        assert attributes.get("href", "#summary")[1:] in ids
        assert attributes.get("aria-labelledby", ids[0]) in ids


def test_everything_that_can_be_pressed_or_filled_has_a_name():
    text = diff_page(believable.comparison(), believable.graphs())
    page = Parsed(text)
    assert all(found.get("aria-label") for found in page.all("input"))
    assert "<button></button>" not in text
    assert all("type" in found for found in page.all("button"))
    assert all(found.get("scope") for found in page.all("th"))


def test_a_page_of_two_models_that_are_the_same_says_so():
    comparison = replace(empty(), model_id_after=empty().model_id_before)
    page = Parsed(diff_page(comparison))
    assert "Both hold the same weights under the same names." in page.visible
    assert [section["id"] for section in page.all("section")] == ["summary", "notes"]


def test_rows_say_all_measures_and_the_verdict():
    tensors = Parsed(diff_page(believable.comparison())).data["tensors"]
    rows = {row[0]: row for row in tensors["rows"]}
    assert len(rows) == tensors["total"] == 216
    verdicts = {name: LABELS[row[-2]] for name, row in rows.items()}
    assert verdicts["ln_f.bias"] == "rounding only"
    assert verdicts["embed.scale"] == "same"
    assert verdicts["embed.position_ids"] == "not compared"
    assert verdicts["h.5.ln_1.weight"] == "added"
    assert rows["h.6.ln_1.weight"][1] == "h.5.ln_1.weight"
    assert rows["h.0.ln_1.bias"][2] == "f32 → bf16"
    assert rows["embed.tokens.weight"][3] == "50,257 × 768"
    assert rows["classifier.weight"][5] == "71.0%"
    details = tensors["details"][str(list(rows).index("classifier.weight"))]
    assert [chart["title"] for chart in details["charts"]] == [
        "values",
        "distance in ULPs, doubling",
        "spectrum of the change",
    ]
    assert len(details["moved"]["rows"]) == 10


def test_a_page_of_many_tensors_is_bounded_and_keeps_what_changed_most():
    whole = believable.comparison()
    moved, same = whole.tensors[6], whole.tensors[1]
    tensors = [replace(same, after=replace(same.after, name=f"t{n}")) for n in range(20_000)]
    tensors[17_000:17_500] = [replace(moved, after=replace(moved.after, name=f"m{n}")) for n in range(500)]
    text = diff_page(replace(whole, tensors=tuple(tensors), graph=None, alignment=NOTHING))
    page = Parsed(text)
    rows = page.data["tensors"]["rows"]
    assert len(rows) == MAX_PAGE_ROWS
    assert sum(row[0].startswith("m") for row in rows) == 500
    assert len(page.data["tensors"]["details"]) == MAX_PAGE_DETAILS
    assert "15,000 tensors that changed least are not in this page." in page.visible
    assert len(text) < 3_000_000


def test_the_largest_page_is_bounded():
    model = believable.comparison()
    names = [f"{'transformer.' * 4}h.{n // 40}.{'module_' * 3}{n % 20}.{n}" for n in range(8000)]
    moved = model.tensors[6]
    tensors = tuple(replace(moved, after=replace(moved.after, name=name)) for name in names)
    graphs = believable.graph(300), believable.graph(300, act="Tanh")
    changes = tuple(NodeChange(node.name, node.name, node.op, ("changed",)) for node in graphs[1].nodes)
    page = diff_page(replace(model, tensors=tensors, graph=GraphDifference(4504, 4504, 4504, (), changes)), graphs)
    assert len(page) < 5_000_000


def test_names_of_kilobytes_do_not_make_megabytes():
    whole = believable.comparison()
    tensors = tuple(
        replace(t, after=replace(t.after, name=f"h.{n}." + "\u202ex" * 4000)) for n, t in enumerate(whole.tensors)
    )
    assert len(diff_page(replace(whole, tensors=tensors))) < 2_000_000


def test_long_lists_are_cut_and_told():
    changes = tuple(MetadataChange(f"key{n}", None, "1") for n in range(1000))
    page = Parsed(diff_page(replace(believable.comparison(), other=changes)))
    assert "1,000 entries differ" in page.visible
    assert "and 800 more" in page.visible


@settings(max_examples=30)
@given(HOSTILE, HOSTILE, st.integers(0, 199))
def test_hostile_text_stays_text_everywhere(name, other, at):
    whole = believable.comparison()
    tensor = whole.tensors[at]
    hostile = replace(
        tensor,
        before=replace(tensor.before, name=other),
        after=replace(tensor.after, name=name),
        pair=replace(tensor.pair, before=other, after=name),
        unread=other,
    )
    tensors = (*whole.tensors[:at], hostile, *whole.tensors[at + 1 :])
    layers = (replace(whole.alignment.layers[0], before=name, after=other), *whole.alignment.layers)
    comparison = replace(
        whole,
        before=name,
        after=other,
        format_before=other,
        model_id_after=name,
        interface=(InterfaceChange(name, other, other, name),),
        alignment=replace(whole.alignment, added=(name,), removed=(other,), layers=layers),
        graph=None if at % 2 else whole.graph,
        tensors=tensors,
        training=(MetadataChange(name, other, name),),
    )
    text = diff_page(comparison, believable.graphs())
    text.encode("utf-8")
    page = Parsed(text)
    assert len(page.all("script")) == 2
    assert {tag for tag, _ in page.elements} <= KNOWN
    assert all(set(attributes) <= ATTRIBUTES for _, attributes in page.elements)
    shown = [row[0] for row in page.data["tensors"]["rows"]]
    assert all(text.isprintable() for text in shown)


PLAIN = Parsed(diff_page(believable.comparison(), believable.graphs()))
KNOWN = {tag for tag, _ in PLAIN.elements} | {"wbr", "small"}
ATTRIBUTES = {attribute for _, attributes in PLAIN.elements for attribute in attributes}


def test_metadata_that_the_graph_or_the_interface_tells_is_not_told_again():
    found = replace(
        believable.comparison(),
        graph=believable.graph_difference(),
        interface=(InterfaceChange("context", "context_length", "128", "256"),),
        other=(
            MetadataChange("context_length", "128", "256"),
            MetadataChange("nodes.Relu", "1", None),
            MetadataChange("producer", "one", "two"),
        ),
    )
    assert [one.key for one in found.untold] == ["producer"]
    assert [one.key for one in replace(found, graph=None).untold] == ["nodes.Relu", "producer"]
    assert "nodes.Relu" not in diff_page(found)
    assert "1 entry differs" in diff_page(found)


def test_one_tensor_was_removed_and_two_were():
    found = replace(believable.comparison(), alignment=Alignment((), ("gone",), ("new", "newer"), (), (), ()))
    assert "2 were added" in diff_page(found)
    assert "1 was removed" in diff_page(found)
