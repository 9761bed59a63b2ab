"""The demonstration: a small network is trained, committed, fine-tuned, merged and brought back, in about a minute.

What it prints is a shell session: comments explain, commands stand behind `$` as anybody would type them, and below
them is what they really answered. Anything that is not as the comments say ends it with a failure.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

# One thread sums in one order, so that every run trains the same network; read when NumPy is imported.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

try:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier
except ImportError:
    sys.exit("the demonstration trains with scikit-learn: run it as `make demo`, which installs it")

import numpy as np

import lamella
from lamella.core.dtypes import dtype_named
from lamella.core.tensors import TensorSpec
from lamella.formats.file import BytesFile
from lamella.formats.safetensors.header import build_header
from lamella.formats.safetensors.reader import SafetensorsFormat

FOLDER = Path(__file__).parent.parent / "demo-run"
MODEL = Path("model.safetensors")
LAYERS = ("hidden1", "hidden2", "output")
WIDTHS = (1024, 512)
BATCH = 64
COLUMNS = 100
MEBIBYTE = 1 << 20
SCORE = re.compile(r"([\d.]+)% right")
PERSON = {"NAME": "Ada Lovelace", "EMAIL": "ada@example.org"}
MOVED = """\
import lamella
import numpy

with lamella.Repo.open() as repo:
    before = repo.snapshot("HEAD~1", "model.safetensors")
    after = repo.snapshot("HEAD", "model.safetensors")
    for name in after:
        print(f"{name:15} moved by {numpy.abs(after[name] - before[name]).mean():.6f}")
"""

Array: TypeAlias = "np.ndarray[Any, Any]"
Weights: TypeAlias = dict[str, Array]


class DemoError(Exception):
    """Something did not come out as promised."""


# --- the session ------------------------------------------------------------------------------------------------------


def prepare_environment() -> None:
    """Let commands see the programs of this Python first, and nothing of the user's own Git."""
    for name in [name for name in os.environ if name.startswith(("GIT_", "LAMELLA_"))]:
        del os.environ[name]
    os.environ.update(
        {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER") for what, value in PERSON.items()}
    )
    os.environ.update(GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_NOSYSTEM="1", LC_ALL="C.UTF-8")
    os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))


def bold(text: str) -> str:
    """Return `text` in bold where somebody looks at a terminal."""
    return f"\033[1m{text}\033[0m" if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else text


def say(text: str) -> None:
    """Print an explanation as a comment."""
    print()
    for line in textwrap.wrap(text, COLUMNS - 2):
        print(f"# {line}")


