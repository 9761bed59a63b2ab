"""docs/spec/graph.md, read as tests: its example, its limits and its keys against the code."""

from __future__ import annotations

import json
import re
from pathlib import Path

from lamella.core import limits
from lamella.core.graphs import LAYERS, NAMES, OPERATORS
from lamella.model.graph_text import parse_graph, write_graph

PAGE = (Path(__file__).parents[2] / "docs" / "spec" / "graph.md").read_text(encoding="utf-8")
EXAMPLE = PAGE.partition("```text\n")[2].partition("```")[0].encode()


def test_the_example_is_a_text():
    graph = parse_graph(EXAMPLE)
    assert write_graph(graph) == EXAMPLE
    assert [node.name for node in graph.nodes] == ["hidden", "out"]


def test_the_limits_are_those_of_the_page():
    stated = [int(number) for number in re.findall(r"\b(\d+)\s+(?:bytes a text|bytes a line|nodes|dimensions)", PAGE)]
    assert stated == [
        limits.MAX_GRAPH_FILE_NBYTES,
        limits.MAX_GRAPH_LINE_NBYTES,
        limits.MAX_GRAPH_NODES,
        limits.MAX_DIMENSIONS,
    ]


def test_the_page_says_what_every_key_and_level_means():
    table = PAGE[PAGE.index("| key |") :]
    listed = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    graph = json.loads(EXAMPLE)
    keys = {key for row in [*graph["inputs"], *graph["outputs"], *graph["nodes"]] for key in row}
    assert listed == keys | {"level", "source"}
    assert all(f"`{level}`:" in table for level in (NAMES, LAYERS, OPERATORS))
