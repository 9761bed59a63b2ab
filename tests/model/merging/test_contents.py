"""A tensor comes span by span: whole rows, whole bytes, each once, beside what the sides keep with it."""

import numpy as np
import pytest

from lamella.core.dtypes import DTYPES
from lamella.core.tensors import TensorSpec
from lamella.model.merging import contents as module
from lamella.model.merging.contents import PlacedContents
from lamella.model.merging.models import Models
from lamella.model.merging.plan import BASE, Compute, Place
from lamella.model.merging.strategy import Settings
from lamella.testing.merging import Model, bits, weights


def placed(tensors, *, find=None):
    """Return the contents of one tensor of a base and some sides, and the models."""
    models = [Model(one) for one in tensors]
    sides = tuple(Place(number, "t") for number in range(len(models) - 1))
    action = Compute("linear", Settings({}, ()), Place(BASE, "t"), sides)
    return PlacedContents(models[0].tensors["t"][0], action, Models(models[0], models[1:]), 1, find), models


def one(dtype, shape, count=3):
    spec = TensorSpec("t", DTYPES[dtype], shape)
    return [{"t": (spec, bits(spec, seed))} for seed in range(count)]


@pytest.mark.parametrize("shape", [(7, 100_000), (3, 262_144), (1, 700_000), (262_145,), (2, 300_001), (600_000, 1)])
def test_spans_are_whole_rows_where_a_row_fits(shape):
    made, _ = placed(one("bf16", shape))
    spans = list(made.each(lambda span: span))
    assert [span.first for span in spans] == list(np.cumsum([0, *(span.count for span in spans)])[:-1])
    assert sum(span.count for span in spans) == np.prod(shape)
    assert all(span.count <= module.SPAN_ELEMENTS for span in spans)
    if shape[-1] <= module.SPAN_ELEMENTS:
        assert all(span.count % shape[-1] == 0 for span in spans)


@pytest.mark.parametrize("dtype", ["f4_e2m1", "f6_e3m2"])
@pytest.mark.parametrize("shape", [(3,), (5, 7), (100_001, 3), (400_001,)])
def test_packed_elements_come_as_doubles_and_go_back_as_they_were(dtype, shape):
    tensors = one(dtype, shape)
    made, _ = placed(tensors)
    found = made.each(lambda span: bytes(made.narrowed(bytearray(span.sides[1]), span.count)))
    assert made.dtype == "f64"
    assert b"".join(found) == tensors[2]["t"][1]


def test_what_is_held_is_read_once_and_what_is_not_every_time(monkeypatch):
    for held, times in ((module.HELD_NBYTES, 1), (0, 3)):
        monkeypatch.setattr(module, "HELD_NBYTES", held)
        made, models = placed(one("f32", (500, 1000)))
        for _ in range(2):
            assert sum(made.each(lambda span: span.count)) == 500_000
        assert sum(made.each(lambda span: span.count, last=True)) == 500_000
        assert [model.read_nbytes for model in models] == [2_000_000 * times] * 3


def beside(shape, dtype="f32", lacking=()):
    """Return tensors with others beside them, and what finds those."""
    spec, other = TensorSpec("t", DTYPES["bf16"], (4, 5)), TensorSpec("v", DTYPES[dtype], shape)
    tensors = [{"t": (spec, weights(spec, n)), "v": (other, bits(other, n))} for n in range(3)]
    return tensors, lambda kind, place: None if kind != "v" or place.side in lacking else Place(place.side, "v")


def test_companions_come_with_spans_as_doubles():
    tensors, find = beside((4, 5))
    made, _ = placed(tensors, find=find)
    assert made.join("v")
    (span,) = made.each(lambda span: span)
    for companion, tensor in zip(span.companions, tensors[1:], strict=True):
        expected = np.frombuffer(tensor["v"][1], np.float32).astype(np.float64)
        assert np.array_equal(np.frombuffer(companion, np.float64), expected, equal_nan=True)


def test_companions_of_another_shape_are_read_by_themselves():
    tensors, find = beside((5, 5))
    made, _ = placed(tensors, find=find)
    assert not made.join("v")
    found = made.companions("v")
    assert found.spec.shape == (5, 5)
    assert b"".join(found.each(lambda span: bytes(span.sides[0]))) == tensors[1]["v"][1]


@pytest.mark.parametrize(("dtype", "lacking"), [("i32", ()), ("c64", ()), ("f32", (1,)), ("f32", (0, 1))])
def test_companions_that_are_no_floats_or_not_everywhere_are_none(dtype, lacking):
    tensors, find = beside((4, 5), dtype, lacking)
    made, _ = placed(tensors, find=find)
    assert made.companions("v") is None
    assert not made.join("v")
    assert placed(tensors)[0].companions("v") is None


def test_a_seed_follows_from_contents_in_any_order_of_sides():
    first, second, third = one("f32", (9,))
    seeds = {placed(order)[0].seed for order in ([first, second, third], [first, third, second])}
    assert len(seeds) == 1
    assert placed([second, first, third])[0].seed not in seeds
