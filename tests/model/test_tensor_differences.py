"""How far tensors of two sources moved: what is read, what is compared, and that the numbers hang on nothing else."""

from __future__ import annotations

import threading
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamella.core.errors import FormatError, IntegrityError, NotFoundError, UsageError
from lamella.model import comparing
from lamella.model.alignment import NAME, Pair
from lamella.model.difference import TensorDifference
from lamella.model.epsilons import EpsilonRules
from lamella.model.tensor_differences import DEFAULT_MEASURING, ROWS_KEPT, Measuring, tensor_differences
from tests.model.sources import MemorySource, by_name, raw, source

DRAW = np.random.default_rng(5)


def only(before: MemorySource, after: MemorySource, how: Measuring = DEFAULT_MEASURING) -> TensorDifference:
    (found,) = tensor_differences(before, after, by_name("w"), how=how)
    return found


def test_differences_come_in_the_order_of_the_pairs():
    before = source(a=np.arange(3, dtype="f4"), b=np.ones((2, 2), "f4"), c=np.ones(5, "f8"))
    after = source(c=np.ones(5, "f8") * 2, a=np.arange(3, dtype="f4"), x_b=np.zeros((2, 2), "f4"))
    pairs = [Pair("c", "c", NAME, 1.0), Pair("b", "x.b", "weights", 0.5), Pair("a", "a", NAME, 1.0)]
    found = list(tensor_differences(before, after, pairs))
    assert [one.pair for one in found] == pairs
    assert [one.measures.mean_absolute for one in found] == [1.0, 1.0, 0.0]
    assert [one.change_point for one in found] == [True, True, False]
    assert [one.after.name for one in found] == ["c", "x.b", "a"]


def test_what_is_the_same_is_not_read():
    before, after = (source(a=np.ones(3, "f4"), b=np.ones(3, "f4")) for _ in range(2))
    pairs = by_name("a", "b")
    first, second = tensor_differences(before, after, pairs, same=pairs[:1])
    assert (first.same, first.measures, first.change_point, first.unread) == (True, None, False, "")
    assert (second.same, second.measures.changed) == (False, 0)
    assert before.read_names == after.read_names == ["b"]


def test_nothing_to_compare_is_nothing():
    assert list(tensor_differences(source(), source(), [])) == []


def test_a_tensor_without_elements_and_one_without_axes():
    before = source(a=np.ones((0, 4), "f4"), b=np.float32(2).reshape(()))
    after = source(a=np.ones((0, 4), "f4"), b=np.float32(3).reshape(()))
    empty, scalar = tensor_differences(before, after, by_name("a", "b"))
    assert (empty.measures.count, empty.measures.mean_absolute, empty.row_count) == (0, 0.0, 0)
    assert (scalar.measures.count, scalar.measures.mean_absolute) == (1, 1.0)


@settings(max_examples=30)
@given(piece=st.sampled_from([7, 1000, 2**20]), threads=st.integers(1, 3), seed=st.integers(0, 99))
def test_numbers_hang_neither_on_threads_nor_on_pieces(piece, threads, seed):
    draw = np.random.default_rng(seed)
    shape = (int(draw.integers(1, 70)), int(draw.integers(1, 70)))
    a = draw.standard_normal(shape).astype("f4")
    b = (a + draw.standard_normal(shape) * 0.1).astype("f4")
    expected = only(source(w=a), source(w=b), Measuring(threads=1, histograms=True))
    assert only(source(piece, w=a), source(w=b), Measuring(threads=threads, histograms=True)) == expected


