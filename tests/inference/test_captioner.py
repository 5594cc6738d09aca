"""The captioner with a small random model: captions do not depend on how it is called."""

import gc
import io
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from captioning import Caption, Captioner, Failure
from captioning.data.images import ImageError, describe, load_image
from captioning.data.vocab import END, SPECIAL_TOKENS, START, detokenize
from captioning.errors import SettingError
from captioning.inference import engines
from captioning.inference.captioner import UNUSUAL_WARNING, Alternative
from captioning.inference.torch_engine import TorchEngine
from captioning.network.checkpoint import Checkpoint, CheckpointError
from captioning.network.config import DecodeConfig
from captioning.network.encoder import Encoder
from captioning.network.model import CaptioningModel
from captioning.network.novelty import NoveltyDetector
from captioning.network.saved_network import build_network, save_checkpoint


def noise(seed):
    """A photograph of coarse coloured noise, 90 x 60."""
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((90, 60), Image.Resampling.NEAREST)


def png(photo):
    stream = io.BytesIO()
    photo.save(stream, "PNG")
    return stream.getvalue()


# Their captions are short, and no two of their beams have almost the same score.
PHOTOS = [noise(seed) for seed in (0, 5, 9, 17, 19, 21)]
ROUNDING = 5e-3  # other batches round differently, and the network amplifies it


@pytest.fixture(scope="module")
def alone(captioner):
    """The caption of each photograph, captioned one at a time."""
    return [captioner(photo) for photo in PHOTOS]


def assert_same(caption, expected, tolerance=0.0):
    assert isinstance(caption, Caption)
    assert caption.words == expected.words
    assert caption.text == expected.text
    assert [other.text for other in caption.alternatives] == [
        other.text for other in expected.alternatives
    ]
    assert caption.score == pytest.approx(expected.score, abs=tolerance)
    assert caption.probabilities == pytest.approx(expected.probabilities, abs=tolerance)
    np.testing.assert_allclose(caption.attention, expected.attention, rtol=0, atol=tolerance)


# One caption -------------------------------------------------------------------------------------


def test_different_photographs_get_different_captions(alone):
    assert len({caption.text for caption in alone}) >= 4


def test_the_text_is_english_made_of_the_words(alone):
    for caption in alone:
        assert 1 <= len(caption.words) <= 30
        assert not set(caption.words) & set(SPECIAL_TOKENS)
        assert caption.text == detokenize(caption.words)
        assert caption.sentence == caption.text[0].upper() + caption.text[1:] + "."


def test_attention_is_one_map_per_word_that_sums_to_1(alone):
    for caption in alone:
        assert caption.attention.shape == (len(caption.words), 2, 2)
        assert caption.attention.dtype == np.float32
        np.testing.assert_allclose(caption.attention.sum(axis=(1, 2)), 1, rtol=1e-5)


def test_probabilities_and_attention_are_those_of_the_network_for_these_words(
    captioner, checkpoint_path, alone
):
    checkpoint = Checkpoint.load(checkpoint_path)
    network = build_network(checkpoint)
    for photo, caption in zip(PHOTOS, alone, strict=True):
        ids = checkpoint.vocabulary.encode(caption.words)
        pixels = torch.from_numpy(load_image(photo, checkpoint.images)).unsqueeze(0)
        with torch.no_grad():
            logits, alphas = network(pixels, torch.tensor([[START, *ids]]))
        rows = zip(logits[0].softmax(-1), [*ids, END], strict=True)
        expected = [float(row[token]) for row, token in rows]
        assert caption.probabilities == pytest.approx(expected[:-1], abs=1e-3)
        grid = alphas[0, :-1].view(-1, 2, 2).numpy()  # (T, h, w), row by row
        np.testing.assert_allclose(caption.attention, grid, atol=1e-3)
        total = sum(map(math.log, expected))
        assert caption.score == pytest.approx(total / len(expected) ** 0.7, abs=1e-2)


def test_settings_of_the_checkpoint_are_used(captioner, alone):
    assert (captioner.decoding.beam, captioner.decoding.length_penalty) == (4, 0.7)
    assert_same(captioner(PHOTOS[0], beam=4, length_penalty=0.7), alone[0])


