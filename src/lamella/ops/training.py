"""Which of the things that a file says beside its tensors are about how the model was trained."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from lamella.ops.changes import MetadataChange

_WORDS = re.compile(
    r"(?:^|[._/ \-])(?:"
    r"lr|learning_?rate|epochs?|(?:global_|max_)?steps?|iterations?|batch_?size|momentum|nesterov|weight_?decay|betas?|"
    r"beta_?[12]|eps|epsilon|amsgrad|seed|random_?seed|optimi[sz]er|(?:lr_)?scheduler|warmup(?:_steps|_ratio)?|dropout|"
    r"gradient_?clip\w*|accumulate\w*|(?:training_)?loss|metrics?|precision|"
    r"(?:torch|pytorch|transformers|keras|tensorflow|jax|flax|lightning|pytorch-lightning|framework|backend)_?version|"
    r"dataset|data|corpus|base_model|train\w*|hyper_?parameters?"
    r")(?:[._/ \[-]|$)",
    re.IGNORECASE,
)
"""Names that trainers give to hyper-parameters, to what was measured, and to what they ran on, as a part of a key."""


def is_training(key: str) -> bool:
    """Say whether the name of an entry of metadata is one that says how a model was trained."""
    return _WORDS.search(key) is not None


def split_training(
    changes: Iterable[MetadataChange],
) -> tuple[tuple[MetadataChange, ...], tuple[MetadataChange, ...]]:
    """Return the changes that are about training, and the others."""
    told = tuple(changes)
    return tuple(one for one in told if is_training(one.key)), tuple(one for one in told if not is_training(one.key))


def hyperparameter_distance(before: Mapping[str, str], after: Mapping[str, str]) -> float | None:
    """Return dH = 1 - |A and B| / |A or B| over pairs of name and value; None where no side says anything."""
    earlier = {pair for pair in before.items() if is_training(pair[0])}
    later = {pair for pair in after.items() if is_training(pair[0])}
    return 1 - len(earlier & later) / len(earlier | later) if earlier | later else None
