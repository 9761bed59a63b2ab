"""`health`: what is wrong with the weights of a model, alone and beside the version that it comes from."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import groupby

from blake3 import blake3

from lamella.core.buffers import Buffer
from lamella.core.config import DEFAULT
from lamella.core.dtypes import DType
from lamella.core.errors import UsageError
from lamella.core.limits import IO_NBYTES, MAX_SAMPLED_TENSORS
from lamella.core.parallel import ordered_map
from lamella.core.progress import SILENT, Progress
from lamella.model.examination import SURVEYED, Examination, Examined, Looked, is_examined
from lamella.model.health import SEVERITIES, Finding, Patient, diagnose
from lamella.model.health_checks.builtin import CHECKS
from lamella.model.streams import cut, lengths_of
from lamella.repo.joined_model import Model
from lamella.repo.stored_model_file import StoredModelFile


@dataclass(frozen=True, slots=True)
class HealthReport:
    """What the checks found in a model, the worst first.

    `against` is what it was compared with, None where it was not. `examined` tensors were looked at; `unread` have
    dtypes without floats: integers, and quantised blocks. `nbytes` is what was read, of both models.
    """

    name: str
    against: str | None
    tensors: int
    examined: int
    unread: int
    nbytes: int
    findings: tuple[Finding, ...]

    def count(self, severity: str) -> int:
        """Return how many findings are of that severity."""
        return sum(one.severity == severity for one in self.findings)

    def fails(self, severity: str) -> bool:
        """Say whether there is a finding as bad as `severity`, or worse."""
        return any(map(self.count, SEVERITIES[: SEVERITIES.index(severity) + 1]))


def health(
    model: Model,
    against: Model | None = None,
    *,
    skip: Collection[str] = (),
    threads: int = DEFAULT.threads,
    progress: Progress = SILENT,
) -> HealthReport:
    """Look at every float of a model once, and at those of `against` that are not the same, in bounded memory.

    `skip` are names of checks to leave out. Raises UsageError (bad-argument) for one that does not exist, and for what
    has no tensors, NotFoundError and IntegrityError where tensors are not in the store, or are damaged.
    """
    unknown = sorted(set(skip) - set(CHECKS))
    if unknown:
        raise UsageError(f"there is no check {unknown[0]!r}", kind="bad-argument", hint=f"one of {', '.join(CHECKS)}")
    for one in (model, against):
        if one is not None:
            _check(one)
    reading = _Reading(threads, progress)
    found = reading.examine(model, {})
    earlier = None
    if against is not None:
        known = {(one.digest, one.spec.dtype, one.spec.shape): one for one in found.values() if one.digest is not None}
        earlier = reading.examine(against, known)
    progress.finish()
    checks = {name: check for name, check in CHECKS.items() if name not in skip}
    unread = sum(one.spec.dtype.name not in SURVEYED for one in found.values())
    return HealthReport(
        model.path, None if against is None else against.path, len(found),
        sum(one.survey is not None for one in found.values()), unread, reading.nbytes,
        diagnose(Patient(found, earlier), checks),
    )  # fmt: skip


def _check(model: Model) -> None:
    model.check_whole()
    if not model.names:
        hint = "`lamella ls` shows what is found in a file"
        raise UsageError(f"{model.path} has no tensors", kind="bad-argument", hint=hint)


_Key = tuple[bytes, DType, tuple[int, ...]]


class _Reading:
    """The reading of models, tensor by tensor in runs that are looked at over the threads."""

    def __init__(self, threads: int, progress: Progress) -> None:
        self._threads = threads
        self._progress = progress
        self._sampled = 0
        self.nbytes = 0

    def examine(self, model: Model, known: Mapping[_Key, Examined]) -> dict[str, Examined]:
        """Return what there is to know of each tensor, those with `known` content not being read where ids tell."""
        found = {name: Examined(model.spec(name)) for name in model.names}
        wanted: list[tuple[str, bytes | None]] = []
        for name, (file, inner) in model.names.items():
            spec = found[name].spec
            if not is_examined(spec):
                continue
            # Hashing a file on disk would be to read it.
            digest = file.object_ids([inner])[0] if isinstance(file, StoredModelFile) else None
            same = None if digest is None else known.get((digest, spec.dtype, spec.shape))
            if same is None:
                wanted.append((name, digest))
            else:
                found[name] = replace(same, spec=spec)
        self._progress.start(f"reading {model.path}", sum(found[name].spec.nbytes for name, _ in wanted))
        for name, examined in self._examined(model, wanted):
            found[name] = examined
        return found

    def _examined(self, model: Model, wanted: list[tuple[str, bytes | None]]) -> Iterator[tuple[str, Examined]]:
        digests: dict[str, bytes | None] = {}
        with closing(ordered_map(_look, self._runs(model, wanted, digests), self._threads)) as looked:
            for name, parts in groupby(looked, key=lambda one: one[0]):
                examination: Examination | None = None
                for _, examination, part in parts:
                    examination.take(part)
                assert examination is not None
                sampled = self._sampled < MAX_SAMPLED_TENSORS
                examined = examination.result(digests.pop(name), sampled=sampled)
                self._sampled += examined.sample is not None
                yield name, examined

    def _runs(
        self, model: Model, wanted: list[tuple[str, bytes | None]], digests: dict[str, bytes | None]
    ) -> Iterator[tuple[str, Examination, int, Buffer]]:
        """Yield each run with the tensor it is of and where in it; the digest is there once the last was yielded."""
        for holder, group in groupby(wanted, key=lambda one: model.names[one[0]][0]):
            members = list(group)
            streams = holder.stream([model.names[name][1] for name, _ in members])
            for (name, digest), pieces in zip(members, streams, strict=True):
                examination = Examination(model.spec(name))
                hasher = None if digest is not None else blake3()
                at = 0
                for run in cut(pieces, lengths_of(examination.spec.nbytes, IO_NBYTES)):
                    if hasher is not None:
                        hasher.update(run)
                    digests[name] = digest if hasher is None else hasher.digest()
                    yield name, examination, at * examination.count // examination.spec.nbytes, run
                    at += len(run)
                    self.nbytes += len(run)
                    self._progress.advance(len(run))


def _look(item: tuple[str, Examination, int, Buffer]) -> tuple[str, Examination, Looked]:
    name, examination, start, run = item
    return name, examination, examination.look(start, run)
