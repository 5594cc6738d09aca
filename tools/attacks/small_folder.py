"""A folder of small photographs and the command that captions it, as real processes."""

import csv
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from captioning.network.shipped import SHIPPED_MODEL
from tools.attacks.killing import start

# The kinds of run, with the suffixes and flags that make them.
MODES = {
    "maps": (".jsonl", "--maps"),
    "csv": (".csv",),
    "parquet": (".parquet",),
    "sidecar": (".jsonl", "--sidecar"),
    "embed": (".csv", "--embed", "--sidecar"),
}
COUNT = 24  # photographs
# What exiftool derives from a file that it has written, and what it writes with a caption.
VOLATILE = ("SourceFile", "System:", "ExifTool:", "File:CurrentIPTCDigest", "Photoshop:IPTCDigest")
OURS = (
    *("IPTC:Caption-Abstract", "XMP-dc:Description", "IPTC:CodedCharacterSet"),
    *("IPTC:EnvelopeRecordVersion", "IPTC:ApplicationRecordVersion", "XMP-x:XMPToolkit"),
)


def draw(path: Path, seed: int) -> None:
    """A photograph of coarse noise with metadata of its own."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = f"maker {seed}", "camera"
    Image.fromarray(noise).resize((120, 80)).save(path, exif=exif)


class SmallFolder:
    """Copies of a folder of photographs, captioned by the command in one of ``MODES``.

    ``model`` is the checkpoint, that which ships by default.
    """

    def __init__(
        self, folder: Path, mode: str, model: Path = SHIPPED_MODEL, count: int = COUNT
    ) -> None:
        self.folder, self.mode, self.model = folder, mode, model
        self.suffix, *self.flags = MODES[mode]
        self.originals = folder / "originals"
        self.originals.mkdir()
        for seed in range(count):
            draw(self.originals / f"{seed:02}.jpg", seed)
        self._metadata = self.metadata(self.originals)

    def start(
        self, name: str, photos: Path | None = None, **environment: str
    ) -> "subprocess.Popen[str]":
        """Start the command on a copy of the photographs, which is made for the first run.

        ``photos`` are copied, the originals by default.
        """
        place = self.folder / name
        if not place.exists():
            shutil.copytree(photos or self.originals, place / "photos")
            (place / "tmp").mkdir()
        command = [sys.executable, "-m", "captioning", "photos", "--output", f"out{self.suffix}"]
        environment = {"TMPDIR": str(place / "tmp")} | environment
        return start([*command, *self.flags, "--model", str(self.model)], place, **environment)

    def finish(self, name: str, is_ordered: bool = True) -> dict[str, str]:
        """Run the command to its end; the digests of all files that it leaves, by their names.

        The lines of its files count in any order unless ``is_ordered``: what is tried again comes
        last.
        """
        place = self.folder / name
        status = self.start(name).wait(300)
        assert status == 0, f"a run ended with {status}: {self.log(name)[-600:]}"
        self.require_whole(name)
        self.require_all_once(name)
        files = [p for p in place.rglob("*") if p.is_file() and p.name != "log.txt"]
        kept = [path for path in files if "tmp" not in path.relative_to(place).parts]
        return {
            str(path.relative_to(place)): hashlib.sha256(content(path, is_ordered)).hexdigest()
            for path in kept
        }

    def log(self, name: str = "killed") -> str:
        """What the runs on a copy have printed."""
        return (self.folder / name / "log.txt").read_text()

    def places(self, name: str) -> tuple[Path, Path]:
        """Where the command writes."""
        return self.folder / name, self.folder / name / "photos"

    def require_whole(self, name: str) -> None:
        """Check every file with a final name by another program, and that photographs are as ever.

        Their pixels by Pillow after every kill, their other metadata by exiftool.
        """
        place = self.folder / name
        for path in place.glob("[!.]*"):
            if path.suffix in (".jsonl", ".journal"):
                content = path.read_bytes()
                assert content.endswith(b"\n") or not content, f"{path.name} ends in half a line"
                _require(path, lambda path: [json.loads(line) for line in path.open()])
            elif path.suffix in READERS:
                _require(path, READERS[path.suffix])
        for path in (place / "photos").glob("[!.]*.txt"):
            assert path.read_text().endswith(".\n"), f"{path.name} is half a caption"
        for path in (place / "photos").glob("[!.]*.jpg"):
            same = pixels(path) == pixels(self.originals / path.name)
            assert same, f"{path.name} has other pixels"
        if self.mode == "embed":
            assert self.metadata(place / "photos") == self._metadata, "metadata were changed"

    def require_all_once(self, name: str) -> None:
        """Check that each photograph is in the result once."""
        path = self.folder / name / f"out{self.suffix}"
        if self.suffix == ".jsonl":
            names = [json.loads(line)["file"] for line in path.open()]
        else:
            names = READERS[self.suffix](path)
        assert sorted(names) == sorted(os.listdir(self.originals)), f"in the result: {names}"

    def require_lines(self, name: str) -> None:
        """Check that the file of JSON lines is whole and has no photograph twice."""
        names = [json.loads(line)["file"] for line in self._lines(name)]
        assert len(set(names)) == len(names), f"in the result: {names}"

    def captions(self, name: str) -> dict[str, str]:
        """The captions in the file of JSON lines, by photographs."""
        records = [json.loads(line) for line in self._lines(name)]
        return {one["file"]: one["caption"] for one in records if not one.get("error")}

    def _lines(self, name: str) -> list[str]:
        return (self.folder / name / "out.jsonl").read_text().splitlines()

    def metadata(self, folder: Path) -> dict[str, dict[str, Any]]:
        """All metadata of the photographs but the caption's own, as exiftool reads them."""
        if self.mode != "embed":
            return {}
        command = ["exiftool", "-json", "-G1", "-a", "-ext", "jpg", str(folder)]
        read = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        ignored = (*VOLATILE, *OURS)
        return {
            Path(fields["SourceFile"]).name: {
                tag: value for tag, value in fields.items() if not tag.startswith(ignored)
            }
            for fields in json.loads(read)
        }

    def orphans(self) -> list[int]:
        """The processes that work in this folder still, some time after all runs have ended."""
        until = time.monotonic() + 10
        while (found := self._working()) and time.monotonic() < until:
            time.sleep(0.1)
        return found

    def _working(self) -> list[int]:
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                where = os.readlink(process / "cwd")
            except OSError:  # it has ended
                continue
            if where.startswith(str(self.folder)):
                found.append(int(process.name))
        return found


def content(path: Path, is_ordered: bool) -> bytes:
    """What is in a file, the lines of text sorted unless they are ordered."""
    if is_ordered or path.suffix not in (".csv", ".jsonl", ".journal"):
        return path.read_bytes()
    return b"".join(sorted(path.read_bytes().splitlines(keepends=True)))


def pixels(path: Path) -> bytes:
    """The decoded pixels of a photograph."""
    with Image.open(path) as image:
        return image.convert("RGB").tobytes()


def _read_csv(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(row["caption"] for row in rows), "a row has no caption"
    return [row["image"] for row in rows]


def _read_parquet(path: Path) -> list[str]:
    from pyarrow import parquet

    names: list[str] = parquet.read_table(io.BytesIO(path.read_bytes()))["file"].to_pylist()
    return names


READERS = {".csv": _read_csv, ".parquet": _read_parquet}


def _require(path: Path, read: Any) -> None:
    try:
        read(path)
    except Exception as error:
        raise AssertionError(f"{path.name} cannot be read: {error!r}") from None
