"""Bad and odd photographs: each gives an array or one sentence, soon, and in a gigabyte."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from captioning.batch.sources import Listing, find
from captioning.data.images import ImageError, load_image, read_photo
from captioning.inference.captioner import Failure
from tools.attacks import images, pixel_oracle
from tools.attacks.bad_photos import BadPhoto, bad_photos, write_all
from tools.attacks.bombs import bombs
from tools.attacks.images import mutated, require_promise, require_sentence
from tools.attacks.reader import Reading, reader
from tools.attacks.special_files import changing, special_files
from tools.attacks.valid_photos import directory, encode, photograph, real

needs_proc = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs /proc")
# Near the limit, so that they take their time; test_photo_memory has others that are.
SLOW_BOMBS = {"grey13000.png", "colour10900.png", "deep7000.png", "bits13000interlaced.png"}
SLOW_BOMBS |= {
    "square65500.jpg",
    "deflate12000.tif",
    "lzw12000.tif",
    "rle_lines5000.bmp",
    "rle_jumps5000.bmp",
}


@pytest.fixture(scope="module")
def canary(tmp_path_factory):
    return tmp_path_factory.mktemp("canary") / "was loaded"


@pytest.fixture(scope="module")
def groups(tmp_path_factory, canary):
    """All of the files but bombs: their paths, by group."""
    return write_all(tmp_path_factory.mktemp("photos"), bad_photos(canary))


# What is made, and what judges it ---------------------------------------------------------------


def test_there_are_at_least_five_hundred_that_differ(groups, canary):
    paths = [path for group in groups.values() for path in group]
    contents = {Path(os.fsdecode(path)).read_bytes() for path in paths}
    assert len(contents) > 500
    assert len(set(paths)) == len(paths) > 700
    again = {photo.name: photo.content for photo in bad_photos(canary)}
    for path in paths[:: len(paths) // 50]:
        assert Path(os.fsdecode(path)).read_bytes() == again[os.path.basename(path)]


def test_the_pickle_is_one(tmp_path):
    """Loading it does what must never happen."""
    canary = tmp_path / "canary"
    content = next(p.content for p in bad_photos(canary) if p.name == b"pickle.jpg")
    program = "import pickle, sys; pickle.loads(sys.stdin.buffer.read())"
    subprocess.run([sys.executable, "-c", program], input=content, check=True)
    assert canary.exists()


@pytest.mark.parametrize(
    ("reading", "complaint"),
    [
        (Reading(defect="KeyError: 3"), "KeyError"),
        (Reading(memory=2_000_000_000), "took 2000 MB"),
        (Reading(seconds=100), "took 100 s"),
        (Reading(sentence="b.jpg is empty."), "another file"),
        (Reading(sentence="a.jpg is empty"), "no end"),
        (Reading(sentence="a.jpg is empty. Do something."), "not one sentence"),
        (Reading(sentence="a.jpg is\nempty."), "cannot be printed"),
    ],
)
def test_the_judge_sees(reading, complaint):
    with pytest.raises(AssertionError, match=complaint):
        require_promise(reading, "a.jpg")


@needs_proc
def test_the_reader_sees_crashes_and_measures(tmp_path, monkeypatch):
    with reader() as one:
        (tmp_path / "large.png").write_bytes(encode(Image.new("L", (6000, 6000)), "PNG"))
        assert 36e6 < one.read(str(tmp_path / "large.png")).memory < 300e6
        one._process.kill()
        one._process.wait()
        (tmp_path / "pipe.jpg").touch()
        with pytest.raises(BrokenPipeError):
            one.read(str(tmp_path / "pipe.jpg"))


# Files ------------------------------------------------------------------------------------------


@needs_proc
def test_every_file_gives_an_array_or_a_sentence(groups, canary):
    with reader() as one:
        for name, paths in groups.items():
            outcome = images.read_group(one, name, paths)
            assert not outcome.harm
            assert outcome.tried == len(paths)
            if name in ("names", "wrong extensions", "metadata"):
                assert outcome.notes == {"read": len(paths)}
    assert not canary.exists()


@needs_proc
def test_bombs(tmp_path, monkeypatch):
    few = (
        (name, content)
        for name, content in bombs()
        if name not in SLOW_BOMBS and len(content) < 25_000_000
    )
    monkeypatch.setattr(images, "bombs", lambda: few)
    with reader() as one:
        outcome = images._bombs(one, tmp_path / "bomb")
    assert not outcome.harm
    assert outcome.tried > 100


@needs_proc
def test_special_files_and_files_that_change(tmp_path):
    paths = [os.fsencode(path) for path in special_files(tmp_path / "special")]
    with reader() as one:
        outcome = images.read_group(one, "special files", paths)
        for suffix in (".jpg", ".webp", ".tif", ".heic"):
            path = tmp_path / f"changing{suffix}"
            with changing(path, suffix):
                for _ in range(5):
                    images._read(one, os.fsencode(path), outcome, path.name)
    assert not outcome.harm


def test_a_file_that_becomes_a_pipe_after_the_look_at_it_does_not_block(tmp_path, monkeypatch):
    pipe, plain = tmp_path / "pipe.jpg", tmp_path / "plain.jpg"
    os.mkfifo(pipe)
    plain.touch()
    look = os.stat(plain)
    monkeypatch.setattr(os, "stat", lambda *_, **__: look)
    with pytest.raises(ImageError, match="is not an ordinary file"):
        read_photo(pipe)


# As they are captioned --------------------------------------------------------------------------


def test_a_stream_of_them_goes_on(groups, captioner, canary):
    paths = [os.fsdecode(path) for group in groups.values() for path in group[::7]]
    results = list(captioner.stream(paths, readers=2))
    assert [result.source for result in results] == paths
    failures = [result for result in results if isinstance(result, Failure)]
    assert 0 < len(failures) < len(results)
    for failure in failures:
        require_sentence(failure.reason, failure.source)
    assert all(one.text for one in results if not isinstance(one, Failure))
    assert not canary.exists()


def test_the_command_captions_a_folder_of_them(tmp_path, canary, checkpoint_path):
    photos, special = tmp_path / "photos", tmp_path / "special"
    photos.mkdir()
    some = [p for i, p in enumerate(bad_photos(canary)) if i % 13 == 0 or p.group == "names"]
    write_all(photos, iter(some))
    special_files(special)
    outcome = images.command_line([photos, special], tmp_path, checkpoint_path)
    assert not outcome.harm
    assert outcome.notes["captioned"] > 60
    assert not canary.exists()


def test_a_record_that_is_missing_is_seen(tmp_path):
    write_all(tmp_path, iter([BadPhoto("one", b"a.jpg", b""), BadPhoto("one", b"b.jpg", b"")]))
    record = {"file": str(tmp_path / "a.jpg"), "error": f"{tmp_path / 'a.jpg'} is empty."}
    with pytest.raises(AssertionError, match="2 photographs, 1 records"):
        images.require_records([record], [tmp_path], "")


def test_a_link_that_leads_nowhere_does_not_hide_the_folder_that_it_is_in(tmp_path):
    (tmp_path / "a.jpg").touch()
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "long").symlink_to("a" * 300)
    found = find([str(tmp_path)], Listing(relative=True), bytes)
    assert [picture.name for picture in found.pictures] == ["a.jpg", "loop.jpg"]
    assert not found.problems


# At random --------------------------------------------------------------------------------------


def array_or_sentence(data):
    try:
        got = load_image(data)
    except ImageError as error:
        require_sentence(str(error), "the image")
    else:
        assert got.shape == (3, 224, 224)
        assert np.isfinite(got).all()


@given(st.sampled_from(sorted(real())), st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_random_damage(suffix, seed):
    array_or_sentence(mutated(real()[suffix], seed))


HEADS = [data[:size] for data in real().values() for size in (4, 16, 64, 500)]


@given(st.sampled_from(HEADS), st.binary(max_size=500))
@settings(max_examples=200, deadline=None)
def test_random_bytes_behind_real_headers(head, rest):
    array_or_sentence(head + rest)


TAGS = st.sampled_from([*range(254, 344), 347, *range(512, 533), 700, 34665, 34675, 34853, 50706])
COUNTS = st.one_of(st.integers(0, 20), st.integers(0, 2**32 - 1))
ENTRY = st.tuples(TAGS, st.integers(0, 19), COUNTS, COUNTS)


@given(st.lists(ENTRY, max_size=20), st.integers(0, 300), st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_random_directories(entries, following, rest):
    """As a TIFF, and as the EXIF of a photograph that is whole."""
    sized = [(256, 4, 1, 9), (257, 4, 1, 9), (262, 3, 1, 1), *entries]
    head = struct.pack("<2sHI", b"II", 42, 8)
    array_or_sentence(head + directory(sized, following) + rest)
    exif = head + directory(entries, following) + rest
    assert read_photo(encode(photograph(16, 8), "PNG", exif=exif)).size in ((16, 8), (8, 16))


@given(st.binary(max_size=300), st.booleans())
@settings(max_examples=100, deadline=None)
def test_random_exif(data, is_behind_a_header):
    exif = b"Exif\0\0" + (b"MM\0*\0\0\0\x08" if is_behind_a_header else b"") + data
    assert read_photo(encode(photograph(16, 8), "JPEG", exif=exif)).size in ((16, 8), (8, 16))


# Pixels -----------------------------------------------------------------------------------------


@pytest.mark.skipif(not pixel_oracle.is_here(), reason="ImageMagick is not here")
def test_pixels_are_what_imagemagick_shows():
    wrong = {
        case.name: found
        for case in pixel_oracle.cases()
        if (found := pixel_oracle.difference(case))
    }
    assert not wrong


@pytest.mark.skipif(not pixel_oracle.is_here(), reason="ImageMagick is not here")
@pytest.mark.parametrize("lossy", [False, True])
def test_pixels_that_differ_are_seen(monkeypatch, lossy):
    case = pixel_oracle.Case("a.png", encode(photograph(64, 48), "PNG"), lossy)
    assert pixel_oracle.difference(case) == ""
    monkeypatch.setattr(pixel_oracle, "read_photo", lambda _: photograph(64, 48).rotate(2))
    assert pixel_oracle.difference(case)
    monkeypatch.setattr(pixel_oracle, "read_photo", lambda _: photograph(48, 64))
    assert "is shown" in pixel_oracle.difference(case)
