"""A small random captioner that tests share: its ResNet-50 is made once per session."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models import resnet50

from captioning.__main__ import main
from captioning.data.images import ImageConfig
from captioning.data.vocab import END, SPECIAL_TOKENS, Vocabulary
from captioning.inference.captioner import Captioner
from captioning.network.checkpoint import Checkpoint
from captioning.network.config import DecodeConfig, ModelConfig
from captioning.network.decoder import Decoder
from captioning.network.model import CaptioningModel
from captioning.network.saved_network import save_checkpoint, weights_of

NOBODY = 65534  # the id of a user who owns no files

WORDS = ("a", "man", "dog", "'s", "runs", "on", "grass", "the", "red", "ball", "two", "play")
VOCABULARY = Vocabulary((*SPECIAL_TOKENS, *WORDS))
# All different, so that a test fails where one is mistaken for another.
SIZES = {"embedding_dim": 24, "attention_dim": 7, "decoder_dim": 40, "classes": 10}
# Of the classes. Several share one, and there are more than are offered of one photograph.
NOUNS = ("man", "dog", "dog", "grass", "ball", "ball", "dog", "red", "man", "play")


@pytest.fixture(scope="session")
def resnet():
    """torchvision's ResNet-50 in eval mode, its batch norms random with statistics to match."""
    torch.manual_seed(0)
    network = resnet50(weights=None)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, std=0.3)
        norm.momentum = 1.0  # the statistics become those of the one batch below
    with torch.no_grad():
        network.train()(torch.randn(4, 3, 64, 64))
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def network(resnet, pixels):
    """A network in eval mode whose captions differ; tests must not change it.

    With random weights a network repeats one word. These are changed until captions depend on the
    photograph, on every word before and on the nouns that are offered, and some of them end.
    """
    network = CaptioningModel(ModelConfig(len(VOCABULARY), **SIZES))
    network.encoder.load_torchvision(resnet.state_dict())
    torch.manual_seed(10)
    network.decoder = decoder = Decoder(network.config)
    decoder.classifier.name_classes(VOCABULARY.encode(NOUNS))
    with torch.no_grad():
        mean = network.encoder(pixels).mean(dim=(0, 1))  # (C,)
        classes = decoder.classifier.linear.weight  # (O, C)
        classes -= (classes @ mean).outer(mean) / mean.square().sum()  # to tell photographs apart
        classes.mul_(0.5)
        decoder.copy.query.weight.mul_(10)
        decoder.copy.noun.weight.mul_(2)
        decoder.copy.trust.bias += 3
        decoder.embedding.weight.mul_(12)
        decoder.attention.score.weight.mul_(6)
        decoder.attention.query.weight.mul_(5)
        decoder.lstm.weight_ih[:, : SIZES["embedding_dim"]].mul_(20)
        decoder.lstm.weight_hh.mul_(4)
        decoder.output_hidden.weight.mul_(8)
        decoder.output_context.weight.mul_(0.2)
        decoder.vocabulary.weight.mul_(4)
        decoder.vocabulary.bias[END] += 1.5
        for value in network.state_dict().values():  # so that a file in float16 loses nothing
            value.copy_(value.half())
    return network.eval()


@pytest.fixture(scope="session")
def pixels():
    """Eight photographs of coarse coloured noise, as the network sees them: (8, 3, 64, 64)."""
    coarse = torch.rand(8, 3, 4, 4, generator=torch.manual_seed(5))
    return torch.nn.functional.interpolate(4 * coarse - 2, size=64)


@pytest.fixture(scope="session")
def checkpoint(network):
    """The network as a checkpoint for photographs of 64 x 64 pixels, a grid of 2 x 2."""
    return Checkpoint(
        model=network.config,
        images=ImageConfig(size=64),
        vocabulary=VOCABULARY,
        weights=weights_of(network),
        training_images=frozenset({"00ff", "abcd"}),
        decoding=DecodeConfig(beam=4, length_penalty=0.7),
        provenance={"seed": 1, "stages": [{"stage": "first"}, {"stage": "second"}]},
        figures={"BLEU-4": 12.5},
    )


@pytest.fixture(scope="session")
def checkpoint_path(checkpoint, tmp_path_factory):
    """The checkpoint as a file."""
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.pth"
    save_checkpoint(checkpoint, path)
    return path


@pytest.fixture(scope="session")
def captioner(checkpoint_path):
    """The captioner of that file."""
    return Captioner.load(checkpoint_path)


@pytest.fixture
def unreadable():
    """A file that may not be read, in a folder that may, with the test as an ordinary user.

    The superuser may read everything: where tests run as the superuser, this one does not.
    """
    superuser = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "secret.jpg"
        path.touch(mode=0o200)
        if superuser:
            os.seteuid(NOBODY)
        try:
            yield path
        finally:
            if superuser:
                os.seteuid(0)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, of one megabyte."""
    folder = tmp_path / "small disk"
    folder.mkdir()
    if not shutil.which("mount"):
        pytest.skip("a small disk needs the right to mount one: there is no mount")
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a small disk needs the right to mount one: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def cli(checkpoint_path, capsys):
    """Run the command line: exit status, lines of stdout, lines of stderr."""

    def cli(*arguments, model=checkpoint_path):
        try:
            status = main([*map(str, arguments), "--model", str(model)])
        except SystemExit as stop:  # argparse
            status = stop.code
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return status, captured.out.splitlines(), captured.err.splitlines()

    return cli
