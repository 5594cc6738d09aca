"""The example photographs: small, readable, and each with its author, licence and source."""

import json

import pytest
from PIL import Image

from captioning.app.examples import FOLDER, examples
from captioning.data.images import read_photo

MAX_BYTES, MAX_SIDE = 60_000, 640


def test_there_are_four_different_photographs():
    assert [example.title for example in examples()] == ["Astronaut", "Cat", "Coffee", "Rocket"]
    assert len({example.path.read_bytes() for example in examples()}) == 4


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.title)
def test_a_photograph_is_small_and_can_be_read(example):
    assert example.path.stat().st_size <= MAX_BYTES
    photo = read_photo(example.path)
    assert 300 <= min(photo.size) <= max(photo.size) <= MAX_SIDE
    with Image.open(example.path) as image:
        assert image.format == "JPEG"


def test_every_file_in_the_folder_is_credited_and_every_credit_has_its_file():
    rows = json.loads((FOLDER / "credits.json").read_text(encoding="utf-8"))
    files = {path.name for path in FOLDER.iterdir()} - {"credits.json"}
    assert {row["file"] for row in rows} == files
    for row in rows:
        assert row["author"] in row["credit"]
        assert row["credit"].endswith(("; CC0", "; public domain"))
        assert row["licence"].startswith(("CC0", "public domain"))
        assert f"skimage.data.{row['file'].removesuffix('.jpg')}" in row["source"]
