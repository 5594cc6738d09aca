"""Mosaics: which photographs are paired, what the pictures show, which half is whose."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from captioning.data.caption_files import Photograph
from captioning.evaluation.mosaics import DOG, PERSON, Mosaic, choose_mosaics, kind_of

DOGS = ("a dog runs", "the brown dog", "two dogs", "a dog", "an animal")
PEOPLE = ("a man runs", "a woman", "the boys play", "children", "it is cold")


def photograph(name, captions, folder=Path()):
    return Photograph(name, folder / name, tuple(captions))


def filled(tmp_path, name, colour):
    Image.new("RGB", (90, 60), colour).save(tmp_path / name)
    return photograph(name, DOGS, tmp_path)


@pytest.mark.parametrize("vertical", [False, True])
@pytest.mark.parametrize("dog_first", [False, True])
def test_a_picture_has_both_photographs_in_its_halves(tmp_path, vertical, dog_first):
    dog, person = filled(tmp_path, "dog.png", "red"), filled(tmp_path, "person.png", "blue")
    mosaic = Mosaic(0, dog, person, vertical, dog_first)
    picture = mosaic.picture()
    assert picture.size == ((224, 448) if vertical else (448, 224))
    pixels = np.asarray(picture)
    first, second = np.array_split(pixels, 2, axis=0 if vertical else 1)
    expected = [(255, 0, 0), (0, 0, 255)] if dog_first else [(0, 0, 255), (255, 0, 0)]
    for half, colour in zip((first, second), expected, strict=True):
        assert (half == colour).all()
    # The picture itself, shrunk to the grid, says which cells are whose.
    for kind, channel in ((DOG, 0), (PERSON, 2)):
        share = np.asarray(picture.resize((7, 7), Image.Resampling.BOX), float)[..., channel] / 255
        assert np.allclose(mosaic.half(kind, (7, 7)), share, atol=0.01)


def test_an_even_grid_has_no_middle():
    mosaic = Mosaic(0, photograph("d", DOGS), photograph("p", PEOPLE), False, True)
    assert mosaic.half(DOG, (2, 4)).tolist() == [[1, 1, 0, 0]] * 2
    assert mosaic.half(PERSON, (2, 4)).tolist() == [[0, 0, 1, 1]] * 2
    assert mosaic.half(DOG, (1, 1)).tolist() == [[0.5]]


@pytest.mark.parametrize(
    ("captions", "kind"),
    [
        (DOGS, DOG),
        (PEOPLE, PERSON),
        (("a dog", "a dog", "a dog", "a cat", "a cat"), None),  # three of five
        ((*DOGS[:4], "a man with it"), None),
        ((*PEOPLE[:4], "a dog"), None),
        (("a cat",) * 5, None),
        (("a hot day",) * 5, None),
    ],
)
def test_which_photographs_are_chosen(captions, kind):
    other = photograph("other", PEOPLE if kind == DOG else DOGS)
    mosaics = choose_mosaics([photograph("this", captions), other])
    names = {(mosaic.dog.name, mosaic.person.name) for mosaic in mosaics}
    expected = {DOG: {("this", "other")}, PERSON: {("other", "this")}}.get(kind, set())
    assert names == expected
    assert len(mosaics) == 4 * len(expected)


def test_pairs_are_random_and_the_same_every_time():
    photographs = [photograph(f"{number}", DOGS if number % 2 else PEOPLE) for number in range(200)]
    mosaics = choose_mosaics(photographs, pairs=30)
    assert mosaics == choose_mosaics(photographs, pairs=30)
    assert mosaics != choose_mosaics(photographs, pairs=30, seed=1)
    assert len(mosaics) == 120
    for pair in range(30):
        four = mosaics[4 * pair : 4 * pair + 4]
        assert {mosaic.pair for mosaic in four} == {pair}
        assert len({(mosaic.dog.name, mosaic.person.name) for mosaic in four}) == 1
        assert len({(mosaic.vertical, mosaic.dog_first) for mosaic in four}) == 4
    assert len({mosaic.dog.name for mosaic in mosaics}) == 30
    assert all(int(m.dog.name) % 2 == 1 and int(m.person.name) % 2 == 0 for m in mosaics)


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        *(("dog", DOG), ("dogs", DOG), ("puppy", DOG), ("terrier", DOG)),
        *(("man", PERSON), ("girls", PERSON), ("people", PERSON), ("child", PERSON)),
        *(("cat", None), ("animal", None), ("grass", None), ("a", None), ("runs", None)),
    ],
)
def test_what_a_word_names(word, kind):
    assert kind_of(word) == kind
