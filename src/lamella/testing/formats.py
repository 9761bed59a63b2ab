"""The conformance suite of a Format: subclass it, name a format and valid files, and pytest does the rest."""
# ruff: noqa: D102 -- the names of the tests are sentences

from __future__ import annotations

import contextlib
import random
import tracemalloc
from collections.abc import Iterator, Sequence
from itertools import pairwise

from lamella.core.errors import FormatError
from lamella.core.graphs import LAYERS, NAMES, OPERATORS, Graph, in_order, node_of
from lamella.core.limits import MAX_DIMENSIONS, MAX_TENSOR_NBYTES
from lamella.formats.base import Format, GraphFormat, Layout, RandomAccess
from lamella.formats.file import BytesFile
from lamella.formats.hollow import HollowFile
from lamella.formats.skeleton import Skeleton, build_skeleton
from lamella.formats.strided import read_view

HEAD_NBYTES = 4096
BASE_MEMORY_NBYTES = 64_000_000


class FormatSuite:
    """What every format must do, as tests.

    A subclass called `Test...` sets `format` and returns valid files from `files`; small ones, since each is cut and
    altered some thousand times. `seed` and `mutations` say which alterations are tried, and how many a file.
    """

    format: Format
    seed: int = 0
    mutations: int = 1000

    def files(self) -> Sequence[bytes]:
        """Return whole files of the format, each in memory."""
        raise NotImplementedError

    def test_it_claims_its_files(self) -> None:
        for data in self.files():
            assert self.format.sniff(data[:HEAD_NBYTES], len(data))

    def test_a_layout_names_its_format_and_the_length_of_the_file(self) -> None:
        for data in self.files():
            layout = self.format.layout(BytesFile(data))
            assert (layout.format, layout.nbytes) == (self.format.name, len(data))

    def test_a_layout_is_the_same_every_time(self) -> None:
        for data in self.files():
            assert self.format.layout(BytesFile(data)) == self.format.layout(BytesFile(bytearray(data)))

    def test_tensors_are_in_file_order_inside_the_file_and_disjoint(self) -> None:
        for data in self.files():
            check_spans(self.format.layout(BytesFile(data)))

    def test_skeleton_and_tensors_make_the_file_again(self) -> None:
        for data in self.files():
            assert reassembled(data, self.format.layout(BytesFile(data))) == data

    def test_a_file_is_read_again_without_what_its_tensors_hold(self) -> None:
        for data in self.files():
            layout = self.format.layout(BytesFile(data))
            hollow = hollow_file(data, layout)
            assert self.format.layout(hollow) == layout
            assert self.format.metadata(hollow) == self.format.metadata(BytesFile(data))

    def test_a_graph_is_sound_and_the_same_every_time(self) -> None:
        for data in self.files():
            graph = self._graph(BytesFile(data))
            assert graph == self._graph(BytesFile(bytearray(data)))
            assert graph == self._graph(hollow_file(data, self.format.layout(BytesFile(data))))

    def test_metadata_is_text(self) -> None:
        for data in self.files():
            for key, value in self.format.metadata(BytesFile(data)).items():
                assert isinstance(key, str)
                assert isinstance(value, str)

    def test_a_file_cut_anywhere_is_laid_out_or_refused(self) -> None:
        for data in self.files():
            for nbytes in [*range(min(512, len(data))), *range(512, len(data), 64)]:
                self._check_any(data[:nbytes])

    def test_an_altered_file_is_laid_out_or_refused(self) -> None:
        for data in self.files():
            for altered in _altered(data, self.mutations, random.Random(self.seed)):
                self._check_any(altered)

    def test_memory_is_bounded(self) -> None:
        for data in self.files():
            tracemalloc.start()
            try:
                layout = self.format.layout(BytesFile(data))
                peak_nbytes = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            header_nbytes = len(data) - sum(span.spec.nbytes for span in layout.tensors)
            assert peak_nbytes <= BASE_MEMORY_NBYTES + 2 * header_nbytes

    def _check_any(self, data: bytes) -> None:
        """Check that bytes which may be anything are laid out soundly, or refused in the one way there is."""
        assert self.format.sniff(data[:HEAD_NBYTES], len(data)) in (True, False)
        graph: Graph | None = None
        with contextlib.suppress(FormatError):
            graph = self._graph(BytesFile(data))
        try:
            layout = self.format.layout(BytesFile(data))
        except FormatError:
            return
        check_spans(layout)
        assert reassembled(data, layout) == data
        assert self.format.layout(hollow_file(data, layout)) == layout
        for view in layout.views:
            assert sum(map(len, read_view(BytesFile(data), view))) == view.spec.nbytes
        with contextlib.suppress(FormatError):
            self.format.metadata(BytesFile(data))
            assert self._graph(hollow_file(data, layout)) == graph

    def _graph(self, file: RandomAccess) -> Graph | None:
        """Return the graph of a file, which is sound."""
        graph = self.format.graph(file) if isinstance(self.format, GraphFormat) else None
        if graph is not None:
            check_graph(graph)
        return graph


