"""`bisect layers`: which layers of a model make it worse than another, by putting some of them into that one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lamella.core.errors import UsageError
from lamella.core.progress import SILENT, Progress
from lamella.ops.align import align_models
from lamella.ops.delta_debugging import smallest_bad
from lamella.ops.evaluate import Evaluator
from lamella.ops.transplant import ChangedLayer, LeftOut, Transplant
from lamella.ops.verdict import BAD, GOOD, Criterion, Judge, Verdict
from lamella.repo.joined_model import Model
from lamella.repo.sketches import SketchCache


@dataclass(frozen=True, slots=True)
class Mixture:
    """A model that is about to be tested, or that was; then `verdict` says what it came to.

    It is the model before with `layers` of the one after, or the one after itself where that is `whole`.
    """

    layers: tuple[str, ...]
    whole: bool
    verdict: Verdict | None = None


Listener = Callable[[Mixture], None]


@dataclass(frozen=True, slots=True)
class BisectLayersReport:
    """The layers of the model after that together make the one before bad, and none of which can be left out.

    There are none where only what cannot be taken over does: the tensors `left_out`, and what else the files say.
    `before` is the metric of the model before, `after` that of it with these layers, or where there are none, of the
    model after; both are None without a metric.
    `changed` is how many layers differ and can be taken over.
    """

    before_name: str
    after_name: str
    layers: tuple[ChangedLayer, ...]
    metric: str | None
    before: float | None
    after: float | None
    changed: int
    left_out: tuple[LeftOut, ...]
    evaluations: int

    @property
    def tensors(self) -> int:
        """How many tensors of the guilty layers changed."""
        return sum(len(layer.tensors) for layer in self.layers)


def bisect_layers(
    before: Model,
    after: Model,
    evaluator: Evaluator,
    criterion: Criterion,
    folder: Path,
    *,
    cache: SketchCache | None = None,
    hear: Listener = lambda _: None,
    progress: Progress = SILENT,
) -> BisectLayersReport:
    """Return which layers of `after` make it worse than `before` by `criterion`, as the command of `evaluator` says.

    Mixtures are written into `folder`, which is made, and removed at the end: files in the container of `before`, with
    tensors of `after` that have another content and the same dtype and shape. Layers are those of alignment, in the
    order of the model before. The search is that of `smallest_bad`: one guilty layer of 144 takes ten evaluations with
    that of `before`, and what is bad only together is found by delta debugging.

    With a metric, `before` is evaluated first. Without one it is believed to be good until everything else was bad.
    `after` is believed to be bad until every mixture was good: then it is evaluated itself.

    Raises UsageError: ends-agree where both models come out alike, or no layer differs, undecided where `before` cannot
    be judged, and as `Transplant`; BackendError as `Evaluator.evaluate`; and what aligning and reading raise.
    """
    with Transplant(before, after, folder) as transplant:
        layers, left_out = transplant.divided(align_models(before, after, cache, progress).alignment)
        if not layers and not left_out:
            hint = "name two versions of a model that differ"
            raise UsageError("both models have the same weights", kind="ends-agree", hint=hint)
        search = _Search(transplant, evaluator, criterion, hear)
        if criterion.metric is not None:
            search.measure_before()
        guilty = smallest_bad(layers, search.is_bad)
        if not search.came_out(GOOD):
            search.measure_before()
        if not guilty:
            search.test_after()
        worse = search.value(guilty) if guilty else search.value_after
        return BisectLayersReport(
            before.path, after.path, guilty, criterion.metric, search.value(()), worse, len(layers), tuple(left_out),
            search.evaluations,
        )  # fmt: skip


class _Search:
    """The tests of one search, and what came out."""

    def __init__(self, transplant: Transplant, evaluator: Evaluator, criterion: Criterion, hear: Listener) -> None:
        self._transplant, self._evaluator, self._hear = transplant, evaluator, hear
        self._judge = Judge(criterion)
        self._verdicts: dict[tuple[ChangedLayer, ...], Verdict] = {}
        self.evaluations = 0
        self.value_after: float | None = None

    def value(self, layers: Sequence[ChangedLayer]) -> float | None:
        """Return the metric of a mixture that was tested."""
        verdict = self._verdicts.get(tuple(layers))
        return None if verdict is None else verdict.value

    def came_out(self, what: str) -> bool:
        """Say whether any model came out as `what`."""
        return any(verdict.what == what for verdict in self._verdicts.values())

    def is_bad(self, layers: Sequence[ChangedLayer]) -> bool:
        """Test the model before with some layers of the one after; one that cannot be judged is not bad."""
        return self._tested(tuple(layers), self._judge.judge).what == BAD

    def measure_before(self) -> None:
        """Evaluate the model before, the good one; raise UsageError (ends-agree, undecided) where it is none."""
        metric = self._judge.criterion.metric is not None
        verdict = self._tested((), self._judge.measure if metric else self._judge.judge)
        if verdict.what == BAD:
            hint = "see whether the command itself works"
            raise UsageError("the first model is bad, like the others", kind="ends-agree", hint=hint)
        if verdict.what != GOOD:
            raise UsageError("the first model cannot be judged", kind="undecided", hint="name another one")
        self._judge = Judge(self._judge.criterion, verdict.values)

    def test_after(self) -> None:
        """Evaluate the model after, of which no layer is guilty; raise UsageError (ends-agree) where it is not bad."""
        path = self._transplant.put_after()
        if path is not None:
            self._hear(Mixture((), True))
            verdict = self._judge.judge(lambda: self._evaluator.evaluate(path, "the second model"))
            self.value_after = verdict.value
            self.evaluations += len(verdict.statuses)
            self._hear(Mixture((), True, verdict))
            if verdict.what == BAD:
                return
        hint = "the command has to look at the file that {model}, or LAMELLA_MODEL, names"
        raise UsageError("the second model is no worse than the first", kind="ends-agree", hint=hint)

    def _tested(self, layers: tuple[ChangedLayer, ...], judge: Callable[..., Verdict]) -> Verdict:
        names = tuple(layer.name for layer in layers)
        self._hear(Mixture(names, False))
        what = "the first model" if not names else f"the first model with {names[0]}" + (", ..." if names[1:] else "")
        verdict = judge(lambda: self._evaluator.evaluate(self._transplant.put(layers), what))
        self._verdicts[layers] = verdict
        self.evaluations += len(verdict.statuses)
        self._hear(Mixture(names, False, verdict))
        return verdict
