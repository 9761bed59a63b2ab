"""What an export is asked for, and what it reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lamella.repo.cast import Loss
from lamella.repo.outgoing import Casting, Renaming


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What is to become of a model on its way out; the names are those of the options of `lamella export`.

    `format` says which container, where the name of the file does not. `select`, `names`, `rename` and `dtype` are
    as in `lamella.repo.outgoing.choose`. `shard_nbytes` divides safetensors into files of at most that many bytes of
    tensors, `template` is a file whose tensors are replaced, and `force` replaces files that are there.
    """

    format: str | None = None
    select: Sequence[str] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    rename: Sequence[Renaming] = ()
    dtype: Sequence[Casting] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    template: Path | None = None
    shard_nbytes: int | None = None
    force: bool = False

    @property
    def changes(self) -> bool:
        """Whether anything is asked for that makes another file than a restored one."""
        chosen = (self.select, self.names, self.rename, self.dtype, self.metadata, self.template, self.shard_nbytes)
        return any(chosen)


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A file that was written, with the tensors that went into it."""

    path: str
    nbytes: int
    tensors: int


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was exported. `loss` says what casts did to the values, None where there were none.

    `model_id` is that of the tensors as they went out. Where `restored`, the file is bit for bit the one that was
    added. `uncast` tensors were left as they are although a dtype was given, since none of its patterns names them.
    `metadata_left` is how many keys of the model's metadata did not go along.
    """

    source: str
    format: str
    files: tuple[ExportedFile, ...]
    tensors: int
    nbytes: int
    model_id: str
    restored: bool
    loss: Loss | None
    uncast: int
    metadata_left: int
