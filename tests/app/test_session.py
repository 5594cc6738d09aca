"""A session of the app: the captioner's captions, under the files' names, in bounded memory."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from captioning import Caption, Captioner, Failure
from captioning.app.session import Session, Settings, Upload
from captioning.data.images import ImageError
from captioning.errors import SettingError

SETTINGS = Settings("tiny", beam=2, length_penalty=0.7)


def photograph(seed, size=(96, 64)):
    """The bytes of an image file with random coloured blots."""
    blots = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(blots).resize(size).save(file, "PNG")
    return file.getvalue()


PIXEL = Upload("pixel.png", photograph(0, (1, 1)))
UPLOADS = [Upload(f"{seed}.png", photograph(seed)) for seed in range(6)]


class Counting:
    """A captioner that counts the photographs it is given, and those with evidence."""

    def __init__(self, captioner):
        self.captioner, self.count, self.explained = captioner, 0, 0

    def stream(self, photos, **settings):
        def counted():
            for photo in photos:
                self.count += 1
                yield photo

        return self.captioner.stream(counted(), **settings)

    def explain(self, caption, photo):
        self.explained += 1
        return self.captioner.explain(caption, photo)


@pytest.fixture
def counting(captioner):
    return Counting(captioner)


def test_captions_are_the_captioners_under_the_files_names(captioner):
    captions = list(Session().captions(captioner, UPLOADS, SETTINGS))
    assert [caption.source for caption in captions] == [upload.name for upload in UPLOADS]
    for caption, upload in zip(captions, UPLOADS, strict=True):
        expected = captioner(upload.content, beam=2, length_penalty=0.7)
        assert caption.text == expected.text
        # Batches of another size are rounded differently.
        assert np.allclose(caption.attention, expected.attention, atol=0.02)


def test_one_broken_file_leaves_the_others_alone(captioner):
    uploads = [*UPLOADS[:4], Upload("broken.jpg", b"no photograph"), *UPLOADS[4:]]
    captions = list(Session().captions(captioner, uploads, SETTINGS))
    assert [type(one) for one in captions] == [Caption] * 4 + [Failure] + [Caption] * 2
    assert captions[4].source == "broken.jpg"
    assert captions[4].reason.startswith("broken.jpg is not an image")


def test_what_was_captioned_is_not_captioned_again(counting):
    session = Session()
    first = list(session.captions(counting, UPLOADS[:3], SETTINGS))
    again = list(session.captions(counting, UPLOADS[:4], SETTINGS))
    assert counting.count == 4
    assert [one.text for one in again[:3]] == [one.text for one in first]


def test_the_same_photograph_twice_is_captioned_once_under_both_names(counting):
    uploads = [UPLOADS[0], UPLOADS[1], replace(UPLOADS[0], name="copy.png")]
    captions = list(Session().captions(counting, uploads, SETTINGS))
    assert counting.count == 2
    assert [one.source for one in captions] == ["0.png", "1.png", "copy.png"]
    assert captions[0].text == captions[2].text


@pytest.mark.parametrize("change", [{"beam": 1}, {"length_penalty": 0.0}, {"model": "other"}])
def test_other_settings_give_other_captions(counting, change):
    session = Session()
    list(session.captions(counting, UPLOADS[:1], SETTINGS))
    list(session.captions(counting, UPLOADS[:1], replace(SETTINGS, **change)))
    assert counting.count == 2
    assert len(session) == 2


@pytest.mark.parametrize("capacity", [1, 2, 3, 5])
def test_memory_is_bounded_even_below_the_number_of_uploads(captioner, capacity):
    session = Session(capacity)
    for uploads in (UPLOADS, UPLOADS[3:], [UPLOADS[0], *UPLOADS[2:], UPLOADS[0]]):
        captions = list(session.captions(captioner, uploads, SETTINGS))
        assert [one.source for one in captions] == [upload.name for upload in uploads]
        assert len(session) <= capacity


def test_the_caption_unused_for_longest_is_forgotten_first(counting):
    session = Session(capacity=2)
    for index in (0, 1, 0, 2):  # 1 is unused for longest when 2 comes
        list(session.captions(counting, [UPLOADS[index]], SETTINGS))
    assert counting.count == 3
    list(session.captions(counting, [UPLOADS[0]], SETTINGS))
    assert counting.count == 3
    list(session.captions(counting, [UPLOADS[1]], SETTINGS))
    assert counting.count == 4


# Evidence -----------------------------------------------------------------------------------------


def test_evidence_is_the_captioners_under_the_files_name(captioner):
    session = Session()
    (shown,) = session.captions(captioner, UPLOADS[:1], SETTINGS)
    explained = session.explained(captioner, UPLOADS[0], shown, SETTINGS)
    expected = captioner(UPLOADS[0].content, beam=2, length_penalty=0.7, evidence=True)
    assert shown.evidence is None
    assert (explained.source, explained.words) == ("0.png", shown.words)
    assert np.array_equal(explained.evidence, expected.evidence)
    assert np.array_equal(explained.attention, shown.attention)


def test_evidence_is_computed_once_and_only_when_asked_for(counting):
    session = Session()
    captions = list(session.captions(counting, UPLOADS[:3], SETTINGS))
    assert counting.explained == 0
    first = session.explained(counting, UPLOADS[1], captions[1], SETTINGS)
    assert counting.explained == 1
    list(session.captions(counting, UPLOADS[:3], SETTINGS))
    copy = replace(UPLOADS[1], name="copy.png")
    again = session.explained(counting, copy, captions[1], SETTINGS)
    assert (counting.count, counting.explained) == (3, 1)  # nothing was captioned again
    assert (again.source, again.evidence is first.evidence) == ("copy.png", True)
    session.explained(counting, UPLOADS[1], captions[1], replace(SETTINGS, beam=1))
    assert counting.explained == 2
    assert len(session) == 4  # three photographs, one of them with two settings


def test_evidence_of_a_caption_that_was_forgotten_is_remembered_with_it(counting):
    session = Session()
    (caption,) = Session().captions(counting, UPLOADS[:1], SETTINGS)
    explained = session.explained(counting, UPLOADS[0], caption, SETTINGS)
    (again,) = session.captions(counting, UPLOADS[:1], SETTINGS)
    assert counting.count == 1
    assert again.evidence is explained.evidence


def test_without_evidence_the_caption_stays_known(counting):
    session = Session()
    (caption,) = session.captions(counting, [PIXEL], SETTINGS)
    with pytest.raises(ImageError, match="is a single pixel"):
        session.explained(counting, PIXEL, caption, SETTINGS)
    count = counting.count
    (again,) = session.captions(counting, [PIXEL], SETTINGS)
    assert (counting.count, again.text) == (count, caption.text)


def test_evidence_is_for_the_words_of_the_caption_that_is_shown(captioner):
    session = Session()
    (caption,) = session.captions(captioner, UPLOADS[:1], SETTINGS)
    # In a batch, a photograph may get another caption than alone.
    other = replace(caption, words=("the", "red", "ball"))
    explained = session.explained(captioner, UPLOADS[0], other, SETTINGS)
    assert explained.words == other.words
    assert explained.evidence.shape == (3, *caption.attention.shape[1:])


def test_an_engine_that_cannot_give_evidence_is_a_setting_error(captioner):
    class Engine:
        """Not even an engine; what matters is that it cannot hide anything."""

    (caption,) = Session().captions(captioner, UPLOADS[:1], SETTINGS)
    plain = Captioner(Engine(), captioner.images, captioner.vocabulary, captioner.decoding)
    with pytest.raises(SettingError, match="evidence"):
        Session().explained(plain, UPLOADS[0], caption, SETTINGS)
