"""tools.scale and tools.bench_cluster: the arithmetic, the document, and a small simulation."""

import json
import re

import pytest

from tools import bench_cluster, scale
from tools.bench_cluster import FOLDER, Speeds, actor_memory, cost, ratios_of
from tools.marks import with_part
from tools.scale import ACTORS, MACHINES, PLANNED, SECONDS, SLOW, Scenario, ideal, section

CONTENT = json.loads(scale.RESULT.read_text(encoding="utf-8"))


def speeds():
    """A folder command with 50 photographs a second, and actors with 20 each."""
    names = list(bench_cluster.commands())
    seconds = dict(zip(names, (0.02, 0.05, 0.025, 0.03), strict=True))
    return Speeds({n: [s, 1.1 * s, 0.9 * s] for n, s in seconds.items()}, {n: [5.0] for n in names})


def test_the_document_has_what_was_measured():
    document = scale.DOCUMENT.read_text(encoding="utf-8")
    assert with_part(document, "scale", section(CONTENT)) == document


def test_what_ray_costs_is_the_time_of_all_processors(monkeypatch):
    monkeypatch.setattr(bench_cluster, "available_threads", lambda: 2)
    assert cost(speeds()) == pytest.approx(2 * (0.025 - 0.02))


def test_each_command_is_compared_with_the_folder_command_round_by_round():
    ratios = {ratio.name: ratio for ratio in ratios_of(speeds())}
    ratio = ratios[f"a photograph on Ray by 2 actors of 1 processor / by {FOLDER}"]
    assert (ratio.ratio, ratio.low, ratio.high) == pytest.approx((1.25, 1.25, 1.25))
    assert len(ratios) == 3


def test_the_start_of_a_command_does_not_count(monkeypatch):
    def timed(words, photographs, number, speeds):
        return 7 + number * (0.02 if "--ray" not in words else 0.05)

    monkeypatch.setattr(bench_cluster, "timed", timed)
    measured = bench_cluster.measure([])
    assert measured.seconds(FOLDER) == pytest.approx(0.02)
    assert measured.seconds("1 actor of 1 processor") == pytest.approx(0.05)
    assert measured.start(FOLDER) == pytest.approx(7)


def test_memory_is_that_of_processes_which_caption(tmp_path):
    for number, title in enumerate(("ray::MapWorker(CaptionActor)", "ray::Other", "python")):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "cmdline").write_text(title)
        (tmp_path / str(number) / "smaps_rollup").write_text("Rss: 9 kB\nPss:    300 kB\n")
    assert actor_memory(tmp_path) == {0: 300 * 1024}


def test_at_best_every_actor_works_all_the_time():
    speed = MACHINES * ACTORS / SECONDS
    assert ideal(Scenario(""), 1000) == pytest.approx(1000 / speed)
    slower = speed * (MACHINES - 1 + 1 / SLOW) / MACHINES
    assert ideal(Scenario("", slow=1), 1000) == pytest.approx(1000 / slower)
    fewer = speed * (MACHINES - 1) / MACHINES
    assert ideal(Scenario("", lost=1), 1000) == pytest.approx(500 / speed + 500 / fewer)


def test_the_hours_follow_the_documents_formula_until_the_command_is_the_limit():
    rates = {"2 actors of 1 processor": 50}
    content = {"captioning": {"photographs a second": rates}, "rows a second": 5000}
    assert scale.hours(content, 100) == pytest.approx(PLANNED / (100 * 25) / 3600)
    assert scale.hours(content, 400) == pytest.approx(PLANNED / 5000 / 3600)
    shown = dict(re.findall(r"^\| ([\d,]+) \| ([\d.]+) \|$", section(CONTENT), flags=re.M))
    assert shown == {f"{n:,}": f"{scale.hours(CONTENT, n):.1f}" for n in scale.CORES}


@pytest.mark.cluster
def test_a_simulated_cluster_that_loses_a_machine_captions_everything(monkeypatch):
    monkeypatch.setattr(scale, "PICTURES", 400)
    result = scale.simulate(Scenario("", lost=1))
    assert (result["pictures"], result["failed"]) == (400, 0)
    assert result["ratio"] > 0.5
