"""`bisect run`: the first bad version, how few evaluations it takes, and what does not come to an answer."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy
import pytest

from lamella.core.errors import BackendError, ConflictError, FormatError, LamellaError, NotFoundError, UsageError
from lamella.ops.bisect_run import bisect_log, bisect_reset, bisect_run
from lamella.ops.bisect_search import BisectReport
from lamella.ops.bisect_state import load_state, save_state
from lamella.ops.commit import commit
from lamella.ops.evaluate import Evaluator
from lamella.ops.verdict import BAD, GOOD, SKIPPED, Criterion
from lamella.repo.repository import Repository
from lamella.testing.models import network
from tests.ops.generated_history import generate

MODEL = "model.safetensors"
ACCURACY = "echo run >>count; tail -c 4 {model} | od -An -tf4 | sed 's/^ */accuracy: /'"
"""Prints the last number of the model, and leaves a line for each run."""


def put(repository: Repository, value: float, message: str = "change", path: str = MODEL, **where: str) -> str:
    arrays = {f"h.{number}.weight": numpy.full(4, value, "f4") for number in range(3)} | {"z": numpy.ones(2, "f4")}
    arrays["z"][-1] = value
    return commit(repository, arrays, path, message, **where).commit


@pytest.fixture
def line(bench) -> Sequence[str]:
    """Commit twelve versions, of which the one with 7 in its message makes the model worse, and return them."""
    return generate(bench, [0.9 + number / 1000 - (0.2 if number >= 7 else 0) for number in range(12)])


@pytest.fixture
def search(repository, tmp_path) -> Callable[..., BisectReport]:
    """Return a function that searches."""

    def run(command: str = ACCURACY, good: str = "", bad: str = "main", **options: object) -> BisectReport:
        criterion = {name: options.pop(name) for name in ("drop", "rise", "repeat") if name in options}
        metric = options.pop("metric", "accuracy" if "drop" in criterion or "rise" in criterion else None)
        evaluator = Evaluator(command, tmp_path, None, metric, options.pop("timeout_seconds", 60.0))
        return bisect_run(repository, evaluator, Criterion(metric, **criterion), good, bad, **options)

    return run


def runs(tmp_path: Path) -> int:
    return len((tmp_path / "count").read_text().splitlines())


def by_subject(bench, cases: str) -> str:
    """Return a command that looks at the subject of the version, and leaves it behind."""
    return (
        f's=$(git -C {bench.root} log -1 --format=%s $LAMELLA_REVISION); echo "$s" >>count; case "$s" in {cases}; esac'
    )


def test_the_version_that_made_it_worse_is_found(search, line, repository, tmp_path, bench):
    steps = []
    report = search(good=line[0], drop=0.01, hear=steps.append)
    assert (report.first_bad.commit, report.first_bad.subject) == (line[7], "step 7")
    assert report.first_bad.author == "Ada Lovelace"
    assert (report.before, report.after) == (pytest.approx(0.906), pytest.approx(0.707))
    assert report.tensors == 1
    assert [file.path for file in report.files] == [MODEL]
    assert report.evaluations == runs(tmp_path) <= 5
    assert (report.versions, report.resumed, report.skipped) == (11, 0, ())
    told = [step for step in steps if step.outcome]
    assert [step.role for step in told] == [GOOD, *[""] * (len(told) - 1)]
    assert [step.steps for step in told][:2] == [4, 4]


def test_where_less_is_better_a_rise_is_bad(search, repository):
    versions = [put(repository, value) for value in (1.0, 0.8, 0.9, 1.5, 1.6)]
    assert search(good=versions[0], rise=0.1).first_bad.commit == versions[3]


def test_the_users_worktree_is_left_alone(search, line, bench):
    bench.write("note", b"mine")
    before = bench.git("status", "--porcelain"), bench.git("rev-parse", "HEAD"), bench.git("worktree", "list")
    search(good=line[0], drop=0.01)
    assert (bench.git("status", "--porcelain"), bench.git("rev-parse", "HEAD"), bench.git("worktree", "list")) == before
    assert not (bench.root / ".git/lamella/bisect-worktree").exists()


def test_without_a_metric_the_status_decides(search, line, bench, tmp_path):
    report = search(by_subject(bench, "*[0-4]) exit 0;; *) exit 1"), good=line[0], bad=line[9])
    assert report.first_bad.commit == line[5]
    assert (report.before, report.after, report.metric) == (None, None, None)
    assert report.evaluations == runs(tmp_path) <= 4


@pytest.mark.parametrize("guilty", range(1, 12))
def test_every_version_of_a_line_is_found(search, line, bench, guilty):
    cases = "|".join(f"*' {number}'" for number in range(guilty))
    assert search(by_subject(bench, f"{cases}) exit 0;; *) exit 1"), good=line[0]).first_bad.commit == line[guilty]


def test_what_is_only_believed_is_tested_where_nothing_else_came_out_so(search, line, bench, tmp_path):
    report = search(by_subject(bench, "*' 11') exit 1;; *) exit 0"), good=line[0])
    assert report.first_bad.commit == line[11]
    assert (tmp_path / "count").read_text().splitlines()[-1] == "step 11"
    (tmp_path / "count").unlink()
    report = search(by_subject(bench, "*' 0') exit 0;; *) exit 1"), good=line[0])
    assert report.first_bad.commit == line[1]
    assert (tmp_path / "count").read_text().splitlines()[-1] == "step 0"


@pytest.mark.parametrize(
    ("command", "options", "said"),
    [
        ("true", {}, "the bad version is as good"),
        ("echo accuracy: 1", {"drop": 0.1}, "the bad version is as good"),
        ("false", {}, "the good version is bad"),
    ],
)
def test_ends_that_come_out_alike_are_an_error(search, line, command, options, said):
    with pytest.raises(UsageError) as caught:
        search(command, good=line[0], **options)
    assert caught.value.kind == "ends-agree"
    assert said in caught.value.message


def test_over_branches_the_one_that_brought_it_is_found(search, repository, bench):
    base = put(repository, 0.9, "base")
    put(repository, 0.91, "left 1")
    left = put(repository, 0.92, "left 2")
    bench.git("branch", "topic", base)
    put(repository, 0.93, "right 1", branch="topic")
    guilty = put(repository, 0.5, "right 2", branch="topic")
    right = put(repository, 0.51, "right 3", branch="topic")
    tree = bench.git("rev-parse", f"{right}^{{tree}}")
    merge = bench.git("commit-tree", tree, "-p", left, "-p", right, "-m", "merge")
    assert search(good=base, bad=merge, drop=0.01).first_bad.commit == guilty
    evil = bench.git("commit-tree", tree, "-p", left, "-p", base, "-m", "evil merge")
    report = search(good=base, bad=evil, drop=0.01)
    assert report.first_bad.commit == evil
    assert report.tensors == 4


def test_only_versions_that_changed_the_model_are_looked_at(search, line, bench):
    for number in range(20):
        bench.write("text", b"%d" % number)
        bench.git("add", "text")
        bench.git("commit", "--quiet", "--message", "text")
    assert search(good=line[0], drop=0.01).versions == 11
    with pytest.raises(UsageError) as caught:
        search(good=line[-1], drop=0.01)
    assert caught.value.kind == "ends-agree"
    assert "changed model.safetensors" in caught.value.message


def test_paths_choose_the_model_and_the_suspects(search, repository, tmp_path):
    first = put(repository, 0.9, "a", "m/a.safetensors")
    put(repository, 0.9, "b", "m/b.safetensors")
    put(repository, 0.1, "a worse", "m/a.safetensors")
    guilty = put(repository, 0.1, "b worse", "m/b.safetensors")
    put(repository, 0.2, "b better", "m/b.safetensors")
    assert search(good=f"{first}", bad="main", drop=0.01, paths=["m"]).first_bad.subject == "a worse"
    report = search(good="main~3", drop=0.01, paths=["m/b.safetensors"])
    assert report.first_bad.commit == guilty
    assert report.versions == 2


def test_beside_an_older_model_the_one_that_was_named_first_is_judged(search, repository, bench):
    put(repository, 0.1, "an older one", "m/a.safetensors")
    first = put(repository, 0.9, "good", "m/z.safetensors")
    guilty = put(repository, 0.5, "bad", "m/z.safetensors")
    bench.git("rm", "--quiet", "--cached", "m/a.safetensors")
    bench.git("commit", "--quiet", "--message", "without the older one")
    put(repository, 0.4, "worse", "m/z.safetensors")
    assert search(good=first, drop=0.01, paths=["m"]).first_bad.commit == guilty


@pytest.mark.parametrize("paths", [(), ("m",)])
def test_a_model_that_was_renamed_is_followed(search, repository, bench, paths):
    first = put(repository, 0.9, "a", "m/a.safetensors")
    put(repository, 0.91, "still a", "m/a.safetensors")
    entry = bench.git("rev-parse", "HEAD:m/a.safetensors")
    bench.git("update-index", "--force-remove", "m/a.safetensors")
    bench.git("update-index", "--add", "--cacheinfo", f"100644,{entry},m/b.safetensors")
    bench.git("commit", "--quiet", "--message", "renamed")
    put(repository, 0.92, "b", "m/b.safetensors")
    guilty = put(repository, 0.5, "b worse", "m/b.safetensors")
    put(repository, 0.51, "b still", "m/b.safetensors")
    report = search(good=first, drop=0.01, paths=paths)
    assert report.first_bad.commit == guilty
    assert not report.skipped


def test_of_the_first_bad_version_only_what_was_asked_about_is_told(search, repository, bench):
    first = put(repository, 0.9, "both", "m/a.safetensors")
    put(repository, 0.9, "both", "m/ab.safetensors")
    for path in ("m/a.safetensors", "m/ab.safetensors"):
        put(repository, 0.1, "worse", path)
    bench.git("reset", "--quiet", "--soft", "HEAD~2")
    bench.git("commit", "--quiet", "--message", "both are worse")
    for paths, told in (("m/a.safetensors",), 1), (("m",), 2):
        report = search(good=first, drop=0.01, paths=paths)
        assert report.first_bad.subject == "both are worse"
        assert len(report.files) == told


def test_a_path_is_taken_letter_by_letter(search, repository):
    first = put(repository, 0.9, "start", "[ab].safetensors")
    put(repository, 0.1, "another", "a.safetensors")
    guilty = put(repository, 0.5, "worse", "[ab].safetensors")
    report = search(good=first, drop=0.01, paths=["[ab].safetensors"])
    assert (report.first_bad.commit, report.versions) == (guilty, 1)


def test_another_model_does_not_stand_in_for_one_that_is_not_there_yet(search, repository):
    put(repository, 0.1, "another", "z/other.safetensors")
    first = put(repository, 0.9, "a", "m/a.safetensors")
    versions = [first] + [put(repository, value, f"{value}", "m/a.safetensors") for value in (0.91, 0.5, 0.51)]
    assert search(good=first, drop=0.01).first_bad.commit == versions[2]
    with pytest.raises(UsageError) as caught:
        search(good=f"{first}~1", drop=0.01)
    assert caught.value.kind == "undecided"
    assert "the good version cannot be tested: it has no model file there" in caught.value.message


def test_a_good_version_without_the_model_is_said(search, repository, bench):
    base = bench.git("rev-parse", "HEAD")
    put(repository, 0.9)
    with pytest.raises(UsageError) as caught:
        search(good=base, drop=0.01)
    assert caught.value.kind == "undecided"
    assert "the good version cannot be tested: it has no model file there" in caught.value.message


def test_versions_that_cannot_be_tested_are_passed_over(search, line, bench):
    cases = "*' 4'|*' 5') exit 125;; *' '[0-6]) exit 0;; *) exit 1"
    report = search(by_subject(bench, cases), good=line[0])
    assert report.first_bad.commit == line[7]
    assert set(report.skipped) <= {line[4], line[5]}


def test_where_the_suspects_cannot_be_tested_they_are_listed(search, repository, line, bench):
    cases = "*' '[4-7]) exit 125;; *' '[0-3]) exit 0;; *) exit 1"
    with pytest.raises(UsageError) as caught:
        search(by_subject(bench, cases), good=line[0])
    assert caught.value.kind == "undecided"
    assert "one of 5" in caught.value.message
    assert all(commit[:10] in caught.value.message for commit in line[4:9])
    state, summaries = bisect_log(repository)
    assert state.answer == ""
    assert {summaries[one.commit].subject for one in state.outcomes if one.verdict.what == SKIPPED} <= {
        f"step {number}" for number in range(4, 8)
    }


def test_versions_without_their_weights_are_passed_over(search, repository, bench):
    packs, versions, made = bench.root / ".git/lamella/packs", [], []
    for value in (0.9, 0.91, 0.5, 0.4):
        there = set(packs.iterdir())
        versions.append(put(repository, value))
        made.append(set(packs.iterdir()) - there)
    for pack in made[1]:
        pack.unlink()
    with bench.repository() as anew, pytest.raises(UsageError) as caught:
        evaluator = Evaluator(ACCURACY, bench.root, None, "accuracy", 60.0)
        bisect_run(anew, evaluator, Criterion("accuracy", drop=0.01), versions[0])
    assert caught.value.kind == "undecided"
    (skipped,) = [one for one in bisect_log(repository)[0].outcomes if one.verdict.what == SKIPPED]
    assert skipped.commit == versions[1]
    assert skipped.reason.startswith(f"{MODEL}: ")


def test_versions_without_the_file_are_passed_over(search, repository, bench):
    first = put(repository, 0.9)
    bench.git("reset", "--quiet", "--hard", env={"LAMELLA_SMUDGE": "manifest"})
    bench.git("rm", "--quiet", MODEL)
    bench.git("commit", "--quiet", "--message", "gone")
    put(repository, 0.91)
    last = put(repository, 0.5)
    report = search(good=first, drop=0.01)
    assert report.first_bad.commit == last
    outcomes = bisect_log(repository)[0].outcomes
    assert [one.reason for one in outcomes if one.verdict.what == SKIPPED] in ([], ["it has no model file there"])


def test_a_good_version_that_is_not_behind_the_bad_one_is_refused(search, repository, line, bench):
    bench.git("branch", "other", line[3])
    put(repository, 0.5, branch="other")
    for good, bad, said in [
        ("other", "main", "not among those that main comes from"),
        ("main", line[3], "newer than the bad one"),
        ("main", "main", "are one version"),
    ]:
        with pytest.raises(UsageError) as caught:
            search(good=good, bad=bad, drop=0.01)
        assert caught.value.kind == "bad-argument"
        assert said in caught.value.message
        assert caught.value.hint
    with pytest.raises(UsageError) as caught:
        search(good="other", drop=0.01)
    assert line[3][:10] in caught.value.hint


@pytest.mark.parametrize(
    ("options", "kind"),
    [({"good": "nobody"}, "revision-unknown"), ({"bad": "nobody"}, "revision-unknown"),
     ({"paths": ["nothing"]}, "path-unknown"), ({"paths": ["../../x"]}, "path-outside-worktree")],
)  # fmt: skip
def test_what_names_nothing_is_refused(search, line, options, kind):
    with pytest.raises(LamellaError) as caught:
        search(**{"good": line[0], "drop": 0.1} | options)
    assert caught.value.kind == kind


def test_a_noisy_metric_is_measured_until_it_is_sure(search, line, tmp_path):
    noisy = (
        "echo run >>count; n=$(wc -l <count); tail -c 4 {model} | od -An -tf4 | "
        "awk -v n=$n '{print \"accuracy:\", $1 + (n % 3 - 1) / 1000}'"
    )
    report = search(noisy, good=line[0], drop=0.1, repeat=5)
    assert report.first_bad.commit == line[7]
    assert report.evaluations == runs(tmp_path) < 5 + 4 * 5


def test_a_command_that_harms_its_files_harms_only_itself(search, line, tmp_path, bench):
    harmful = ACCURACY + '; rm -rf "$(dirname {model})"/* ; touch "$(dirname {model})/new"'
    report = search(harmful, good=line[0], drop=0.01, repeat=3)
    assert report.first_bad.commit == line[7]
    removing = ACCURACY + '; rm -rf "$(dirname {model})"'
    assert search(removing, good=line[0], drop=0.01).first_bad.commit == line[7]


@pytest.mark.parametrize(
    ("command", "kind"),
    [("kill -SEGV $$", "command-failed"), ("exit 134", "command-failed"), ("sleep 600", "command-failed"),
     ("no-such-program; exit $?", "command-failed"),
     ("echo hello", "metric-missing"), ("echo accuracy: nan", "metric-missing")],
)  # fmt: skip
def test_what_is_no_answer_ends_the_search_and_can_be_mended(search, line, command, kind, tmp_path, bench):
    judge = tmp_path / "judge"
    judge.write_text(by_subject(bench, f"*' 0') echo accuracy: 1;; *) {command}"))
    with pytest.raises(BackendError) as caught:
        search("sh judge", good=line[0], drop=0.1, timeout_seconds=1.0)
    assert caught.value.kind == kind
    assert runs(tmp_path) == 2
    judge.write_text(by_subject(bench, "*' '[0-6]) echo accuracy: 1;; *) echo accuracy: 0"))
    report = search("sh judge", good=line[0], drop=0.1, timeout_seconds=1.0)
    assert report.first_bad.commit == line[7]
    assert report.resumed == 1
    assert report.evaluations == runs(tmp_path) - 1


@pytest.mark.parametrize("command", ["no-such-program {model}", "test 1 = 1 && ./not-one-that-can-be-run"])
def test_a_program_that_is_not_found_makes_no_version_bad(search, repository, line, tmp_path, command):
    (tmp_path / "not-one-that-can-be-run").write_text("")
    with pytest.raises(BackendError) as caught:
        search(command, good=line[0])
    assert caught.value.kind == "command-failed"
    assert not bisect_log(repository)[0].outcomes
    assert search(good=line[0], drop=0.01).first_bad.commit == line[7], "another question can be asked at once"


@pytest.mark.parametrize("guilty", [1, 2, 499, 500, 501, 998, 999])
def test_a_thousand_versions_take_at_most_eleven_evaluations(search, bench, tmp_path, guilty):
    versions = generate(bench, [0.9 - (0.1 if number >= guilty else 0) for number in range(1000)])
    report = search(good=versions[0], drop=0.01)
    assert report.first_bad.commit == versions[guilty]
    assert report.evaluations == runs(tmp_path) <= 11


def test_a_killed_search_goes_on_without_evaluating_again(search, line, bench, repository, tmp_path):
    program = (
        "import sys\nfrom pathlib import Path\nfrom lamella.repo.repository import Repository\n"
        "from lamella.ops.bisect_run import bisect_run\nfrom lamella.ops.evaluate import Evaluator\n"
        "from lamella.ops.verdict import Criterion\n"
        "evaluator = Evaluator(sys.argv[1], Path(sys.argv[2]), None, 'accuracy', 60.0)\n"
        "bisect_run(Repository.open(sys.argv[3]), evaluator, Criterion('accuracy', drop=0.01), sys.argv[4], 'main')\n"
    )
    command = f"test $(wc -l <count) -lt 3 || test -e mended || sleep 60; {ACCURACY}"
    (tmp_path / "count").write_text("")
    ours = subprocess.Popen([sys.executable, "-c", program, command, tmp_path, bench.root, line[0]])
    until = time.monotonic() + 60
    while runs(tmp_path) < 3:
        assert time.monotonic() < until
        assert ours.poll() is None
        time.sleep(0.05)
    time.sleep(0.5)
    ours.send_signal(signal.SIGKILL)
    ours.wait()
    (tmp_path / "mended").write_text("")
    state, _ = bisect_log(repository)
    assert state.evaluations == 3
    with pytest.raises(ConflictError) as caught:
        search("true", good=line[0])
    assert caught.value.kind == "bisect-unfinished"
    report = search(command, good=line[0], drop=0.01)
    assert report.first_bad.commit == line[7]
    assert report.resumed == 3
    assert report.evaluations == runs(tmp_path)
    assert bench.git("worktree", "list").count("\n") == 0


def test_a_bare_repository_is_searched_too(line, bench, tmp_path):
    bench.git("clone", "--quiet", "--bare", ".", str(tmp_path / "bare"))
    shutil.copytree(bench.root / ".git/lamella/packs", tmp_path / "bare/lamella/packs")
    evaluator = Evaluator(ACCURACY, tmp_path, None, "accuracy", 60.0)
    with Repository.open(tmp_path / "bare") as repository:
        report = bisect_run(repository, evaluator, Criterion("accuracy", drop=0.01), line[0])
    assert report.first_bad.commit == line[7]


def test_a_command_may_use_the_repository_itself(search, line, bench):
    program = Path(sys.executable).with_name("lamella")
    bench.write("own.safetensors", network("own"))
    report = search(f"{ACCURACY}; {program} -C {bench.root} add own.safetensors >added", good=line[0], drop=0.01)
    assert report.first_bad.commit == line[7]
    assert bench.git("diff", "--cached", "--name-only") == "own.safetensors"


def test_two_searches_at_once_are_refused(search, line, bench):
    def another(step):
        with pytest.raises(ConflictError) as caught:
            search(good=line[0], drop=0.01)
        assert caught.value.kind == "lock-held"
        with bench.repository() as repository, pytest.raises(ConflictError):
            bisect_reset(repository)

    search(good=line[0], drop=0.01, hear=another)


def test_a_search_that_is_over_is_told_and_forgotten(search, line, repository, bench):
    with pytest.raises(NotFoundError) as caught:
        bisect_log(repository)
    assert caught.value.kind == "bisect-none"
    assert not bisect_reset(repository)
    report = search(good=line[0], drop=0.01)
    state, summaries = bisect_log(repository)
    assert state.answer == line[7]
    assert state.evaluations == report.evaluations
    assert {summaries[one.commit].subject for one in state.outcomes} >= {"step 0", "step 7"}
    assert {one.commit: one.verdict.what for one in state.outcomes}[line[7]] == BAD
    assert search(good=line[0], drop=0.01).resumed == 0, "what is over is begun anew"
    assert bisect_reset(repository)
    assert not bisect_reset(repository)


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"version": 2}', b"[" * 100_000, b"\xff", b'{"version": 1}'])
def test_a_state_that_is_none_is_said_and_can_be_forgotten(search, line, repository, bench, text):
    search(good=line[0], drop=0.01)
    path = bench.root / ".git/lamella/bisect.json"
    path.write_bytes(text)
    with pytest.raises(FormatError) as caught:
        bisect_log(repository)
    assert caught.value.kind == "settings-malformed"
    assert "bisect reset" in caught.value.hint
    assert bisect_reset(repository)


def test_what_was_kept_is_read_as_it_was(search, line, repository, bench):
    search(good=line[0], drop=0.01, repeat=2)
    path = bench.root / ".git/lamella/bisect.json"
    text = path.read_bytes()
    save_state(repository, load_state(repository))
    assert path.read_bytes() == text
    for number in range(0, len(text), 97):
        path.write_bytes(text[:number] + b"9" + text[number + 1 :])
        try:
            load_state(repository)
        except FormatError as error:
            assert error.kind == "settings-malformed"
