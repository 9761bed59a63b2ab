"""What goes out of a model: which tensors, under which names, in which dtypes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

from lamella.core.dtypes import DTYPES, DType
from lamella.core.errors import UsageError
from lamella.core.tensors import TensorSpec
from lamella.repo.cast import FLOATS, check_cast


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A tensor as it is in the model, and as it goes out."""

    source: TensorSpec
    spec: TensorSpec


@dataclass(frozen=True, slots=True)
class Renaming:
    """A regular expression, and what stands in place of each of its matches in a name, as for `re.sub`."""

    pattern: re.Pattern[str]
    replacement: str

    @classmethod
    def parse(cls, text: str) -> Renaming:
        """Return the renaming ``PATTERN=REPLACEMENT``, divided at its last `=`; raise UsageError where it is none."""
        pattern, equals, replacement = text.rpartition("=")
        try:
            if not equals or not pattern:
                raise UsageError(f"{text!r} is not PATTERN=REPLACEMENT", kind="bad-argument", hint=r"as in '^model\.='")
            compiled = re.compile(pattern)
            compiled.sub(replacement, "")
        except (re.error, IndexError) as exc:
            hint = "it is a regular expression; `\\.` is a dot, `\\1` what the first group matched"
            raise UsageError(f"{text!r} cannot be understood: {exc}", kind="bad-argument", hint=hint) from exc
        return cls(compiled, replacement)


@dataclass(frozen=True, slots=True)
class Casting:
    """A dtype, for the tensors whose names match a shell pattern, or for all floats where there is none."""

    dtype: DType
    pattern: str | None = None

    @classmethod
    def parse(cls, text: str) -> Casting:
        """Return the casting ``DTYPE`` or ``PATTERN=DTYPE``; raise UsageError (bad-argument) where it is none."""
        pattern, _, name = text.rpartition("=")
        if name not in DTYPES:
            meant = _meant(name)
            hint = f"{meant!r} is what it is called here" if meant else f"those there are: {', '.join(DTYPES)}"
            raise UsageError(f"there is no dtype {name!r}", kind="bad-argument", hint=hint)
        return cls(DTYPES[name], pattern or None)


_ELSEWHERE = {
    "half": "f16", "float": "f32", "single": "f32", "double": "f64", "brain": "bf16", "bfloat": "bf16", "cfloat": "c64",
    "cdouble": "c128", "short": "i16", "int": "i32", "long": "i64", "byte": "u8", "char": "i8", "boolean": "bool",
}  # fmt: skip
_WORDS = (("bfloat", "bf"), ("float", "f"), ("complex", "c"), ("uint", "u"), ("int", "i"), ("fp", "f"))


def _meant(name: str) -> str | None:
    """Return our name of a dtype that another library, or a slip of the finger, calls `name`."""
    text = name.strip().lower().rpartition(".")[2]
    for word, ours in _WORDS:
        if text.startswith(word) and text[len(word) :][:1].isdigit():
            text = ours + text[len(word) :]
            break
    text = _ELSEWHERE.get(text, text.replace("e4m3fn", "e4m3") if text.endswith("fn") else text)
    return text if text in DTYPES else next(iter(get_close_matches(text, DTYPES, 1, 0.75)), None)


def choose(
    specs: Sequence[TensorSpec],
    select: Sequence[str] = (),
    names: Mapping[str, str] | None = None,
    renamings: Sequence[Renaming] = (),
    castings: Sequence[Casting] = (),
) -> list[Outgoing]:
    """Return what goes out of a model of `specs`, in its order.

    `select` are shell patterns; those that begin with `!` leave tensors out. Then `names` give whole names, and
    `renamings` change them one after the other. Patterns of `castings` match names as they are in the model; of several
    that match, the last counts. Without a pattern, a dtype is for floats of 16 to 64 bits that no pattern names.

    Raises UsageError (bad-argument, dtype-unsupported) for patterns and names that no tensor has, for names that come
    twice, and for casts that there are not.
    """
    kept = [spec for spec in specs if _selected(spec.name, select)]
    _refuse_unmatched([pattern.removeprefix("!") for pattern in select], specs)
    _refuse_unmatched([one.pattern for one in castings if one.pattern is not None], kept)
    unknown = sorted((names or {}).keys() - {spec.name for spec in kept})
    if unknown:
        raise _unknown(unknown[0])
    outgoing = [_renamed(spec, names or {}, renamings, castings) for spec in kept]
    seen: dict[str, str] = {}
    for one in outgoing:
        other = seen.setdefault(one.spec.name, one.source.name)
        if other != one.source.name:
            message = f"{other!r} and {one.source.name!r} would both be called {one.spec.name!r}"
            raise UsageError(message, kind="bad-argument", hint="rename one of them otherwise")
    return outgoing


def _selected(name: str, select: Sequence[str]) -> bool:
    wanted = [pattern for pattern in select if not pattern.startswith("!")]
    unwanted = [pattern[1:] for pattern in select if pattern.startswith("!")]
    return (not wanted or _matches(name, wanted)) and not _matches(name, unwanted)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _refuse_unmatched(patterns: Iterable[str], specs: Sequence[TensorSpec]) -> None:
    for pattern in patterns:
        if not any(fnmatchcase(spec.name, pattern) for spec in specs):
            raise _unknown(pattern)


def _unknown(name: str) -> UsageError:
    hint = "`lamella show REV:PATH` lists the names"
    return UsageError(f"no tensor that goes out is called {name[:80]!r}", kind="bad-argument", hint=hint)


def _renamed(
    spec: TensorSpec, names: Mapping[str, str], renamings: Sequence[Renaming], castings: Sequence[Casting]
) -> Outgoing:
    name = names.get(spec.name, spec.name)
    for renaming in renamings:
        name = renaming.pattern.sub(renaming.replacement, name)
    dtype = spec.dtype
    for casting in sorted(castings, key=lambda one: one.pattern is not None):
        if spec.dtype.name in FLOATS if casting.pattern is None else fnmatchcase(spec.name, casting.pattern):
            dtype = casting.dtype
    if dtype != spec.dtype:
        check_cast(spec, dtype)
    return Outgoing(spec, TensorSpec(name, dtype, spec.shape))
