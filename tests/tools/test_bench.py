"""tools.bench: what it measures with; the times themselves are for make bench."""

import io
import json
import subprocess
import sys

import pytest
import torch
from PIL import Image

from captioning.app.examples import examples
from captioning.errors import CaptioningError, SettingError
from captioning.inference.captioner import Captioner
from tools import bench, bench_commands, bench_engines
from tools.timing import Memory, Ratio

PHOTOGRAPHS = [example.path for example in examples()]
# Runs the command line, which may start no other process: 9 where it does.
ALONE = """
import os, sys
STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system"}
sys.addaudithook(lambda event, arguments: os._exit(9) if event in STARTS else None)
from captioning.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def test_the_large_photograph_has_twelve_megapixels():
    file = bench.jpeg(Image.new("RGBA", (30, 20)), bench.LARGE)
    with Image.open(io.BytesIO(file)) as image:
        assert image.format == "JPEG"
        assert round(image.width * image.height / 1e6) == 12


def test_figures_are_written_as_json(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "RESULTS", tmp_path / "metrics" / "bench.json")
    ratio = Ratio("ours / theirs", 1.5, 1.4, 1.6, 3.0, 2.0, 15)
    bench.write([ratio], [Memory("onnx", 100, 900.0)], "a machine")
    assert json.loads(bench.RESULTS.read_text()) == {
        "machine": "a machine",
        "ratios": [ratio._asdict()],
        "memory": [{"name": "onnx", "photographs": 100, "megabytes": 900.0}],
    }


def test_what_was_measured_before_it_was_stopped_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "RESULTS", tmp_path / "bench.json")
    ratio = Ratio("ours / theirs", 1.5, 1.4, 1.6, 3.0, 2.0, 15)

    def stopped(photographs):
        raise KeyboardInterrupt

    monkeypatch.setattr(bench, "bench_engines", lambda photographs: [ratio])
    monkeypatch.setattr(bench, "bench_choice", stopped)
    with pytest.raises(KeyboardInterrupt):
        bench.measure([], "a machine")
    assert json.loads(bench.RESULTS.read_text())["ratios"] == [ratio._asdict()]


def test_a_missing_data_set_is_said_in_one_sentence(tmp_path, capsys):
    assert bench.main(["--references", str(tmp_path / "none.txt")]) == 1
    assert "no such caption file" in capsys.readouterr().err


def test_large_photographs_have_the_megabytes_of_a_phone(tmp_path):
    with Image.open(PHOTOGRAPHS[0]) as image:
        file = bench.jpeg(image, bench.LARGE, bench_engines.GRAIN)
    assert 1.5e6 < len(file) < 6e6


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_none_is_timed_and_that_is_said(capsys):
    assert bench_engines.bench_gpu([]) == []
    assert capsys.readouterr().out == "skipped: GPU: there is none here\n"


@pytest.mark.parametrize("engine", ["onnx", "openvino", "torch"])
def test_an_engine_and_its_halves_are_timed(engine, checkpoint_path, monkeypatch):
    monkeypatch.setattr(bench_engines, "QUICK_PAIRS", 2)
    monkeypatch.setattr(bench_engines, "SINGLY", 2)
    captioner = Captioner.load(checkpoint_path, engine=engine)
    bare = bench_engines.Bare()
    ratios = list(bench_engines.bench_engine(engine, captioner, PHOTOGRAPHS[:2], bare))
    assert [ratio.name.partition(" / ")[0] for ratio in ratios] == [
        f"{engine}: one 64-pixel JPEG, beam 4",
        f"{engine}: its encoder alone",
        f"{engine}: its search alone",
    ]
    assert all(ratio.ours > 0 < ratio.theirs for ratio in ratios)


def test_what_this_machine_lacks_is_said_and_left_out(captioner, monkeypatch, capsys):
    def load(engine, precision):
        if precision == "int8":
            raise SettingError("no int8 here; choose float32")
        return captioner

    monkeypatch.setattr(Captioner, "load", load)
    loaded = bench_engines.load_offered(("onnx",))
    assert list(loaded) == [("onnx float32", captioner)]
    assert capsys.readouterr().out == "skipped: onnx int8: no int8 here; choose float32\n"


def test_the_parts_alone_make_the_captions_of_the_stream(captioner, monkeypatch):
    monkeypatch.setattr(bench_engines, "BATCH", 3)
    found = bench_engines.caption_in_parts(captioner, PHOTOGRAPHS)
    expected = [list(caption.words) for caption in captioner.stream(PHOTOGRAPHS)]
    assert [captioner.vocabulary.decode(tokens) for tokens in found] == expected


def test_a_peer_that_captions_otherwise_is_refused():
    with pytest.raises(CaptioningError, match="only 1 of 2 captions"):
        bench_engines.require_agreement([[4], [5]], [[4], [6]])


def test_every_run_over_a_folder_has_an_output_of_its_own(tmp_path):
    fresh = bench_commands.Fresh(tmp_path, tmp_path, "onnx")
    assert len({fresh()[fresh().index("--output") + 1] for _ in range(3)}) == 3


def test_a_run_beside_others_that_fails_is_an_error():
    good, bad = ([sys.executable, "-c", f"raise SystemExit({status})"] for status in (0, 3))
    bench_commands.run_together([good, good])
    with pytest.raises(subprocess.CalledProcessError):
        bench_commands.run_together([good, bad])


def test_a_busy_loop_ends_with_the_run_beside_it():
    with bench_commands.start([sys.executable, "-c", bench_commands.BUSY]) as process:
        assert process.poll() is None
    assert process.poll() is not None


def test_the_command_is_one_process_so_that_its_peak_is_all_of_it(checkpoint_path, tmp_path):
    folder, output = PHOTOGRAPHS[0].parent, tmp_path / "captions.jsonl"
    arguments = [folder, "--output", output, "--engine", "onnx", "--model", checkpoint_path]
    done = subprocess.run([sys.executable, "-c", ALONE, *map(str, arguments)], capture_output=True)
    assert done.returncode == 0, done.stderr
    assert len(output.read_text().splitlines()) == len(PHOTOGRAPHS)
