"""The model that ships, on the example photographs: only what must hold."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from captioning import Captioner
from captioning.app.examples import examples
from captioning.data.caption_files import read_captions
from captioning.data.images import load_image, read_photo
from captioning.data.splits import official_split, split_photographs
from captioning.data.vocab import SPECIAL_TOKENS, START, tokenize
from captioning.inference.torch_engine import TorchEngine
from captioning.network.checkpoint import SHIPPED_MODEL, Checkpoint
from captioning.network.saved_network import build_network

PHOTOGRAPHS = {example.path.stem: read_photo(example.path) for example in examples()}
MOST_BYTES = 95 * 10**6
FLICKR8K = Path(__file__).parents[3] / "shared" / "flickr8k" / "Flickr8k_Subset"
IMAGES = FLICKR8K / "Images"
needs_flickr8k = pytest.mark.skipif(not FLICKR8K.exists(), reason="../shared/flickr8k is not here")


@pytest.fixture(scope="module")
def captioner():
    return Captioner.load()


@pytest.fixture(scope="module")
def captions(captioner):
    return dict(zip(PHOTOGRAPHS, captioner.stream(PHOTOGRAPHS.values()), strict=True))


def test_every_word_of_the_vocabulary_is_still_a_token(captioner):
    words = captioner.vocabulary.words
    named = [word for word in words if not word.startswith("<")]
    assert len(named) > 5000
    assert [word for word in named if tokenize(word) != [word]] == []


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_a_photograph_gets_an_english_sentence(name, captions):
    caption = captions[name]
    assert 3 <= len(caption.words) <= 30
    assert not set(caption.words) & set(SPECIAL_TOKENS)
    assert tokenize(caption.text) == list(caption.words)


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_every_word_has_an_attention_map_that_sums_to_1(name, captions):
    caption = captions[name]
    assert caption.attention.shape == (len(caption.words), 7, 7)
    np.testing.assert_allclose(caption.attention.sum(axis=(1, 2)), 1, atol=1e-5)


def test_photographs_of_different_things_get_different_captions(captions):
    assert len({caption.text for caption in captions.values()}) == len(PHOTOGRAPHS)


def test_a_person_is_seen_in_a_portrait(captions):
    people = {"woman", "girl", "lady", "man", "boy", "person", "child"}
    assert people & set(captions["astronaut"].words)


@needs_flickr8k
def test_dogs_are_mentioned_where_there_are_some_and_only_there(captioner):
    photographs = split_photographs(
        read_captions(FLICKR8K / "captions.txt", IMAGES).photographs
    ).dev
    mentions = {p: sum("dog" in words for words in p.references) for p in photographs}
    dogs = [photograph for photograph, count in mentions.items() if count == 5][:40]
    others = [photograph for photograph, count in mentions.items() if count == 0][:40]
    mentioned = [
        [bool({"dog", "dogs"} & set(caption.words)) for caption in captioner.stream(paths)]
        for paths in ([p.path for p in dogs], [p.path for p in others])
    ]
    assert np.mean(mentioned[0]) >= 0.9
    assert np.mean(mentioned[1]) <= 0.1


def test_teacher_forcing_a_caption_gives_its_attention(captioner, captions):
    engine = TorchEngine(build_network(Checkpoint.load(SHIPPED_MODEL)))
    pixels = load_image(PHOTOGRAPHS["astronaut"], captioner.images)
    features = engine.encode(torch.from_numpy(pixels).unsqueeze(0))
    caption = captions["astronaut"]
    tokens = torch.tensor([[START, *captioner.vocabulary.encode(caption.words)]])
    _, alphas = engine.teacher_force(features, tokens)
    expected = alphas[0, :-1].unflatten(1, caption.attention.shape[1:])
    np.testing.assert_allclose(caption.attention, expected, atol=1e-5, rtol=0)


def test_attention_moves_from_word_to_word(captions):
    peaks = {captions["astronaut"].peak(i) for i in range(len(captions["astronaut"].words))}
    assert len(peaks) > 1


def test_a_turned_phone_photograph_gets_the_same_caption(captioner, captions, tmp_path):
    turned = PHOTOGRAPHS["astronaut"].transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned a quarter clockwise
    turned.save(tmp_path / "phone.png", exif=exif)
    assert captioner(tmp_path / "phone.png").text == captions["astronaut"].text


def test_the_file_is_small_enough_to_ship():
    assert SHIPPED_MODEL.stat().st_size <= MOST_BYTES


def test_it_was_trained_on_no_photograph_of_the_official_held_out_splits():
    from captioning.data.splits import _official

    entries = Checkpoint.load(SHIPPED_MODEL).training_images
    assert not {entry.partition(":")[0] for entry in entries} & set(_official())
    assert official_split("no such name.jpg") == "train"
