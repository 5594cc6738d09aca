"""tools.bench: what it measures with; the times themselves are for make bench."""

import io
import json
import sys
import time

import pytest
from PIL import Image

from tools import bench


def test_a_ratio_is_the_median_of_pairs_timed_in_turn(capsys):
    turns = []

    def work(name, duration):
        def run():
            turns.append(name)
            time.sleep(duration)

        return run

    ratio = bench.compare("ours / theirs", work("ours", 0.02), work("theirs", 0.01), pairs=5)
    assert turns == ["ours", "theirs"] * 6  # once to warm up
    assert 1.2 < ratio.low <= ratio.ratio <= ratio.high < 3
    assert "ours / theirs" in capsys.readouterr().out


def test_peak_memory_is_that_of_the_command_alone():
    needs = [[sys.executable, "-c", f"x = b'1' * {size} * 10**6"] for size in (1, 201)]
    small, large = map(bench.peak_memory, needs)
    assert 180 < large - small < 220
    assert small < 100


def test_a_command_that_fails_is_said():
    with pytest.raises(ValueError, match="status"):
        bench.peak_memory([sys.executable, "-c", "raise SystemExit(3)"])


def test_the_large_photograph_has_twelve_megapixels():
    file = bench.jpeg(Image.new("RGBA", (30, 20)), bench.LARGE)
    with Image.open(io.BytesIO(file)) as image:
        assert image.format == "JPEG"
        assert round(image.width * image.height / 1e6) == 12


def test_figures_are_written_as_json(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "RESULTS", tmp_path / "metrics" / "bench.json")
    ratio = bench.Ratio("ours / theirs", 1.5, 1.4, 1.6, 3.0, 2.0, 15)
    bench.write([ratio], [bench.Memory(100, 900.0)], "a machine")
    assert json.loads(bench.RESULTS.read_text()) == {
        "machine": "a machine",
        "ratios": [ratio._asdict()],
        "memory": [{"photographs": 100, "megabytes": 900.0}],
    }


def test_what_was_measured_before_it_was_stopped_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "RESULTS", tmp_path / "bench.json")
    ratio = bench.Ratio("ours / theirs", 1.5, 1.4, 1.6, 3.0, 2.0, 15)

    def stopped(photographs):
        raise KeyboardInterrupt

    monkeypatch.setattr(bench, "bench_photographs", lambda photographs: [ratio])
    monkeypatch.setattr(bench, "bench_large_photograph", stopped)
    with pytest.raises(KeyboardInterrupt):
        bench.measure([], "a machine")
    assert json.loads(bench.RESULTS.read_text())["ratios"] == [ratio._asdict()]


def test_a_missing_data_set_is_said_in_one_sentence(tmp_path, capsys):
    assert bench.main(["--references", str(tmp_path / "none.txt")]) == 1
    assert "no such caption file" in capsys.readouterr().err
