"""HDF5 files: datasets are tensors under their paths, and Keras's under the names that Keras shows."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, islice

from lamella.core.graphs import Graph
from lamella.core.limits import MAX_METADATA_KEYS
from lamella.formats.arrange import arrange
from lamella.formats.base import Layout, RandomAccess
from lamella.formats.hdf5.attributes import Texts
from lamella.formats.hdf5.blocks import Blocks, malformed
from lamella.formats.hdf5.objects import SIGNATURE, SUPERBLOCK_STARTS
from lamella.formats.hdf5.tree import LABEL, WEIGHT_NAMES, Tree, group_attributes, read_tree
from lamella.formats.keras.config import describe_layers, foreign_code, parse_config
from lamella.formats.keras.graph import config_graph
from lamella.formats.keras.names import places_and_names, with_keras_names


class Hdf5Format:
    """Files of the HDF5 library, read as far as models use it, by the HDF5 File Format Specification, version 3.

    https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html is the source. A dataset is a tensor where its
    elements are integers, floats, booleans or complex numbers that lie in the file as they are. Those that are
    compressed, strings, virtual, in another file, never written, or laid out in a way of no use to models stay bytes.
    """

    name = "hdf5"

    def sniff(self, head: bytes, nbytes: int) -> bool:  # noqa: ARG002
        """Claim files with the signature at their start, or where a user block ends."""
        return any(head.startswith(SIGNATURE, at) for at in SUPERBLOCK_STARTS)

    def layout(self, file: RandomAccess) -> Layout:
        """Return where the datasets lie; raise FormatError where the file is not an HDF5 file, or no sound one."""
        blocks = open_blocks(file, 0, file.nbytes)
        tree = read_contents(blocks)
        foreign = foreign_code(parse_config(tree.config.encode()))
        layout = arrange(self.name, file.nbytes, with_keras_names(blocks, tree, {}), foreign)
        blocks.check_apart(layout)
        return replace(layout, apart=True)

    def metadata(self, file: RandomAccess) -> Mapping[str, str]:
        """Return the attributes of the root as `name`, those of other groups as `path@name`, and layers of Keras."""
        found = read_attributes_as_text(open_blocks(file, 0, file.nbytes))
        config = parse_config(read_contents(open_blocks(file, 0, file.nbytes)).config.encode())
        return first_keys(chain(found.items(), describe_layers(config)))

    def graph(self, file: RandomAccess) -> Graph | None:
        """Return the layers of a Sequential or Functional model of Keras that is in a file, None of any other file."""
        blocks = open_blocks(file, 0, file.nbytes)
        tree = read_contents(blocks)
        names = [name for _, name in places_and_names(blocks, tree, {})]
        return config_graph(parse_config(tree.config.encode()), zip(names, names, strict=True), by_path=False)


def open_blocks(file: RandomAccess, start: int, nbytes: int) -> Blocks:
    """Return the blocks of the HDF5 file that part of a file is; raise FormatError where it is none."""
    for at in SUPERBLOCK_STARTS:
        if at + len(SIGNATURE) <= nbytes and file.read_at(start + at, len(SIGNATURE)) == SIGNATURE:
            return Blocks(file, start + at, nbytes - at)
    raise malformed("it does not begin as one")


def read_contents(blocks: Blocks) -> Tree:
    """Return what an HDF5 file holds; raise FormatError where it is malformed."""
    with _translated():
        return read_tree(blocks)


def read_attributes_as_text(blocks: Blocks) -> dict[str, str]:
    """Return the attributes of groups as text, at most MAX_METADATA_KEYS of them; raise FormatError."""
    found: dict[str, str] = {}
    texts = Texts(blocks)
    with _translated():
        for path, attribute in group_attributes(blocks):
            if attribute.name in (LABEL, WEIGHT_NAMES) and path:
                continue
            text = texts.text(attribute)
            if text is not None and len(found) < MAX_METADATA_KEYS:
                found[f"{path}@{attribute.name}" if path else attribute.name] = text
    return found


def first_keys(items: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the first MAX_METADATA_KEYS of the values beside the tensors."""
    return dict(islice(items, MAX_METADATA_KEYS))


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what reading beyond the end of a block raises into a FormatError."""
    try:
        yield
    except (struct.error, IndexError) as exc:
        raise malformed("a block ends before what it should hold") from exc
