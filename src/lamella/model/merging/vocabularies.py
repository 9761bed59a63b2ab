"""What stands in the rows of embeddings, in base and sides: asked for once, and only when rows are in question."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from lamella.core.errors import FormatError

Tokens = Sequence[str | None]
"""What stands in each row of a vocabulary, None for nothing."""
Vocabularies = Mapping[int, Tokens]
"""The tokens of base and sides, by their numbers; none of one of which nothing is known."""
Tell = Callable[[], Vocabularies]
"""Reads the vocabularies; raises FormatError where one cannot be read, and rows go by position then."""


class Told:
    """The vocabularies of one merge; `warnings` say why nothing is known, where that was not to be expected."""

    def __init__(self, tell: Tell) -> None:
        self.warnings: tuple[str, ...] = ()
        self._tell = tell
        self._found: Vocabularies | None = None

    def tokens(self, number: int) -> Tokens:
        """Return the tokens of base or a side, nothing where they are not known."""
        if self._found is None:
            try:
                self._found = self._tell()
            except FormatError as exc:
                self._found = {}
                self.warnings = (f"rows that were added go by position: {exc.message}",)
        return self._found.get(number, ())
