"""Names as a tree: what is alike is one, and totals add up."""

from __future__ import annotations

import time
from math import prod

from hypothesis import given
from hypothesis import strategies as st

from lamella.ops.folded_tree import Branch
from lamella.ops.ls import ListedTensor
from lamella.ops.tensor_tree import tensor_tree


def tensor(name: str, *shape: int, dtype: str = "f32", file: str = "m") -> ListedTensor:
    return ListedTensor(name, dtype, shape, prod(shape), 4 * prod(shape), file)


def drawn(branches: tuple[Branch[ListedTensor], ...], level: int = 0) -> list[str]:
    """Return a tree as lines of label, how often it is there and how many tensors it is."""
    lines = []
    for branch in branches:
        lines.append(f"{'  ' * level}{branch.label} {branch.times}x{branch.count}")
        lines += drawn(branch.branches, level + 1)
    return lines


def test_layers_that_are_alike_are_one_and_those_that_are_not_stay():
    tensors = [tensor("embed.weight", 9)]
    for layer in (0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9):
        tensors += [tensor(f"h.{layer}.w", 2, 3 if layer else 4), tensor(f"h.{layer}.b", 2)]
    assert drawn(tensor_tree(tensors)) == [
        "embed.weight 1x1",
        "h. 1x24",
        *("  0. 1x2", "    w 1x1", "    b 1x1"),
        *("  [1-11]. 11x2", "    w 1x1", "    b 1x1"),
    ]
    assert len(drawn(tensor_tree(tensors, fold=False))) == 2 + 12 * 3
    tensors = [tensor(name, 1) for name in ("l.0.w", "l.0.b", "l.1.b", "l.1.w")]
    assert drawn(tensor_tree(tensors)) == ["l.[0-1]. 2x2", "  w 1x1", "  b 1x1"]


def test_folds_fold_again():
    tensors = [tensor(f"l.{layer}.e.{expert}.w", 2) for layer in range(4) for expert in range(8)]
    assert drawn(tensor_tree(tensors)) == ["l.[0-3].e.[0-7].w 32x1"]
    tensors += [tensor(f"l.{layer}.n", 3) for layer in range(5)]
    assert drawn(tensor_tree(tensors)) == [
        *("l. 1x37", "  [0-3]. 4x9", "    e.[0-7].w 8x1", "    n 1x1"),
        "  4.n 1x1",
    ]


def test_numbers_within_a_name_count_too_and_every_second_is_a_step():
    tensors = [tensor(f"block_{number}/conv{1 + number % 2}/w", number % 2 + 1) for number in range(8)]
    assert drawn(tensor_tree(tensors)) == ["block_[0-6:2]/conv1/w 4x1", "block_[1-7:2]/conv2/w 4x1"]
    tensors = [tensor(f"l{number}.w", 1) for number in (1, 2, 3, 7, 9, 10)]
    assert drawn(tensor_tree(tensors)) == ["l[1-3,7,9-10].w 6x1"]
    tensors = [tensor(f"l{number**2}.w", 1) for number in range(30)]
    (only,) = tensor_tree(tensors)
    assert only.label == "l[0-1,4,9,16,25,36,49,64,...].w"


def test_a_name_may_be_a_tensor_and_a_branch():
    assert drawn(tensor_tree([tensor("a", 1), tensor("a.b", 1), tensor("a.c", 1)])) == [
        "a 1x1", "a. 1x2", "  b 1x1", "  c 1x1"
    ]  # fmt: skip


def test_slashes_separate_before_dots_and_a_path_before_a_name_stays_whole():
    tensors = [tensor("layers/dense.1/kernel:0", 1), tensor("layers/dense.1/bias:0", 1)]
    assert drawn(tensor_tree(tensors)) == ["layers/dense.1/ 1x2", "  kernel:0 1x1", "  bias:0 1x1"]
    tensors = [tensor(f"{file}/{name}", 1, file=file) for file in ("a/m.st", "b/m.st") for name in ("c.w", "c.b")]
    assert drawn(tensor_tree(tensors)) == [
        *("a/m.st/c. 1x2", "  w 1x1", "  b 1x1"),
        *("b/m.st/c. 1x2", "  w 1x1", "  b 1x1"),
    ]


def test_odd_names_are_branches_like_others():
    names = ["", ".", "..", "a..b", "0", "00", "1", "\u0661", "9" * 30, "." * 500, "x/", "/"]
    branches = tensor_tree([tensor(name, 1) for name in names])
    assert sum(branch.times * branch.count for branch in branches) == len(names)


part = st.sampled_from(["a", "b", "0", "1", "2", "10", "x1", ""])


@given(st.lists(st.lists(part, min_size=1, max_size=4).map(".".join), unique=True, max_size=30), st.booleans())
def test_totals_are_those_of_the_tensors(names, fold):
    tensors = [tensor(name, len(name) % 3 + 1) for name in names]

    def check(branch: Branch[ListedTensor]) -> None:
        if branch.leaf is None:
            for field in ("count", "elements", "nbytes"):
                assert getattr(branch, field) == sum(one.times * getattr(one, field) for one in branch.branches)
            for one in branch.branches:
                check(one)

    branches = tensor_tree(tensors, fold=fold)
    assert sum(one.times * one.elements for one in branches) == sum(one.elements for one in tensors)
    assert sum(one.times * one.count for one in branches) == len(tensors)
    for branch in branches:
        check(branch)


def test_fifty_thousand_tensors_take_no_time():
    tensors = [
        tensor(f"l.{layer}.e.{expert}.w{number}", 4)
        for layer in range(100) for expert in range(250) for number in (1, 2)
    ]  # fmt: skip
    began = time.process_time()
    assert drawn(tensor_tree(tensors)) == ["l.[0-99].e.[0-249].w[1-2] 50000x1"]
    assert time.process_time() - began < 5
