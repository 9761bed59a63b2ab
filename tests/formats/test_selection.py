"""Parts of tensors: read by a grammar of their own, and what NumPy would select."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.core.dtypes import dtype_named
from lamella.core.errors import UsageError
from lamella.core.tensors import TensorSpec
from lamella.formats.arrange import strided
from lamella.formats.base import Box, TensorView
from lamella.formats.file import BytesFile
from lamella.formats.selection import parse_selection, select
from lamella.formats.strided import contiguous, read_view


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("", ()),
        ("0", (0,)),
        (" -1 , +2 ", (-1, 2)),
        ("0:2, :, 3", (slice(0, 2), slice(None), 3)),
        ("::2,-3:,...", (slice(None, None, 2), slice(-3, None), ...)),
        ("1:2:", (slice(1, 2),)),
        ("...", (...,)),
    ],
)
def test_a_selection_is_read(text, items):
    assert parse_selection(text) == items


@pytest.mark.parametrize(
    "text",
    [
        *("None", "1.0", "1e3", "a", "x[0]", "0b1", "1_0", "--1", "1:2:3:4", ",", "0,", "[0]", "...,...", "(1,2)"),
        *("True", "__import__('os')", "::0", "::-1", "0x10", "1 2", "\u0661", "9" * 20, "\0"),
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(UsageError) as caught:
        parse_selection(text)
    assert caught.value.kind == "bad-argument"
    assert caught.value.hint


@given(st.text("0123456789:-+., ", max_size=20))
def test_any_text_is_read_or_refused(text):
    try:
        parse_selection(text)
    except UsageError as exc:
        assert exc.kind == "bad-argument"
        assert exc.hint


@st.composite
def selections(draw):
    """Draw a shape and what selects of it, as text and as NumPy has it."""
    shape = draw(st.lists(st.integers(0, 7), min_size=0, max_size=4))
    items = []
    for extent in draw(st.sampled_from([shape, shape[:2]])):
        if extent and draw(st.booleans()):
            items.append(str(draw(st.integers(-extent, extent - 1))))
        else:
            bounds = st.one_of(st.just(""), st.integers(-9, 9).map(str))
            items.append(f"{draw(bounds)}:{draw(bounds)}:{draw(st.sampled_from(['', '1', '2', '3']))}")
    return tuple(shape), ",".join(items)


@given(selections(), st.booleans())
def test_what_is_selected_is_what_numpy_selects(drawn, turned):
    shape, text = drawn
    size = int(np.prod(shape))
    array = np.arange(size, dtype="<u4").reshape(shape)
    spec = TensorSpec("x", dtype_named("u32"), shape)
    view = contiguous(spec, 0)
    if turned:
        array = array.reshape(shape[::-1]).transpose()
        found = strided(spec, 0, array.strides)
        view = found if isinstance(found, TensorView) else contiguous(spec, 0)
    part = select(view, parse_selection(text))
    expected = eval(f"array[{text}]") if text else array  # noqa: S307 -- drawn above
    assert part.spec.shape == expected.shape
    base = np.arange(size, dtype="<u4").tobytes()
    assert b"".join(read_view(BytesFile(base), part)) == expected.tobytes()


def test_a_part_of_tiles_is_put_together():
    array = np.arange(24, dtype="u1").reshape(4, 6)
    tiles = [array[i : i + 2, j : j + 3].copy() for i in (0, 2) for j in (0, 3)]
    origins = [(i, j) for i in (0, 2) for j in (0, 3)]
    boxes = tuple(Box(origin, (2, 3), 6 * n, (3, 1)) for n, origin in enumerate(origins))
    view = TensorView(TensorSpec("x", dtype_named("u8"), (4, 6)), boxes)
    file = BytesFile(b"".join(tile.tobytes() for tile in tiles))
    for text in ("1:4:2,::2", "-1", ":,2:4", "3,5", "2:2"):
        expected = eval(f"array[{text}]")  # noqa: S307
        assert b"".join(read_view(file, select(view, parse_selection(text)))) == expected.tobytes()


@pytest.mark.parametrize("text", ["4", "-5", "0,0,0", "0,6", "0,0,0,..."])
def test_an_index_that_is_not_there_is_refused(text):
    view = contiguous(TensorSpec("x", dtype_named("u8"), (4, 6)), 0)
    with pytest.raises(UsageError) as caught:
        select(view, parse_selection(text))
    assert caught.value.kind == "bad-argument"