def test_spans_add_up_to_the_whole(monkeypatch):
    a = DRAW.standard_normal((40, 333))
    b = a + DRAW.standard_normal(a.shape) * (DRAW.random(a.shape) < 0.3)
    whole = only(source(w=a), source(w=b), Measuring(histograms=True))
    monkeypatch.setattr("lamella.model.totals.SPAN_ELEMENTS", 1024)
    monkeypatch.setattr("lamella.model.comparing.SPAN_ELEMENTS", 1024)
    monkeypatch.setattr("lamella.model.tensor_differences.SPAN_ELEMENTS", 1024)
    spans = only(source(w=a), source(w=b), Measuring(histograms=True))
    assert spans.measures.sum_absolute == pytest.approx(abs(b - a).sum(), rel=1e-13)
    assert spans.measures.dot == pytest.approx((a * b).sum(), rel=1e-12)
    assert replace(spans.measures, **sums(whole)) == whole.measures
    assert spans.histogram == whole.histogram
    means = abs(b - a).mean(axis=1)
    order = np.argsort(-means)[:ROWS_KEPT]
    assert [row.index for row in spans.rows] == list(order)
    assert [row.mean_absolute for row in spans.rows] == pytest.approx(means[order], rel=1e-12)
    assert (spans.row_count, spans.row_points) == (40, 40)


def sums(difference: TensorDifference) -> dict[str, float]:
    names = ("sum_absolute", "dot", "squares_before", "squares_after", "squares_difference")
    return {name: getattr(difference.measures, name) for name in names}


def test_the_rows_that_moved_are_named():
    a = np.zeros((100, 50), "f4")
    b = a.copy()
    b[[3, 40]] = [[1.0], [2.0]]
    b[77, 0] = 1e-6
    found = only(source(w=a), source(w=b))
    assert [(row.index, row.mean_absolute) for row in found.rows[:2]] == [(40, 2.0), (3, 1.0)]
    assert [row.index for row in found.rows] == [40, 3, 77]
    assert (found.row_points, found.row_count) == (2, 100)


def test_a_vector_and_a_column_have_no_rows():
    for shape in ((64,), (64, 1), (1, 64)):
        found = only(source(w=np.zeros(shape, "f4")), source(w=np.ones(shape, "f4")))
        assert (found.rows, found.row_count, found.row_points) == ((), 0, 0)


def test_the_parts_of_complex_numbers_are_elements():
    a = np.array([[1 + 2j, 3], [4, 5j]], "c8")
    found = only(source(w=a), source(w=(a + 1j).astype("c16")))
    assert (found.measures.count, found.measures.changed, found.measures.mean_absolute) == (8, 4, 0.5)
    assert [row.mean_absolute for row in found.rows] == [0.5, 0.5]


BOXES = [
    ((5, 7), (6, 7)),
    ((5, 7), (3, 9)),
    ((4, 5, 6), (4, 7, 2)),
    ((2, 3, 4, 5), (3, 2, 5, 4)),
    ((9,), (4,)),
    ((1, 300, 2), (1, 299, 3)),
]


@pytest.mark.parametrize("slab", [16, 100, 4096, 2**22])
@pytest.mark.parametrize(("one", "other"), BOXES)
@pytest.mark.parametrize("kinds", [("f4", "f4"), ("f4", "f2"), ("u1", "f8"), ("c8", "c16")])
def test_where_shapes_differ_the_overlap_is_compared(monkeypatch, one, other, slab, kinds):
    monkeypatch.setattr("lamella.model.streams.SLAB_NBYTES", slab)
    a, b = (DRAW.integers(0, 99, shape).astype(kind) for shape, kind in zip((one, other), kinds, strict=True))
    before, after = source(17, w=a), source(w=b)
    found = only(before, after)
    box = tuple(map(min, zip(one, other, strict=True)))
    within = tuple(slice(0, n) for n in box)
    moved = abs(b[within].astype("c16") - a[within].astype("c16"))
    assert found.overlap == box
    assert found.measures.sum_absolute == pytest.approx(moved.sum(), rel=1e-13)
    assert before.read_names == after.read_names == ["w"]


def test_axes_of_one_element_may_be_missing():
    found = only(source(w=np.ones((1, 6), "f4")), source(w=np.ones(6, "f4") * 3))
    assert (found.overlap, found.measures.mean_absolute) == ((6,), 2.0)