def test_the_default_settings_of_a_checkpoint_are_used(checkpoint, tmp_path):
    path = tmp_path / "default.pth"
    save_checkpoint(replace(checkpoint, decoding=DecodeConfig()), path)
    assert Captioner.load(path).decoding == DecodeConfig()


def test_a_checkpoint_without_settings_captions_as_with_the_defaults(
    captioner, checkpoint_path, tmp_path
):
    path = tmp_path / "old.pth"
    content = torch.load(checkpoint_path, weights_only=True)
    for part in ("decoding", "provenance", "figures", "training_images"):
        del content[part]
    torch.save(content, path)
    expected = captioner(PHOTOS[0], beam=3, length_penalty=0.0)
    assert_same(Captioner.load(path)(PHOTOS[0]), expected)


def lengths(captions):
    return [len(caption.words) for caption in captions]


def test_no_caption_is_longer_than_the_max_words_of_the_checkpoint(checkpoint, tmp_path):
    path = tmp_path / "short.pth"
    decoding = DecodeConfig(beam=4, length_penalty=5.0)  # which prefers long captions
    save_checkpoint(replace(checkpoint, decoding=decoding), path)
    assert max(lengths(Captioner.load(path).stream(PHOTOS))) > 5
    save_checkpoint(replace(checkpoint, decoding=replace(decoding, max_words=5)), path)
    short = Captioner.load(path)
    assert max(lengths(short.stream(PHOTOS))) == 5
    assert max(lengths(short.stream(PHOTOS, beam=2))) == 5
    assert max(lengths([short(photo) for photo in PHOTOS])) == 5


@pytest.mark.parametrize("beam", [1, 2, 5])
def test_alternatives_are_the_other_beams_best_first(captioner, beam):
    caption = captioner(PHOTOS[1], beam=beam)
    assert len(caption.alternatives) == beam - 1
    assert all(isinstance(other, Alternative) for other in caption.alternatives)
    scores = [caption.score, *(other.score for other in caption.alternatives)]
    assert scores == sorted(scores, reverse=True)
    assert len({caption.text, *(other.text for other in caption.alternatives)}) == beam


def test_a_beam_given_is_used_only_in_that_call(captioner, alone):
    wide = captioner(PHOTOS[0], beam=6)
    assert len(wide.alternatives) == 5
    assert_same(captioner(PHOTOS[0]), alone[0])


def test_a_length_penalty_given_changes_the_score(captioner):
    # Ranked by probability alone, the score is that of the whole caption.
    caption = captioner(PHOTOS[0], beam=1, length_penalty=0.0)
    mean = captioner(PHOTOS[0], beam=1, length_penalty=1.0)
    assert caption.words == mean.words
    assert caption.score == pytest.approx(mean.score * (len(mean.words) + 1), rel=1e-5)


@pytest.mark.parametrize("settings", [{"beam": 0}, {"beam": -3}, {"length_penalty": -1.0}])
def test_settings_out_of_range_are_refused(captioner, settings):
    with pytest.raises(SettingError, match=next(iter(settings))):
        captioner(PHOTOS[0], **settings)
    with pytest.raises(SettingError, match=next(iter(settings))):
        list(captioner.stream(PHOTOS, **settings))


# Photographs in any form -------------------------------------------------------------------------


def test_a_path_its_bytes_and_its_image_get_the_same_caption(captioner, tmp_path, alone):
    path = tmp_path / "photo.png"
    path.write_bytes(png(PHOTOS[2]))
    for source in (path, str(path), path.read_bytes(), Image.open(path)):
        assert_same(captioner(source), alone[2])
    assert captioner(path).source == str(path)
    assert captioner(path.read_bytes()).source == "the image"


def test_a_photograph_that_cannot_be_read_is_refused_by_name(captioner, tmp_path):
    with pytest.raises(ImageError, match=r"missing\.jpg"):
        captioner(tmp_path / "missing.jpg")


def test_files_and_arrays_get_the_same_caption(captioner, alone):
    for source in (io.BytesIO(png(PHOTOS[2])), np.asarray(PHOTOS[2])):
        caption = captioner(source)
        assert_same(caption, alone[2])
        assert caption.source == "the image"
    streamed = captioner.stream([io.BytesIO(png(PHOTOS[2])), np.asarray(PHOTOS[2]), np.zeros(3)])
    *captions, failure = streamed
    for caption in captions:
        assert_same(caption, alone[2], tolerance=ROUNDING)
    assert "give uint8" in failure.reason


