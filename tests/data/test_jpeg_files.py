"""JPEG whose end is missing, against the same file whole and against what viewers show."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from captioning.data.images import ImageError, read_photo, read_with_remark
from captioning.data.jpeg_files import ENDS_EARLY
from tests.data.photo_files import encode, flat_jpeg, gradient
from tools.attacks.bombs import jpeg_scans

FORMS = {
    "baseline": ({}, "RGB"),
    "4:4:4": ({"subsampling": 0}, "RGB"),
    "restarts": ({"restart_marker_rows": 1}, "RGB"),
    "optimised": ({"optimize": True}, "RGB"),
    "grey": ({}, "L"),
    "inks": ({}, "CMYK"),
    "progressive": ({"progressive": True}, "RGB"),
}


def scene(mode="RGB"):
    """Coarse noise, so that every row of blocks takes about the same part of the file."""
    coarse = np.random.default_rng(3).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC).convert(mode)


def jpeg(form):
    options, mode = FORMS[form]
    return encode(scene(mode), "JPEG", quality=90, **options)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("missing", [1, 2, 20])
def test_a_file_without_its_last_bytes_is_shown_with_a_remark(form, missing):
    data = jpeg(form)
    photo, remark = read_with_remark(data[:-missing])
    assert remark == ENDS_EARLY
    whole = np.asarray(read_photo(data)).astype(int)
    assert np.abs(np.asarray(photo) - whole)[:448].mean() < 1


@pytest.mark.parametrize("form", FORMS)
def test_a_whole_file_has_no_remark(form):
    assert read_with_remark(jpeg(form)).remark is None
    assert read_with_remark(jpeg(form) + b"after the end").remark is None


def test_what_is_there_of_a_file_is_what_a_viewer_shows():
    """Against Pillow's own switch for broken files, in this test alone."""
    data = jpeg("baseline")
    cut = data[: int(0.9 * len(data))]
    got = np.asarray(read_photo(cut))
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        want = np.asarray(Image.open(io.BytesIO(cut)))
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False
    assert np.array_equal(got, want)


@pytest.mark.parametrize("form", [form for form in FORMS if form != "progressive"])
@pytest.mark.parametrize("near", [None, 30])
def test_three_quarters_of_the_rows_must_be_there(form, near):
    data = jpeg(form)
    start = data.index(b"\xff\xda")
    for share in np.arange(0.05, 1, 0.05):
        cut = data[: start + int(share * (len(data) - start))]
        if share > 0.8:
            assert read_with_remark(cut, near).remark == ENDS_EARLY
        elif share < 0.7:
            with pytest.raises(ImageError, match="damaged or incomplete"):
                read_photo(cut, near=near)


def test_a_progressive_file_is_coarse_rather_than_cut():
    data = jpeg("progressive")
    photo, remark = read_with_remark(data[: int(0.9 * len(data))])
    assert remark == ENDS_EARLY
    whole = np.asarray(read_photo(data)).astype(int)
    assert np.abs(np.asarray(photo) - whole).mean() < 8
    first = data.index(b"\xff\xda")
    second = data.index(b"\xff\xda", first + 2)
    photo, remark = read_with_remark(data[:second])  # the mean of each block, and nothing else
    assert remark == ENDS_EARLY
    greys = [np.asarray(each.convert("L")) for each in (photo, read_photo(data))]
    blocks = [grey.reshape(60, 8, 80, 8).mean((1, 3)) for grey in greys]
    assert np.abs(blocks[0] - blocks[1]).mean() < 8
    with pytest.raises(ImageError, match="damaged"):
        read_photo(data[: (first + second) // 2])


@pytest.mark.parametrize("channels", [1, 3])
def test_a_photograph_that_is_grey_is_not_taken_for_a_missing_one(channels):
    data = flat_jpeg(800, 600, channels)
    photo, remark = read_with_remark(data[:-2])
    assert remark == ENDS_EARLY
    assert (np.asarray(photo) == 128).all()
    with pytest.raises(ImageError, match="damaged"):
        read_photo(data[: len(data) * 2 // 3])


@pytest.mark.parametrize("form", ["baseline", "progressive"])
def test_the_beginning_must_be_there(form):
    data = jpeg(form)
    for length in (3, 20, 300, data.index(b"\xff\xda") + 14):
        with pytest.raises(ImageError):
            read_photo(data[:length])


@given(st.sampled_from(sorted(FORMS)), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_every_cut_is_a_photograph_or_a_sentence(form, part):
    data = jpeg(form)
    try:
        photo, remark = read_with_remark(data[: int(part * len(data))])
    except ImageError:
        return
    assert photo.size == (640, 480)
    assert remark == ENDS_EARLY or part > 0.99


def test_an_end_that_is_missing_can_be_told_of_a_turned_photograph(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    path = tmp_path / "phone.jpg"
    path.write_bytes(encode(Image.fromarray(gradient(640, 480)), "JPEG", exif=exif)[:-2])
    photo, remark = read_with_remark(path)
    assert (photo.size, remark) == ((480, 640), ENDS_EARLY)


# Parts that say nothing of the picture, and many scans ----------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_comments_junk_and_padding_before_the_picture_change_nothing(form):
    data = jpeg(form)
    extra = b"\xff\xfe\0\x05abc" * 1000 + b"\0\0junk" + b"\xff\xff" + b"\xff\xed\0\x03x" * 30
    got = read_with_remark(data[:2] + extra + data[2:])
    assert np.array_equal(np.asarray(got.image), np.asarray(read_photo(data)))
    assert got.remark is None


@pytest.mark.parametrize("form", ["baseline", "progressive"])
def test_a_film_behind_the_photograph_is_not_taken_for_scans(form):
    """Phones append one, and by chance it holds what begins a scan."""
    data = jpeg(form)
    got = read_photo(data + b"\xff\xda\0\x08" * 5000)
    assert np.array_equal(np.asarray(got), np.asarray(read_photo(data)))


@pytest.mark.parametrize(("scans", "is_read"), [(1, True), (60, True), (1100, False)])
def test_as_many_scans_as_encoders_write_are_read(scans, is_read):
    data = jpeg_scans(64, 48, scans)
    if is_read:
        assert read_photo(data).size == (64, 48)
    else:
        with pytest.raises(ImageError, match="damaged"):
            read_photo(data)


def test_the_first_exif_says_which_way_up():
    def exif(turn):
        tags = Image.Exif()
        tags[274] = turn
        body = tags.tobytes()
        return b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body

    data = jpeg("baseline")
    assert read_photo(data[:2] + exif(6) + exif(1) + data[2:]).size == (480, 640)
