"""What is no ordinary file, or does not stay as it is, by the names of photographs."""

import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.attacks.valid_photos import real

SPARSE = 20 << 30  # bytes that a file claims and the disk does not hold
_DEVICES = ("zero", "full", "random", "urandom", "null", "tty", "stdin")
_PROCESS = ("self/mem", "self/environ", "self/maps", "self/exe", "self/fd/0", "self/cwd")
_SYSTEM = ("kcore", "version", "kallsyms", "sys/vm/compact_memory")


def special_files(folder: Path) -> list[Path]:
    """Make them in a folder; returns their paths. None can be read as a photograph."""
    folder.mkdir()
    (folder / "folder.jpg").mkdir()
    os.mkfifo(folder / "fifo.jpg")
    with socket.socket(socket.AF_UNIX) as one:
        here = os.open(folder, os.O_RDONLY)  # the path of a socket must be short
        try:
            one.bind(f"/proc/self/fd/{here}/socket.jpg")
        finally:
            os.close(here)
    links = {
        "loop.jpg": "loop.jpg",
        "ping.jpg": "pong.jpg",
        "pong.jpg": "ping.jpg",
        "dangling.jpg": "nothing.jpg",
        "to_folder.jpg": "folder.jpg",
        "to_fifo.jpg": "fifo.jpg",
        "above.jpg": "..",
        "long.jpg": "a" * 300,
    }
    links |= {f"device_{name}.jpg": f"/dev/{name}" for name in _DEVICES}
    for name in (*_PROCESS, *_SYSTEM):
        links[f"proc_{name.replace('/', '_')}.jpg"] = f"/proc/{name}"
    for name, target in links.items():
        (folder / name).symlink_to(target)
    for suffix, data in real().items():
        with (folder / f"sparse{suffix}").open("wb") as file:
            file.write(data[:2000])
            file.truncate(SPARSE)
    return sorted(folder.iterdir())


@contextmanager
def changing(path: Path, suffix: str) -> Iterator[None]:
    """A file that grows, shrinks and is replaced, as quickly as a thread can, while it is read."""
    data = real()[suffix]
    path.write_bytes(data)
    ended = threading.Event()

    def change() -> None:
        step = 0
        while not ended.is_set():
            step += 1
            with path.open("r+b") as file:
                file.truncate(len(data) * (step % 5) // 4)
            with path.open("ab") as file:
                file.write(data[: 1 + step % 997])
            other = path.with_name("other")
            shutil.copyfile(path, other)
            other.write_bytes(data)
            other.replace(path)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
