"""What programs read: one JSON object a report, with a type, a version and fields that are only ever added to."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lamella.core.errors import KINDS
from lamella.testing.models import network

TENSOR = {"name", "what", "dtype", "shape", "nbytes", "earlier"}
MEASURES = {
    *("count", "changed", "above", "finite", "both", "sum_absolute", "max_absolute", "dot"),
    *("squares_before", "squares_after", "squares_difference", "nan_before", "nan_after"),
    *("infinite_before", "infinite_after", "ulp_max", "ulps"),
    *("mean_absolute", "relative", "cosine_distance", "norm_before", "norm_after", "norm_difference"),
}
CHANGE = {"path", "what", "format", "total", "tensors", "container", "rest", "metadata"}

FIELDS: dict[str, dict[str, set[str]]] = {
    "init": {"": {"worktree", "created", "steps", "notes"}},
    "track *.pt": {"": {"changed", "patterns", "file", "affected"}},
    "untrack *.pt": {"": {"changed", "patterns", "file", "affected"}},
    "add .": {
        "": {"files", "others", "whole"},
        "files": {"path", "format", "tensors", "nbytes", "new_objects", "stored_nbytes", "warning", "foreign"},
    },
    "status": {
        "": {
            *("branch", "commit", "ahead", "behind", "staged", "unstaged"),
            *("untracked_models", "others", "unfilled", "conflicts", "repackaged", "unstaged_repackaged"),
            *("under_way", "undecided"),
        },
        "unstaged": CHANGE,
        "unstaged.tensors": TENSOR,
    },
    "diff HEAD~1 HEAD": {
        "": {"before", "after", "files", "repackaged", "missing", "comparisons", "data"},
        "files": CHANGE,
        "files.tensors": TENSOR,
        "comparisons": {
            *(
                "path",
                "unread",
                "before",
                "after",
                "format_before",
                "format_after",
                "model_id_before",
                "model_id_after",
            ),
            *(
                "parameters_before",
                "parameters_after",
                "interface",
                "alignment",
                "graph",
                "tensors",
                "training",
                "removed",
                "added",
            ),
            *("other", "total"),
        },
        "comparisons.tensors": {
            *("name", "name_before", "dtype", "dtype_before", "shape", "shape_before", "reason", "confidence", "same"),
            *("unread", "overlap", "epsilon", "change_point", "rounding_only", "measures", "rows", "row_points"),
            *("row_count", "spectrum", "histogram"),
        },
    },
    "blame HEAD:model.safetensors": {
        "": {"revision", "path", "versions", "commits", "tensors", "unread"},
        "commits": {"commit", "author", "email", "date", "subject"},
        "tensors": {"name", "dtype", "shape", "nbytes", "commit", "what", "name_then", "sources"},
    },
    "blame HEAD:model.safetensors layer.1.weight": {
        "tensors.sources": {"commit", "name", "measures"},
    },
    "history model.safetensors layer.1.weight": {
        "": {"revision", "path", "name", "versions", "unread"},
        "versions": {"commit", "path", "name", "dtype", "shape", "source", "measures", "norm"},
    },
    "log -n 1": {
        "": {"commit", "parents", "author", "email", "date", "refs", "message", "files", "repackaged"},
        "files": CHANGE - {"tensors", "metadata"} | {"changes"},
    },
    "show HEAD:model.safetensors": {
        "": {"revision", "path", "format", "model_id", "nbytes", "stored_nbytes", "missing", "tensors"},
        "tensors": {"name", "dtype", "shape", "nbytes", "object", "stored_nbytes", "depth", "derived", "kind"},
    },
    "ls HEAD:model.safetensors": {
        "": {"name", "files", "others", "unread", "missing", "tensors", "elements", "nbytes"},
        "files": {"path", "format", "tensors", "metadata"},
        "tensors": {"name", "dtype", "shape", "elements", "nbytes", "file"},
    },
    "graph HEAD:model.safetensors": {
        "": {"name", "graph", "absent", "unused", "unread", "missing", "elements", "nbytes"},
    },
    "cat HEAD:model.safetensors layer.0.bias[0]": {"": {"name", "dtype", "shape", "values"}},
    "id model.safetensors HEAD:model.safetensors": {
        "": {"models"},
        "models": {"name", "model_id", "tensors", "files", "unread", "missing"},
    },
    "health model.safetensors": {
        "": {"name", "against", "tensors", "examined", "unread", "nbytes", "findings"},
        "findings": {"check", "severity", "where", "message", "evidence", "advice"},
    },
    "ls-files": {"": {"files"}, "files": {"path", "format", "tensors", "parts", "nbytes", "model_id", "filled"}},
    "export HEAD:model.safetensors out.pt --dtype bf16": {
        "": {
            "source",
            "format",
            "files",
            "tensors",
            "nbytes",
            "model_id",
            "restored",
            "loss",
            "uncast",
            "metadata_left",
        },
        "files": {"path", "nbytes", "tensors"},
    },
    "gc": {
        "": {
            *("kept_objects", "kept_nbytes", "dropped_objects", "freed_nbytes"),
            *("in_grace_objects", "in_grace_nbytes", "temporaries"),
        }
    },
    "gc --repack": {
        "": {
            *("kept_objects", "kept_nbytes", "dropped_objects", "freed_nbytes"),
            *("in_grace_objects", "in_grace_nbytes", "temporaries", "repacked"),
        }
    },
    "fsck": {"": {"packs", "objects", "nbytes", "damage", "tensors", "manifests", "repaired", "unread"}},
    "doctor": {"": {"findings"}, "findings": {"subject", "state", "message", "hint"}},
    "migrate --dry-run": {
        "": {
            *("dry_run", "commits", "rewritten", "refs", "kept_under", "files", "nbytes", "stored_nbytes"),
            *("absent", "unsigned_commits", "unsigned_tags", "written"),
        }
    },
    "import ../checkpoints --dry-run": {
        "": {
            *("dry_run", "source", "path", "branch", "versions", "commits", "files", "nbytes", "stored_nbytes"),
        }
    },
    "version": {"": {"lamella", "native", "python"}},
    "uninstall": {"": {"steps", "store"}},
}


def rows(value: Any, path: str) -> list[dict[str, Any]]:
    """Return the objects in the lists that lie at a dotted path."""
    found = [value]
    for name in filter(None, path.split(".")):
        found = [row for one in found for row in one[name]]
    return found


@pytest.mark.parametrize("command", FIELDS)
def test_a_report_is_one_object_with_a_known_set_of_fields(bench, call, command):
    if command.startswith(("migrate", "import")):
        bench.write("../checkpoints/step-1/model.safetensors", network())
    else:
        bench.write("model.safetensors", network(layer_2_bias=1))
    ended = call(*command.split(), "--json")
    assert (ended.code, ended.err) == (0, "")
    report = json.loads(ended.out)
    assert (report.pop("type"), report.pop("version")) == (command.split()[0], 1)
    for path, fields in FIELDS[command].items():
        found = rows(report, path)
        assert found
        assert all(set(row) == fields for row in found), path


def test_what_was_measured_has_a_known_set_of_fields(bench, call):
    found = json.loads(call("diff", "HEAD~1", "HEAD", "--json").out)["comparisons"][0]["tensors"]
    measured = [tensor["measures"] for tensor in found if not tensor["same"]]
    assert [set(one) for one in measured] == [MEASURES]
    blamed = json.loads(call("blame", "HEAD:model.safetensors", "layer.1.weight", "--json").out)["tensors"]
    assert blamed[0]["sources"][0]["measures"] == measured[0]


def test_damage_is_reported_with_the_fields_that_name_it(bench, call):
    (pack, *_) = (bench.root / ".git/lamella/packs").iterdir()
    content = bytearray(pack.read_bytes())
    content[200] ^= 1
    pack.write_bytes(content)
    ended = call("fsck", "--json")
    assert ended.code == 5
    report = json.loads(ended.out)
    assert all(set(row) == {"pack", "object", "kind", "message"} for row in report["damage"])
    assert all(row["kind"] in KINDS for row in report["damage"])
    assert all(set(row) == {"path", "tensor", "object", "state", "revisions"} for row in report["tensors"])
    assert report["damage"]
    assert report["tensors"]


FAULTS = (
    *("show HEAD:gone", "log gone", "diff a b c", "diff --no-index a", "nope", "add gone", "ls gone", "ls HEAD:gone"),
    *("ls model.safetensors z*", "id gone:x", "cat model.safetensors x", "cat model.safetensors layer.0.bias[4]"),
    *("cat model.safetensors layer.0.bias[None]", "cat model.safetensors layer.0.bias --raw"),
)


@pytest.mark.parametrize("command", FAULTS)
def test_a_fault_is_an_object_with_a_kind(call, command):
    ended = call(*command.split(), "--json")
    report = json.loads(ended.out)
    assert set(report) == {"type", "version", "kind", "message", "hint", "exit_code"}
    assert (report["type"], report["version"], report["exit_code"]) == ("error", 1, ended.code)
    assert ended.code == KINDS[report["kind"]].exit_code
    assert ended.err == ""


def test_the_log_is_one_object_a_line(bench, call):
    lines = call("log", "--json").out.splitlines()
    assert [json.loads(line)["message"] for line in lines] == ["second", "first"]


def test_names_that_are_no_unicode_are_still_json(bench, call):
    bench.write("not\udcffunicode.safetensors", network())
    ended = call("add", ".", "--json")
    assert json.loads(ended.out)["files"][0]["path"] == "not\udcffunicode.safetensors"
    assert ended.out.isascii()
