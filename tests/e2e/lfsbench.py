"""A repository as Git LFS leaves it, made with a filter of three lines that does what Git LFS does."""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path

from lamella.ops.init import init
from tests.e2e.workbench import PROGRAM, Workbench

ATTRIBUTES = "*.safetensors filter=lfs diff=lfs merge=lfs -text\n"

FILTER = """\
set -e
objects=$(git rev-parse --absolute-git-dir)/lfs/objects
if [ "$1" = clean ]; then
    mkdir -p "$objects"; cat >"$objects/incoming"
    digest=$(sha256sum <"$objects/incoming" | cut -c -64); length=$(($(wc -c <"$objects/incoming")))
    folder=$objects/$(echo "$digest" | cut -c -2)/$(echo "$digest" | cut -c 3-4)
    mkdir -p "$folder"; mv "$objects/incoming" "$folder/$digest"
    printf 'version https://git-lfs.github.com/spec/v1\\noid sha256:%s\\nsize %s\\n' "$digest" "$length"
else
    digest=$(sed -n 's/^oid sha256://p')
    cat "$objects/$(echo "$digest" | cut -c -2)/$(echo "$digest" | cut -c 3-4)/$digest"
fi
"""


def pointer(content: bytes) -> bytes:
    """Return the pointer that stands for `content`."""
    digest = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n".encode()


def lfs_object(bench: Workbench, content: bytes) -> Path:
    """Return where the file with this content is kept."""
    digest = hashlib.sha256(content).hexdigest()
    return bench.root / ".git/lfs/objects" / digest[:2] / digest[2:4] / digest


def lfs_bench(root: Path) -> Workbench:
    """Return a repository at `root` in which the filter of Git LFS keeps `*.safetensors`, and Lamella is set up."""
    bench = Workbench(root)
    init(root, shlex.quote(PROGRAM))
    script = root.parent / "lfs-filter"
    script.write_text(FILTER)
    for side in ("clean", "smudge"):
        bench.git("config", f"filter.lfs.{side}", f"sh {shlex.quote(str(script))} {side}")
    bench.write(".gitattributes", ATTRIBUTES.encode())
    bench.git("add", ".gitattributes")
    bench.git("commit", "--quiet", "--message", "start")
    return bench


def keep(bench: Workbench, files: dict[str, bytes], message: str = "change") -> str:
    """Commit files as a user of Git LFS does, and return the commit."""
    for path, content in files.items():
        bench.write(path, content)
    bench.git("add", "--all")
    bench.git("commit", "--quiet", "--allow-empty", "--message", message)
    return bench.git("rev-parse", "HEAD")
