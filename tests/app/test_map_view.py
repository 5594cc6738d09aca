"""Word by word: the evidence first, the attention beside it, and what the page says of both."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from captioning.app import caption_view
from captioning.evaluation.opening_word import opening_word
from captioning.inference.captioner import Captioner
from captioning.inference.graph_engine import GraphEngine
from captioning.pictures import LEAST_EVIDENCE
from tests.app.pages import (
    large_maps,
    page,
    photograph,
    result_images,
    setting,
    small_maps,
    texts,
    upload,
)
from tests.maps import grey_photo

OBJECTS = {"man", "dog", "grass", "ball"}  # among the words of the tests' model
FILES = [(f"{seed}.png", photograph("PNG", seed=seed)) for seed in range(3)]


@pytest.fixture
def occluded(monkeypatch):
    """How many photographs each computation of evidence was for."""
    counts, original = [], GraphEngine.occlude

    def occlude(self, features, captions, *hidden):
        counts.append(len(features))
        return original(self, features, captions, *hidden)

    monkeypatch.setattr(GraphEngine, "occlude", occlude)
    return counts


@pytest.fixture
def without_words(monkeypatch):
    """Every caption is empty."""
    original = Captioner.stream

    def stream(self, photos, **settings):
        for caption in original(self, photos, **settings):
            attention = caption.attention[:0]
            yield replace(caption, text="", words=(), probabilities=(), attention=attention)

    monkeypatch.setattr(Captioner, "stream", stream)


def choose(page, word):
    """The page after a word was chosen."""
    return page.button_group[0].set_value(word).run()


def buttons(page):
    """What can be downloaded."""
    return [button.proto.label for button in page.get("download_button")]


def greatest(map_):
    """Where a map is greatest, as the page words it."""
    row, column = np.unravel_index(map_.argmax(), map_.shape)
    x, y = (column + 0.5) / map_.shape[1], (row + 0.5) / map_.shape[0]
    return f"greatest {x:.0%} from the left, {y:.0%} from the top"


# Which word it opens on -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "index"),
    [
        ("a brown dog chases a man", 2),
        ("a woman in a tank top", 1),
        ("a red tank top", 2),  # an object word of two tokens opens on its first
        ("the red one is running", 1),  # no object word
        ("it is in there", 0),  # nothing but function words
        ("dog", 0),
    ],
)
def test_the_word_shown_first_is_an_object_or_else_a_content_word(words, index):
    assert opening_word(tuple(words.split())) == index


def test_the_page_opens_on_the_first_object_word(model, captioner):
    first = set()
    for seed in range(6):
        content = photograph(seed=seed)
        words = captioner(content).words
        expected = next((i for i, word in enumerate(words) if word in OBJECTS), None)
        if expected is None:
            continue
        shown = upload(page(), ("photo.jpg", content))
        assert shown.button_group[0].value == expected
        assert all(f"“{words[expected]}”" in image.alt for image in large_maps(shown))
        first.add(expected)
    assert first - {0}  # not just because it always opens on the first word


# The maps ---------------------------------------------------------------------------------------


def test_evidence_comes_first_and_attention_beside_it(model):
    shown = upload(page(), ("photo.jpg", photograph()))
    titles = [element.value for element in shown.markdown if element.value.startswith("####")]
    assert titles == ["#### What this word rests on", "#### Where the model looked"]
    evidence, scale, attention, other_scale, *small = result_images(shown)
    assert evidence.alt.startswith("Evidence for “")
    assert attention.alt.startswith("Attention for “")
    assert scale.alt.startswith("Scale")
    assert other_scale.alt.startswith("Scale")
    assert all(image.alt.startswith("Evidence for “") for image in small)
    left, right = (
        column for column in shown.get("column") if any("####" in m.value for m in column.markdown)
    )
    assert [left.markdown[0].value, right.markdown[0].value] == titles


def test_the_alt_texts_say_where_each_map_is_greatest(model, captioner):
    content = photograph()
    caption = captioner(content, evidence=True)
    shown = upload(page(), ("photo.jpg", content))
    for word in range(len(caption.words)):
        maps = caption.evidence[word], caption.attention[word]
        for image, map_ in zip(large_maps(choose(shown, word)), maps, strict=True):
            assert f"“{caption.words[word]}”" in image.alt
            assert greatest(map_) in image.alt
    for image, map_ in zip(small_maps(shown), caption.evidence, strict=True):
        assert greatest(map_) in image.alt


def test_choosing_a_word_shows_its_maps_and_its_probability(model, captioner):
    content = photograph()
    caption = captioner(content)
    shown = upload(page(), ("photo.jpg", content))
    assert len(caption.words) > 1
    seen = set()
    for word, probability in enumerate(caption.probabilities):
        choose(shown, word)
        assert f"“{caption.words[word]}” a probability of {probability:.0%}," in texts(shown)
        seen.add(tuple(image.url for image in large_maps(shown)))
    assert len(seen) > 1


def test_each_scale_goes_from_0_to_the_value_of_its_hottest_colour(model, captioner):
    content = photograph()
    caption = captioner(content, evidence=True)
    shown = upload(page(), ("photo.jpg", content))
    for word in range(len(caption.words)):
        lost = max(1 - np.exp(-caption.evidence[word].max()), LEAST_EVIDENCE)
        share = caption.attention[word].max()
        written = texts(choose(shown, word)).splitlines()
        assert written.count("0%") == 2
        assert f"{lost:.0%} of its support" in written
        assert f"{share:.0%} of the attention" in written
        scales = [image.alt for image in result_images(shown) if image.alt.startswith("Scale")]
        assert f"{lost:.0%} of its support" in scales[0]
        assert f"{share:.0%} of the attention" in scales[1]


def test_the_page_says_which_map_to_trust(model):
    assert "Trust the evidence" in texts(upload(page(), ("photo.jpg", photograph())))


# When evidence is computed ----------------------------------------------------------------------


def test_evidence_is_computed_once_and_only_for_the_photograph_that_is_shown(model, occluded):
    shown = upload(page(), *FILES)
    assert occluded == [1]
    choose(shown, len(shown.button_group[0].options) - 1)
    setting(shown, "slider", "Overlay strength").set_value(0.3).run()
    setting(shown, "toggle", "Write sentences").set_value(False).run()
    assert occluded == [1]
    setting(shown, "selectbox", "Photograph").select_index(2).run()
    assert occluded == [1, 1]
    setting(shown, "selectbox", "Photograph").select_index(0).run()
    assert occluded == [1, 1]
    setting(shown, "slider", "Beam width").set_value(1).run()
    assert occluded == [1, 1, 1]
    assert not shown.exception


def test_the_caption_is_on_the_page_before_evidence_is_computed(model, monkeypatch, captioner):
    def occlude(*_):
        raise RuntimeError("what comes later is not shown")

    content = photograph()
    monkeypatch.setattr(GraphEngine, "occlude", occlude)
    shown = upload(page(), ("photo.jpg", content))
    assert [header.value for header in shown.header] == [captioner(content).sentence]
    (error,) = shown.exception  # without its own words, which are for the log
    assert "what comes later" not in error.message


# Without evidence -------------------------------------------------------------------------------


def test_a_single_pixel_has_attention_and_a_sentence_instead_of_evidence(model, captioner):
    content = photograph("PNG", 1, 1)
    shown = upload(page(), ("one_pixel.png", content))
    assert not shown.exception
    (info,) = shown.info
    assert info.value.replace("\\", "") == (
        "one_pixel.png is a single pixel, so no part of it can be evidence for a word."
    )
    check_attention_alone(shown, captioner(content))


class WithoutOcclusion:
    """An engine that captions, and cannot hide parts of a photograph."""

    def __init__(self, engine):
        self.encode, self.start, self.step = engine.encode, engine.start, engine.step
        self.reorder, self.keep = engine.reorder, engine.keep


def test_an_engine_without_evidence_leaves_the_attention(
    monkeypatch, tmp_path, checkpoint_path, captioner
):
    def load(path, running):
        loaded = original(path, running)
        loaded.engine = WithoutOcclusion(loaded.engine)
        return loaded

    original = Captioner.load_with
    monkeypatch.setattr(Captioner, "load_with", load)
    path = tmp_path / "model.pth"  # one that no other test has loaded
    path.symlink_to(checkpoint_path)
    monkeypatch.setenv("CAPTIONING_MODEL", str(path))
    content = photograph()
    shown = upload(page(), ("photo.jpg", content))
    assert not shown.exception
    assert [info.value for info in shown.info] == ["This model cannot tell what its words rest on."]
    check_attention_alone(shown, captioner(content))


def check_attention_alone(shown, caption):
    """The page shows the attention of a caption as it would beside the evidence."""
    (large,) = large_maps(shown)
    assert large.alt.startswith("Attention for")
    for image, map_, word in zip(small_maps(shown), caption.attention, caption.words, strict=True):
        assert image.alt == f"Attention for “{word}”: {greatest(map_)}"
        assert image.caption.endswith(f"{map_.max():.0%} of the attention")
    assert "Trust the evidence" not in texts(shown)
    assert "Attention as PNG" in buttons(shown)


def test_a_caption_without_words_is_explained_in_a_sentence(model, without_words):
    shown = upload(page(), ("photo.jpg", photograph()))
    assert not shown.exception
    assert [info.value for info in shown.info] == [
        "This caption has no words, so there is nothing to explain."
    ]
    assert not result_images(shown)
    assert not shown.button_group
    assert buttons(shown) == ["All details as JSON"]


# What can be downloaded -------------------------------------------------------------------------


def test_the_details_and_the_picture_have_the_evidence(model, captioner, monkeypatch):
    written, original = [], caption_view.as_json

    def as_json(caption):
        written.append(caption)
        return original(caption)

    monkeypatch.setattr(caption_view, "as_json", as_json)
    content = photograph()
    shown = upload(page(), ("photo.jpg", content))
    assert {"All details as JSON", "Evidence and attention as PNG"} <= set(buttons(shown))
    expected = captioner(content, evidence=True).evidence
    assert np.allclose(written[-1].evidence, expected, atol=1e-3)


def test_the_picture_has_a_part_for_the_evidence_if_there_is_any(captioner):
    caption = captioner(photograph(), evidence=True)
    both = caption_view.maps_png(grey_photo(), caption)
    alone = caption_view.maps_png(grey_photo(), replace(caption, evidence=None))
    heights = [Image.open(io.BytesIO(content)).height for content in (both, alone)]
    assert heights[0] > 1.5 * heights[1]
