"""`bisect layers`: the guilty layers are found, in few evaluations, and what the command is given is a whole model."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy
import pytest
import safetensors.numpy

from lamella.core.errors import BackendError, UsageError
from lamella.ops.bisect_layers import BisectLayersReport, bisect_layers
from lamella.ops.evaluate import Evaluator
from lamella.ops.verdict import BAD, Criterion
from lamella.repo.targets import opened_model
from tests.formats.torch_writer import archive, mapping, tensor
from tests.toy import Placed, toy

Arrays = Mapping[str, numpy.ndarray]
PYTHON = sys.executable
RANDOM = numpy.random.default_rng(3)
JUDGE = """
import json, os, sys
data = open(os.environ["LAMELLA_MODEL"], "rb").read()
n = int.from_bytes(data[:8], "little")
header, body = json.loads(data[8:8 + n]), data[8 + n:]
header.pop("__metadata__", None)
bad = json.load(open("bad.json"))
def same(name):
    start, stop = header[name]["data_offsets"]
    return body[start:stop].hex() == bad[name]
open("count", "a").write(f"{len(data)}\\n")
guilty = json.load(open("guilty.json"))
print("accuracy:", 0.5 if any(all(map(same, group)) for group in guilty) else 0.9)
"""


def network(layers: int = 144) -> dict[str, numpy.ndarray]:
    found = {f"h.{number}.weight": RANDOM.standard_normal((4, 6)).astype("f4") for number in range(layers)}
    return found | {f"h.{number}.bias": RANDOM.standard_normal(4).astype("f4") for number in range(layers)}


def tuned(arrays: Arrays) -> dict[str, numpy.ndarray]:
    return {
        name: array + numpy.float32(0.01) * RANDOM.standard_normal(array.shape, "f4") for name, array in arrays.items()
    }


@pytest.fixture
def search(tmp_path) -> Callable[..., BisectLayersReport]:
    """Return a function that searches between two models of which some layers are said to be guilty together."""
    (tmp_path / "judge.py").write_text(JUDGE)

    def run(
        before: Arrays, after: Arrays, *guilty: tuple[str, ...], command: str = PYTHON + " judge.py", **options: object
    ) -> BisectLayersReport:
        (tmp_path / "bad.json").write_text(json.dumps({name: array.tobytes().hex() for name, array in after.items()}))
        (tmp_path / "guilty.json").write_text(json.dumps(guilty))
        (tmp_path / "count").write_text("")
        safetensors.numpy.save_file(before, tmp_path / "a.safetensors", {"note": "kept"})
        safetensors.numpy.save_file(after, tmp_path / "b.safetensors")
        metric = options.pop("metric", "accuracy")
        criterion = Criterion(metric, None if metric is None else 0.1, repeat=options.pop("repeat", 1))
        return named(tmp_path, "a.safetensors", "b.safetensors", command, criterion, **options)

    return run


def named(
    tmp_path: Path, before: str, after: str, command: str, criterion: Criterion, **options: object
) -> BisectLayersReport:
    with ExitStack() as closing:
        models = [closing.enter_context(opened_model(name, tmp_path)) for name in (before, after)]
        evaluator = Evaluator(command, tmp_path, None, criterion.metric, 60.0)
        return bisect_layers(*models, evaluator, criterion, tmp_path / "mixtures", **options)


def runs(tmp_path: Path) -> int:
    return len((tmp_path / "count").read_text().splitlines())


def names(report: BisectLayersReport) -> list[str]:
    return [layer.name for layer in report.layers]


@pytest.mark.parametrize("guilty", [0, 1, 71, 72, 100, 142, 143])
def test_one_guilty_layer_of_144_takes_at_most_ten_evaluations(search, tmp_path, guilty):
    before = network()
    report = search(before, tuned(before), (f"h.{guilty}.weight",))
    assert names(report) == [f"h.{guilty}"]
    assert report.layers[0].tensors == ((f"h.{guilty}.bias",) * 2, (f"h.{guilty}.weight",) * 2)
    assert (report.before, report.after, report.changed, report.tensors) == (0.9, 0.5, 144, 2)
    assert report.evaluations == runs(tmp_path) <= 10
    assert not report.left_out


def test_layers_that_are_guilty_only_together_are_found(search, tmp_path):
    before = network(12)
    report = search(before, tuned(before), ("h.3.weight", "h.11.bias"))
    assert names(report) == ["h.3", "h.11"]
    assert report.evaluations == runs(tmp_path)


def test_layers_follow_the_numbers_in_their_names(search):
    before, mixtures = network(12), []
    search(before, tuned(before), ("h.11.weight",), hear=mixtures.append)
    halves = [one.layers for one in mixtures if one.verdict is None and len(one.layers) == 6]
    assert halves[0] == tuple(f"h.{number}" for number in range(6))


def test_only_layers_that_changed_are_suspects_and_all_else_is_of_the_first(search, tmp_path):
    before = network(8)
    after = before | {"h.2.weight": before["h.2.weight"] + 1, "h.5.bias": before["h.5.bias"] + 1}
    report = search(before, after, ("h.5.bias",), command="cp {model} seen; " + PYTHON + " judge.py")
    assert names(report) == ["h.5"]
    assert report.layers[0].tensors == (("h.5.bias", "h.5.bias"),)
    assert report.changed == 2
    seen = safetensors.safe_open(tmp_path / "seen", "numpy")
    assert seen.metadata() == {"note": "kept"}
    wanted = before | {"h.5.bias": after["h.5.bias"]}
    assert all(numpy.array_equal(seen.get_tensor(name), array) for name, array in wanted.items())


def test_layers_that_were_renamed_are_taken_under_their_old_names(search, tmp_path):
    before = network(8)
    after = {name.replace("h.", "blocks."): array for name, array in tuned(before).items()}
    (tmp_path / "guilty").write_bytes(after["blocks.6.weight"].tobytes())
    program = "import sys; a, b = (open(one, 'rb').read() for one in sys.argv[1:]); print('accuracy:', int(b not in a))"
    command = f'{sys.executable} -c "{program}" {{model}} guilty'
    report = search(before, after, command=command)
    assert report.layers[0].tensors[-1] == ("h.6.weight", "blocks.6.weight")


def test_without_a_metric_the_status_decides_and_the_first_is_believed(search, tmp_path):
    before = network(16)
    judged = f"{PYTHON} judge.py | grep -q 0.9"
    report = search(before, tuned(before), ("h.13.weight",), command=judged, metric=None)
    assert names(report) == ["h.13"]
    assert (report.before, report.after) == (None, None)
    assert report.evaluations == runs(tmp_path) <= 5
    with pytest.raises(UsageError) as caught:
        search(before, tuned(before), command="false", metric=None)
    assert caught.value.kind == "ends-agree"
    assert "first model is bad" in caught.value.message


def test_what_cannot_be_taken_over_is_named(search, tmp_path):
    before = network(6) | {"head.weight": numpy.ones((10, 4), "f4"), "old.weight": RANDOM.standard_normal((3, 7), "f4")}
    after = tuned(network(0) | before) | {"head.weight": numpy.ones((12, 4), "f4")}
    after["new.weight"] = RANDOM.standard_normal((5, 5, 2), "f4")
    del after["old.weight"]
    report = search(before, after, ("h.1.weight",))
    assert names(report) == ["h.1"]
    assert {(one.name, one.why) for one in report.left_out} == {
        ("head.weight", "f32 [10, 4] became f32 [12, 4]"), ("old.weight", "removed"), ("new.weight", "added")
    }  # fmt: skip
    report = search(before, after, ("new.weight",), command=f"{PYTHON} judge.py || echo accuracy: 0.9")
    assert names(report) == []
    assert (report.before, report.after) == (0.9, 0.5)
    assert report.evaluations == runs(tmp_path)


@pytest.mark.parametrize("same", [True, False])
def test_models_that_come_out_alike_are_an_error(search, same, tmp_path):
    before = network(8)
    with pytest.raises(UsageError) as caught:
        search(before, before if same else tuned(before))
    assert caught.value.kind == "ends-agree"
    assert runs(tmp_path) == (0 if same else 1 + 3 + 1 + 1 + 1)


def test_a_command_that_harms_the_model_harms_only_itself(search, tmp_path):
    before = network(8)
    harm = 'python3 judge.py; rm {model}; mkdir {model}; touch {model}/x "$(dirname {model})/y"'
    report = search(before, tuned(before), ("h.5.weight",), command=harm, repeat=2)
    assert names(report) == ["h.5"]
    report = search(before, tuned(before), ("h.5.weight",), command=f'{PYTHON} judge.py; rm -r "$(dirname {{model}})"')
    assert names(report) == ["h.5"]
    report = search(before, tuned(before), ("h.5.weight",), command=f"{PYTHON} judge.py; echo x >{{model}}", repeat=3)
    assert names(report) == ["h.5"]
    unseen = "cp -p {model} kept; printf x | dd of={model} conv=notrunc 2>&-; touch -r kept {model}"
    report = search(before, tuned(before), ("h.5.weight",), command=f"{PYTHON} judge.py; {unseen}", repeat=3)
    assert names(report) == ["h.5"]


def test_a_mixture_that_cannot_be_judged_is_not_bad(search):
    before, mixtures = network(8), []
    command = f"{PYTHON} judge.py; n=$(wc -l <count); test $n -ne 3 || exit 125"
    report = search(before, tuned(before), ("h.7.weight",), command=command, hear=mixtures.append)
    assert names(report) == ["h.7"]
    assert [one.verdict.what for one in mixtures if one.verdict][-1] == BAD


@pytest.mark.parametrize("command", ["kill -SEGV $$", "echo hello", "echo accuracy: nan", "exit 3"])
def test_what_is_no_answer_is_an_error_and_nothing_is_left(search, tmp_path, command):
    before = network(4)
    with pytest.raises(BackendError):
        search(before, tuned(before), command=command)
    assert not (tmp_path / "mixtures").exists()


def test_what_a_killed_process_left_is_replaced(search, tmp_path):
    before = network(4)
    (tmp_path / "mixtures" / "a.safetensors").mkdir(parents=True)
    assert names(search(before, tuned(before), ("h.0.weight",))) == ["h.0"]
    assert not (tmp_path / "mixtures").exists()


def test_archives_have_the_checksums_of_their_new_tensors(tmp_path):
    before = network(5)
    after = tuned(before)
    numpy.savez(tmp_path / "a.npz", **before)
    numpy.savez(tmp_path / "b.npz", **after)
    numpy.save(tmp_path / "guilty.npy", after["h.3.bias"])
    same = "(numpy.load(sys.argv[1])['h.3.bias'] == numpy.load('guilty.npy')).all()"
    command = f"""{sys.executable} -c "import numpy, sys; print('accuracy:', int(not {same}))" {{model}}"""
    report = named(tmp_path, "a.npz", "b.npz", command, Criterion("accuracy", drop=0.5))
    assert names(report) == ["h.3"]


def of_torch(path: Path, *storages: float, head: str = "0") -> None:
    """Write a state dict with an embedding, a head that is tied to it unless it has a storage, and a transposed matrix.

    Each storage is full of one number.
    """
    tensors = {"embed.weight": tensor("0", (4, 3)), "head.weight": tensor(head, (4, 3)), "h.weight": tensor("1", (3,))}
    tensors["turned.weight"] = tensor("2", (3, 4), (1, 3))
    contents = {
        str(key): numpy.full(12 if key != 1 else 3, value, "f4").tobytes() for key, value in enumerate(storages)
    }
    path.write_bytes(archive(mapping(tensors), contents))


def test_what_is_tied_follows_and_is_not_left_out(tmp_path):
    of_torch(tmp_path / "a.pt", 1, 2, 3)
    of_torch(tmp_path / "b.pt", 5, 2, 3)
    report = named(tmp_path, "a.pt", "b.pt", "cmp {model} a.pt", Criterion())
    assert [layer.tensors for layer in report.layers] == [(("embed.weight", "embed.weight"),)]
    assert not report.left_out


@pytest.mark.parametrize(
    ("storages", "head", "left"),
    [((1, 2, 3, 7), "3", ["head.weight"]), ((5, 2, 3, 7), "3", ["head.weight"]), ((1, 2, 8), "0", ["turned.weight"]),
     ((1, 9, 8, 7), "3", ["head.weight", "turned.weight"])],
)  # fmt: skip
def test_tensors_without_bytes_of_their_own_are_named_where_they_do_not_follow(tmp_path, storages, head, left):
    of_torch(tmp_path / "a.pt", 1, 2, 3)
    of_torch(tmp_path / "b.pt", *storages, head=head)
    cmp = "python3 -c \"import sys; a, b = (open(one, 'rb').read() for one in sys.argv[1:]); sys.exit(a == b)\""
    report = named(tmp_path, "a.pt", "b.pt", f"{cmp} {{model}} b.pt", Criterion())
    assert sorted(one.name for one in report.left_out) == left
    assert {one.why for one in report.left_out} == {"it has no bytes of its own there"}
    assert not report.layers


def test_a_container_that_is_not_written_into_is_refused(toys, tmp_path):
    for name in ("a", "b"):
        content = numpy.full(4, len(name), "f4").tobytes()
        (tmp_path / f"{name}.toy").write_bytes(toy({"own.weight": Placed("f32", (2, 2), 0)}, content))
    with pytest.raises(UsageError) as caught:
        named(tmp_path, "a.toy", "b.toy", "false", Criterion())
    assert "cannot be a template" in caught.value.message
    assert not (tmp_path / "mixtures").exists()


def test_a_model_in_several_files_is_refused(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for part in ("one", "two"):
            safetensors.numpy.save_file({part: RANDOM.standard_normal(4)}, tmp_path / name / f"{part}.safetensors")
    with pytest.raises(UsageError) as caught:
        named(tmp_path, "a", "b", "false", Criterion())
    assert caught.value.kind == "bad-argument"
    assert "lamella export" in caught.value.hint
