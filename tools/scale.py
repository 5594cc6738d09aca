"""What a cluster takes for millions of pictures: python -m tools.scale

python -m tools.scale               measures captioning on Ray, then simulates a cluster
python -m tools.scale --simulate    only the simulation; the other figures stay

The figures go to docs/scale.json, and from there into docs/scale.md. The simulation runs the real
command on Ray's own scheduler, with several machines of Ray on this one and a stub in the model's
place, which sleeps: it says what stragglers and lost machines cost, not how fast captioning is.
"""

import argparse
import json
import math
import os
import platform
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captioning.batch.cluster import import_ray
from captioning.batch.cluster_actor import ActorConfig, CaptionActor
from captioning.batch.cluster_run import ClusterConfig, ClusterRun
from captioning.batch.cluster_sources import ClusterSources, Item
from captioning.data.caption_files import read_captions
from captioning.data.splits import split_photographs
from captioning.errors import CaptioningError
from captioning.evaluation.markdown import paragraph
from captioning.files import write_text
from captioning.inference.engine_config import EngineConfig
from tools.bench_cluster import FOLDER, Speeds, cost, measure
from tools.marks import with_part
from tools.timing import processor

ROOT = Path(__file__).resolve().parents[1]
RESULT, DOCUMENT = ROOT / "docs" / "scale.json", ROOT / "docs" / "scale.md"
DATA = Path("flickr8k/Flickr8k_Subset")
PLANNED = 10_000_000  # pictures
CORES = (16, 128, 1024)  # of a whole cluster

MACHINES, ACTORS = 4, 2  # of the simulated cluster, and on each of its machines
PICTURES = 6000
SECONDS = 0.05  # that the stub sleeps for a picture, on average
SPREAD = 0.5  # of the logarithm of that
SLOW = 4.0  # times as long, on a machine that is slow
_SLOWNESS = "CAPTIONING_STUB_SLOWNESS"


@dataclass(frozen=True)
class Scenario:
    """What happens to the simulated cluster: some machines are slow, some are lost half-way."""

    name: str
    slow: int = 0
    lost: int = 0


SCENARIOS = (
    Scenario("nothing happens"),
    Scenario(f"1 machine of {MACHINES} is {SLOW:g} times slower", slow=1),
    Scenario(f"1 machine of {MACHINES} is lost half-way", lost=1),
    Scenario("both, on different machines", slow=1, lost=1),
)


class StubActor(CaptionActor):
    """Sleeps in place of captioning."""

    def load(self) -> Any:
        """No captioner; the seconds of each picture are drawn."""
        self.slowness = float(os.environ.get(_SLOWNESS, "1"))
        self.random = random.Random(os.getpid())
        return None

    def records(self, pictures: list[Any]) -> list[dict[str, Any]]:
        """Rows of pictures that nobody has looked at."""
        mean = math.log(SECONDS) - SPREAD**2 / 2
        drawn = (self.random.lognormvariate(mean, SPREAD) for _ in pictures)
        time.sleep(self.slowness * sum(drawn) if self.config.beam is None else 0)
        made = {"caption": "a stub", "confidence": 1.0, "model": self.config.digest}
        return [{"file": picture.name, **made} for picture in pictures]


class Simulated(ClusterRun):
    """The command's run with the stub, which notes when rows came."""

    actor = StubActor

    def __init__(self, config: ClusterConfig) -> None:
        super().__init__(config, lambda text: None)
        self.came: list[tuple[float, int]] = []  # when, and how many rows until then
        self.half = threading.Event()

    def keep(self, table: Any, parts: Any) -> int:
        """Keep rows, and note the time."""
        rows = super().keep(table, parts)
        total = rows + (self.came[-1][1] if self.came else 0)
        self.came.append((time.monotonic(), total))
        if total >= PICTURES / 2:
            self.half.set()
        return rows


