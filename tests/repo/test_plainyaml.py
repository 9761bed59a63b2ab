"""Plain YAML is read as the text that it is, and anything that could mean more is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.core.errors import FormatError
from lamella.repo.plainyaml import parse_yaml

LOCK = b"""\
# made by a tool
schema: '2.0'
stages:
  train@a:
    cmd: python train.py --a b
      --c d   # more
    deps:
    - path: data
      size: 12
    params: {}
    "out s":
      - - 1
        - 'it''s'
      - a: "tab\\t"
        b:
  empty:
text: |
  one
    two
last: ~
"""


def test_blocks_lists_and_scalars_are_read():
    assert parse_yaml(LOCK) == {
        "schema": "2.0",
        "stages": {
            "train@a": {
                "cmd": "python train.py --a b --c d",
                "deps": [{"path": "data", "size": "12"}],
                "params": {},
                "out s": [["1", "it's"], {"a": "tab\t", "b": None}],
            },
            "empty": None,
        },
        "text": "one\ntwo",
        "last": None,
    }


@pytest.mark.parametrize(
    ("text", "node"), [(b"", None), (b"---\na: 1\n", {"a": "1"}), (b"- a\n- b", ["a", "b"]), (b"x", "x")]
)
def test_short_documents(text, node):
    assert parse_yaml(text) == node


@pytest.mark.parametrize(
    "text",
    [
        *(b"a: !!python/object:os.system x", b"a: &b 1", b"a: *b", b"<<: x", b"a: {b: c}", b"a: [b]", b"a: 'x"),
        *(b'a: "\\ud800"', b'"\\udc80": a'),
        *(b'a: "\\q"', b"a: 1\na: 2", b"a: 1\nb", b"\ta: 1", b"a:\n    b: 1\n  c: 2", b"\xff", b"a: 1\n--- \nb: 2"),
        b"- " * 100 + b"x",
        b"\n".join(b" " * depth + b"a:" for depth in range(100)),
    ],
)  # fmt: skip
def test_what_is_more_than_plain_is_refused(text):
    with pytest.raises(FormatError) as caught:
        parse_yaml(text)
    assert caught.value.kind == "header-malformed"


@given(st.text(alphabet="ab:-#'\"|>{}[]&*! \n\t", max_size=60))
def test_nothing_else_escapes(text):
    try:
        parse_yaml(text.encode())
    except FormatError as exc:
        assert exc.kind == "header-malformed"


def test_a_long_document_takes_time_in_proportion():
    assert len(parse_yaml(b"- a: 1\n" * 100_000)) == 100_000
    with pytest.raises(FormatError):
        parse_yaml(b"a" * (2 << 20))
    assert parse_yaml(b"a" + b" " * 1_000_000 + b"b: c")