def test_packed_elements_are_compared_whole_and_row_by_row():
    before = raw("u4", (3, 3), bytes([0x21, 0x43, 0x65, 0x87, 0x09]))
    assert only(before, raw("u4", (3, 3), bytes([0x21, 0x43, 0x65, 0x97, 0x09]))).measures.changed == 1
    shorter = only(before, raw("u4", (2, 3), bytes([0x21, 0x43, 0x75])))
    assert (shorter.overlap, shorter.measures.count, shorter.measures.changed) == ((2, 3), 6, 1)
    assert "rows of another length" in only(before, raw("u4", (3, 2), bytes(3))).unread
    assert only(before, raw("f32", (3, 3), bytes(36))).measures.sum_absolute == 45.0


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (raw("q4_0", (32,), bytes(18)), raw("f32", (32,), bytes(128)), "quantised blocks of q4_0"),
        (raw("f32", (32,), bytes(128)), raw("q4_k", (256,), bytes(144)), "quantised blocks of q4_k"),
        (raw("c64", (2,), bytes(16)), raw("f32", (2,), bytes(8)), "complex numbers on one side only"),
        (raw("f32", (2, 2), bytes(16)), raw("f32", (4,), bytes(16)), "another number of axes"),
        (raw("f32", (2, 2), bytes(16)), raw("f32", (0, 2), b""), "no overlap"),
    ],
)
def test_what_cannot_be_measured_says_why(before, after, reason):
    found = only(before, after)
    assert (found.unread, found.measures, found.overlap, found.change_point) == (reason, None, None, False)
    assert not before.read_names


@pytest.mark.parametrize("nbytes", [39, 41, 0])
@pytest.mark.parametrize("shape", [(10,), (9,)])
def test_a_tensor_of_another_length_than_it_says_is_refused(nbytes, shape):
    with pytest.raises(FormatError, match="another length") as caught:
        only(raw("f32", (10,), bytes(nbytes)), source(w=np.zeros(shape, "f4")))
    assert caught.value.kind == "file-truncated"


@pytest.mark.parametrize("threads", [1, 2])
def test_nothing_is_said_of_a_tensor_that_is_not_what_was_stored(threads):
    class Damaged(MemorySource):
        def _pieces(self, name):
            yield from super()._pieces(name)
            if name == "b":
                raise IntegrityError("tensor b is not what was stored", kind="object-damaged")

    arrays = {"a": np.ones(10, "f4"), "b": np.ones(10, "f4")}
    differences = tensor_differences(
        Damaged(source(**arrays).tensors), source(**arrays), by_name("a", "b"), how=Measuring(threads=threads)
    )
    said = []
    with pytest.raises(IntegrityError):
        said.extend(one.after.name for one in differences)
    assert "b" not in said


@pytest.mark.parametrize("pair", [Pair("a", "w", NAME, 1.0), Pair("w", "a", NAME, 1.0)])
def test_a_pair_of_which_a_side_is_not_there_is_refused(pair):
    sides = source(w=np.ones(3, "f4")), source(w=np.ones(3, "f4"))
    with pytest.raises(NotFoundError, match="'a'") as caught:
        list(tensor_differences(*sides, [pair]))
    assert caught.value.kind == "tensor-unknown"


def test_a_cast_is_rounding_and_no_change_point():
    a = DRAW.standard_normal(3000).astype("f4")
    found = only(source(w=a), source(w=a.astype(ml_dtypes.bfloat16)))
    assert (found.recast, found.rounding_only, found.change_point) == (True, True, False)
    assert found.measures.mean_absolute > 100 * found.epsilon
    trained = (a + 1e-3 * DRAW.standard_normal(3000)).astype(ml_dtypes.bfloat16)
    found = only(source(w=a), source(w=trained))
    assert (found.rounding_only, found.change_point) == (False, True)