@pytest.mark.parametrize("wrong", [42, None, ["photo.jpg"]])
def test_what_is_no_photograph_is_a_type_error_that_says_so(captioner, wrong):
    with pytest.raises(TypeError, match="a photograph is a path"):
        captioner(wrong)
    for readers in (0, 2):
        with pytest.raises(TypeError, match="a photograph is a path"):
            list(captioner.stream([wrong], readers=readers))


NAMES = ["a\u202fb\u3000c.png", "zero\u200bwidth.png", "two  blanks.png", "latin1\udce9.png"]


@pytest.mark.parametrize("name", NAMES)
def test_captions_and_failures_carry_real_names(captioner, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(png(PHOTOS[0]))
    missing = tmp_path / f"no {name}"
    caption, failure = captioner.stream([path, missing])
    assert (caption.source, failure.source) == (str(path), str(missing))
    assert captioner(path).source == str(path)
    assert failure.reason.isprintable()
    assert failure.reason.startswith(f"{describe(missing)} does not exist")


def jpeg(photo):
    stream = io.BytesIO()
    photo.save(stream, "JPEG", quality=95)
    return stream.getvalue()


def test_a_file_that_ends_early_is_captioned_with_a_warning(captioner):
    whole, cut = captioner(jpeg(PHOTOS[0])), captioner(jpeg(PHOTOS[0])[:-2])
    assert whole.warning is None
    assert cut.words == whole.words
    assert not cut.is_unusual
    assert "ends early" in cut.warning
    assert cut.warning == cut.remark
    streamed = list(captioner.stream([jpeg(PHOTOS[0])[:-2], jpeg(PHOTOS[0])], readers=1))
    assert [caption.warning for caption in streamed] == [cut.remark, None]


def test_a_warning_has_a_sentence_for_each_reason(captioner):
    both = replace(captioner(jpeg(PHOTOS[0])[:-2]), novelty=1.0)
    assert both.is_unusual
    assert both.warning == f"{both.remark} {UNUSUAL_WARNING}"
    assert replace(both, remark=None).warning == UNUSUAL_WARNING


# Streams -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "one",
    [
        "photo.jpg",
        Path("photo.jpg"),
        b"bytes",
        PHOTOS[0],
        np.asarray(PHOTOS[0]),
        io.BytesIO(b"bytes"),
    ],
)
def test_a_stream_of_one_photograph_is_refused_in_one_sentence(captioner, one):
    with pytest.raises(SettingError, match="several photographs: give a list"):
        list(captioner.stream(one))


def test_a_stream_of_an_array_of_photographs(captioner, alone):
    batch = np.stack([np.asarray(photo) for photo in PHOTOS])  # (6, H, W, 3)
    for caption, expected in zip(captioner.stream(batch), alone, strict=True):
        assert_same(caption, expected, tolerance=ROUNDING)


def reading_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("reader")]


@pytest.mark.parametrize("readers", [1, 2, 5])
@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_captions_do_not_depend_on_readers(captioner, tmp_path, readers, batch_size):
    photos = [PHOTOS[0], tmp_path / "missing.jpg", png(PHOTOS[1]), b"no photograph", *PHOTOS[2:]]
    expected = list(captioner.stream(photos, batch_size=batch_size))
    results = list(captioner.stream(photos, batch_size=batch_size, readers=readers))
    assert [type(one) for one in results] == [type(one) for one in expected]
    for one, other in zip(results, expected, strict=True):
        if isinstance(one, Failure):
            assert one == other
        else:
            assert_same(one, other)
    assert not reading_threads()


def test_an_endless_stream_reads_a_bounded_number_ahead(captioner):
    taken = []
    photos = (taken.append(index) or PHOTOS[index % 6] for index in count())
    captions = captioner.stream(photos, batch_size=2, readers=2)
    assert len(list(islice(captions, 5))) == 5
    assert len(taken) <= 6 + 2 * 2
    captions.close()
    assert not reading_threads()


def test_readers_below_0_are_refused(captioner):
    with pytest.raises(SettingError, match="readers must be at least 0"):
        list(captioner.stream(PHOTOS, readers=-1))