def run(command: str) -> None:
    """Print a command and what it answers; raise DemoError where it fails."""
    print(bold(f"$ {command}"), flush=True)
    answer = subprocess.run(shlex.split(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    print(answer.stdout.decode(), end="", flush=True)
    if answer.returncode:
        raise DemoError(f"`{command}` ended with exit code {answer.returncode}")


def ask(command: str) -> str:
    """Return what a command answers, without showing either."""
    return subprocess.run(shlex.split(command), capture_output=True, check=True).stdout.decode()


def check(holds: bool, sentence: str) -> None:
    """Print a sentence that holds; raise DemoError where it does not."""
    if not holds:
        raise DemoError(f"it is not so that {sentence}")
    print(f"# checked: {sentence}")


# --- the network ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Digits:
    """Images of handwritten digits, 64 pixels each, and which digit each is."""

    images: Array
    labels: Array

    def only(self, chosen: Sequence[int]) -> Digits:
        """Return those that show one of the `chosen` digits."""
        mask = np.isin(self.labels, chosen)
        return Digits(self.images[mask], self.labels[mask])


def load_digits_to_train_and_test() -> tuple[Digits, Digits]:
    """Return seven tenths of scikit-learn's digits to train with and the rest to test with."""
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32)
    split = train_test_split(images, labels, test_size=0.3, random_state=0, stratify=labels)
    return Digits(split[0], split[2]), Digits(split[1], split[3])


def train(weights: Weights | None, data: Digits, epochs: int, *, layers: Sequence[str] = LAYERS) -> Weights:
    """Return what `epochs` of gradient descent make of `weights` (None: of random ones), all other `layers` frozen."""
    network = MLPClassifier(WIDTHS, solver="sgd", learning_rate_init=0.1, momentum=0.0, random_state=0)
    network.partial_fit(data.images[:1], data.labels[:1], classes=range(10))
    if weights is not None:
        network.coefs_ = [weights[f"{layer}.weight"].copy() for layer in LAYERS]
        network.intercepts_ = [weights[f"{layer}.bias"].copy() for layer in LAYERS]
    parameters: Weights = {}
    for layer, kernel, bias in zip(LAYERS, network.coefs_, network.intercepts_, strict=True):
        parameters |= {f"{layer}.weight": kernel, f"{layer}.bias": bias}
    frozen = {name: array.copy() for name, array in parameters.items() if name.split(".")[0] not in layers}
    order = np.random.default_rng(0)
    for _ in range(epochs):
        for batch in np.array_split(order.permutation(len(data.labels)), len(data.labels) // BATCH):
            network.partial_fit(data.images[batch], data.labels[batch])
            for name, array in frozen.items():
                parameters[name][...] = array
    return parameters


def accuracy(weights: Weights, data: Digits) -> float:
    """Return the share of `data` that a network with these weights gets right."""
    signal = data.images
    for layer in LAYERS:
        signal = signal @ weights[f"{layer}.weight"] + weights[f"{layer}.bias"]
        if layer != LAYERS[-1]:
            signal = np.maximum(signal, 0)
    return float(np.mean(signal.argmax(axis=1) == data.labels))


# --- its file ---------------------------------------------------------------------------------------------------------


def save(weights: Weights) -> None:
    """Write the model as a safetensors file."""
    specs = [TensorSpec(name, dtype_named("f32"), array.shape) for name, array in weights.items()]
    MODEL.write_bytes(build_header(specs) + b"".join(array.astype("<f4").tobytes() for array in weights.values()))


def load() -> Weights:
    """Read the model file of the worktree."""
    data = MODEL.read_bytes()
    return {
        span.spec.name: np.frombuffer(data, "<f4", span.spec.nbytes // 4, span.offset).reshape(span.spec.shape)
        for span in SafetensorsFormat().layout(BytesFile(data)).tensors
    }


def digest() -> str:
    """Return the SHA-256 of the model file of the worktree."""
    return hashlib.sha256(MODEL.read_bytes()).hexdigest()


# --- the chapters -----------------------------------------------------------------------------------------------------


class Demo:
    """The demonstration, one method a chapter."""

    def __init__(self) -> None:
        self.training, self.test = load_digits_to_train_and_test()
        self.digests: dict[str, str] = {}

    def version(self, weights: Weights, what: str) -> None:
        """Save the network and commit it."""
        save(weights)
        run(f"lamella add {MODEL}")
        self.commit(what)

    def commit(self, what: str) -> None:
        """Commit what is staged with the accuracy of the file in the worktree, and remember the file's digest."""
        run(f"lamella commit -qm '{what}: {accuracy(load(), self.test):.2%} right'")
        self.digests[ask("git rev-parse HEAD").strip()] = digest()

    def set_up(self) -> None:
        """Make the repository."""
        say(
            "A new repository. `lamella init` tells Git to pass model files through Lamella, in this repository only; "
            "`track` says which files those are."
        )
        Path("moved.py").write_text(MOVED)
        run("git init --quiet --initial-branch=main")
        run("lamella init --quiet")
        run("lamella track '*.safetensors'")
        run("lamella add .")
        run("lamella commit -qm 'keep models with lamella'")

    def train_and_commit(self) -> None:
        """Commit a version every three epochs."""
        say(
            "Train a network of 64, 1024, 512 and 10 units on handwritten digits, and commit it every three epochs "
            "with the share of the test digits that it gets right. A version takes what it changed: the first one is "
            "stored alone, the others as differences."
        )
        weights: Weights | None = None
        for epoch in range(3, 18, 3):
            weights = train(weights, self.training, 3)
            self.version(weights, f"epoch {epoch}")

    def fine_tune(self) -> None:
        """Change the last layer on a branch, and the first one on main."""
        say(
            "Fine-tune the last layer on a branch, with the digits from 5 to 9 alone. The layers below are the same "
            "objects as before, so this version takes a hundredth of the file."
        )
        run("lamella switch -c fives-to-nines")
        high = range(5, 10)
        self.version(train(load(), self.training.only(high), 3, layers=["output"]), "last layer on 5 to 9")
        say("What did that change? Git has the history, so any two versions can be compared without decoding either.")
        run("lamella diff main fives-to-nines")
        share, before = (accuracy(weights, self.test.only(high)) for weights in (load(), self.weights_at("main")))
        say(f"Of the digits from 5 to 9 it now gets {share:.2%} right, and {before:.2%} before.")
        say("Meanwhile, somebody trains the first layer on main.")
        run("lamella switch main")
        self.version(train(load(), self.training, 3, layers=["hidden1"]), "first layer, 3 epochs more")

    def merge(self) -> None:
        """Merge both with plain Git."""
        say(
            "Plain Git works on model files too. The two sides changed different tensors, so Git merges them by "
            "itself, and the file in the worktree is the merged network. Whether it is a good one is then measured."
        )
        run("git merge --no-commit fives-to-nines")
        ours, theirs, merged = self.weights_at("main"), self.weights_at("fives-to-nines"), load()
        expected = {name: (theirs if name.startswith("output") else ours)[name] for name in merged}
        same = all(np.array_equal(merged[name], array) for name, array in expected.items())
        check(same, "the file has main's hidden layers and the branch's last layer, bit for bit")
        self.commit("merge fives-to-nines")

    def look(self) -> None:
        """Look at the history, at one version, and at arrays."""
        say("The history, with what each commit changed:")
        run("lamella log --oneline")
        run("lamella ls-files")
        run(f"lamella show HEAD:{MODEL}")
        say("From Python, any version is a mapping from names to arrays; each is read when it is asked for.")
        run("cat moved.py")
        run("python moved.py")

    def undo(self) -> None:
        """Ruin the file and get it back."""
        say("An accident: an epoch with shuffled labels, and the file is already overwritten.")
        before = digest()
        shuffled = np.random.default_rng(0).permutation(self.training.labels)
        save(train(load(), Digits(self.training.images, shuffled), 1))
        say(f"The network now gets {accuracy(load(), self.test):.2%} right.")
        run("lamella status")
        run(f"lamella restore {MODEL}")
        check(digest() == before, "the file is the committed one again, by its SHA-256")

    def go_back(self) -> None:
        """Find the best version and return to it."""
        say("Which version was the best? The messages say it, and every log has a form for programs.")
        entries = [json.loads(line) for line in ask("lamella log --json").splitlines()]
        scores = {entry["commit"]: float(found[1]) for entry in entries if (found := SCORE.search(entry["message"]))}
        best = max(scores, key=lambda commit: scores[commit])
        run(f"lamella tag best {best[:10]}")
        run(f"lamella checkout best -- {MODEL}")
        check(digest() == self.digests[best], f"the file has the SHA-256 it was committed with, {digest()[:16]}...")
        share = accuracy(load(), self.test)
        check(f"{share:.2%}" == f"{scores[best]:.2f}%", f"its network gets {share:.2%} of the test digits right again")
        self.commit("back to the best")

    def finish(self) -> None:
        """Compare the sizes and check everything."""
        versions = len(set(self.digests.values()))
        raw = versions * MODEL.stat().st_size
        stored = sum(path.stat().st_size for path in Path(".git/lamella/packs").iterdir())
        say(f"What it takes: {versions} different files of {MODEL.stat().st_size / MEBIBYTE:.1f} MiB each.")
        print(f"as files    {raw / MEBIBYTE:5.1f} MiB")
        print(f"in store    {stored / MEBIBYTE:5.1f} MiB, {stored / raw:.0%} of the files")
        say("Every version comes back as it was, every stored byte is sound, and nothing is left over.")
        back = all(self.digest_at(commit) == expected for commit, expected in self.digests.items())
        check(back, f"all {len(self.digests)} commits give files with the SHA-256 they were made from")
        run("lamella fsck")
        run("git status")
        check(not ask("git status --porcelain"), "the worktree is clean")

    @staticmethod
    def weights_at(revision: str) -> Weights:
        """Return the weights of a revision, through the Python interface."""
        with lamella.Repo.open() as repository:
            return dict(repository.snapshot(revision, str(MODEL)))

    @staticmethod
    def digest_at(commit: str) -> str:
        """Check a commit out beside the worktree's branch and return the SHA-256 of its file."""
        ask(f"lamella checkout --quiet --detach {commit}")
        found = digest()
        ask("lamella switch --quiet main")
        return found


def main() -> int:
    """Play all chapters and return the exit code."""
    began = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    os.chdir(FOLDER)
    prepare_environment()
    demo = Demo()
    chapters = (
        demo.set_up, demo.train_and_commit, demo.fine_tune, demo.merge, demo.look, demo.undo, demo.go_back, demo.finish,
    )  # fmt: skip
    try:
        for chapter in chapters:
            chapter()
    except DemoError as failure:
        print(f"\nTHE DEMONSTRATION FAILED: {failure}", flush=True)
        return 1
    say(f"Done in {time.monotonic() - began:.0f} seconds. The repository stays in {FOLDER.name}/ to be looked at.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
