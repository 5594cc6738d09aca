"""Memory and pictures per second of captioning folders, as curves.

python -m tools.folders                 1,000 and 10,000 photographs (a data set's, repeated)
python -m tools.folders --stub 1000000  a million empty files and no network: a stub

Each folder is captioned by a process of its own, which is watched while it runs. The figures go to
docs/folders.json, the curves to docs/pictures/folders.png.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from captioning.files import write_text
from captioning.plots import save_figure
from tools.timing import processor

IMAGES = Path("flickr8k/Flickr8k_Subset/Images")
RESULT = Path("docs/folders")
PER_FOLDER = 10_000  # files: more in one folder make some file systems slow
EVERY = 0.5  # seconds between samples
KEPT = 100  # samples of each run that are written
# The command's own code with a captioner that reads nothing and always says the same.
STUB = """
import sys
from pathlib import Path
import numpy as np
from captioning.batch.folder import FolderConfig, FolderRun
from captioning.batch.sources import Listing, find
from captioning.inference.captioner import Caption

words = tuple("a brown dog is running through the tall grass".split())
maps = np.full((len(words), 7, 7), 1 / 49, np.float32)
chances = (0.5,) * len(words)

class Stub:
    def stream(self, photos, **settings):
        for photo in photos:
            yield Caption(photo, " ".join(words), words, maps, chances, 0.1, 0.5, -1.0, ())

folder, output = sys.argv[1:]
pictures = find([folder], Listing(recursive=True, relative=True), bytes).pictures
FolderRun(FolderConfig(Path(output), "stub"), print).run(Stub, pictures)
"""


class Sample(NamedTuple):
    """How far a process was at a moment."""

    seconds: float
    pictures: int
    megabytes: float


def fill(folder: Path, count: int, images: Sequence[Path]) -> None:
    """Make a folder of ``count`` pictures that repeat ``images``, or of empty files."""
    sources = cycle(images or [None])
    for number, source in zip(range(count), sources, strict=False):
        path = folder / f"{number // PER_FOLDER:03}" / f"{number:07}.jpg"
        if number % PER_FOLDER == 0:
            path.parent.mkdir(parents=True)
        if source is None:
            path.touch()
        else:
            shutil.copyfile(source, path)


def watch(command: Sequence[str], output: Path) -> list[Sample]:
    """Run a command that writes JSON lines, and sample it; raises CalledProcessError."""
    samples, started, read, lines = [], time.perf_counter(), 0, 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            time.sleep(EVERY)
            if output.exists():
                with open(output, "rb") as file:
                    file.seek(read)
                    while block := file.read(1 << 24):
                        lines, read = lines + block.count(b"\n"), read + len(block)
            if (resident := megabytes(process.pid)) > 0:
                samples.append(Sample(time.perf_counter() - started, lines, resident))
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return samples


def megabytes(pid: int) -> float:
    """The resident memory of a process; 0 when it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure(count: int, images: Sequence[Path]) -> dict[str, Any]:
    """Caption a folder of ``count`` pictures, with a stub where there are no images."""
    with tempfile.TemporaryDirectory() as temporary:
        folder, output = Path(temporary) / "photos", Path(temporary) / "captions.jsonl"
        fill(folder, count, images)
        command = [sys.executable, "-m", "captioning", "-r", str(folder), "--output", str(output)]
        if not images:
            command = [sys.executable, "-c", STUB, str(folder), str(output)]
        samples = watch(command, output)
        records = output.read_bytes().count(b"\n") if count < 100_000 else samples[-1].pictures
    name = f"{count:,} photographs" if images else f"{count:,} empty files and a stub engine"
    result = {"name": name, "count": count, "records": records, "samples": thin(samples)}
    print(describe(result), flush=True)
    return result


def thin(samples: Sequence[Sample]) -> list[Sample]:
    """Some of the samples, the last one and that of the highest memory among them."""
    step = max(1, len(samples) // KEPT)
    highest = max(samples, key=lambda sample: sample.megabytes)
    return sorted({*samples[::step], samples[-1], highest})


def describe(result: dict[str, Any]) -> str:
    """One line: how fast in all, and the memory at the beginning and at its highest."""
    samples = [Sample(*sample) for sample in result["samples"]]
    begun = [sample for sample in samples if sample.pictures]
    seconds = begun[-1].seconds - begun[0].seconds
    rate = (begun[-1].pictures - begun[0].pictures) / seconds if seconds else 0.0
    peak = max(sample.megabytes for sample in samples)
    return (
        f"{result['name']}: {rate:,.1f} pictures per second; memory {begun[0].megabytes:,.0f} MB "
        f"at the first captions, {peak:,.0f} MB at most"
    )


def draw(results: Sequence[dict[str, Any]]) -> Figure:
    """Memory and speed against the number of pictures that are done."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    memory, speed = figure.subplots(1, 2)
    for result in results:
        samples = [Sample(*each) for each in result["samples"] if each[1]]
        done = [sample.pictures for sample in samples]
        memory.plot(done, [sample.megabytes for sample in samples], label=result["name"])
        step = max(1, len(samples) // 40)
        parts = list(zip(samples[::step], samples[step::step], strict=False))
        # Captions come a batch at a time: between two samples there may be none.
        parts = [(a, b) for a, b in parts if b.pictures > a.pictures]
        speed.plot(
            [after.pictures for _, after in parts],
            [(b.pictures - a.pictures) / (b.seconds - a.seconds) for a, b in parts],
            label=result["name"],
        )
    for axes, title in ((memory, "resident memory, MB"), (speed, "pictures per second")):
        axes.set(title=title, xlabel="pictures done", xscale="log", yscale="log")
        axes.grid(alpha=0.3)
    memory.set(yscale="linear")
    memory.set_ylim(bottom=0)
    memory.legend(frameon=False, fontsize=8)
    return figure


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.folders",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--images", type=Path, default=IMAGES, help="folder of photographs (default: %(default)s)")
    add("--counts", type=int, nargs="*", default=[1000, 10_000], help="sizes of the folders")
    add("--stub", type=int, nargs="*", default=[], help="sizes of folders of empty files")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is asked for, beside what was measured before on this machine."""
    flags = make_parser().parse_args(arguments)
    path = RESULT.with_suffix(".json")
    content: dict[str, Any] = {
        "processor": processor(),
        "python": platform.python_version(),
        "results": [],
    }
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        content = found if found["processor"] == content["processor"] else content
    results = {result["name"]: result for result in content["results"]}
    images = sorted(path for path in flags.images.iterdir() if path.is_file())
    runs = [(count, images) for count in flags.counts] + [(count, []) for count in flags.stub]
    for count, sources in runs:
        result = measure(count, sources)
        results[result["name"]] = result
    content["results"] = list(results.values())
    write_text(path, json.dumps(content) + "\n")
    save_figure(draw(content["results"]), RESULT.with_suffix(".png"))


if __name__ == "__main__":
    main()
