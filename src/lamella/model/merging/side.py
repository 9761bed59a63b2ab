"""One of the models that are merged: listed, compared by content, and streamed."""

from __future__ import annotations

from typing import Protocol

from lamella.model.side import AlignmentSource
from lamella.model.streams import StreamedSource


class MergeSide(AlignmentSource, StreamedSource, Protocol):
    """A model to be merged: a file, a revision, arrays. It lists, reads and streams its tensors, and knows digests."""
