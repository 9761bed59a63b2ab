"""The rules that every single module keeps, each with samples that it must catch and samples that it must let be."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tests.arch.source import Module, Names, imported, run_on_import

Finding = tuple[int, str]
"""A line and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A sentence that holds for every module outside `exempt`, a tuple of dotted names and of rooms."""

    sentence: str
    find: Callable[[Module], Iterator[Finding]]
    bad: tuple[str, ...]
    good: tuple[str, ...]
    exempt: tuple[str, ...] = ()

    def findings(self, module: Module) -> list[str]:
        """Return where `module` breaks the rule, each as `module:line: what`."""
        if any(module.name == room or module.name.startswith(f"{room}.") for room in self.exempt):
            return []
        return sorted({f"{module.name}:{line}: {what}" for line, what in self.find(module)})


def mentions(*patterns: str) -> Callable[[Module], Iterator[Finding]]:
    """Return a search for every mention of a dotted name that one of `patterns` matches."""

    def find(module: Module) -> Iterator[Finding]:
        for line, name in Names(module).mentioned():
            if any(fnmatchcase(name, pattern) for pattern in patterns):
                yield line, name

    return find


def terminal_uses(module: Module) -> Iterator[Finding]:
    """Find what prints, prompts or ends the process."""
    yield from mentions("print", "getpass*", "sys.stdin", "sys.stdout", "sys.stderr", "sys.exit")(module)
    for call, name in Names(module).called():
        if name in ("input", "breakpoint", "exit", "quit"):
            yield call.lineno, name


def undescribed(module: Module) -> Iterator[Finding]:
    """Find a module that does not open with a sentence."""
    first_line = (ast.get_docstring(module.tree) or "").partition("\n")[0]
    if not first_line.endswith((".", ":")):
        yield 1, "opens with no sentence that says what it is"


def given_twice(module: Module) -> Iterator[Finding]:
    """Find constants that stand in a module twice, of which the second counts and the first may be read."""
    seen = set[str]()
    for node in module.tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name) and target.id in seen:
                    yield node.lineno, f"gives {target.id} again"
                elif isinstance(target, ast.Name):
                    seen.add(target.id)


PATH_METHODS = (
    *("chmod", "lchmod", "mkdir", "rmdir", "rename", "touch", "unlink"),
    *("hardlink_to", "symlink_to", "write_bytes", "write_text", "tofile"),
)
DISK_FUNCTIONS = (
    *("os.O_WRONLY", "os.O_RDWR", "os.O_CREAT", "os.O_EXCL", "os.O_TRUNC", "os.O_APPEND", "os.O_TMPFILE"),
    *("os.mkdir", "os.makedirs", "os.mkfifo", "os.mknod", "os.link", "os.symlink"),
    *("os.rename", "os.renames", "os.replace", "os.remove", "os.removedirs", "os.rmdir", "os.unlink"),
    *("os.truncate", "os.ftruncate", "os.posix_fallocate", "os.utime", "os.setxattr", "os.removexattr"),
    *("os.chmod", "os.fchmod", "os.lchmod", "os.chown", "os.fchown", "os.lchown"),
    *("shutil.copy*", "shutil.move", "shutil.rmtree", "shutil.chown", "shutil.make_archive", "shutil.unpack_archive"),
    *("numpy.save", "numpy.savez*", "numpy.savetxt", "numpy.memmap", "tempfile*"),
)


def opens_for_writing(call: ast.Call, name: str) -> bool:
    """Say whether `call` opens a file in a mode that changes it, or in one that cannot be read off the source."""
    if name in ("open", "io.open", "gzip.open", "bz2.open", "lzma.open"):
        position = 1
    elif name == "?.open":
        position = 0
    else:
        return False
    given = [keyword.value for keyword in call.keywords if keyword.arg == "mode"] or call.args[position : position + 1]
    if not given:
        return False
    if not (isinstance(given[0], ast.Constant) and isinstance(given[0].value, str)):
        return position == 1
    mode = given[0].value
    return set(mode) <= set("rwaxbt+") and bool(set(mode) & set("wax+"))


def changes_a_path(call: ast.Call, name: str) -> bool:
    """Say whether `call` is of a method with which a Path changes the disk."""
    receiver, _, method = name.rpartition(".")
    if receiver in ("self", "cls", "lamella.core.fsio", "lamella.core.locks"):
        return False
    if method == "replace":
        return receiver == "?" and len(call.args) == 1 and not call.keywords
    if method == "touch" and call.args:
        return False
    return method in PATH_METHODS


def disk_changes(module: Module) -> Iterator[Finding]:
    """Find what changes the disk: functions, flags and modes of opening, methods of paths."""
    yield from mentions(*DISK_FUNCTIONS)(module)
    for call, name in Names(module).called():
        if opens_for_writing(call, name) or changes_a_path(call, name):
            yield call.lineno, f"{name}(...) changes the disk"


def foreign_loads(module: Module) -> Iterator[Finding]:
    """Find what could run code that a file contains."""
    yield from mentions(
        *("eval", "exec", "compile", "__import__", "builtins.eval", "builtins.exec"),
        *("pickle", "pickle.*", "_pickle*", "cPickle*", "dill*", "cloudpickle*", "joblib*", "marshal*", "shelve*"),
        *("runpy*", "yaml.load", "yaml.load_all", "yaml.unsafe_*", "yaml.full_*", "torch.load"),
    )(module)
    for call, name in Names(module).called():
        for keyword in call.keywords:
            if keyword.arg == "allow_pickle" and not (
                isinstance(keyword.value, ast.Constant) and keyword.value.value is False
            ):
                yield call.lineno, f"{name}(allow_pickle=...)"


HEAVY = ("numpy", "scipy", "ml_dtypes", "rich", "click", "yaml")


def heavy_imports(module: Module) -> Iterator[Finding]:
    """Find libraries that are slow to import and are loaded before anybody needs them."""
    for line, _, full in imported(run_on_import(module.tree)):
        if full.partition(".")[0] in HEAVY:
            yield line, f"imports {full} before it is needed"


RULES = (
    Rule(
        "every module opens with a sentence that says what it is",
        undescribed,
        bad=("import os", '"""Some words without an end"""', "# A comment.\nx = 1", '""'),
        good=('"""The disk."""', '"""The tree::\n\nroot\n"""', '"""The disk.\n\nMore words\n"""'),
    ),
    Rule(
        "every constant stands once",
        given_twice,
        bad=("A = 1\nA = 2", 'A = 1\n"""What it is."""\nA: int = 1', "A = B = 1\nB = 2"),
        good=("A = 1\nB = 1", "if x:\n    A = 1\nelse:\n    A = 2", "A: int\nB = 2"),
    ),
    Rule(
        "only the command line talks to the terminal",
        terminal_uses,
        bad=("print(1)", "show = print", "import sys\nsys.stdout.write('')", "from sys import stderr", "input()"),
        good=("def run(input):\n    return input", "report.print()", "text = 'print(1)'", "import sys\nsys.platform"),
        exempt=("lamella.cli",),
    ),
    Rule(
        "only the command line reads the environment",
        mentions("os.environ*", "os.getenv*", "os.putenv", "os.unsetenv", "os.path.expand*", "pathlib.Path.home"),
        bad=("import os\nos.environ['A']", "from os import getenv", "import os as o\no.getenv('A')"),
        good=("environ = {}\nenviron['A']", "import os\nos.cpu_count()"),
        exempt=("lamella.cli",),
    ),
    Rule(
        "only core/fsio.py and core/locks.py change the disk",
        disk_changes,
        bad=(
            "open('a', 'w')",
            "open('a', mode='r+b')",
            "open('a', mode)",
            "import io\nio.open('a', 'xb')",
            "path.open('ab')",
            "path.open(mode='w')",
            "import os\nos.rename('a', 'b')",
            "from os import unlink as gone\ngone('a')",
            "import os\nfor path in map(os.remove, paths): pass",
            "import os\nflags = os.O_RDONLY | os.O_CREAT",
            "import os\nos.open('a', os.O_RDWR)",
            "path.write_text('')",
            "self.path.write_bytes(b'')",
            "from pathlib import Path\nPath('a').mkdir()",
            "from pathlib import Path\nPath.unlink(path)",
            "path.replace(target)",
            "path.touch()",
            "import shutil\nshutil.rmtree('a')",
            "from shutil import copyfile",
            "import tempfile",
            "from tempfile import TemporaryDirectory",
            "import numpy\nnumpy.save('a', b)",
            "def f():\n    with suppress(OSError):\n        path.rmdir()",
        ),
        good=(
            "open('a')",
            "open('a', 'rb')",
            "path.open('rb')",
            "archive.open('weights.bin')",
            "import os\nos.open('a', os.O_RDONLY)",
            "'text'.replace('a', 'b')",
            "from dataclasses import replace\nreplace(value)",
            "from lamella.core import fsio\nfsio.rename(a, b)\nfsio.touch(a)",
            "from lamella.core.fsio import remove\nremove(a)",
            "store.touch(ids)",
        ),
        exempt=("lamella.core.fsio", "lamella.core.locks"),
    ),
    Rule(
        "only repo/git.py and repo/command.py start processes",
        mentions(
            *("subprocess*", "os.system", "os.popen", "os.exec*", "os.spawn*", "os.posix_spawn*", "os.fork*", "pty*"),
            *("multiprocessing*", "asyncio.create_subprocess*", "concurrent.futures.ProcessPoolExecutor"),
        ),
        bad=(
            "import subprocess",
            "from subprocess import run",
            "import os\nos.system('git')",
            "import os\nos.execvp('git', [])",
            "from os import posix_spawn",
            "def f():\n    import multiprocessing",
            "from concurrent.futures import ProcessPoolExecutor",
        ),
        good=("import os\nos.getpid()", "from concurrent.futures import ThreadPoolExecutor", "pool.spawn(work)"),
        exempt=("lamella.repo.git", "lamella.repo.command"),
    ),
    Rule(
        "nothing runs what a file contains",
        foreign_loads,
        bad=(
            "import pickle",
            "from pickle import loads",
            "import marshal",
            "import shelve",
            "eval('1')",
            "run = exec",
            "__import__('os')",
            "import yaml\nyaml.load(text)",
            "import torch\ntorch.load(path)",
            "import numpy\nnumpy.load(path, allow_pickle=True)",
            "import numpy\nnumpy.load(path, allow_pickle=allowed)",
        ),
        good=(
            "import re\nre.compile('a')",
            "import yaml\nyaml.safe_load(text)",
            "import pickletools",
            "import numpy\nnumpy.load(path, allow_pickle=False)",
            "model.eval()",
        ),
    ),
    Rule(
        "slow libraries are imported where they are used",
        heavy_imports,
        bad=(
            "import numpy as np",
            "from rich.table import Table",
            "try:\n    import scipy\nexcept ImportError:\n    pass",
            "class A:\n    import click",
            "if fast:\n    from numpy import array",
        ),
        good=(
            "def f():\n    import numpy as np",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import numpy as np",
            "import json",
        ),
        exempt=("lamella.cli", "lamella.testing"),
    ),
)
