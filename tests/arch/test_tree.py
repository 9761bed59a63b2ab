"""The rules of the house, held for every file of the project."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.arch import tree
from tests.arch.source import ROOT

PYTHON_FILES = [path for path in tree.project_files() if path.suffix == ".py"]
SOURCES = [path for path in tree.project_files() if path.suffix in (".py", ".cpp", ".hpp", ".h", ".js")]
TEST_FILES = [path for path in PYTHON_FILES if path.is_relative_to(ROOT / "tests")]


def unbarred(text: str) -> str:
    """Return a sample that was written with bars, so that this file does not break the rule itself."""
    return text.replace("|", "")


def test_no_module_is_named_after_nothing() -> None:
    assert not [str(path) for path in PYTHON_FILES if tree.vague(path)]


@pytest.mark.parametrize("name", ["utils.py", "test_helpers.py", "common.py", "pack_manager.py", "misc.py"])
def test_a_vague_name_is_found(name: str) -> None:
    assert tree.vague(Path(name))


def test_a_plain_name_passes() -> None:
    assert not tree.vague(Path("commonplace.py"))


def test_no_module_is_long() -> None:
    lengths = {path.relative_to(ROOT): tree.text_of(path).count("\n") for path in SOURCES}
    assert not {str(path): lines for path, lines in lengths.items() if lines > tree.line_limit(path)}


def test_tests_may_be_longer_than_sources() -> None:
    assert tree.line_limit(Path("src/lamella/core/ids.py")) == 400
    assert tree.line_limit(Path("tests/core/test_ids.py")) == 600


def test_every_folder_of_tests_is_run() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    named = {
        *project["tool"]["pytest"]["ini_options"]["testpaths"],
        "tests/frameworks",
        "tests/programs",
        "tests/browser",
    }
    folders = {path.parent.relative_to(ROOT).as_posix() for path in TEST_FILES if path.name.startswith("test_")}
    assert folders <= named
    targets = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "python scripts/test_frameworks.py" in targets
    assert all(f"pytest -o filterwarnings=default tests/{apart}" in targets for apart in ("programs", "browser"))


def test_every_test_is_collected() -> None:
    assert not [finding for path in TEST_FILES for finding in tree.uncollected(path.name, tree.text_of(path))]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pack_tests.py", "def test_it(): ..."),
        ("conftest.py", "class TestIt: ..."),
        ("test_pack.py", "x = 1"),
        ("test_pack.py", "def it(): ..."),
        ("test_pack.py", "class PackTests:\n    def test_it(self): ..."),
        ("test_pack.py", "class Pack(CodecSuite): ..."),
    ],
)
def test_a_test_that_is_never_run_is_found(name: str, text: str) -> None:
    assert tree.uncollected(name, text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("test_pack.py", "def test_it(): ..."),
        ("test_pack.py", "class TestPack(CodecSuite): ..."),
        ("test_pack.py", "class Shared:\n    def test_it(self): ...\nclass TestPack(Shared): ..."),
        ("conftest.py", "def repository(): ..."),
    ],
)
def test_a_test_that_is_run_passes(name: str, text: str) -> None:
    assert not tree.uncollected(name, text)


def test_no_test_is_skipped() -> None:
    itself = ROOT / "tests/arch"
    assert not [
        str(path) for path in TEST_FILES if itself not in path.parents and tree.SKIPPING.search(path.read_text())
    ]


def test_a_skipped_test_is_found() -> None:
    assert tree.SKIPPING.search("@pytest.mark.skipif(True)\ndef test_it(): ...")
    assert not tree.SKIPPING.search("def test_unchanged_blocks_are_skipped(): ...")


def test_no_file_names_a_registry_or_a_place_on_one_machine() -> None:
    found = {str(path.relative_to(ROOT)): tree.ties(tree.text_of(path)) for path in tree.project_files()}
    assert not {name: lines for name, lines in found.items() if lines}


@pytest.mark.parametrize(
    "sample",
    [
        "https://py|pi.org/simple",
        "https://files.python|hosted.org/a.whl",
        "pip install --index|-url=x",
        "PIP_EXTRA_INDEX|_URL=x",
        "--find|-links wheels",
        "cd /wo|rk/main",
        "open('/ro|ot/.ssh')",
        "see /tmp/l|ab/dev",
        "/ho|me/anna/models",
    ],
)
def test_a_tie_to_one_machine_is_found(sample: str) -> None:
    assert tree.ties(unbarred(sample).lower()) == [unbarred(sample).lower()]


@pytest.mark.parametrize("sample", ["docs/work/notes", "{root}/work/", "--work DIR", "../home/page.md", "$(R)/root/x"])
def test_a_relative_place_passes(sample: str) -> None:
    assert not tree.ties(sample)


def test_every_relative_link_resolves() -> None:
    pages = [path for path in tree.project_files() if path.suffix == ".md"]
    found = {str(page): tree.broken_links(page.read_text(encoding="utf-8"), page.parent) for page in pages}
    assert not {page: links for page, links in found.items() if links}


@pytest.mark.parametrize(
    "markdown",
    [
        "[a](gone.md)",
        "[a](gone.md#part)",
        "[a](here.md#gone)",
        "# Part\n[a](#gone)",
        "[a]: gone.md",
        '[a](gone.md "b")',
    ],
)
def test_a_link_that_leads_nowhere_is_found(markdown: str, tmp_path: Path) -> None:
    (tmp_path / "here.md").write_text("# A `part`, of it\n")
    assert len(tree.broken_links(markdown, tmp_path)) == 1


@pytest.mark.parametrize(
    "markdown",
    [
        "[a](here.md)",
        "[a](here.md#a-part-of-it)",
        "# Part\n[a](#part)",
        "[a](https://example.org/gone.md)",
        "`[a](gone.md)`",
        "```\n[a](gone.md)\n```\n",
        "[a](.)",
    ],
)
def test_a_link_that_leads_somewhere_passes(markdown: str, tmp_path: Path) -> None:
    (tmp_path / "here.md").write_text("# A `part`, of it\n")
    assert not tree.broken_links(markdown, tmp_path)
