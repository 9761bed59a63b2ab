"""Which token stands in which row: what tokenizers write, and files that only look like theirs."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.core.errors import FormatError
from lamella.core.limits import MAX_TOKENS, MAX_VOCABULARY_NBYTES
from lamella.repo.lfs import POINTER_PREFIX
from lamella.repo.objects import ObjectReader
from lamella.repo.vocabulary import read_vocabulary, vocabulary_at
from tests.repo.committing import commit


def tokens(**files):
    held = {name.replace("_json", ".json").replace("_txt", ".txt"): text for name, text in files.items()}
    return read_vocabulary(lambda name: held[name] if isinstance(held.get(name), bytes) else encoded(held.get(name)))


def encoded(value):
    return None if value is None else json.dumps(value).encode()


def test_a_tokenizer_lists_its_model_and_what_was_added():
    model = {"type": "BPE", "vocab": {"b": 1, "a": 0, "c": 2}}
    added = [{"id": 2, "content": "c", "special": True}, {"id": 4, "content": "<new>"}]
    assert tokens(tokenizer_json={"model": model, "added_tokens": added}) == ("a", "b", "c", None, "<new>")


def test_a_unigram_model_lists_tokens_with_their_scores():
    model = {"type": "Unigram", "vocab": [["<unk>", 0.0], ["a", -1.5]]}
    assert tokens(tokenizer_json={"model": model, "added_tokens": [{"id": 2, "content": "x"}]}) == ("<unk>", "a", "x")


def test_lists_by_number_and_by_line_are_followed_by_what_was_added():
    added = {"<pad>": 2}
    assert tokens(vocab_json={"b": 1, "a": 0}, added_tokens_json=added) == ("a", "b", "<pad>")
    assert tokens(vocab_txt=b"[UNK]\r\nthe\n", added_tokens_json=added) == ("[UNK]", "the", "<pad>")
    assert tokens(vocab_txt="a\n\u00e4\n \n".encode()) == ("a", "\u00e4", " ")


def test_the_tokenizer_counts_before_older_files():
    assert tokens(tokenizer_json={"model": {"vocab": {"x": 0}}}, vocab_txt=b"y\n") == ("x",)


def test_where_nothing_tells_nothing_is_known():
    assert tokens() == ()
    assert tokens(tokenizer_json={"model": {"type": "other"}}) == ()
    assert tokens(vocab_json={}) == ()


@pytest.mark.parametrize(
    "files",
    [
        {"tokenizer_json": b"{"},
        {"tokenizer_json": b"[" * 100_000},
        {"tokenizer_json": b"[]"},
        {"tokenizer_json": {"model": {"vocab": {"a": -1}}}},
        {"tokenizer_json": {"model": {"vocab": {"a": True}}}},
        {"tokenizer_json": {"model": {"vocab": {"a": 0, "b": 0}}}},
        {"tokenizer_json": {"model": {"vocab": [["a", 0], 3]}}},
        {"tokenizer_json": {"model": {"vocab": {}}, "added_tokens": [{"id": 3}]}},
        {"tokenizer_json": {"model": {"vocab": {}}, "added_tokens": {"a": 3}}},
        {"vocab_json": {"a": MAX_TOKENS}},
        {"vocab_json": {"a": "0"}},
        {"vocab_json": b'{"a": ' + b"9" * 10_000 + b"}"},
        {"vocab_txt": b"\xff\n"},
        {"vocab_txt": b"\n" * (MAX_TOKENS + 2)},
        {"vocab_txt": b"a\n", "added_tokens_json": {"b": 0}},
    ],
)
def test_what_is_no_vocabulary_is_refused(files):
    with pytest.raises(FormatError) as caught:
        tokens(**files)
    assert caught.value.kind == "header-malformed"


def test_a_file_that_is_too_long_is_refused_before_it_is_looked_at():
    with pytest.raises(FormatError) as caught:
        tokens(vocab_json=b"{" * (MAX_VOCABULARY_NBYTES + 1))
    assert caught.value.kind == "header-too-large"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["model", "vocab", "added_tokens", "id", "content", "a"]), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(JSON, JSON, JSON)
def test_nothing_but_a_format_error_comes_of_any_file(tokenizer, listed, added):
    for files in ({"tokenizer_json": tokenizer}, {"vocab_json": listed, "added_tokens_json": added}):
        try:
            found = tokens(**files)
        except FormatError:
            continue
        assert all(token is None or isinstance(token, str) for token in found)


def test_files_beside_a_model_are_read_at_a_revision(git_repository):
    commit(git_repository, {"bert/vocab.txt": b"a\nb\n"})
    with ObjectReader(git_repository, limit_nbytes=MAX_VOCABULARY_NBYTES) as reader:
        assert vocabulary_at(reader, "HEAD", "bert/model.safetensors") == ("a", "b")
        assert vocabulary_at(reader, "HEAD", "model.safetensors") == ()


def test_a_pointer_in_the_place_of_a_file_says_nothing(git_repository):
    commit(git_repository, {"tokenizer.json": POINTER_PREFIX + b"oid sha256:00\nsize 3\n", "vocab.txt": b"a\n"})
    with ObjectReader(git_repository, limit_nbytes=MAX_VOCABULARY_NBYTES) as reader:
        assert vocabulary_at(reader, "HEAD", "model.safetensors") == ("a",)
