"""Evidence: against a slow way, on its own terms, and only where it is asked for."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import binary_dilation

from captioning import Captioner, Failure
from captioning.data.images import ImageConfig, ImageError
from captioning.errors import SettingError
from captioning.inference import captioner as captioner_module
from captioning.inference.engine import OccludingEngine
from captioning.inference.evidence import evidence_maps, neighbourhoods, require_occlusion
from captioning.inference.torch_engine import TorchEngine
from tests.inference.test_captioner import PHOTOS, assert_same
from tests.network.altered import see

CAPTIONS = [[4, 6, 8, 9], [5, 12], [], [4, 5, 8]]


@pytest.fixture(scope="module")
def engine(network):
    return TorchEngine(network)


@pytest.fixture(scope="module")
def features():
    return 8 * torch.randn(4, 25, 2048, generator=torch.manual_seed(1)).relu()  # (B, L, C)


@pytest.fixture(scope="module")
def fine(engine, checkpoint):
    """A captioner with a grid of 5 x 5."""
    images = ImageConfig(size=160)
    # Random weights write long captions whose last words depend on rounding, so on the batch.
    decoding = replace(checkpoint.decoding, max_words=12)
    return Captioner(engine, images, checkpoint.vocabulary, decoding)


class Blind:
    """An engine that captions, and cannot hide anything."""

    def __init__(self, engine):
        for name in ("encode", "start", "step", "reorder", "keep"):
            setattr(self, name, getattr(engine, name))


@torch.no_grad()
def slow_map(decoder, features, tokens, position):
    """The support a word loses when each location and its neighbours show the mean: (5, 5)."""
    memory, state = decoder.start(features.unsqueeze(0))
    last = torch.tensor([1])
    for token in tokens[:position]:
        _, _, state = decoder.step(last, memory, state)
        last = torch.tensor([token])

    def said(altered):
        output, _, _ = decoder.step(last, see(decoder, memory.features, altered), state)
        logits = decoder.logits(output, memory.nouns)[0]
        own, log_probability = (each[tokens[position]] for each in (logits, logits.log_softmax(-1)))
        return float(0.4 * own + 0.6 * log_probability)

    lost = np.zeros((5, 5))
    for row in range(5):
        for column in range(5):
            altered = features.clone().view(5, 5, -1)
            near = slice(max(0, row - 1), row + 2), slice(max(0, column - 1), column + 2)
            altered[near] = features.mean(dim=0)
            lost[row, column] = said(memory.features) - said(altered.view(1, 25, -1))
    return lost


def test_evidence_is_what_a_word_loses_beyond_the_median(engine, network, features):
    maps = evidence_maps(engine, features, CAPTIONS)
    assert [each.shape for each in maps] == [(len(tokens), 5, 5) for tokens in CAPTIONS]
    for own, tokens, computed in zip(features, CAPTIONS, maps, strict=True):
        assert computed.dtype == np.float32
        for position in range(len(tokens)):
            lost = slow_map(network.decoder, own, tokens, position)
            assert np.allclose(computed[position], lost - np.median(lost), atol=5e-3)
            assert np.median(computed[position]) == pytest.approx(0, abs=1e-6)


def test_captions_without_words_have_no_maps(engine, features):
    assert [each.shape for each in evidence_maps(engine, features[:2], [[], []])] == [(0, 5, 5)] * 2


@pytest.mark.parametrize("side", [4, 5, 7, 9])
def test_a_neighbourhood_is_the_eight_cells_around_a_cell(side):
    masks = neighbourhoods(side).reshape(side * side, side, side)
    for index, mask in enumerate(masks):
        cell = np.zeros((side, side), bool)
        cell.flat[index] = True
        assert np.array_equal(mask, binary_dilation(cell, np.ones((3, 3))))


@pytest.mark.parametrize("side", [1, 2, 3])
def test_in_a_small_grid_each_cell_is_hidden_alone(side):
    assert np.array_equal(neighbourhoods(side), np.eye(side * side, dtype=bool))


# The captioner -----------------------------------------------------------------------------------


def test_a_caption_has_evidence_only_where_it_is_asked_for(fine, monkeypatch):
    def fail(*_):
        raise AssertionError("evidence was computed unasked")

    monkeypatch.setattr(captioner_module, "evidence_maps", fail)
    caption = fine(PHOTOS[0])
    assert caption.evidence is None
    for refused in (lambda: caption.maps("evidence"), lambda: caption.peak(0, "evidence")):
        with pytest.raises(SettingError, match="no evidence; caption with evidence=True"):
            refused()
    assert [each.evidence for each in fine.stream(PHOTOS)] == [None] * len(PHOTOS)


def test_evidence_changes_nothing_else(fine):
    for photo in PHOTOS:
        with_evidence = fine(photo, evidence=True)
        assert_same(with_evidence, fine(photo))
        assert with_evidence.evidence.shape == with_evidence.attention.shape
        assert np.isfinite(with_evidence.evidence).all()
        assert np.abs(with_evidence.evidence).max() > 0.01


def test_a_stream_gives_each_photograph_its_own_evidence(fine):
    captions = list(fine.stream([*PHOTOS, "no such file.jpg"], batch_size=4, evidence=True))
    assert isinstance(captions.pop(), Failure)
    for photo, caption in zip(PHOTOS, captions, strict=True):
        alone = fine(photo, evidence=True)
        assert caption.words == alone.words
        assert np.allclose(caption.evidence, alone.evidence, atol=0.02)


def test_evidence_can_be_added_to_a_caption_without_a_search(fine, monkeypatch):
    plain, expected = fine(PHOTOS[0]), fine(PHOTOS[0], evidence=True)

    def fail(*_):
        raise AssertionError("a caption was searched for")

    monkeypatch.setattr(captioner_module, "beam_search", fail)
    explained = fine.explain(plain, PHOTOS[0])
    assert_same(explained, plain)
    assert np.allclose(explained.evidence, expected.evidence, atol=1e-3)


def test_the_peak_of_evidence_is_where_it_is_greatest(fine):
    caption = fine(PHOTOS[0], evidence=True)
    for word, values in enumerate(caption.evidence):
        x, y = caption.peak(word, "evidence")
        assert values[int(5 * y), int(5 * x)] == values.max()


def test_an_engine_that_cannot_hide_is_refused_before_any_work(engine, fine, checkpoint):
    blind = Blind(engine)
    captioner = Captioner(blind, fine.images, checkpoint.vocabulary, fine.decoding)
    assert captioner(PHOTOS[0]).text == fine(PHOTOS[0]).text
    blind.encode = None  # what would fail if anything were computed
    for refused in (
        lambda: captioner(PHOTOS[0], evidence=True),
        lambda: next(captioner.stream(PHOTOS, evidence=True)),
    ):
        with pytest.raises(SettingError, match="which Blind cannot; caption without evidence"):
            refused()
    assert require_occlusion(engine) is engine
    assert isinstance(engine, OccludingEngine)


def test_a_single_pixel_has_no_part_to_hide(fine):
    dot = Image.new("RGB", (1, 1), "red")
    assert fine(dot).words
    with pytest.raises(ImageError, match=r"single pixel, .*: caption it without evidence"):
        fine(dot, evidence=True)
    failure, caption = fine.stream([dot, PHOTOS[0]], evidence=True)
    assert "single pixel" in failure.reason
    assert caption.evidence is not None
    assert fine(Image.new("RGB", (2, 1), "red"), evidence=True).evidence is not None
