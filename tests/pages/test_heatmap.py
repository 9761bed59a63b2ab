"""The map has blocks as rows and modules as columns, and shades that compare."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lamella.model.alignment import Alignment
from lamella.pages.heatmap import STEPS, heat_map
from lamella.pages.states import ADDED
from tests.pages import believable


def with_names(*names: str, added: tuple[str, ...] = ()):
    """A comparison of tensors with these names alone, all of which moved by a tenth."""
    whole = believable.comparison()
    chance = believable.random.Random(2)
    tensors = tuple(believable.difference(chance, name, name, (4, 4), 0.1) for name in names)
    alignment = Alignment(tuple(tensor.pair for tensor in tensors), (), added, (), (), ())
    return replace(whole, tensors=tensors, alignment=alignment)


def test_a_transformer_is_one_grid():
    found = heat_map(believable.comparison())
    (grid,) = found.grids
    assert grid.columns == list(believable.MODULES)
    assert [row.block for row in grid.rows] == [f"h.{n}" for n in range(13)]
    assert {cell.pattern for cell in found.others} == set(believable.AROUND)
    inserted = grid.rows[believable.INSERTED]
    assert all(cell.alone == ADDED for cell in inserted.cells.values())
    assert [row.earlier for row in grid.rows][4:8] == ["", "", "h.5", "h.6"]


def test_a_cell_weighs_its_tensors_by_their_norms():
    found = heat_map(with_names("h.0.a.weight", "h.0.a.bias", "h.1.a.weight"))
    cells = [row.cells["a"] for row in found.grids[0].rows]
    assert [len(cell.states) for cell in cells] == [2, 1]
    assert [cell.relative for cell in cells] == pytest.approx([0.1, 0.1])


def test_stacks_with_the_same_modules_share_a_grid():
    names = [
        f"{stage}.{n}.{module}.weight" for stage in ("layer1", "layer2") for n in (0, 1) for module in ("conv1", "bn1")
    ]
    (grid,) = heat_map(with_names(*names)).grids
    assert [row.block for row in grid.rows] == ["layer1.0", "layer1.1", "layer2.0", "layer2.1"]


def test_stacks_with_other_modules_have_their_own():
    names = [f"encoder.{n}.self.weight" for n in (0, 1)] + [f"decoder.{n}.cross.weight" for n in (0, 1)]
    assert [grid.columns for grid in heat_map(with_names(*names)).grids] == [["self"], ["cross"]]


def test_names_without_blocks_are_a_list():
    found = heat_map(with_names("embed.weight", "fc1.weight", "head.bias", added=("odd",)))
    assert not found.grids
    assert [cell.pattern for cell in found.others] == ["embed.weight", "fc1.weight", "head.bias", "odd"]


def test_thousands_of_modules_are_no_columns():
    found = heat_map(with_names(*(f"h.{n % 2}.m{n}.weight" for n in range(3000))))
    assert not found.grids
    assert len(found.others) + found.left_out == 3000


def test_more_cells_than_can_be_looked_at_are_not_drawn():
    names = [f"{stack}.{n}.m{m}.w" for stack in "abcdef" for n in range(90) for m in range(20)]
    found = heat_map(with_names(*names))
    assert sum(len(grid.rows) * len(grid.columns) for grid in found.grids) == 2 * 90 * 20
    assert len(found.others) + found.left_out == 4 * 90 * 20


def test_shades_rise_by_equal_ratios_over_four_decades_at_most():
    found = heat_map(believable.comparison())
    assert found.high / found.low <= 1e4 * 1.001
    assert found.step(0.0) == 0
    assert found.step(found.low / 100) == found.step(found.low) == 1
    assert found.step(found.high) == found.step(100 * found.high) == STEPS
    ratio = (found.high / found.low) ** (1 / STEPS)
    assert [found.step(found.low * ratio ** (n + 0.5)) for n in range(STEPS)] == list(range(1, STEPS + 1))


def test_one_value_makes_a_scale():
    found = heat_map(with_names("h.0.a.weight", "h.1.a.weight"))
    assert found.step(0.1) == STEPS