@pytest.mark.parametrize("batch_size", [1, 2, 4, 6, 16])
def test_a_stream_is_in_order_whatever_the_batch_size(captioner, alone, batch_size):
    captions = list(captioner.stream(PHOTOS, batch_size=batch_size))
    assert len(captions) == len(PHOTOS)
    for caption, expected in zip(captions, alone, strict=True):
        assert_same(caption, expected, tolerance=ROUNDING)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 16])
def test_failures_do_not_affect_the_others(captioner, tmp_path, alone, batch_size):
    missing, folder = tmp_path / "missing.jpg", tmp_path
    photos = [PHOTOS[0], missing, png(PHOTOS[1]), b"no photograph", folder, b"", PHOTOS[2]]
    results = list(captioner.stream(photos, batch_size=batch_size))
    assert [isinstance(result, Failure) for result in results] == [0, 1, 0, 1, 1, 1, 0]
    for index, expected in ((0, alone[0]), (2, alone[1]), (6, alone[2])):
        assert_same(results[index], expected, tolerance=ROUNDING)
    for index, source in ((1, str(missing)), (3, "the image"), (4, str(folder)), (5, "the image")):
        assert results[index].source == source
        assert results[index].reason.startswith(source)
        assert "\n" not in results[index].reason


def test_a_stream_of_nothing_but_failures_ends(captioner):
    results = list(captioner.stream([b"no", b"photograph"], batch_size=1))
    assert [type(result) for result in results] == [Failure, Failure]


def test_an_empty_stream_is_empty(captioner):
    assert list(captioner.stream([])) == []


def test_a_stream_reads_photographs_only_as_they_are_needed(captioner, alone):
    taken = []
    photos = (taken.append(photo) or photo for photo in PHOTOS)
    captions = list(islice(captioner.stream(photos, batch_size=2), 3))
    assert [caption.words for caption in captions] == [caption.words for caption in alone[:3]]
    assert len(taken) == 4


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_size_below_1_is_refused(captioner, batch_size):
    with pytest.raises(SettingError, match="batch_size"):
        list(captioner.stream(PHOTOS, batch_size=batch_size))


def test_threads_may_share_it(captioner, alone):
    def work(worker):
        indices = [(worker + step) % 6 for step in range(3)]
        photos = [PHOTOS[index] for index in indices]
        if worker % 2:
            return indices, list(captioner.stream(photos, batch_size=2))
        return indices, [captioner(photo) for photo in photos]

    with ThreadPoolExecutor(8) as pool:
        for indices, captions in pool.map(work, range(8)):
            for index, caption in zip(indices, captions, strict=True):
                assert_same(caption, alone[index], tolerance=ROUNDING)


# Loading -----------------------------------------------------------------------------------------


def test_loading_a_missing_file_says_so(tmp_path):
    with pytest.raises(CheckpointError, match="no such"):
        Captioner.load(tmp_path / "missing.pth")


def test_any_engine_will_do(captioner, network, alone):
    other = Captioner(
        TorchEngine(network), captioner.images, captioner.vocabulary, captioner.decoding
    )
    assert_same(other(PHOTOS[0]), alone[0], tolerance=ROUNDING)


@pytest.mark.parametrize(("has_gpu", "device"), [(False, None), (True, "cuda")])
def test_auto_loads_onto_a_gpu_where_there_is_one(checkpoint_path, monkeypatch, has_gpu, device):
    moves = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(engines, "_loads", lambda driver: True)
    monkeypatch.setattr(CaptioningModel, "to", lambda network, to: moves.append(to) or network)
    captioner = Captioner.load(checkpoint_path, device="auto")
    assert moves == ([device] if has_gpu else [])
    assert isinstance(captioner.engine, TorchEngine) == has_gpu


def test_a_device_that_is_not_there_is_refused(checkpoint_path):
    with pytest.raises(SettingError, match="device abacus cannot be used here"):
        Captioner.load(checkpoint_path, device="abacus")


def living(kind):
    """All objects of a class."""
    gc.collect()
    return [value for value in gc.get_objects() if issubclass(type(value), kind)]


