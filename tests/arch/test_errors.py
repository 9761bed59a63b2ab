"""The error tree and its kinds agree with the code that raises them."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from lamella.core import errors
from lamella.core.errors import KINDS, LamellaError
from tests.arch.kinds import ERRORS, kinds_given, misfits, unused
from tests.arch.source import package_modules, parse


def family(root: type[LamellaError]) -> list[type[LamellaError]]:
    """Return `root` and all classes below it."""
    return [root, *(error for child in root.__subclasses__() for error in family(child))]


def shared_exit_codes(classes: list[type[LamellaError]]) -> list[int]:
    """Return the exit codes that say nothing: those of two classes, and the one of success."""
    counts = Counter(error.exit_code for error in classes)
    return sorted(code for code, count in counts.items() if count > 1 or code == 0)


def declared_classes() -> list[type[LamellaError]]:
    return [error for error in family(LamellaError) if error.__module__ == ERRORS]


def test_every_kind_is_known_and_carried_by_its_class() -> None:
    found = [misfit for module in package_modules() for misfit in misfits(module)]
    assert not found, "\n".join(found)


def test_every_kind_is_raised_somewhere() -> None:
    found = unused(package_modules())
    assert not found, f"declared in KINDS and raised nowhere: {', '.join(found)}"


def test_every_exit_code_means_one_class() -> None:
    assert not shared_exit_codes(declared_classes())


def test_the_classes_are_the_root_and_one_for_each_thing_to_do() -> None:
    names = [error.__name__ for error in declared_classes()]
    assert names[0] == "LamellaError"
    assert set(KINDS.values()) == set(declared_classes()[1:])
    assert all(getattr(errors, name) for name in names)


def test_a_kind_nobody_declared_is_found() -> None:
    text = "from lamella.core.errors import UsageError\nraise UsageError('no', kind='no-such-kind')"
    assert misfits(parse(text)) == ["lamella.core.sample:2: 'no-such-kind' is not in KINDS"]


def test_a_kind_under_the_wrong_class_is_found() -> None:
    text = "from lamella.core import errors as e\nraise e.UsageError('no', kind='no-space' if full else 'bad-argument')"
    assert misfits(parse(text)) == ["lamella.core.sample:2: 'no-space' belongs to BackendError, not to UsageError"]


def test_a_kind_beside_the_wrong_class_in_a_table_is_found() -> None:
    text = "from lamella.core.errors import UsageError\nTABLE = (('denied', UsageError, 'read-only', 'a hint'),)"
    assert misfits(parse(text)) == ["lamella.core.sample:2: 'read-only' belongs to BackendError, not to UsageError"]


def test_a_kind_that_is_the_default_of_a_parameter_counts() -> None:
    text = "def refuse(why, kind='no-space'): ...\ndef refuse(*, why, kind='lock-held', hint=None): ..."
    assert [kind for _, kind, _ in kinds_given(parse(text))] == ["no-space", "lock-held"]
    assert misfits(parse("def refuse(kind='unheard-of'): ..."))


def test_a_kind_under_its_class_passes() -> None:
    text = "from lamella.core.errors import BackendError\nraise BackendError('no', kind='no-space')"
    assert not misfits(parse(text))


def test_a_kind_raised_nowhere_is_found() -> None:
    text = "from lamella.core.errors import BackendError\nraise BackendError('no', kind='no-space')"
    assert set(unused([parse(text)])) == set(KINDS) - {"no-space"}
    assert set(unused([parse(text, ERRORS)])) == set(KINDS)


def test_a_shared_exit_code_is_found() -> None:
    class TwinError(LamellaError):
        exit_code: ClassVar[int] = 2

    class SuccessError(LamellaError):
        exit_code: ClassVar[int] = 0

    assert shared_exit_codes([*declared_classes(), TwinError, SuccessError]) == [0, 2]
