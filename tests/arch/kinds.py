"""Where the package says which kind of fault it means: in calls, in defaults of parameters, in tables."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from lamella.core.errors import KINDS
from tests.arch.source import Module, Names

ERRORS = "lamella.core.errors"

Given = tuple[int, str, str]
"""A line, the kind that stands there, and the full name of the class or function that it is given to, or nothing."""


def kinds_given(module: Module) -> Iterator[Given]:
    """Yield each literal kind in `module`."""
    yield from _in_calls(module)
    yield from _in_defaults(module)
    yield from _in_tables(module)


def _in_calls(module: Module) -> Iterator[Given]:
    for call, name in Names(module).called():
        values = [keyword.value for keyword in call.keywords if keyword.arg == "kind"]
        yield from ((line, text, name) for line, text in _literals(values))


def _in_defaults(module: Module) -> Iterator[Given]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.arguments):
            positional = [*node.posonlyargs, *node.args]
            with_default = positional[len(positional) - len(node.defaults) :]
            pairs = [
                *zip(with_default, node.defaults, strict=True),
                *zip(node.kwonlyargs, node.kw_defaults, strict=True),
            ]
            values = [value for parameter, value in pairs if parameter.arg == "kind" and value is not None]
            yield from ((line, text, "") for line, text in _literals(values))


def _in_tables(module: Module) -> Iterator[Given]:
    """Yield the kinds that stand in a tuple with the class of an error."""
    names = Names(module)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Tuple):
            classes = [name for name in map(names.full, node.elts) if name in _CLASSES]
            found = [(line, text) for line, text in _literals(node.elts) if text in KINDS]
            yield from ((line, text, classes[0]) for line, text in found if classes)


_CLASSES = {f"{ERRORS}.{error.__name__}" for error in KINDS.values()}


def _literals(nodes: Iterable[ast.AST]) -> Iterator[tuple[int, str]]:
    for node in (below for above in nodes for below in ast.walk(above)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def misfits(module: Module) -> list[str]:
    """Return where a kind is unknown, or is carried by another class than the one declared."""
    found = []
    for line, kind, name in kinds_given(module):
        room, _, error = name.rpartition(".")
        if kind not in KINDS:
            found.append(f"{module.name}:{line}: {kind!r} is not in KINDS")
        elif room == ERRORS and error != KINDS[kind].__name__:
            found.append(f"{module.name}:{line}: {kind!r} belongs to {KINDS[kind].__name__}, not to {error}")
    return found


def unused(modules: Iterable[Module]) -> list[str]:
    """Return the declared kinds that no module gives to anything."""
    given = {kind for module in modules if module.name != ERRORS for _, kind, _ in kinds_given(module)}
    return [kind for kind in KINDS if kind not in given]
