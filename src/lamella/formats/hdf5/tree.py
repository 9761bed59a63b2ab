"""The groups and datasets of an HDF5 file, each under its path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from lamella.core.limits import MAX_NAME_NBYTES
from lamella.formats.base import TensorSpan, TensorView
from lamella.formats.hdf5.attributes import Attribute, Texts, read_attributes
from lamella.formats.hdf5.blocks import Blocks, malformed
from lamella.formats.hdf5.datasets import Datasets
from lamella.formats.hdf5.groups import is_group, read_links
from lamella.formats.hdf5.objects import Message, read_messages, read_root
from lamella.formats.keras.config import MAX_CONFIG_NBYTES

LABEL = "name"
WEIGHT_NAMES = "weight_names"

_CONFIG = "model_config"

_LABEL_NBYTES = 256
"""Longer names of layers are cut; nobody writes them."""


@dataclass(slots=True)
class Tree:
    """What an HDF5 file holds: tensors named by their paths, and what Keras says of some groups.

    `labels` are the texts of the attribute `name` by the path of its group, `weighted` the paths of the groups that
    list the names of their weights, and `config` is the configuration of the model.
    """

    tensors: list[TensorSpan | TensorView] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    weighted: set[str] = field(default_factory=set)
    config: str = ""


def read_tree(blocks: Blocks) -> Tree:
    """Return the tree of a file; raise FormatError where it is malformed."""
    tree = Tree()
    texts = Texts(blocks)
    datasets = Datasets(blocks)
    found: dict[int, TensorSpan | TensorView | None] = {}
    for path, address, messages, grouped in _objects(blocks):
        if grouped:
            for attribute in read_attributes(blocks, messages):
                if attribute.name == LABEL and attribute.scalar:
                    label = "".join(texts.strings(attribute, _LABEL_NBYTES))
                    if label and label.isprintable():
                        blocks.keep(128 + len(label))
                        tree.labels[path] = label
                elif attribute.name.rstrip("0123456789") == WEIGHT_NAMES:
                    tree.weighted.add(path)
                elif attribute.name == _CONFIG and not path:
                    tree.config = "".join(texts.strings(attribute, MAX_CONFIG_NBYTES)[:1])
            continue
        if messages:
            blocks.keep(128)
            found[address] = datasets.read(messages)
        tensor = found.get(address)
        if tensor is not None:
            tree.tensors.append(datasets.named(tensor, path))
    return tree


def group_attributes(blocks: Blocks) -> Iterator[tuple[str, Attribute]]:
    """Yield the path of every group with each of its attributes."""
    for path, _, messages, grouped in _objects(blocks):
        if grouped:
            for attribute in read_attributes(blocks, messages):
                yield path, attribute


def _objects(blocks: Blocks) -> Iterator[tuple[str, int, list[Message], bool]]:
    """Yield path, address and messages of every object by each of its hard links, and whether it is a group.

    Messages are yielded only the first time. Of a group that has several paths, only the first is followed.
    """
    seen: set[int] = set()
    waiting = [("", read_root(blocks))]
    while waiting:
        path, address = waiting.pop()
        if address in seen:
            yield path, address, [], False
            continue
        seen.add(address)
        blocks.keep(128)
        messages = read_messages(blocks, address)
        grouped = is_group(messages)
        yield path, address, messages, grouped
        if not grouped:
            continue
        start = f"{path}/" if path else ""
        for name, child in reversed(read_links(blocks, messages)):
            if len(start) + len(name) > MAX_NAME_NBYTES:
                raise malformed("a path is longer than a name can be")
            blocks.keep(64 + len(start) + len(name))
            waiting.append((start + name, child))
