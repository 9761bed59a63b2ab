"""Which tensors go out, under which names and in which dtypes."""

from __future__ import annotations

import pytest

from lamella.core.errors import UsageError
from lamella.repo.outgoing import Casting, Renaming, choose
from lamella.testing.models import spec

SPECS = [
    spec("model.a.weight", 2), spec("model.a.bias", 2, dtype="bf16"), spec("head.weight", 2, dtype="f64"),
    spec("steps", dtype="i64"), spec("scale", 1, dtype="f8_e4m3"),
]  # fmt: skip


def names(*renamings: str, **options: object) -> list[str]:
    return [one.spec.name for one in choose(SPECS, renamings=[Renaming.parse(text) for text in renamings], **options)]


def dtypes(*castings: str) -> list[str]:
    return [one.spec.dtype.name for one in choose(SPECS, castings=[Casting.parse(text) for text in castings])]


def test_everything_goes_out_as_it_is():
    assert [(one.source, one.spec) for one in choose(SPECS)] == [(one, one) for one in SPECS]


def test_patterns_choose_and_leave_out():
    assert names(select=["model.*", "steps"]) == ["model.a.weight", "model.a.bias", "steps"]
    assert names(select=["!*.weight"]) == ["model.a.bias", "steps", "scale"]
    assert names(select=["model.*", "!*.bias"]) == ["model.a.weight"]


def test_names_are_changed_by_a_table_and_then_one_expression_after_the_other():
    assert names(r"^(\w+)\.weight$=\1.kernel", r"^model\.=")[:3] == ["a.weight", "a.bias", "head.kernel"]
    assert names("e=", names={"steps": "eee", "scale": "tree"})[3:] == ["", "tr"]
    assert names("^(?=steps)=my.")[3] == "my.steps"
    assert names("steps=scale", "scale=other", select=["steps"]) == ["other"]


def test_a_dtype_is_for_floats_and_a_pattern_for_what_it_names():
    assert dtypes("f16") == ["f16", "f16", "f16", "i64", "f8_e4m3"]
    assert dtypes("*.bias=f32", "bf16", "head.*=f32", "head.w*=f16") == ["bf16", "f32", "f16", "i64", "f8_e4m3"]
    assert dtypes("s*=f32") == ["f32" if name.startswith("s") else old for name, old in zip(
        [one.name for one in SPECS], [one.dtype.name for one in SPECS], strict=True
    )]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"select": ["nothing*"]}, "'nothing*'"),
        ({"select": ["!nothing"]}, "'nothing'"),
        ({"names": {"nothing": "x"}}, "'nothing'"),
        ({"names": {"steps": "scale"}}, "would both be called 'scale'"),
        ({"renamings": [Renaming.parse(r"^.*$=one")]}, "would both be called 'one'"),
        ({"castings": [Casting.parse("nothing=f32")]}, "'nothing'"),
        ({"castings": [Casting.parse("steps=f32")], "select": ["scale"]}, "'steps'"),
        ({"castings": [Casting.parse("head*=i8")]}, "cannot be cast from f64 to i8"),
        ({"castings": [Casting.parse("i8")]}, "cannot be cast from f32 to i8"),
    ],
)
def test_what_does_not_fit_is_refused(options, said):
    with pytest.raises(UsageError) as caught:
        choose(SPECS, **options)
    assert said in caught.value.message


@pytest.mark.parametrize("text", ["", "=", "a", "=b", "(=b", r"a=\1", "*=b"])
def test_a_renaming_that_is_none_is_refused(text):
    with pytest.raises(UsageError):
        Renaming.parse(text)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("float16", "f16"), ("torch.bfloat16", "bf16"), ("FP32", "f32"), ("double", "f64"), ("half", "f16"),
        ("uint8", "u8"), ("int64", "i64"), ("complex64", "c64"), ("float8_e4m3fn", "f8_e4m3"), ("F16", "f16"),
        ("float8_e4m3fnuz", "f8_e4m3fnuz"), ("bool_", "bool"), ("q4_00", "q4_0"),
    ],
)  # fmt: skip
def test_names_of_other_libraries_are_understood_as_hints(said, meant):
    with pytest.raises(UsageError) as caught:
        Casting.parse(f"a.*={said}")
    assert repr(meant) in caught.value.hint


@pytest.mark.parametrize("text", ["", "float32", "a=", "a=b"])
def test_a_dtype_that_is_none_is_refused(text):
    with pytest.raises(UsageError, match="there is no dtype"):
        Casting.parse(text)
