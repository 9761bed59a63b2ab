"""Task arithmetic: the changes of all sides, added to the base."""

from __future__ import annotations

from typing import Any

from lamella.model.merging.score import Tally
from lamella.model.merging.strategy import Contents, Formula, Settings, Span, Strategy
from lamella.model.merging.sums import NORMALIZE, SCALE, added


class TaskArithmetic(Strategy):
    """theta_0 + scale * sum w_i (theta_i - theta_0) (arXiv 2212.04089). A negative weight unlearns."""

    name = "task-arithmetic"
    summary = "the base and the changes of all sides, added up"
    source = "arXiv 2212.04089"
    parameters = (SCALE, NORMALIZE)
    needs_base = True

    def formula(self, contents: Contents, settings: Settings) -> Formula:
        """Return the sum of base and changes."""

        def merge(span: Span, out: Any) -> Tally:
            return added(span, span.sides, settings, out)

        return merge
