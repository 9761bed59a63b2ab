"""Reports of merges as the fields of their JSON, which docs/reference/json.md describes."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from lamella.ops.conflicts import ConflictsReport
from lamella.ops.merge import MergeReport
from lamella.ops.merge_evidence import MergeEvidence
from lamella.ops.merge_preview import MergePreview, PreviewedTensor
from lamella.repo.filling import Filled
from lamella.repo.merge_rules import rules_to_fields
from lamella.repo.merge_state import FileMerge


def merge_fields(report: MergeReport) -> dict[str, Any]:
    """Return how a merge ended."""
    return {
        "outcome": report.outcome,
        "commit": report.commit,
        "files": list(map(_file, report.files)),
        "others": report.others,
        **evidence_fields(report.evidence),
        **filled_fields(report.filled),
    }


def preview_fields(report: MergePreview) -> dict[str, Any]:
    """Return what a merge would make of every tensor."""
    files = [
        {
            "path": one.path,
            "outcome": one.outcome,
            "found": None if one.found is None else _file(one.found),
            "tensors": list(map(_tensor, one.tensors)),
        }
        for one in report.files
    ]
    return {**_shallow(report), "files": files}


def conflicts_fields(report: ConflictsReport) -> dict[str, Any]:
    """Return what is in conflict."""
    files = [{"path": one.path, "found": _file(one.found), "sides": one.sides} for one in report.files]
    return {**_shallow(report), "files": files}


def evidence_fields(evidence: MergeEvidence) -> dict[str, Any]:
    """Return what was found before a merge was committed."""
    return {"checks": evidence.checks, "evaluations": evidence.evaluations}


def filled_fields(filled: Filled) -> dict[str, Any]:
    """Return what was written to the worktree, and what could not be."""
    failed = [{"path": path, "kind": error.kind, "message": error.message} for path, error in filled.failed]
    return {"written": filled.paths, "failed": failed}


def _file(file: FileMerge) -> dict[str, Any]:
    """Return what was found in a model file, its rules as they stand in the record of a merge."""
    return {**_shallow(file), "rules": rules_to_fields(file.rules)}


def _tensor(tensor: PreviewedTensor) -> dict[str, Any]:
    told = _shallow(tensor)
    spec = told.pop("spec")
    return {"name": spec.name, "dtype": spec.dtype.name, "shape": spec.shape, **told}


def _shallow(report: Any) -> dict[str, Any]:
    return {field.name: getattr(report, field.name) for field in fields(report)}
