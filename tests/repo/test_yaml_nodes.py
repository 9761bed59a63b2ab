"""YAML is read as mappings, lists and text, and anything that could mean more is refused."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lamella.core.errors import FormatError
from lamella.repo.yaml_nodes import parse_yaml

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
flow: {b: [c, ~, 'null'], d: {}}
last: ~
"""


@pytest.fixture(params=["compiled", "python"], autouse=True)
def loader(request, monkeypatch):
    if request.param == "python":
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    return request.param


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
        "text": "one\n  two\n",
        "flow": {"b": ["c", None, "null"], "d": {}},
        "last": None,
    }


@pytest.mark.parametrize(
    ("text", "node"),
    [
        *((b"", None), (b"---\na: 1\n", {"a": "1"}), (b"- a\n- b", ["a", "b"]), (b"x", "x")),
        *((b"a: {b: c}", {"a": {"b": "c"}}), (b"a: yes", {"a": "yes"}), (b"a: 0x10", {"a": "0x10"})),
        *((b"a: 1e3", {"a": "1e3"}), (b"a: 2026-01-01", {"a": "2026-01-01"})),
    ],
)  # fmt: skip
def test_short_documents(text, node):
    assert parse_yaml(text) == node


@pytest.mark.parametrize(
    "text",
    [
        *(b"a: !!python/object:os.system x", b"a: &b 1", b"a: *b", b"<<: x", b"a: 'x"),
        *(b'a: "\\ud800"', b'"\\udc80": a'),
        *(b'a: "\\q"', b"a: 1\na: 2", b"a: 1\nb", b"\ta: 1", b"a:\n    b: 1\n  c: 2", b"\xff", b"a: 1\n--- \nb: 2"),
        *(b"a: &b [x]\nc: [*b, *b]", b"a: &b {c: d}\ne:\n  <<: *b", b"a: !!str 1", b"a: ! b", b"? [a]\n: b"),
        *(b"%TAG ! tag:example.org,2000:\n---\na: 1", b"!!python/object/apply:os.system ['true']", b"a: [b"),
        *(b"{a: 1, a: 2}", b"a: \x00"),
        b"- " * 100 + b"x",
        b"[" * 1_000_000,
        b"{a: " * 200_000,
        b"\n".join(b" " * depth + b"a:" for depth in range(100)),
    ],
)  # fmt: skip
def test_what_is_more_than_plain_is_refused(text):
    with pytest.raises(FormatError) as caught:
        parse_yaml(text)
    assert caught.value.kind == "header-malformed"
    assert caught.value.hint


@given(st.text(alphabet="ab:-#'\"|>{}[]&*! \n\t", max_size=60))
def test_nothing_else_escapes(text):
    try:
        parse_yaml(text.encode())
    except FormatError as exc:
        assert exc.kind == "header-malformed"


def test_a_long_document_takes_time_in_proportion(loader):
    rows = 100_000 if loader == "compiled" else 10_000
    assert len(parse_yaml(b"- a: 1\n" * rows)) == rows
    with pytest.raises(FormatError):
        parse_yaml(b"a" * (2 << 20))
    assert len(parse_yaml(b"[" + b"a, " * rows + b"]")) == rows
    with pytest.raises(FormatError):
        parse_yaml(b"a" + b" " * 1_000_000 + b"b: c")
