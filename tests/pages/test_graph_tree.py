"""A graph's modules are a tree, and what repeats is folded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lamella.core.graphs import Node
from lamella.pages.graph_tree import Group, graph_tree
from tests.pages import believable


def leaves(group: Group) -> list[int]:
    return [leaf for child in group.children for leaf in ([child] if isinstance(child, int) else leaves(child))]


def labels(group: Group) -> list[str | int]:
    return [child if isinstance(child, int) else child.label for child in group.children]


def node(name: str, module: str, op: str = "Op") -> Node:
    return Node(name, op, module)


def test_blocks_that_are_alike_are_one():
    root = graph_tree(believable.graph(12).nodes)
    embed, blocks, *rest = root.children
    assert isinstance(embed, Group)
    assert (embed.label, embed.children) == ("embed", [0, 1])
    assert isinstance(blocks, Group)
    assert (blocks.label, blocks.times, len(blocks.children)) == ("h.0 … 11", 12, 12)
    assert labels(blocks)[:2] == ["0", "1"]
    assert rest == [182, 183]


def test_a_block_that_differs_stands_out():
    nodes = [
        node(f"h.{n}.{part}", f"h.{n}.{part}", "Tanh" if (n, part) == (3, "act") else "Op")
        for n in range(8)
        for part in ("up", "act")
    ]
    (group,) = graph_tree(nodes).children
    assert isinstance(group, Group)
    assert labels(group) == ["0 … 2", "3", "4 … 7"]


def test_two_that_are_alike_are_two():
    nodes = [node(f"h.{n}.{part}", f"h.{n}.{part}") for n in range(2) for part in "ab"]
    (group,) = graph_tree(nodes).children
    assert isinstance(group, Group)
    assert labels(group) == ["0", "1"]


def test_a_module_of_one_child_is_that_child():
    assert (
        graph_tree([node("a", "model.encoder.fc"), node("b", "model.encoder.out")]).children[0].label == "model.encoder"
    )
    assert graph_tree([node("a", "model.encoder.fc")]).children == [0]


def test_thousands_of_nodes_without_modules_are_parts():
    root = graph_tree([node(f"n{n}", "") for n in range(20_000)])
    assert labels(root) == ["part 1", "part 2"]
    assert leaves(root) == list(range(20_000))


@given(st.lists(st.text(alphabet="ab1./\n", max_size=60), max_size=60))
def test_every_node_is_in_the_tree_once(modules):
    root = graph_tree([node(f"n{at}", module) for at, module in enumerate(modules)])
    assert sorted(leaves(root)) == list(range(len(modules)))


def test_a_path_of_thousands_of_steps_is_no_tower():
    root = graph_tree([node("a", ".".join("x" * 5000)), node("b", ".".join("x" * 4999))])
    assert sorted(leaves(root)) == [0, 1]
