"""The pictures of docs/guide/diff.md: pages that `lamella diff --html` writes, seen by Chromium.

python scripts/make_guide_pictures.py BEFORE AFTER, two versions of the encoder that the first picture shows
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "docs" / "images"
GOLDEN = ROOT / "tests" / "golden" / "graphs"
WIDTH = 1100


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture, the two files that it compares, and how many pixels of the page it shows."""

    name: str
    before: Path
    after: Path
    height: int


def pictures(before: Path, after: Path) -> tuple[Picture, ...]:
    """Return the pictures of the guide; `before` and `after` are the encoder's."""
    onnx, keras = GOLDEN / "onnx", GOLDEN / "keras"
    return (
        Picture("diff-encoder", before, after, 1040),
        Picture("diff-activations", onnx / "gelu.onnx", onnx / "tanh.onnx", 1300),
        Picture("diff-renamed", onnx / "gelu.onnx", onnx / "renamed.onnx", 1300),
        Picture("diff-inserted", keras / "network.keras", keras / "inserted.keras", 1120),
    )


def draw(picture: Picture, folder: Path) -> None:
    """Write the page of one comparison, and what a browser shows of it."""
    for path in (picture.before, picture.after):
        shutil.copy(path, folder)
    page = folder / f"{picture.name}.html"
    sides = picture.before.name, picture.after.name
    lamella = Path(sys.executable).with_name("lamella")
    subprocess.run([lamella, "diff", "--no-index", *sides, "--html", page.name], cwd=folder, check=True)
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("no Chromium is installed")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=3000"]
    size = f"--window-size={WIDTH},{picture.height}"
    target = f"--screenshot={PICTURES / picture.name}.png"
    subprocess.run([browser, *options, size, target, f"file://{page}"], capture_output=True, check=True)


def main(arguments: list[str]) -> int:
    """Make every picture."""
    before, after = map(Path, arguments)
    with tempfile.TemporaryDirectory() as folder:
        for picture in pictures(before.absolute(), after.absolute()):
            draw(picture, Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
