"""tools.bench: what it measures with; the times themselves are for make bench."""

import io
import json

import pytest
from PIL import Image

from tools import bench
from tools.timing import Memory, Ratio


def test_the_large_photograph_has_twelve_megapixels():
    file = bench.jpeg(Image.new("RGBA", (30, 20)), bench.LARGE)
    with Image.open(io.BytesIO(file)) as image:
        assert image.format == "JPEG"
        assert round(image.width * image.height / 1e6) == 12


def test_figures_are_written_as_json(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "RESULTS", tmp_path / "metrics" / "bench.json")
    ratio = Ratio("ours / theirs", 1.5, 1.4, 1.6, 3.0, 2.0, 15)
    bench.write([ratio], [Memory(100, 900.0)], "a machine")
    assert json.loads(bench.RESULTS.read_text()) == {
        "machine": "a machine",
        "ratios": [ratio._asdict()],
        "memory": [{"photographs": 100, "megabytes": 900.0}],
    }


def test_what_was_measured_before_it_was_stopped_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "RESULTS", tmp_path / "bench.json")
    ratio = Ratio("ours / theirs", 1.5, 1.4, 1.6, 3.0, 2.0, 15)

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
