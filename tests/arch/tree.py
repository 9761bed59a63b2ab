"""The house rules that hold for files and their text, whatever language they are in."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

from tests.arch.source import ROOT

VAGUE_WORDS = frozenset({"utils", "util", "helpers", "helper", "common", "misc", "manager"})
LONGEST_MODULE = 400
LONGEST_TEST = 600


def project_files() -> list[Path]:
    """Return every file that Git tracks or would track."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def text_of(path: Path) -> str:
    """Return the text of a file, empty where it is no text."""
    content = path.read_bytes()
    return "" if b"\0" in content else content.decode("utf-8", "replace")


def vague(path: Path) -> bool:
    """Say whether a file's name says only that something is in it."""
    return bool(VAGUE_WORDS & set(path.stem.lower().split("_")))


def line_limit(relative: Path) -> int:
    """Return how many lines the module at a path within the project may have."""
    return LONGEST_TEST if relative.parts[0] == "tests" else LONGEST_MODULE


def is_test_class(node: ast.stmt) -> bool:
    """Say whether `node` is a class that holds tests, by its own methods or by a suite that it fills in."""
    if not isinstance(node, ast.ClassDef):
        return False
    own = any(isinstance(child, ast.FunctionDef) and child.name.startswith("test_") for child in node.body)
    return own or node.name.startswith("Test") or any(ast.unparse(base).endswith("Suite") for base in node.bases)


def uncollected(name: str, text: str) -> list[str]:
    """Return the tests of a file called `name` that pytest would pass over, and say so if it holds none at all."""
    tree = ast.parse(text)
    functions = [n.name for n in tree.body if isinstance(n, ast.FunctionDef) and n.name.startswith("test_")]
    classes = [node for node in tree.body if is_test_class(node)]
    used_as_bases = {ast.unparse(base) for node in tree.body if isinstance(node, ast.ClassDef) for base in node.bases}
    names = [node.name for node in classes if isinstance(node, ast.ClassDef)]
    if not name.startswith("test_"):
        return [f"{name}: {test} is in a file that pytest does not collect" for test in [*functions, *names]]
    if not functions and not names:
        return [f"{name}: holds no test"]
    forgotten = [test for test in names if not test.startswith("Test") and test not in used_as_bases]
    return [f"{name}: {test} is a class that pytest does not collect" for test in forgotten]


SKIPPING = re.compile(r"\b(pytest\.skip|mark\.skip|skipif|importorskip|mark\.xfail|pytest\.xfail|unittest\.skip)\b")

ELSEWHERE = re.compile(
    r"pypi[.]org|pythonhosted[.]org|artifactor[y]|jfro[g]|devp[i]"
    r"|index[-_]url|find[-]links|trusted[-]host"
    r"|(?<![\w.~\])}/-])/(work|root|home|Users)/"
    r"|/tmp/[l]ab\b"
)
"""What would tie the project to one machine or to one registry: hosts, pip's options, absolute paths."""


def ties(text: str) -> list[str]:
    """Return the lines of `text` that name a registry or a place on one machine."""
    return [line.strip() for line in text.splitlines() if ELSEWHERE.search(line)]


FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)


def anchors(markdown: str) -> set[str]:
    """Return the fragments that the headings of `markdown` can be reached by."""
    plain = (heading.replace("`", "").lower() for heading in HEADING.findall(FENCED.sub("", markdown)))
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def broken_links(markdown: str, directory: Path) -> list[str]:
    """Return the relative links in `markdown`, a page in `directory`, that lead nowhere."""
    broken = []
    for inline, defined in LINK.findall(INLINE_CODE.sub("", FENCED.sub("", markdown))):
        link = inline or defined
        if re.match(r"[a-z][a-z+.-]*:", link):
            continue
        place, _, fragment = link.partition("#")
        target = directory / place if place else None
        if target and not target.exists():
            broken.append(link)
        elif fragment and (target is None or target.suffix == ".md"):
            page = target.read_text(encoding="utf-8") if target else markdown
            if fragment not in anchors(page):
                broken.append(link)
    return broken