def check_spans(layout: Layout) -> None:
    """Assert that the tensors are in file order, inside the file and disjoint."""
    end = 0
    for span in layout.tensors:
        assert span.offset >= end, f"{span.spec.name} begins before byte {end}"
        end = span.offset + span.spec.nbytes
    assert end <= layout.nbytes


def check_graph(graph: Graph) -> None:
    """Assert that a graph is as `lamella.core.graphs` says: unique names, references to what is there, an order."""
    names = {node.name for node in graph.nodes}
    inputs = {port.name for port in graph.inputs}
    assert len(names) == len(graph.nodes)
    assert len(inputs) == len(graph.inputs)
    assert len({port.name for port in graph.outputs}) == len(graph.outputs)
    assert in_order(graph.nodes) == graph.nodes
    assert graph.level in (NAMES, LAYERS, OPERATORS)
    values = [port.value for port in graph.outputs if port.value is not None]
    for node in graph.nodes:
        assert node_of(node.name) == node.name
        values += filter(None, node.inputs)
        for text in (node.name, node.op, node.module, *(one for pair in node.attributes for one in pair)):
            assert text.isprintable()
    for value in values:
        assert (value[1:] in inputs) if value.startswith("@") else (node_of(value) in names)
    for attributes in (graph.attributes, *(node.attributes for node in graph.nodes)):
        assert all(one < other for (one, _), (other, _) in pairwise(attributes))
    ports = (*graph.inputs, *graph.outputs)
    for shape in (*(port.shape or () for port in ports), *(node.shape or () for node in graph.nodes)):
        assert len(shape) <= MAX_DIMENSIONS
        assert all(0 <= extent <= MAX_TENSOR_NBYTES for extent in shape if isinstance(extent, int))


def reassembled(data: bytes, layout: Layout) -> bytes:
    """Return the file that the skeleton of `data` and the tensors of `layout` make."""
    skeleton = Skeleton.parse(build_skeleton(BytesFile(data), layout))
    sizes = [span.spec.nbytes for span in layout.tensors]
    made = bytearray(skeleton.file_nbytes(sizes))
    for offset, piece in skeleton.pieces(sizes):
        if isinstance(piece, int):
            span = layout.tensors[piece]
            piece = memoryview(data)[span.offset : span.offset + span.spec.nbytes]
        made[offset : offset + len(piece)] = piece
    return bytes(made)


def hollow_file(data: bytes, layout: Layout) -> HollowFile:
    """Return the file as it is read again: its skeleton and its parts, and nothing of its tensors."""
    spans = layout.tensors

    def read_part(number: int, start: int, stop: int) -> bytes:
        return data[spans[number].offset + start : spans[number].offset + stop]

    skeleton = Skeleton.parse(build_skeleton(BytesFile(data), layout))
    return HollowFile(skeleton, [span.spec.nbytes for span in spans], read_part, lambda number: spans[number].part)


def _altered(data: bytes, count: int, choices: random.Random) -> Iterator[bytes]:
    """Yield `data` with one to four bytes overwritten, inserted, removed or repeated."""
    for _ in range(count):
        altered = bytearray(data)
        for _ in range(choices.randint(1, 4)):
            # Headers are at the front, so half of the alterations are there.
            at = choices.randrange(min(len(altered), choices.choice((256, len(data)))) + 1)
            match choices.randrange(4):
                case 0:
                    altered[at : at + 1] = choices.randbytes(1)
                case 1:
                    altered[at:at] = choices.randbytes(1)
                case 2:
                    del altered[at : at + choices.randint(1, 8)]
                case _:
                    altered[at:at] = altered[at : at + choices.randint(1, 64)]
        yield bytes(altered)
