"""Keras's own archives: a zip of a configuration, an HDF5 file of variables, and what else the layers need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lamella.core.errors import FormatError
from lamella.core.graphs import Graph
from lamella.core.limits import MAX_METADATA_NBYTES
from lamella.formats.arrange import arrange
from lamella.formats.base import Layout, RandomAccess
from lamella.formats.hdf5.reader import first_keys, open_blocks, read_attributes_as_text, read_contents
from lamella.formats.keras.config import (
    MAX_CONFIG_NBYTES,
    describe_layers,
    foreign_code,
    parse_config,
)
from lamella.formats.keras.graph import config_graph
from lamella.formats.keras.names import places_and_names, with_keras_names
from lamella.formats.zip_archive import ZipMember, first_name, read_member, read_members

_METADATA, _CONFIG, _WEIGHTS = "metadata.json", "config.json", "model.weights.h5"


class KerasFormat:
    """Files with the ending `.keras`, as `saving_lib.py` of Keras 3 writes them.

    The variables are the tensors of the HDF5 file inside, which lies in the archive as it is; where it is compressed,
    it stays bytes. The configuration is read as text: nothing of it is ever run.
    """

    name = "keras"

    def sniff(self, head: bytes, nbytes: int) -> bool:  # noqa: ARG002
        """Claim archives that begin with the metadata or the configuration of a model."""
        return first_name(head) in (_METADATA, _CONFIG)

    def layout(self, file: RandomAccess) -> Layout:
        """Return where the variables lie; raise FormatError where the archive or the HDF5 file in it is not sound."""
        members = _members(file)
        config = _config(file, members)
        foreign = foreign_code(config)
        weights = members.get(_WEIGHTS)
        if weights is None or not weights.stored:
            return arrange(self.name, file.nbytes, (), foreign, sealed=True)
        blocks = open_blocks(file, weights.offset, weights.nbytes)
        tensors = with_keras_names(blocks, read_contents(blocks), config)
        layout = arrange(self.name, file.nbytes, tensors, foreign, sealed=True)
        blocks.check_apart(layout)
        return layout

    def metadata(self, file: RandomAccess) -> Mapping[str, str]:
        """Return what the metadata say, and class and settings of each layer under `layer:` and its name."""
        members = _members(file)
        found: dict[str, str] = {}
        if _METADATA in members:
            for key, value in parse_config(read_member(file, members[_METADATA], MAX_CONFIG_NBYTES)).items():
                found[key[:MAX_METADATA_NBYTES]] = str(value)[:MAX_METADATA_NBYTES]
        found |= describe_layers(_config(file, members))
        weights = members.get(_WEIGHTS)
        if weights is not None and weights.stored:
            blocks = open_blocks(file, weights.offset, weights.nbytes)
            found |= {f"{_WEIGHTS}/{key}": text for key, text in read_attributes_as_text(blocks).items()}
        return first_keys(found.items())

    def graph(self, file: RandomAccess) -> Graph | None:
        """Return the layers of a Sequential or Functional model, None of any other."""
        members = _members(file)
        config = _config(file, members)
        weights = members.get(_WEIGHTS)
        tensors: list[tuple[str, str]] = []
        if weights is not None and weights.stored:
            blocks = open_blocks(file, weights.offset, weights.nbytes)
            tensors = places_and_names(blocks, read_contents(blocks), config)
        return config_graph(config, tensors, by_path=True)


def _members(file: RandomAccess) -> dict[str, ZipMember]:
    return {member.name: member for member in read_members(file)}


def _config(file: RandomAccess, members: Mapping[str, ZipMember]) -> dict[str, Any]:
    """Return the configuration; nothing of one that is too long or damaged."""
    if _CONFIG not in members:
        return {}
    try:
        return parse_config(read_member(file, members[_CONFIG], MAX_CONFIG_NBYTES))
    except FormatError:
        return {}
