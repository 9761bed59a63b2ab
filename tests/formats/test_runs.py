"""What was looked at of a file is held against its tensors, and read ahead as far as it is at hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lamella.core.dtypes import dtype_named
from lamella.core.tensors import TensorSpec
from lamella.formats.base import Layout, TensorSpan
from lamella.formats.file import BytesFile, reading_ahead
from lamella.formats.hollow import HollowFile
from lamella.formats.protobuf import FileHead
from lamella.formats.runs import Runs
from lamella.formats.skeleton import Skeleton, build_skeleton

FILE = bytes(range(100))


def span(offset: int, nbytes: int, *, part: bool = False) -> TensorSpan:
    return TensorSpan(TensorSpec(f"t{offset}", dtype_named("u8"), (nbytes,)), offset, part)


@st.composite
def spans(draw: st.DrawFn) -> list[TensorSpan]:
    cuts = sorted(draw(st.lists(st.integers(0, len(FILE)), max_size=16)))
    return [span(one, other - one, part=draw(st.booleans())) for one, other in zip(cuts[::2], cuts[1::2], strict=False)]


@given(spans(), st.lists(st.tuples(st.integers(0, 90), st.integers(0, 10))))
def test_runs_are_apart_from_tensors_where_they_share_no_byte(tensors, looked):
    runs = Runs()
    for start, nbytes in looked:
        runs.note(start, start + nbytes)
    seen = {at for start, nbytes in looked for at in range(start, start + nbytes)}
    held = {at for one in tensors if not one.part for at in range(one.offset, one.offset + one.spec.nbytes)}
    assert runs.are_apart(tensors) == seen.isdisjoint(held)


@given(spans(), st.integers(0, len(FILE)), st.integers(0, 2 * len(FILE)))
def test_a_hollow_file_is_read_ahead_as_far_as_it_is_at_hand(tensors, offset, nbytes):
    skeleton = Skeleton.parse(build_skeleton(BytesFile(FILE), Layout("x", len(FILE), tuple(tensors))))

    def read(number: int, start: int, stop: int) -> bytes:
        return FILE[tensors[number].offset + start : tensors[number].offset + stop]

    file = HollowFile(skeleton, [one.spec.nbytes for one in tensors], read, lambda number: tensors[number].part)
    lost = {at for one in tensors if not one.part for at in range(one.offset, one.offset + one.spec.nbytes)}
    stop = min([at for at in lost if at >= offset], default=len(FILE))
    assert reading_ahead(file)(offset, nbytes) == FILE[offset : min(stop, offset + nbytes)]


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 100))
def test_the_head_of_a_file_is_read_ahead_up_to_its_end(head, offset, nbytes):
    file = FileHead(FILE[:head], len(FILE))
    assert reading_ahead(file)(min(offset, head), nbytes) == FILE[:head][min(offset, head) :][:nbytes]


def test_a_whole_file_is_read_as_it_is():
    file = BytesFile(FILE)
    assert reading_ahead(file)(10, 20) == FILE[10:30]
