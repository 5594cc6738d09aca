"""The feature cache, whatever state its files are in, and the features of control experiments."""

import errno
import os
import pickle
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from captioning.data.caption_files import Photograph
from captioning.data.dataset import Pixels
from captioning.data.features import (
    FeatureError,
    Features,
    MeanFeatures,
    OtherFeatures,
    cached_features,
)
from captioning.data.images import ImageConfig
from captioning.files import WriteError

ROOT = Path(__file__).resolve().parents[2]


def test_MeanFeatures_no_location_differs_from_another():
    features = torch.rand(5, 4, 6).half()
    shown = MeanFeatures(lambda index: features[index])(3)
    assert shown.shape == (4, 6)
    expected = features[3].float().mean(dim=0).half()
    assert all(torch.equal(row, expected) for row in shown)


@pytest.mark.parametrize("count", [2, 3, 50])
def test_each_photograph_is_shown_once_and_never_with_its_own_captions(count):
    visual = OtherFeatures(lambda index: torch.tensor([index]), count)
    shown = [int(visual(index)) for index in range(count)]
    assert sorted(shown) == list(range(count))
    assert all(index != other for index, other in enumerate(shown))


def test_a_single_photograph_has_no_other():
    with pytest.raises(ValueError, match="single photograph"):
        OtherFeatures(lambda index: torch.zeros(1), 1)


# The feature cache ------------------------------------------------------------------------------

SMALL = ImageConfig(size=8)


@pytest.fixture
def photographs(tmp_path):
    """Seven small photographs of noise."""
    random = np.random.default_rng(0)
    photographs = []
    for i in range(7):
        path = tmp_path / f"{i}.png"
        Image.fromarray(random.integers(0, 256, (10, 12, 3), dtype=np.uint8)).save(path)
        photographs.append(Photograph(path.name, path, ("a dog",)))
    return photographs


class Encode:
    """A cheap encoder to (B, 4, 6) that counts photographs, and fails when told to."""

    def __init__(self, fail_after=None):
        self.count, self.fail_after = 0, fail_after

    def __call__(self, pixels):
        self.count += len(pixels)
        if self.fail_after is not None and self.count > self.fail_after:
            raise KeyboardInterrupt
        return pixels.flatten(1)[:, :24].reshape(-1, 4, 6)


def encode_directly(photographs, config=SMALL):
    pixels = torch.stack([Pixels(photographs, config)(i) for i in range(len(photographs))])
    return Encode()(pixels).to(torch.float16).numpy()


def cached(folder, photographs, encode, weights_hash="w", config=SMALL):
    return cached_features(folder, photographs, config, weights_hash, encode, batch_size=2)


def test_cached_features_are_those_of_encoding(tmp_path, photographs):
    features = cached(tmp_path / "cache", photographs, Encode())
    assert len(np.unique(encode_directly(photographs), axis=0)) == 7
    np.testing.assert_array_equal(features, encode_directly(photographs))
    one = Features(features)(5)
    np.testing.assert_array_equal(one.numpy(), encode_directly(photographs)[5])


def test_the_second_time_nothing_is_encoded(tmp_path, photographs):
    cached(tmp_path / "cache", photographs, Encode())
    again = Encode()
    features = cached(tmp_path / "cache", photographs, again)
    assert again.count == 0
    np.testing.assert_array_equal(features, encode_directly(photographs))


@pytest.mark.parametrize(("fail_after", "left"), [(0, 7), (1, 7), (3, 5), (5, 3), (7, 1)])
def test_an_interruption_costs_only_the_batches_that_were_not_done(
    tmp_path, photographs, fail_after, left
):
    # The first photograph is always encoded once more, to learn the shape.
    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path / "cache", photographs, Encode(fail_after))
    again = Encode()
    features = cached(tmp_path / "cache", photographs, again)
    assert again.count == left + 1
    np.testing.assert_array_equal(features, encode_directly(photographs))


@pytest.mark.parametrize(
    "change",
    [
        {"weights_hash": "other"},
        {"config": ImageConfig(size=8, mean=(0.5, 0.5, 0.5))},
        {"photographs": slice(0, 6)},
        {"photographs": slice(None, None, -1)},
    ],
    ids=["weights", "image settings", "fewer photographs", "another order"],
)
def test_features_of_other_settings_are_not_served(tmp_path, photographs, change):
    cached(tmp_path / "cache", photographs, Encode())
    others = photographs[change.pop("photographs", slice(None))]
    again = Encode()
    features = cached(tmp_path / "cache", others, again, **change)
    assert again.count == len(others) + 1
    np.testing.assert_array_equal(features, encode_directly(others, change.get("config", SMALL)))


