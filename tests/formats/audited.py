"""A process that looks at gadgets, and adds them, and is told of all that the interpreter does meanwhile."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lamella.core.errors import FormatError
from lamella.formats.file import BytesFile
from lamella.formats.torch.archive import TorchZipFormat
from lamella.formats.torch.legacy import TorchLegacyFormat
from lamella.ops.add import add
from lamella.repo.repository import Repository
from tests.formats.gadgets import gadgets
from tests.formats.torch_writer import archive, legacy, mapping, name, tensor

HARMLESS = frozenset(
    {
        *("open", "os.listdir", "os.scandir", "os.mkdir", "os.rename", "os.remove", "os.link", "os.utime", "os.chmod"),
        *("os.truncate", "fcntl.flock", "fcntl.fcntl", "time.sleep", "sqlite3.connect", "sqlite3.connect/handle"),
        *("array.__new__", "builtins.id", "sys._getframe", "object.__getattr__", "_thread.start_new_thread"),
        *("_thread.start_joinable_thread", "signal.pthread_sigmask"),
    }
)
"""What Lamella does with files, locks and threads."""

FORMATS = {".pt": (TorchZipFormat(), archive), ".pth": (TorchLegacyFormat(), legacy)}


def is_git(event: str, args: tuple[object, ...]) -> bool:
    """Say whether a process is started as Lamella starts Git, or one that was started is ended."""
    if event == "os.kill":
        return args[0] != 0
    return event == "subprocess.Popen" and args[0] == "env" and "core.fsync=all" in list(args[1])


def files() -> dict[str, bytes]:
    """Return every gadget in both kinds of files, by file names."""
    made = {}
    for number, (value, _) in enumerate(gadgets().values()):
        made[f"{number}.pt"] = archive(value, {"0": bytes(8)})
        made[f"{number}.pth"] = legacy(value, {"0": (2, bytes(8))})
    return made


def looked_at(path: str, data: bytes) -> list[str] | None:
    """Return the foreign names that a reader finds; None for a file that it refuses."""
    reader, _ = FORMATS[Path(path).suffix]
    assert reader.sniff(data[:4096], len(data))
    try:
        reader.metadata(BytesFile(data))
        return list(reader.layout(BytesFile(data)).foreign)
    except FormatError:
        return None


def main() -> None:
    """Look at every gadget in the repository of the current folder, and print what was found and what was done."""
    given = files()
    views = {"a": tensor("0", (2, 2)), "b": tensor("0", (2, 2), (1, 2), numel=4), "c": name("no", "code")}
    Path("warm.pt").write_bytes(archive(mapping(views), {"0": bytes(16)}))
    for path, data in given.items():
        Path(path).write_bytes(data)
    done: list[str] = []

    def hook(event: str, args: tuple[object, ...]) -> None:
        if event not in HARMLESS and not is_git(event, args):
            done.append(f"{event} {args!r}"[:200])

    with Repository.open(Path()) as repository:
        add(repository, ["warm.pt"])
        looked_at("warm.pt", Path("warm.pt").read_bytes())
        sys.addaudithook(hook)
        found = {path: looked_at(path, data) for path, data in given.items()}
        alone = list(done)
        reports = {str(one.path): list(one.foreign) for one in add(repository, sorted(given)).files}
    compile("1", "alive", "eval")
    sys.stdout.write(json.dumps({"found": found, "reported": reports, "alone": alone, "done": done}))


if __name__ == "__main__":
    main()