def test_a_cast_that_loses_nothing_is_no_rounding():
    a = np.arange(100, dtype="f4")
    found = only(source(w=a), source(w=a.astype(ml_dtypes.bfloat16)))
    assert (found.measures.changed, found.rounding_only, found.change_point) == (0, False, False)


def test_units_of_the_last_place_are_rounding_in_one_dtype():
    a = DRAW.standard_normal(3000).astype("f4") * np.float32(0.05)
    nudged = np.nextafter(a, np.where(DRAW.random(3000) < 0.5, 9, -9).astype("f4"))
    found = only(source(w=a), source(w=nudged))
    assert (found.rounding_only, found.change_point, found.measures.changed) == (True, False, 3000)
    step = only(source(w=a), source(w=a + np.float32(1e-6) * np.sign(DRAW.standard_normal(3000)).astype("f4")))
    assert (step.rounding_only, step.change_point) == (False, True)


def test_a_unit_of_a_tiny_float_is_no_rounding():
    before, after = (raw("f8_e4m3", (4,), bytes(codes)) for codes in ([8, 9, 10, 11], [8, 9, 11, 11]))
    found = only(before, after)
    assert (found.measures.ulp_max, found.rounding_only, found.change_point) == (1, False, True)


def test_what_became_infinite_is_a_change_point():
    a, b = np.ones(4, "f4"), np.array([1, 1, np.inf, 1], "f4")
    found = only(source(w=a), source(w=b))
    assert (found.measures.mean_absolute, found.change_point, found.rounding_only) == (0.0, True, False)
    assert not only(source(w=b), source(w=b)).change_point


def test_epsilon_is_by_dtype_and_by_name():
    floats = source(w=np.zeros(4, "f4"), v=np.zeros(4, "i4"))
    moved = source(w=np.full(4, 1e-3, "f4"), v=np.array([0, 0, 0, 1], "i4"))
    weights, integers = tensor_differences(floats, moved, by_name("w", "v"))
    assert (weights.epsilon, integers.epsilon) == (2.0**-22, 0.0)
    assert weights.change_point
    assert integers.change_point
    how = Measuring(EpsilonRules((("w*", 0.1), ("*", 0.5))))
    weights, integers = tensor_differences(floats, moved, by_name("w", "v"), how=how)
    assert (weights.epsilon, integers.epsilon) == (0.1, 0.5)
    assert (weights.change_point, integers.change_point) == (False, False)
    assert (weights.measures.above, integers.measures.above) == (0, 1)


@pytest.mark.parametrize("epsilon", [-1e-9, float("nan")])
def test_an_epsilon_below_zero_is_refused(epsilon):
    with pytest.raises(UsageError, match="no epsilon"):
        EpsilonRules((("*", epsilon),))


def test_no_thread_is_left_behind_when_nobody_wants_more():
    sides = [source(**{f"t{n}": np.ones(1000, "f4") for n in range(200)}) for _ in range(2)]
    before = threading.active_count()
    found = tensor_differences(*sides, by_name(*(f"t{n}" for n in range(200))), how=Measuring(threads=3))
    next(found)
    found.close()
    for thread in threading.enumerate():
        if thread.name.startswith("lamella"):
            thread.join(10)
    assert threading.active_count() <= before
    assert len(sides[0].read_names) < 200


def test_listeners_hear_of_every_byte():
    class Heard:
        nbytes = 0

        def start(self, label: str, total_nbytes: int) -> None: ...
        def advance(self, nbytes: int) -> None:
            self.nbytes += nbytes

        def finish(self) -> None: ...

    heard = Heard()
    list(tensor_differences(source(w=np.ones(500, "f4")), source(w=np.ones(500, "f8")), by_name("w"), progress=heard))
    assert heard.nbytes == 6000


def test_a_span_begins_with_a_byte_whatever_the_dtype():
    assert comparing.SPAN_ELEMENTS % 1024 == 0