def test_two_data_sets_may_share_names(tmp_path, photographs):
    """Of the same list of names, and of both lists in either order."""
    random = np.random.default_rng(1)
    others = []
    for photograph in photographs:
        path = tmp_path / "other" / photograph.name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(random.integers(0, 256, (12, 14, 3), dtype=np.uint8)).save(path)
        others.append(Photograph(photograph.name, path, ("a dog",)))
    for each in (photographs, others, [*photographs, *others], [*others, *photographs]):
        features = cached(tmp_path / "cache", each, Encode())
        np.testing.assert_array_equal(features, encode_directly(each))


def remove(path):
    path.unlink()


def cut_in_half(path):
    os.truncate(path, path.stat().st_size // 2)


def cut_by_a_byte(path):
    os.truncate(path, path.stat().st_size - 1)


def empty(path):
    os.truncate(path, 0)


def overwrite(path):
    path.write_bytes(b"not an array" * 100)


def resize(path):
    """Keep what the rows are, with another number of them."""
    array = np.load(path)
    np.save(path, np.concatenate([array, array]))


def replace_by_floats(path):
    np.save(path, np.ones((7, 4, 6), dtype=np.float32))


def replace_by_halves(path):
    """Features without marks, as they were once kept."""
    np.save(path, np.ones((7, 4, 6), dtype=np.float16))


def replace_by_other_features(path):
    """What another encoder would have left under this name, unfinished."""
    dtype = np.load(path).dtype
    shape = (4, 7) if dtype.names else ()
    fields = [(name, dtype[name].base, shape * (i > 0)) for i, name in enumerate(dtype.names or [])]
    array = np.ones(7, fields or dtype)
    if dtype.names:
        array[dtype.names[0]][3:] = 0
    np.save(path, array)


DAMAGES = [
    remove,
    cut_in_half,
    cut_by_a_byte,
    empty,
    overwrite,
    resize,
    replace_by_floats,
    replace_by_halves,
    replace_by_other_features,
]


def files_of_a_cache(folder, photographs, encode):
    """The files that a run leaves behind, interrupted or not."""
    with suppress(KeyboardInterrupt):
        cached(folder, photographs, encode)
    return sorted(folder.iterdir())


@pytest.mark.parametrize("done", [3, None], ids=["interrupted", "complete"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_to_any_file_of_the_cache_serves_no_wrong_features(
    tmp_path, photographs, damage, done
):
    count = len(files_of_a_cache(tmp_path / "count", photographs, Encode(done)))
    assert count > 0
    for index in range(count):
        folder = tmp_path / f"cache {index}"
        damage(files_of_a_cache(folder, photographs, Encode(done))[index])
        for _ in range(2):  # what is served at once, and what is kept
            features = cached(folder, photographs, Encode())
            np.testing.assert_array_equal(features, encode_directly(photographs))


def test_a_crash_while_the_cache_is_made_leaves_none(tmp_path, photographs, monkeypatch):
    def crash(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path / "cache", photographs, Encode())
    monkeypatch.undo()
    np.testing.assert_array_equal(
        cached(tmp_path / "cache", photographs, Encode()), encode_directly(photographs)
    )


def test_a_power_cut_may_keep_features_without_their_marks_but_never_marks_alone(
    tmp_path, photographs, monkeypatch
):
    """What is on the disk after each sync has the features of every row that it marks."""
    states = []
    flush = np.memmap.flush

    def record(array):
        flush(array)
        states.append(array.copy())

    monkeypatch.setattr(np.memmap, "flush", record)
    cached(tmp_path / "cache", photographs, Encode())
    states = [state for state in states if state.dtype.names]
    assert [np.count_nonzero(state["done"]) for state in states] == [0, 0, 2, 2, 4, 4, 6, 6, 7]
    for state in states:
        rows = state["done"] != 0
        np.testing.assert_array_equal(state["features"][rows], encode_directly(photographs)[rows])


def test_a_folder_in_place_of_the_cache_is_not_replaced(tmp_path, photographs):
    (path,) = files_of_a_cache(tmp_path / "cache", photographs, Encode())
    path.unlink()
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        cached(tmp_path / "cache", photographs, Encode())


def test_a_process_started_anew_gets_the_file_and_not_what_is_in_it(tmp_path, photographs):
    features = Features(cached(tmp_path / "cache", photographs, Encode()))
    pickled = pickle.dumps(features)
    assert len(pickled) < 500
    assert torch.equal(pickle.loads(pickled)(5), features(5))
    plain = Features(np.array(features.cached))
    assert torch.equal(pickle.loads(pickle.dumps(plain))(5), features(5))


# A full disk ------------------------------------------------------------------------------------


class Wide:
    """An encoder to 64 kB a photograph."""

    def __call__(self, pixels):
        return pixels.flatten(1)[:, :1].expand(-1, 32768)


def taken(path):
    """The part of a file that is on the disk."""
    return path.stat().st_blocks * 512 / path.stat().st_size


@pytest.mark.parametrize("reserves", [True, False], ids=["at once", "block by block"])
@pytest.mark.parametrize("before", [None, "with holes"])
def test_a_cache_has_no_holes_that_a_full_disk_could_fail_to_fill(
    tmp_path, photographs, monkeypatch, reserves, before
):
    if not reserves:
        monkeypatch.delattr(os, "posix_fallocate")
    folder, parts = tmp_path / "cache", []
    if before:  # as an earlier version made it
        cached(folder, photographs, Wide())
        (path,) = folder.iterdir()
        array = np.load(path)
        path.unlink()
        np.lib.format.open_memmap(path, "w+", array.dtype, array.shape).flush()
        assert taken(path) < 0.5

    def look(pixels):
        parts.extend(map(taken, folder.glob("*")))
        return Wide()(pixels)

    features = cached(folder, photographs, look)
    assert len(parts) >= 4
    assert min(parts[-4:]) >= 1
    assert np.array_equal(features[:, 0], encode_directly(photographs)[:, 0, 0])


def test_a_file_system_that_reserves_nothing_is_no_obstacle(tmp_path, photographs, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    features = cached(tmp_path / "cache", photographs, Encode())
    np.testing.assert_array_equal(features, encode_directly(photographs))


def test_a_full_disk_is_one_sentence_before_anything_is_encoded(tmp_path, photographs, small_disk):
    counts = []

    def count(pixels):
        counts.append(len(pixels))
        return Wide()(pixels)

    with pytest.raises(WriteError, match=r"\.npy: it could not be written \(No space left"):
        cached(small_disk, photographs * 40, count)
    assert counts == [1]  # whose shape says how large the cache is
    assert os.listdir(small_disk) == []


def test_a_limit_on_the_size_of_files_is_one_sentence_and_no_bus_error(tmp_path, photographs):
    """In a process of its own, for the limit cannot be taken back."""
    code = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
from pathlib import Path
from tests.data.test_features import Wide, cached, Photograph
photographs = [Photograph(f"{{i}}.png", Path({str(tmp_path)!r}, f"{{i}}.png"), ("a",)) for i in range(7)]
try:
    cached(Path({str(tmp_path / "cache")!r}), photographs, Wide())
except OSError as error:
    print(type(error).__name__, error)
"""  # noqa: E501
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("WriteError ")
    assert "(File too large)" in done.stdout
    assert os.listdir(tmp_path / "cache") == []


# Damage within the file -------------------------------------------------------------------------


def write_nan(rows):
    rows["features"][3].flat[7] = np.nan


def flip_a_bit(rows):
    rows["features"][5].view(np.uint16).flat[2] ^= 4


def halve(rows):
    rows["features"] *= np.float16(0.5)


@pytest.mark.parametrize("damage", [write_nan, flip_a_bit, halve])
def test_rows_that_were_changed_are_computed_anew(tmp_path, photographs, damage):
    (path,) = files_of_a_cache(tmp_path / "cache", photographs, Encode())
    rows = np.load(path, mmap_mode="r+")
    damage(rows)
    rows.flush()
    features = cached(tmp_path / "cache", photographs, Encode())
    np.testing.assert_array_equal(features, encode_directly(photographs))


def test_a_cache_under_the_name_of_another_is_not_served(tmp_path, photographs):
    def other(pixels):
        return -Encode()(pixels)

    (path,) = files_of_a_cache(tmp_path / "cache", photographs, Encode())
    cached(tmp_path / "other", photographs, other, weights_hash="other")
    (tmp_path / "other" / next(iter(os.listdir(tmp_path / "other")))).replace(path)
    features = cached(tmp_path / "cache", photographs, Encode())
    np.testing.assert_array_equal(features, encode_directly(photographs))


def test_another_photograph_of_the_same_name_and_size_is_encoded(tmp_path):
    path = tmp_path / "0.bmp"
    photographs = [Photograph(path.name, path, ("a dog",))]
    for colour in ("red", "blue"):
        Image.new("RGB", (8, 8), colour).save(path)
        os.utime(path, ns=(0, len(colour)))
        features = cached(tmp_path / "cache", photographs, Encode())
        np.testing.assert_array_equal(features, encode_directly(photographs))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e5])
def test_features_that_are_no_numbers_in_float16_are_refused(tmp_path, photographs, bad):
    def encode(pixels):
        features = Encode()(pixels)
        features[-1, 0, 0] = bad
        return features

    with pytest.raises(FeatureError, match=r"1\.png: .* not numbers .* other encoder weights"):
        cached(tmp_path / "cache", photographs, encode)


def test_what_a_killed_run_has_left_of_a_cache_is_removed(tmp_path, photographs):
    (path,) = files_of_a_cache(tmp_path / "cache", photographs, Encode())
    path.rename(path.with_name(f".{path.name}.4194305"))  # a number that no process has
    cached(tmp_path / "cache", photographs, Encode())
    assert os.listdir(tmp_path / "cache") == [path.name]
