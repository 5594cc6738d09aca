"""A session of the app: the captioner's captions, under the files' names, in bounded memory."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from captioning import Caption, Failure
from captioning.app.session import Session, Settings, Upload

SETTINGS = Settings("tiny", beam=2, length_penalty=0.7)


def photograph(seed):
    """The bytes of an image file with random coloured blots."""
    blots = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(blots).resize((96, 64)).save(file, "PNG")
    return file.getvalue()


UPLOADS = [Upload(f"{seed}.png", photograph(seed)) for seed in range(6)]


class Counting:
    """A captioner that counts the photographs it is given."""

    def __init__(self, captioner):
        self.captioner, self.count = captioner, 0

    def stream(self, photos, **settings):
        def counted():
            for photo in photos:
                self.count += 1
                yield photo

        return self.captioner.stream(counted(), **settings)


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
