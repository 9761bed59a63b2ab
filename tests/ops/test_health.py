"""`health` reads every float once, at revisions and on disk, whatever the container, and says what is wrong."""

from __future__ import annotations

import json
from contextlib import ExitStack

import numpy
import pytest
from safetensors.numpy import save_file

from lamella.core.errors import IntegrityError, UsageError
from lamella.model.health import ERROR, NOTE, WARNING
from lamella.ops.health import HealthReport, health
from lamella.repo.targets import opened_model
from tests.toy import Placed, toy

MODEL = "model.safetensors"


def weights(seed: int = 0) -> dict[str, numpy.ndarray]:
    noise = numpy.random.default_rng(seed)
    return {f"h.{number}.weight": noise.standard_normal((64, 96)).astype("f4") for number in range(5)} | {
        "h.0.bias": noise.standard_normal(64).astype("f4"), "steps": numpy.array(7),
    }  # fmt: skip


def commit(bench, arrays):
    save_file(arrays, bench.root / MODEL)
    bench.commit(MODEL, bench.read(MODEL))


def examine(bench, name: str, against: str | None = None, **options) -> HealthReport:
    with ExitStack() as closing:
        model = closing.enter_context(opened_model(name, bench.root))
        before = None if against is None else closing.enter_context(opened_model(against, bench.root))
        return health(model, before, **options)


def test_a_revision_and_a_file_are_examined_alike(bench):
    arrays = weights()
    arrays["h.3.weight"][2, 2] = numpy.nan
    commit(bench, arrays)
    stored, on_disk = examine(bench, f"HEAD:{MODEL}"), examine(bench, MODEL)
    assert stored.findings == on_disk.findings
    (found,) = stored.findings
    assert (found.severity, found.check, found.where) == (ERROR, "not-finite", "h.3.weight")
    assert (stored.tensors, stored.examined, stored.unread) == (7, 6, 1)
    assert stored.nbytes == on_disk.nbytes == 5 * 64 * 96 * 4 + 64 * 4
    assert stored.fails(NOTE)
    assert stored.fails(ERROR)


def test_what_did_not_change_is_not_read_again(bench):
    commit(bench, weights())
    arrays = weights()
    arrays["h.1.weight"] = arrays["h.1.weight"] * 50
    commit(bench, arrays)
    for name in (f"HEAD:{MODEL}", MODEL):
        report = examine(bench, name, f"HEAD~1:{MODEL}")
        assert [(one.severity, one.check, one.where) for one in report.findings] == [
            (WARNING, "norm-jump", "h.1.weight")
        ]
        assert report.nbytes == 6 * 64 * 96 * 4 + 64 * 4
        assert report.fails(WARNING)
        assert not report.fails(ERROR)


def test_one_thread_finds_what_many_do(bench):
    arrays = weights() | {"big": numpy.random.default_rng(3).standard_normal((700, 1000))}
    arrays["big"][650] = 0
    commit(bench, arrays)
    reports = [examine(bench, name, threads=count) for name in (MODEL, f"HEAD:{MODEL}") for count in (1, 3)]
    assert len({report.findings[0].message for report in reports}) == 1
    assert reports[0].findings[0].message == "1 of 700 rows are zero or nearly so: 650"


def test_views_are_read_where_they_lie(bench, toys):
    data = numpy.arange(12, dtype="<f4")
    data[5] = numpy.inf
    placed = {"a": Placed("f32", (3, 4), 0), "b": Placed("f32", (4, 3), 0, (4, 16))}
    bench.write("views.safetensors", toy(placed, data.tobytes()))
    report = examine(bench, "views.safetensors")
    assert [(one.check, one.where) for one in report.findings] == [("not-finite", "a"), ("not-finite", "b")]


def test_progress_hears_of_every_byte(bench):
    heard = []

    class Listener:
        def start(self, label, total_nbytes):
            heard.append([label, total_nbytes, 0])

        def advance(self, nbytes):
            heard[-1][2] += nbytes

        def finish(self):
            heard.append("end")

    commit(bench, weights())
    report = examine(bench, f"HEAD:{MODEL}", progress=Listener())
    assert heard == [[f"reading HEAD:{MODEL}", report.nbytes, report.nbytes], "end"]


def test_a_check_that_does_not_exist_is_refused_and_one_that_does_is_left_out(bench):
    arrays = weights()
    arrays["h.0.weight"][:] = 0
    commit(bench, arrays)
    assert examine(bench, MODEL, skip=["constant"]).findings == ()
    with pytest.raises(UsageError) as caught:
        examine(bench, MODEL, skip=["nonsense"])
    assert caught.value.kind == "bad-argument"


def test_what_has_no_tensors_is_not_healthy(bench):
    bench.write("rows.csv", b"a,b\n1,2\n3,4\n")
    commit(bench, weights())
    for sides in (("rows.csv",), (MODEL, "rows.csv")):
        with pytest.raises(UsageError) as caught:
            examine(bench, *sides)
        assert caught.value.message == "rows.csv has no tensors"


def test_damage_is_no_finding(bench):
    commit(bench, weights())
    (pack, *_) = (bench.root / ".git/lamella/packs").iterdir()
    content = bytearray(pack.read_bytes())
    content[3000] ^= 1
    pack.write_bytes(content)
    with pytest.raises(IntegrityError):
        examine(bench, f"HEAD:{MODEL}")


def test_the_report_is_plain(bench):
    commit(bench, weights())
    report = examine(bench, f"HEAD:{MODEL}")
    assert report == HealthReport(f"HEAD:{MODEL}", None, 7, 6, 1, report.nbytes, ())
    assert json.dumps(report.nbytes)