def simulate(scenario: Scenario) -> dict[str, Any]:
    """Run the command on a cluster of which machines are slow or lost."""
    import_ray()
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        machines = [
            cluster.add_node(
                num_cpus=ACTORS,
                object_store_memory=100_000_000,
                env_vars={_SLOWNESS: str(SLOW if number < scenario.slow else 1)},
            )
            for number in range(MACHINES)
        ]
        with tempfile.TemporaryDirectory() as folder:
            run = Simulated(_config(cluster.address, Path(folder, "captions")))
            doomed = machines[MACHINES - scenario.lost :]
            killer = threading.Thread(target=_kill, args=(cluster, doomed, run.half))
            killer.start()
            summary = run.run(_sources(PICTURES))
            run.half.set()
            killer.join()
    finally:
        cluster.shutdown()  # type: ignore[no-untyped-call]
    (first, rows), (last, _) = run.came[0], run.came[-1]
    best = ideal(scenario, PICTURES - rows)
    result = {
        "pictures": summary.captioned,
        "failed": summary.failed,
        "seconds": round(last - first, 1),
        "at best": round(best, 1),
        "ratio": round((last - first) / best, 2),
    }
    print(scenario.name, result, flush=True)
    return result


def _kill(cluster: Any, machines: Sequence[Any], when: threading.Event) -> None:
    when.wait()
    for machine in machines:
        cluster.remove_node(machine, allow_graceful=False)


def ideal(scenario: Scenario, pictures: int) -> float:
    """The seconds that pictures take where no actor ever waits and nothing is done twice."""
    quick, slow = MACHINES - scenario.slow, scenario.slow
    before = ACTORS * (quick + slow / SLOW) / SECONDS  # pictures a second
    after = ACTORS * (quick - scenario.lost + slow / SLOW) / SECONDS
    return pictures / 2 / before + pictures / 2 / after


def driver_speed() -> float:
    """The rows a second that the command itself can take from actors that do nothing."""
    with tempfile.TemporaryDirectory() as folder:
        # To a stub a beam means not to sleep.
        run = Simulated(_config("local", Path(folder, "captions"), beam=1))
        run.run(_sources(10 * PICTURES))
    (first, rows), (last, every) = run.came[0], run.came[-1]
    speed = (every - rows) / (last - first)
    print(f"without work: {speed:,.0f} pictures a second", flush=True)
    return round(speed)


def _config(address: str, output: Path, beam: int | None = None) -> ClusterConfig:
    running = EngineConfig(threads=1)
    return ClusterConfig(address, output, ActorConfig(None, "stub", running, beam))


def _sources(count: int) -> ClusterSources:
    names = [f"{number:07}.jpg" for number in range(count)]
    return ClusterSources({name: Item(name, name) for name in names})


# What is written ------------------------------------------------------------------------------


def measured(speeds: Speeds) -> dict[str, Any]:
    """The figures of real captioning, in plain types."""
    return {
        "photographs a second": {n: round(1 / speeds.seconds(n), 2) for n in speeds.pictures},
        "seconds to start": {n: round(speeds.start(n), 1) for n in speeds.pictures},
        "ms of a processor that Ray costs": round(1000 * cost(speeds), 1),
        "MB of an actor": round(speeds.memory / 1e6),
    }


def section(content: Mapping[str, Any]) -> str:
    """What the document says between its marks."""
    return "\n\n".join([*_measured(content), *_planned(content), *_simulated(content)])


def _measured(content: Mapping[str, Any]) -> Iterator[str]:
    captioning, rows = content["captioning"], content["rows a second"]
    rates, starts = captioning["photographs a second"], captioning["seconds to start"]
    yield "### What was measured"
    lines = [f"| {name} | {rates[name]:.1f} | {starts[name]:.1f} |" for name in rates]
    yield _table("| command | photographs a second | seconds to start |", lines)
    yield paragraph(
        f"On {content['machine']}. {_beside(captioning)} An actor takes at most "
        f"{captioning['MB of an actor']:,} MB. With actors that do nothing, the process that "
        f"writes took {rows:,.0f} pictures a second: enough for {rows / _rate(content):,.0f} "
        f"actors of {_rate(content):.1f} photographs a second each. So Ray's own work is "
        f"{1000 / rows:.2f} ms for each picture, with all processors of this machine busy."
    )


