"""Copies of a photograph are recognised and other photographs are not; the cache of thumbnails."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageOps

from captioning.data import perceptual_hash as module
from captioning.data.images import ImageError
from captioning.data.perceptual_hash import (
    ALIKE,
    bit_distances,
    cached_thumbnails,
    difference_hashes,
    find_alike,
    grey_thumbnail,
)
from tests.data.pictures import draw, save

several = settings(max_examples=60, deadline=None, database=None)
bits = arrays(np.bool_, st.tuples(st.integers(0, 5), st.just(70)))


def recompressed(picture, quality, size):
    file = io.BytesIO()
    picture.resize(size).save(file, "JPEG", quality=quality)
    return file.getvalue()


def stack(*sources):
    return np.stack([grey_thumbnail(source) for source in sources])


@several
@given(bits, bits)
def test_distances_count_the_bits_that_differ(first, second):
    expected = [[int((a != b).sum()) for b in second] for a in first]
    assert (
        bit_distances(first, second).tolist()
        == np.array(expected).reshape(len(first), len(second)).tolist()
    )


def test_a_bit_says_whether_the_right_neighbour_is_brighter():
    falling = np.arange(17, 0, -1, dtype=np.uint8) * np.ones((1, 16, 1), np.uint8)  # (1, 16, 17)
    falling[0, 3, 5] = 200
    hashes = difference_hashes(falling).reshape(16, 16)
    assert np.argwhere(hashes).tolist() == [[3, 4]]
    assert difference_hashes(falling, mirrored=True).sum() == 255


@pytest.mark.parametrize("quality", [30, 60, 90])
@pytest.mark.parametrize("size", [(128, 96), (256, 192), (224, 224), (1024, 768)])
def test_copies_are_found_and_other_photographs_are_not(quality, size):
    pictures = [draw(seed, (640, 480)) for seed in range(12)]
    copies = [recompressed(picture, quality, size) for picture in pictures]
    assert find_alike(stack(*copies), stack(*pictures)) == {i: i for i in range(12)}
    mirrored = [ImageOps.mirror(picture) for picture in pictures]
    assert find_alike(stack(*copies), stack(*reversed(mirrored))) == {i: 11 - i for i in range(12)}
    assert find_alike(stack(*copies[:6]), stack(*pictures[6:])) == {}


def test_the_nearest_of_several_is_the_copy():
    picture = draw(0)
    near = picture.copy()
    near.paste((255, 255, 255), (0, 0, 20, 14))
    distance = bit_distances(*(difference_hashes(stack(each)) for each in (picture, near)))
    assert 0 < distance.item() <= ALIKE
    assert find_alike(stack(picture), stack(draw(1), near, picture)) == {0: 2}
    assert find_alike(stack(picture), stack(draw(1), near)) == {0: 1}


def test_more_photographs_than_are_compared_at_once(monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 3)
    pictures = [draw(seed) for seed in range(10)]
    assert find_alike(stack(*pictures), stack(pictures[8], pictures[2])) == {2: 1, 8: 0}


@pytest.mark.parametrize(("count", "others"), [(0, 0), (0, 2), (2, 0)])
def test_none_is_like_any_where_there_are_none(count, others):
    thumbnails = stack(draw(0), draw(1))
    assert find_alike(thumbnails[:count], thumbnails[:others]) == {}


# The cache --------------------------------------------------------------------------------------


@pytest.fixture
def photographs(tmp_path):
    """Four photographs; the last two have the same name and the same number of bytes."""
    first = [save(tmp_path / "a", f"{i}.bmp", draw(i, (20 + i, 20))) for i in range(3)]
    return [*first, save(tmp_path / "b", "2.bmp", draw(3, (22, 20)))]


def directly(photographs):
    return stack(*(photograph.path for photograph in photographs))


def count_calls(monkeypatch, fail_after=99):
    calls = []

    def counted(source):
        calls.append(source)
        if len(calls) > fail_after:
            raise KeyboardInterrupt
        return grey_thumbnail(source)

    monkeypatch.setattr(module, "grey_thumbnail", counted)
    return calls


def test_thumbnails_are_made_once_and_belong_to_their_photographs(
    tmp_path, photographs, monkeypatch
):
    assert photographs[2].path.stat().st_size == photographs[3].path.stat().st_size
    calls = count_calls(monkeypatch)
    cache = tmp_path / "cache"
    np.testing.assert_array_equal(
        cached_thumbnails(cache, photographs[1:]), directly(photographs[1:])
    )
    assert len(calls) == 3
    backwards = photographs[::-1]
    np.testing.assert_array_equal(cached_thumbnails(cache, backwards), directly(backwards))
    assert len(calls) == 4
    assert cached_thumbnails(cache, []).shape == (0, 16, 17)


def test_a_photograph_that_takes_the_name_of_another_is_hashed_anew(tmp_path, photographs):
    cached_thumbnails(tmp_path / "cache", photographs)
    photographs[0] = save(tmp_path / "a", "0.bmp", draw(7, (40, 20)))
    made = cached_thumbnails(tmp_path / "cache", photographs)
    np.testing.assert_array_equal(made, directly(photographs))


def test_an_interruption_keeps_what_is_done(tmp_path, photographs, monkeypatch):
    count_calls(monkeypatch, fail_after=2)
    with pytest.raises(KeyboardInterrupt):
        cached_thumbnails(tmp_path / "cache", photographs)
    calls = count_calls(monkeypatch)
    made = cached_thumbnails(tmp_path / "cache", photographs)
    np.testing.assert_array_equal(made, directly(photographs))
    assert len(calls) == 2


@pytest.mark.parametrize("content", [b"", b"no array", "cut", "floats"])
def test_a_damaged_cache_is_made_anew(tmp_path, photographs, content):
    cached_thumbnails(tmp_path / "cache", photographs)
    (path,) = (tmp_path / "cache").iterdir()
    if content == "floats":
        np.save(path, np.ones((4, 16, 17)))
    else:
        path.write_bytes(path.read_bytes()[:-100] if content == "cut" else content)
    for _ in range(2):
        made = cached_thumbnails(tmp_path / "cache", photographs)
        np.testing.assert_array_equal(made, directly(photographs))


def test_no_progress_bar_in_a_log(tmp_path, photographs, capsys):
    cached_thumbnails(tmp_path / "cache", photographs)
    assert capsys.readouterr().err == ""


def test_a_large_photograph_is_hashed_like_its_small_copy():
    large = draw(5, (1600, 1200))
    file = io.BytesIO()
    large.save(file, "JPEG", quality=90)
    assert find_alike(stack(file.getvalue()), stack(large.resize((224, 224), Image.Resampling.BOX)))


def test_a_photograph_that_is_gone_is_one_sentence(tmp_path, photographs):
    photographs[1].path.unlink()
    with pytest.raises(ImageError, match=photographs[1].path.name):
        cached_thumbnails(tmp_path / "cache", photographs)
