"""Everything that runs on a processor runs on one GPU: skipped where there is none."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import bleu_scorer
from captioning.app.examples import examples
from captioning.data.caption_files import read_captions
from captioning.data.splits import split_photographs
from captioning.inference.captioner import Captioner
from captioning.network.checkpoint import Checkpoint
from captioning.training.recipe import STAGES
from tests.test_main import Workspace

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")

ROOT = Path(__file__).resolve().parent.parent
FLICKR8K = ROOT.parent / "shared" / "flickr8k" / "Flickr8k_Subset"
PHOTOGRAPHS = 200


@pytest.fixture(scope="module")
def captioners():
    """The model that ships, on the processor and on the GPU."""
    return [Captioner.load(engine="torch", device=device) for device in ("cpu", "cuda")]


def photographs():
    """Those of the development split where they are, else the examples."""
    if not FLICKR8K.exists():
        return [example.path for example in examples()]
    file = read_captions(FLICKR8K / "captions.txt", FLICKR8K / "Images", skip_bad=True)
    return [each.path for each in split_photographs(file.photographs).dev[:PHOTOGRAPHS]]


def test_photographs_get_the_captions_that_the_processor_gives_them(captioners):
    on_processor, on_gpu = (list(each.stream(photographs())) for each in captioners)
    assert [each.text for each in on_gpu] == [each.text for each in on_processor]
    for ours, theirs in zip(on_gpu, on_processor, strict=True):
        assert np.log(ours.probability) == pytest.approx(np.log(theirs.probability), abs=1e-3)
        assert np.abs(ours.attention - theirs.attention).max() < 1e-3
        assert ours.novelty == pytest.approx(theirs.novelty, abs=1e-2)


def test_evidence_is_what_the_processor_finds(captioners):
    photo = examples()[0].path
    on_processor, on_gpu = (each(photo, evidence=True).evidence for each in captioners)
    assert np.abs(on_gpu - on_processor).max() < 1e-2


def test_bfloat16_captions_too():
    on_gpu = Captioner.load(engine="torch", device="cuda", precision="bfloat16")
    assert on_gpu(examples()[0].path).text


def test_the_command_line_captions(cli):
    paths = [example.path for example in examples()]
    done = [cli(*paths, "--engine", "torch", "--device", device) for device in ("cpu", "cuda")]
    assert done[0][0] == 0
    assert done[1] == done[0]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, resnet):
    folder = tmp_path_factory.mktemp("gpu")
    yield Workspace(folder, resnet.state_dict())
    shutil.rmtree(folder)


def test_every_stage_trains_an_epoch(workspace):
    text = workspace.folder / "text.txt"
    text.write_text("a man rides horse fast .\n" * 120)
    assert workspace.run("--device", "cuda", "--text", text, "--precision", "auto") == 0
    assert [line["stage"] for line in workspace.metrics()] == list(STAGES)
    assert all(np.isfinite(line["train_loss"]) for line in workspace.metrics())
    assert Checkpoint.load(workspace.folder / "runs" / "small" / "best.pth").stages
    assert workspace.adapt("--device", "cuda") == 0


def test_a_model_scores_what_it_scores_on_the_processor(workspace, monkeypatch):
    monkeypatch.chdir(workspace.folder)
    words = ["--references", "captions.txt", "--images", "photos", "--split", "dev"]
    words += ["--model", "runs/small/best.pth", "--name", "scored"]
    results = []
    for device in ("cpu", "cuda"):
        assert bleu_scorer.main([*words, "--device", device]) == 0
        results.append(json.loads(Path("results/metrics/scored.json").read_text()))
    on_processor, on_gpu = (each["metrics"] for each in results)
    assert on_gpu.keys() == on_processor.keys()
    for name in ("loss", "CIDEr-D"):
        assert on_gpu[name] == pytest.approx(on_processor[name], rel=1e-2)


def test_torchrun_trains_on_the_gpu(workspace):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "1"]
    command += [ROOT / "main.py", "--captions", "captions.txt", "--images", "photos"]
    command += ["--encoder-weights", "resnet50.pth", "--device", "cuda", "--name", "several"]
    done = subprocess.run(
        [*map(str, command), *workspace.recipe, "--stage", "decoder"],
        cwd=workspace.folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert (workspace.folder / "runs" / "several" / "decoder.pth").exists()