def _planned(content: Mapping[str, Any]) -> Iterator[str]:
    yield f"### Hours for {PLANNED:,} pictures"
    lines = [f"| {n:,} | {hours(content, n):.1f} |" for n in CORES]
    yield _table("| processors in all | hours |", lines)
    yield paragraph(
        f"By the formula above with {_rate(content):.1f} photographs a second for each actor of "
        "one processor like these, nothing slow and nothing lost, and no more than the "
        f"{content['rows a second']:,.0f} rows a second that the command took here. What your "
        "machines take, measure there."
    )


def _simulated(content: Mapping[str, Any]) -> Iterator[str]:
    yield "### What stragglers and lost machines cost (simulated)"
    lines = [
        f"| {name} | {r['seconds']:.1f} | {r['at best']:.1f} | {r['ratio']:.2f} "
        f"| {r['pictures']:,} | {r['failed']:,} |"
        for name, r in content["simulation"].items()
    ]
    yield _table("| what happens | seconds | at best | ratio | captioned | failed |", lines)
    yield paragraph(
        f"A simulation: {MACHINES} machines of Ray with {ACTORS} actors each, all on one computer; "
        f"in the model's place a stub that sleeps {SECONDS * 1000:g} ms for a picture, more or "
        "less. Scheduling, retries and files are the real ones. Counted is from the first rows to "
        "the last; when the first ones come, other actors have begun, so a ratio may be a little "
        "below 1. At best: where no actor ever waits, no machine takes time to be missed, and "
        "nothing is done twice."
    )


def hours(content: Mapping[str, Any], processors: int) -> float:
    """The hours that the planned pictures take with so many actors of one processor each."""
    speed: float = min(processors * _rate(content), content["rows a second"])
    return PLANNED / speed / 3600


def _rate(content: Mapping[str, Any]) -> float:
    """The photographs a second of one actor of one processor beside another."""
    rate: float = content["captioning"]["photographs a second"]["2 actors of 1 processor"] / 2
    return rate


def _table(head: str, lines: Sequence[str]) -> str:
    """A table of Markdown."""
    return "\n".join([head, "|---" * (head.count("|") - 1) + "|", *lines])


def _beside(captioning: Mapping[str, Any]) -> str:
    """What two actors cost more than the folder command, or less."""
    milliseconds = captioning["ms of a processor that Ray costs"]
    more = "more" if milliseconds > 0 else "less"
    return (
        f"Beside {FOLDER}, two actors take {abs(milliseconds):.1f} ms of a processor {more} for "
        "each photograph."
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and simulate; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--simulate", action="store_true", help="only the simulation")
    parser.add_argument("--references", type=Path, default=DATA / "captions.txt")
    parser.add_argument("--images", type=Path, default=DATA / "Images")
    flags = parser.parse_args(arguments)
    try:
        content: dict[str, Any]
        if flags.simulate:
            content = json.loads(RESULT.read_text(encoding="utf-8"))
        else:
            photographs = read_captions(flags.references, flags.images).photographs
            speeds = measure(split_photographs(photographs).dev)
            machine = f"{processor()}, Python {platform.python_version()}"
            content = {"machine": machine, "captioning": measured(speeds)}
        content["rows a second"] = driver_speed()
        content["simulation"] = {each.name: simulate(each) for each in SCENARIOS}
        write_text(RESULT, json.dumps(content, indent=2) + "\n")
        document = DOCUMENT.read_text(encoding="utf-8")
        write_text(DOCUMENT, with_part(document, "scale", section(content)))
    except (CaptioningError, OSError) as error:
        print(f"tools.scale: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