def storages():
    """The size in bytes of the storage of every dense tensor, by its address."""
    dense = [tensor for tensor in living(torch.Tensor) if tensor.layout == torch.strided]
    every = [tensor.untyped_storage() for tensor in dense]
    return {storage.data_ptr(): storage.nbytes() for storage in every}


def test_a_captioner_keeps_one_encoder_and_no_decoder_in_float32(checkpoint_path):
    encoders, before = living(Encoder), storages()
    captioner = Captioner.load(checkpoint_path, engine="torch")
    assert [one for one in living(Encoder) if one not in encoders] == [captioner.engine.encoder]
    kept = sum(size for address, size in storages().items() if address not in before)
    convolutions = [part for part in captioner.engine.encoder.modules() if hasattr(part, "weight")]
    encoder = sum(part.weight.nbytes + part.bias.nbytes for part in convolutions)
    assert len(convolutions) == 53
    # Also the embedding, the attention's score and biases. Without FBGEMM the matrices as well.
    fbgemm = "fbgemm" in torch.backends.quantized.supported_engines
    assert encoder < kept < encoder + (50_000 if fbgemm else 3_000_000)


# Novelty -----------------------------------------------------------------------------------------


def test_novelty_is_that_of_the_mean_features_one_by_one_or_in_a_batch(captioner, alone):
    means = captioner.mean_features(PHOTOS, batch_size=4)
    detector = NoveltyDetector.fit(means[:3], means[3:])
    parts = captioner.engine, captioner.images, captioner.vocabulary, captioner.decoding
    detecting = Captioner(*parts, detector)
    expected = detector.percentile(detector.distance(means))
    assert len(set(expected.tolist())) > 2
    batched = [caption.novelty for caption in detecting.stream(PHOTOS)]
    assert batched == pytest.approx(expected.tolist(), abs=0.01)
    caption = detecting(PHOTOS[0])
    assert caption.novelty == pytest.approx(expected[0], abs=0.01)
    assert detecting.explain(caption, PHOTOS[0]).novelty == caption.novelty
    assert_same(caption, alone[0], tolerance=ROUNDING)


def test_novelty_is_not_known_without_a_detector(captioner, alone):
    assert captioner.novelty is None
    assert [caption.novelty for caption in alone] == [None] * len(alone)
    assert not any(caption.is_unusual or caption.warning for caption in alone)


# The parts of a caption --------------------------------------------------------------------------


def make_caption(attention, text="a man's dog"):
    return Caption(
        source="photo.jpg",
        text=text,
        words=("a", "man"),
        attention=attention,
        probabilities=(0.5, 0.25),
        probability=0.1,
        confidence=0.46,
        score=-2.0,
        alternatives=(),
    )


def test_probability_and_confidence_cover_all_words_and_the_end(captioner, alone):
    for caption in alone:
        length = len(caption.words) + 1
        penalty = length**captioner.decoding.length_penalty
        assert caption.probability == pytest.approx(np.exp(caption.score * penalty), rel=1e-4)
        assert caption.confidence == pytest.approx(caption.probability ** (1 / length), rel=1e-4)
        assert caption.probability < np.prod(caption.probabilities)  # the end is not certain
        for other in caption.alternatives:
            assert 0 < other.probability < 1


def test_peak_is_the_middle_of_the_brightest_cell():
    attention = np.zeros((2, 2, 4), dtype=np.float32)  # (T, h, w)
    attention[0, 0, 3] = attention[1, 1, 1] = 1.0
    caption = make_caption(attention)
    assert caption.peak(0) == (0.875, 0.25)
    assert caption.peak(1) == (0.375, 0.75)
    assert caption.peak(-1) == caption.peak(1)
    with pytest.raises(IndexError):
        caption.peak(2)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a man's dog", "A man's dog."),
        ("two Dogs", "Two Dogs."),
        ("7 dogs", "7 dogs."),
        ("A dog runs .", "A dog runs."),
        ("is it a dog?", "Is it a dog?"),
        ("\u00e9t\u00e9", "\u00c9t\u00e9."),
    ],
)
def test_a_sentence_has_a_capital_and_a_full_stop(text, sentence):
    assert make_caption(np.zeros((2, 1, 1), dtype=np.float32), text).sentence == sentence


def test_captions_are_frozen(alone):
    with pytest.raises(AttributeError):
        alone[0].text = "other"
