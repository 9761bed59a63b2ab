"""The package's modules as syntax trees, and the full dotted name of whatever they mention."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
UNKNOWN = "?"


@dataclass(frozen=True, slots=True)
class Module:
    """A module by its dotted name, with its text and its tree."""

    name: str
    text: str
    tree: ast.Module


def parse(text: str, name: str = "lamella.core.sample") -> Module:
    """Return the module that `text` makes."""
    return Module(name, text, ast.parse(text))


@functools.cache
def package_modules() -> tuple[Module, ...]:
    """Return every module of the package, in the order of their names."""
    paths = {dotted(path): path for path in SOURCE.rglob("*.py")}
    return tuple(parse(paths[name].read_text(encoding="utf-8"), name) for name in sorted(paths))


def dotted(path: Path) -> str:
    """Return the name under which the file at `path` is imported."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(nodes: Iterable[ast.AST]) -> Iterator[tuple[int, str, str]]:
    """Yield each imported thing among `nodes`: its line, its local name, its full dotted name."""
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                yield node.lineno, alias.asname or first, alias.name if alias.asname else first
                yield node.lineno, alias.asname or first, alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.lineno, alias.asname or alias.name, f"{node.module or '.'}.{alias.name}"


def run_on_import(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what runs when a module is imported: no bodies of functions, nothing that is for type checkers only."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        yield child
        yield from run_on_import(child)


class Names:
    """What the names of one module stand for."""

    def __init__(self, module: Module) -> None:
        self._module = module
        self._imported: dict[str, str] = {}
        for _, local, full in imported(ast.walk(module.tree)):
            self._imported.setdefault(local, full)

    def full(self, node: ast.AST) -> str:
        """Return the dotted name of an expression: `os.path.join`, `open`, `self.open`, or `?.open` on any value."""
        if isinstance(node, ast.Name):
            return self._imported.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            root: ast.AST = node
            while isinstance(root, ast.Attribute):
                root = root.value
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            known = own or (isinstance(root, ast.Name) and root.id in self._imported)
            return f"{self.full(node.value) if known else UNKNOWN}.{node.attr}"
        return UNKNOWN

    def mentioned(self) -> Iterator[tuple[int, str]]:
        """Yield the line and full name of everything imported or read, called or not."""
        for line, _, full in imported(ast.walk(self._module.tree)):
            yield line, full
        for node in ast.walk(self._module.tree):
            if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
                yield node.lineno, self.full(node)

    def called(self) -> Iterator[tuple[ast.Call, str]]:
        """Yield every call with the full name of what is called."""
        for node in ast.walk(self._module.tree):
            if isinstance(node, ast.Call):
                yield node, self.full(node.func)
