"""Patterns mean what they mean to Git."""

from __future__ import annotations

import os

import pytest

from lamella.repo.git import Git
from lamella.repo.patterns import matches

PATTERNS = [
    *("*.pt", "*", "**", "a", "/a", "a/b", "/a/b", "a/*", "a/**", "**/b", "**/b/c", "a/**/c", "a/**/b/**/c", "a/"),
    *(
        "?",
        "a?",
        "[ab]",
        "[!a]",
        "[^a]",
        "[a-c]x",
        "[]a]",
        "[[:digit:]]",
        "[[:alpha:]]*.pt",
        "x[0-9][0-9]",
        "\\*",
        "\\a",
    ),
    *("a*b*c", "***", "a/***/c", "**a", "a**", "*/c", "[a", "a]", "*.{pt,bin}", "a b", "a.pt/", "m.*", "(a)+"),
    *("[a/b]", "a[/]b", "[!b]/b", "A", "*.PT", "caf\udce9*", "[\\]]", "[a\\-c]"),
]
PATHS = [
    *("a", "b", "c", "A", "ax", "bx", "a/b", "a/c", "a/b/c", "a/x/b/y/c", "b/a", "x/a", "x/a/b", "m.pt", "d/m.pt", "1"),
    *(
        "1.pt",
        "x12",
        "*",
        "]",
        "abc",
        "aXbYc",
        "a b",
        "a.pt/m",
        "[a",
        "a]",
        "(a)+",
        "caf\udce9.pt",
        "-",
        "é",
        "x.{pt,bin}",
    ),
]


def test_every_pattern_names_the_paths_that_git_says_it_names(git_repository: Git):
    lines = [f'"{pattern.replace(chr(92), chr(92) * 2)}" p{number}\n' for number, pattern in enumerate(PATTERNS)]
    (git_repository.root / ".gitattributes").write_bytes(os.fsencode("".join(lines)))
    asked = b"".join(os.fsencode(path) + b"\0" for path in PATHS)
    answer = git_repository.run("check-attr", "-z", "--stdin", "--all", input=asked).split(b"\0")
    said = {(os.fsdecode(path), name.decode()) for path, name in zip(answer[0::3], answer[1::3], strict=False)}
    ours = {
        (path, f"p{number}")
        for path in PATHS
        for number, pattern in enumerate(PATTERNS)
        if matches(os.fsencode(pattern), os.fsencode(path))
    }
    named = {(path, PATTERNS[int(name[1:])]) for path, name in said ^ ours}
    assert not named


@pytest.mark.parametrize("pattern", [b"*" * 5000 + b"x", b"*a" * 12 + b"b", b"[" * 5000, b"**/" * 40 + b"x"])
def test_a_hostile_pattern_ends(pattern):
    assert not matches(pattern, b"a" * 60)
