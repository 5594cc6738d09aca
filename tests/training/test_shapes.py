"""End to end, on generated pictures: train a tiny model, caption pictures it has never seen."""

import math

import numpy as np
import pytest
import torch

import main as trainer
from captioning import Captioner
from captioning.network.checkpoint import SHIPPED_MODEL, Checkpoint
from captioning.network.saved_network import build_network
from tests.training.shapes import (
    CAPTION,
    COLOURS,
    COMBINATIONS,
    SHAPES,
    SIDE,
    held_out_drawings,
    write_data_set,
)

CHANCE = 1 / (len(COLOURS) * len(SHAPES))  # 3.1 %: colour and shape guessed


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A tiny decoder trained over the shipped encoder by the project's own command."""
    folder = tmp_path_factory.mktemp("shapes")
    captions = write_data_set(folder, copies=8)
    shipped = Checkpoint.load(SHIPPED_MODEL)
    network = build_network(shipped)
    classifier = network.decoder.classifier.linear.state_dict()
    encoder = network.encoder.stages.state_dict()
    encoder |= {f"fc.{name}": value for name, value in classifier.items()}
    torch.save(encoder, folder / "encoder.pth")
    flags = {
        "--captions": captions,
        "--images": folder,
        "--stage": "decoder",
        "--encoder-weights": folder / "encoder.pth",
        "--epochs": 15,
        "--patience": 15,
        "--batch-size": 8,
        "--learning-rate": 1e-3,
        "--min-count": 1,
        "--embedding-dim": 128,
        "--attention-dim": 64,
        "--decoder-dim": 256,
        "--precision": "float32",
        "--device": "cpu",
    }
    arguments = [str(word) for pair in flags.items() for word in pair]
    if shipped.model.stride_in_1x1:
        arguments.append("--stride-in-1x1")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert trainer.main(arguments) == 0
    return Captioner.load(folder / "runs" / "flickr8k" / "best.pth")


@pytest.fixture(scope="module")
def adapted(tmp_path_factory):
    """The model that ships, trained further on the shapes' captions by one command."""
    folder = tmp_path_factory.mktemp("adapted")
    captions = write_data_set(folder, copies=8)
    arguments = ["--init", SHIPPED_MODEL, "--captions", captions, "--images", folder]
    arguments += ["--min-count", 1, "--epochs", 3, "--precision", "float32", "--device", "cpu"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert trainer.main([str(argument) for argument in arguments]) == 0
    return Captioner.load(folder / "runs" / "adapted" / "best.pth")


def right(drawings, captioner):
    """The share of drawings with exactly the expected caption."""
    captions = captioner.stream([drawing.image for drawing in drawings])
    expected = [CAPTION.format(drawing.colour, drawing.shape) for drawing in drawings]
    return np.mean([c.text == text for c, text in zip(captions, expected, strict=True)])


def test_the_model_that_ships_learns_a_new_domain_from_few_captions(adapted):
    drawings = held_out_drawings(copies=5)
    before, after = right(drawings, Captioner.load()), right(drawings, adapted)
    print(f"right before {before:.3f}, after {after:.3f}")
    assert before == 0
    assert after >= 0.95


@pytest.fixture(scope="module")
def captioned(trained):
    """Drawings of combinations that were never seen, with their captions."""
    drawings = held_out_drawings(copies=10)
    captions = list(trained.stream([drawing.image for drawing in drawings]))
    return list(zip(drawings, captions, strict=True))


def inside(drawing, attention):
    """The shares of the attention and of the picture's area inside the shape's bounding box."""
    height, width = attention.shape
    rows, columns = np.nonzero(drawing.mask)
    box = np.zeros((SIDE, SIDE))
    box[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = 1
    share = box.reshape(height, SIDE // height, width, SIDE // width).mean(axis=(1, 3))
    return float((attention * share).sum()), float(box.mean())


def test_colour_and_shape_of_unseen_combinations_are_named(captioned):
    right = [
        drawing.colour in caption.words and drawing.shape in caption.words
        for drawing, caption in captioned
    ]
    print(f"right {np.mean(right):.3f}, chance {CHANCE:.3f}")
    assert np.mean(right) >= 0.95 > CHANCE


def test_the_shape_gets_more_attention_than_its_area(captioned):
    pairs = [
        inside(drawing, caption.attention[caption.words.index(word)])
        for drawing, caption in captioned
        for word in (drawing.colour, drawing.shape)
        if word in caption.words
    ]
    attention, area = np.mean(pairs, axis=0)
    print(f"attention inside {attention:.3f}, its area {area:.3f}")
    # Significantly so: the mean over pairs is three standard errors above zero.
    gains = [seen - size for seen, size in pairs]
    assert np.mean(gains) > 3 * np.std(gains) / math.sqrt(len(gains))
    assert attention > area


def test_held_out_combinations_are_combinations_of_trained_parts():
    held_out = {(drawing.colour, drawing.shape) for drawing in held_out_drawings(copies=1)}
    rest = set(COMBINATIONS) - held_out
    assert {colour for colour, _ in rest} == set(COLOURS)
    assert {shape for _, shape in rest} == set(SHAPES)
