"""Caption files in all their conditions, splits, batches, and the feature cache."""

import hashlib
import json
import os
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import Dataset

from captioning.data import dataset as data
from captioning.data.caption_files import DataError, Photograph, read_captions
from captioning.data.dataset import (
    CaptionDataset,
    Item,
    Pixels,
    View,
    batches,
    collate,
    encode_caption,
)
from captioning.data.features import (
    Features,
    cached_features,
    with_mean_features,
    with_other_features,
)
from captioning.data.images import ImageConfig, load_image
from captioning.data.splits import hashed_split, name_hash, official_split, split_photographs
from captioning.data.vocab import END, PAD, SPECIAL_TOKENS, START, UNK, Vocabulary

several = settings(max_examples=60, deadline=None, database=None)

HEADER = "image,caption\n"
ORPHAN = "2258277193_586949ec62.jpg.1"
VOCABULARY = Vocabulary((*SPECIAL_TOKENS, "a", "dog", "runs"))


@pytest.fixture
def images(tmp_path):
    """A folder with a.jpg, b.jpg and c.jpg, which nobody opens."""
    folder = tmp_path / "Images"
    folder.mkdir()
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (folder / name).write_bytes(b"not read here")
    return folder


@pytest.fixture
def read(tmp_path, images):
    """Write a caption file, and read it: the captions of each photograph by its name."""

    def read(content, **options):
        path = tmp_path / "captions.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_captions(path, images, **options)

    return read


@pytest.fixture
def refuse(read):
    """The message of the DataError that reading raises: it always names the file."""

    def refuse(content, **options):
        with pytest.raises(DataError) as caught:
            read(content, **options)
        message = str(caught.value)
        assert "captions.txt" in message
        assert "\n" not in message
        return message

    return refuse


def captions_of(file):
    return {photograph.name: photograph.captions for photograph in file.photographs}


# Caption files that can be used -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "caption"),
    [
        ("a.jpg,A dog runs .", "A dog runs ."),
        ('a.jpg,"A dog , a cat ."', "A dog , a cat ."),
        ("a.jpg,A dog , a cat .", "A dog , a cat ."),  # a comma that should have been quoted
        ('a.jpg,"A sign says ""stop"" , twice ."', 'A sign says "stop" , twice .'),
        ('a.jpg,A sign says "stop" .', 'A sign says "stop" .'),
        (" a.jpg , A dog . ", "A dog ."),
        ("a.jpg,A café 犬 .", "A café 犬 ."),
        ("a.jpg,A dog\u2028runs .", "A dog\u2028runs ."),  # a line separator, but not of the file
    ],
)
def test_a_row_of_kaggles_csv(read, row, caption):
    assert captions_of(read(HEADER + row + "\n")) == {"a.jpg": (caption,)}


def test_a_quote_left_open_spoils_no_other_row(read):
    content = HEADER + 'a.jpg,"A dog .\nb.jpg,A cat .\nc.jpg,"A man , running ."\n'
    expected = {"a.jpg": ("A dog .",), "b.jpg": ("A cat .",), "c.jpg": ("A man , running .",)}
    assert captions_of(read(content)) == expected


PLAIN_CSV = HEADER + "b.jpg,A dog .\na.jpg,One .\nb.jpg,Two dogs .\n"
PLAIN_TOKENS = "b.jpg#0\tA dog .\na.jpg#0\tOne .\nb.jpg#1\tTwo dogs .\n"


@pytest.mark.parametrize("content", [PLAIN_CSV, PLAIN_TOKENS], ids=["csv", "token file"])
@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: "\n \n" + text.replace("\n", "\n\n"),
        lambda text: text.rstrip("\n"),
    ],
    ids=["plain", "CRLF", "BOM", "blank lines", "no last newline"],
)
def test_captions_are_grouped_by_photograph_in_the_order_of_the_file(read, content, change):
    file = read(change(content))
    assert list(captions_of(file)) == ["b.jpg", "a.jpg"]
    assert captions_of(file) == {"b.jpg": ("A dog .", "Two dogs ."), "a.jpg": ("One .",)}
    assert file.remarks == ()


def test_a_photograph_knows_its_file_and_its_tokens(read, images):
    photograph = read(HEADER + "a.jpg,A man's dog .\n").photographs[0]
    assert photograph.path == images / "a.jpg"
    assert photograph.references == [["a", "man", "'s", "dog"]]


def test_a_header_may_be_quoted(read):
    assert captions_of(read('"image","caption"\n"a.jpg","A dog"\n')) == {"a.jpg": ("A dog",)}


def test_a_hash_mark_in_a_name_stays_in_it(read, images):
    (images / "a#1.jpg").touch()
    assert captions_of(read("a#1.jpg#0\tA dog .\n")) == {"a#1.jpg": ("A dog .",)}


def test_the_photograph_never_published_stops_nobody_and_is_mentioned(read):
    content = "a.jpg#0\tA dog .\n" + "".join(f"{ORPHAN}#{i}\tA ghost .\n" for i in range(5))
    file = read(content)
    assert captions_of(file) == {"a.jpg": ("A dog .",)}
    assert len(file.remarks) == 1
    assert "5 captions" in file.remarks[0]


# Caption files that cannot -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("", ["empty"]),
        (" \n\n", ["empty"]),
        ("picture;text\na.jpg;A dog\n", ["line 1", "picture;text", "image,caption", "#0<tab>"]),
        (HEADER, ["no caption", "check both paths"]),
        (b"\x89PNG\r\n\x1a\n\x00\x00\xff\xfe", ["UTF-8"]),
        ((HEADER + "a.jpg,A dog\n").encode("utf-16"), ["UTF-8"]),
    ],
    ids=["empty", "blank", "wrong header", "header only", "binary", "UTF-16"],
)
def test_a_file_that_is_no_caption_file_is_refused(refuse, content, parts):
    message = refuse(content)
    assert [part for part in parts if part not in message] == []


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("a.jpg,", "has no caption for a.jpg"),
        ("a.jpg", "has no caption for a.jpg"),
        ('a.jpg,""', "has no caption for a.jpg"),
        ("a.jpg, . ", "has no caption for a.jpg"),
        (",A dog .", "has no image name"),
        ("z.jpg,A dog .", "names z.jpg, which is not in"),
        ("z" * 300 + ".jpg,A dog .", "is not in"),
        ("a.jpg," + "A dog . " * 20_000, "cannot be read"),
    ],
    ids=["nothing", "no comma", "quotes", "stop", "no name", "missing", "long name", "long row"],
)
def test_a_bad_row_is_named_by_line_and_can_be_left_out(read, refuse, row, complaint):
    content = f"{HEADER}b.jpg,A cat .\n\n{row}\nc.jpg,A man .\n"
    message = refuse(content)
    assert "line 4" in message
    assert complaint in message
    assert "--skip-bad" in message
    file = read(content, skip_bad=True)
    assert list(captions_of(file)) == ["b.jpg", "c.jpg"]
    assert "left out 1 bad row" in file.remarks[0]


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("a.jpg#1\t", "has no caption for a.jpg"),
        ("a.jpg#1 A dog .", "has no caption for a.jpg"),
        ("a.jpg\tA dog .", "has no image name"),
        ("z.jpg#0\tA dog .", "names z.jpg"),
    ],
)
def test_a_bad_row_of_a_token_file_is_named_by_line(refuse, row, complaint):
    message = refuse(f"a.jpg#0\tA dog .\n{row}\n")
    assert "line 2" in message
    assert complaint in message


def test_many_bad_rows_make_one_message_with_the_first_and_their_number(read, refuse):
    content = HEADER + "a.jpg,\nz.jpg,A dog .\nb.jpg,A dog .\n,A cat .\n"
    message = refuse(content)
    assert "line 2" in message
    assert "3 such rows" in message
    assert "left out 3 bad rows" in read(content, skip_bad=True).remarks[0]


def test_a_file_of_nothing_but_bad_rows_is_refused_even_when_they_may_be_skipped(refuse):
    assert "check both paths" in refuse(HEADER + "z.jpg,A dog .\n", skip_bad=True)


def test_a_missing_caption_file_is_named(tmp_path, images):
    with pytest.raises(DataError, match=r"nowhere\.csv: there is no such caption file"):
        read_captions(tmp_path / "nowhere.csv", images)


def test_a_folder_in_place_of_the_caption_file_is_named(images):
    with pytest.raises(DataError, match="Images: this is a folder"):
        read_captions(images, images)


def test_a_missing_folder_of_photographs_is_named(tmp_path):
    (tmp_path / "captions.txt").write_text(HEADER + "a.jpg,A dog .\n")
    with pytest.raises(DataError, match="nofolder: there is no such folder"):
        read_captions(tmp_path / "captions.txt", tmp_path / "nofolder", skip_bad=True)


# Splits -----------------------------------------------------------------------------------------

LISTS = json.loads(resources.files("captioning.data").joinpath("official_split.json").read_text())
ROOT = Path(__file__).resolve().parents[2]
names = st.lists(st.from_regex(r"[a-z0-9_]{1,12}\.jpg", fullmatch=True), unique=True, max_size=30)


def named(names):
    return [Photograph(name, Path(name), ("a dog",)) for name in names]


def split_of_each(names):
    splits = split_photographs(named(names))
    return {p.name: part for part in data.SPLITS for p in getattr(splits, part)}


def names_of(list_name):
    """The names of a published list, which the repository must not hold."""
    path = ROOT.parent / "shared" / "flickr8k" / list_name
    if not path.exists():
        pytest.skip("../shared/flickr8k is not here: no official names to look up")
    return path.read_text().split()


def test_a_name_is_known_by_the_start_of_its_sha256():
    assert name_hash("abc") == "ba7816bf8f01"  # FIPS 180-2, appendix B.1


def test_the_official_lists_hold_a_thousand_hashes_each_and_share_none():
    assert len(set(LISTS["dev"])) == len(set(LISTS["test"])) == 1000
    assert not set(LISTS["dev"]) & set(LISTS["test"])


def test_names_in_the_official_lists_go_where_the_lists_say(monkeypatch):
    monkeypatch.setattr(data, "name_hash", lambda name: name)  # so that each hash is a name
    expected = {name: part for part in ("dev", "test") for name in LISTS[part]}
    expected |= {f"other{i}.jpg": "train" for i in range(100)}
    assert split_of_each(expected) == expected
    assert "official" in split_photographs(named(expected)).describe()


def test_a_few_photographs_of_flickr8k_change_nothing_for_a_set_of_ones_own(monkeypatch):
    monkeypatch.setattr(data, "name_hash", lambda name: LISTS["dev"][0] if name == "x" else "ab")
    monkeypatch.setattr(data, "hashed_split", lambda name: "test" if name < "m" else "train")
    own = {f"a{i}": "test" for i in range(15)} | {f"n{i}": "train" for i in range(15)}
    assert split_of_each(own) == own
    assert split_of_each([*own, "x"]) == own | {"x": "dev"}  # held out, as the lists say
    assert "official" not in split_photographs(named([*own, "x"])).source


def test_the_published_development_names_are_in_the_development_split():
    names = names_of("Flickr_8k.devImages.txt")
    assert len(names) == 1000
    assert {official_split(name) for name in names} == {"dev"}


def test_the_published_training_names_are_in_the_training_split():
    assert {official_split(name) for name in names_of("Flickr_8k.trainImages.txt")} == {"train"}


@several
@given(names, names)
def test_a_photograph_stays_in_its_split_when_others_are_added(names, others):
    before, after = split_of_each(names), split_of_each([*others, *reversed(names)])
    assert before == {name: after[name] for name in names}


@several
@given(names)
def test_every_photograph_is_in_one_split_by_its_hash_and_in_order(names):
    splits = split_photographs(named(names))
    for part in data.SPLITS:
        own = [photograph.name for photograph in getattr(splits, part)]
        assert own == [name for name in names if expected_split(name) == part]
    assert "official" not in splits.source


def expected_split(name):
    percent = int(hashlib.sha256(name.encode()).hexdigest()[:12], 16) % 100
    return "dev" if percent < 10 else "test" if percent < 20 else "train"


def test_a_tenth_goes_to_development_and_a_tenth_to_measuring():
    found = [hashed_split(f"photo{i}.jpg") for i in range(20_000)]
    assert found.count("dev") / len(found) == pytest.approx(0.1, abs=0.01)
    assert found.count("test") / len(found) == pytest.approx(0.1, abs=0.01)


def test_limited_splits_keep_the_first_of_each():
    splits = split_photographs(named(f"{i}.jpg" for i in range(100)))
    limited = splits.limited(3)
    assert [len(getattr(limited, part)) for part in data.SPLITS] == [3, 3, 3]
    assert limited.train == splits.train[:3]
    assert splits.limited(None) == splits


# Datasets and batches ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tokens", "ids"),
    [
        ("a dog", [START, 4, 5, END]),
        ("a dog runs", [START, 4, 5, 6, END]),
        ("a dog runs a", [START, 4, 5, 6]),  # cut: it must not learn to stop here
        ("a zebra", [START, 4, UNK, END]),
        ("", [START, END]),
    ],
)
def test_captions_are_encoded_and_only_whole_ones_end(tokens, ids):
    assert encode_caption(tokens.split(), VOCABULARY, max_words=3) == ids


def test_captions_of_different_lengths_and_numbers_are_padded():
    first = Item(torch.zeros(2), [[START, 4, END], [START, 4, 5, 6, END]])
    second = Item(torch.ones(2), [[START, 5, END]])
    batch = collate([first, second])
    assert batch.inputs.tolist() == [
        [START, 4, END, PAD],
        [START, 4, 5, 6],
        [START, 5, END, PAD],
        [PAD, PAD, PAD, PAD],  # the second photograph has one caption less
    ]
    assert batch.targets.tolist() == [
        [4, END, PAD, PAD],
        [4, 5, 6, END],
        [5, END, PAD, PAD],
        [PAD, PAD, PAD, PAD],
    ]


ids = st.lists(st.integers(4, 9), max_size=5).map(lambda words: [START, *words, END])
items = st.lists(st.lists(ids, min_size=1, max_size=4), min_size=1, max_size=4)


@several
@given(items)
def test_caption_n_of_a_batch_belongs_to_photograph_n_over_captions_per_photograph(captions):
    batch = collate([Item(torch.full((2,), i), own) for i, own in enumerate(captions)])
    each = len(batch.inputs) // len(batch.visual)
    for n, (inputs, targets) in enumerate(zip(batch.inputs, batch.targets, strict=True)):
        own = captions[int(batch.visual[n // each, 0])]
        expected = own[n % each] if n % each < len(own) else []
        assert [token for token in inputs.tolist() if token != PAD] == expected[: inputs.numel()]
        assert [token for token in targets.tolist() if token != PAD] == expected[1:]


@pytest.fixture
def dataset():
    """Twelve photographs whose feature is their number."""
    photographs = [Photograph(f"{i}", Path(f"{i}"), ("a dog", "a dog runs")) for i in range(12)]
    return CaptionDataset(photographs, VOCABULARY, lambda index: torch.tensor([index]), 20)


def order(loader):
    return [int(number) for batch in loader for number in batch.visual]


def test_without_a_seed_batches_come_in_order(dataset):
    loader = batches(dataset, 5)
    assert [len(batch.visual) for batch in loader] == [5, 5, 2]
    assert order(loader) == list(range(12))


def test_the_seed_decides_the_order(dataset):
    assert order(batches(dataset, 5, 1)) == order(batches(dataset, 5, 1))
    assert order(batches(dataset, 5, 1)) != order(batches(dataset, 5, 2))
    assert sorted(order(batches(dataset, 5, 1))) == list(range(12))


def test_the_order_does_not_depend_on_other_random_numbers(dataset):
    torch.manual_seed(1)
    first = order(batches(dataset, 5, 3))
    torch.manual_seed(2)
    torch.rand(10)
    assert order(batches(dataset, 5, 3)) == first


def test_reading_in_other_processes_changes_nothing(dataset):
    assert order(batches(dataset, 5, 1)) == order(batches(dataset, 5, 1, workers=1))


class Rolling(Dataset):
    """Twenty items, each what it draws."""

    def __len__(self):
        return 20

    def __getitem__(self, index):
        return Item(torch.rand(3), [[START, END]])


def drawn(seed, **options):
    return torch.cat([batch.visual for batch in batches(Rolling(), 3, seed, **options)])


@pytest.mark.parametrize("options", [{}, {"workers": 2}, {"workers": 1, "skip": 4}, {"skip": 4}])
def test_chance_depends_on_the_epoch_and_the_item_alone(options):
    torch.manual_seed(1)
    expected = drawn(7)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    seen = drawn(7, **options)
    assert torch.equal(torch.get_rng_state(), state)  # it draws nothing from the global numbers
    assert torch.equal(seen, expected[3 * options.get("skip", 0) :])
    assert len(expected.unique()) == 60
    assert not torch.isin(drawn(8), expected).any()


@pytest.mark.parametrize("seed", [None, 3])
def test_batches_can_be_skipped(dataset, seed):
    everything = order(batches(dataset, 5, seed))
    assert order(batches(dataset, 5, seed, skip=1)) == everything[5:]
    assert order(batches(dataset, 5, seed, skip=3)) == []


def test_a_dataset_gives_each_photograph_with_its_captions(dataset):
    item = dataset[7]
    assert item.visual.tolist() == [7]
    assert item.captions == [[START, 4, 5, END], [START, 4, 5, 6, END]]


def test_a_mirrored_view_has_left_and_right_swapped_in_its_captions():
    vocabulary = Vocabulary((*SPECIAL_TOKENS, "left", "right", "dog"))
    photographs = [Photograph("0", Path("0"), ("left dog", "dog"))]

    def view(index):
        return View(torch.tensor([index]), mirrored=mirror)

    dataset = CaptionDataset(photographs, vocabulary, view, 20)
    mirror = False
    assert dataset[0].captions == [[START, 4, 6, END], [START, 6, END]]
    mirror = True
    assert dataset[0].captions == [[START, 5, 6, END], [START, 6, END]]
    assert dataset[0].visual.tolist() == [0]


def test_with_the_mean_everywhere_no_place_differs_from_another():
    features = torch.rand(5, 4, 6).half()
    shown = with_mean_features(lambda index: features[index])(3)
    assert shown.shape == (4, 6)
    expected = features[3].float().mean(dim=0).half()
    assert all(torch.equal(row, expected) for row in shown)


@pytest.mark.parametrize("count", [2, 3, 50])
def test_each_photograph_is_shown_once_and_never_with_its_own_captions(count):
    visual = with_other_features(lambda index: torch.tensor([index]), count)
    shown = [int(visual(index)) for index in range(count)]
    assert sorted(shown) == list(range(count))
    assert all(index != other for index, other in enumerate(shown))


def test_a_single_photograph_has_no_other():
    with pytest.raises(ValueError, match="single photograph"):
        with_other_features(lambda index: torch.zeros(1), 1)


# The feature cache ------------------------------------------------------------------------------

SMALL = ImageConfig(size=8)


@pytest.fixture
def photographs(tmp_path):
    """Seven small photographs of noise."""
    random = np.random.default_rng(0)
    found = []
    for i in range(7):
        path = tmp_path / f"{i}.png"
        Image.fromarray(random.integers(0, 256, (10, 12, 3), dtype=np.uint8)).save(path)
        found.append(Photograph(path.name, path, ("a dog",)))
    return found


class Encode:
    """A cheap encoder to (B, 4, 6) that counts photographs, and fails when told to."""

    def __init__(self, fail_after=None):
        self.count, self.fail_after = 0, fail_after

    def __call__(self, pixels):
        self.count += len(pixels)
        if self.fail_after is not None and self.count > self.fail_after:
            raise KeyboardInterrupt
        return pixels.flatten(1)[:, :24].reshape(-1, 4, 6)


def directly(photographs, config=SMALL):
    pixels = torch.stack([Pixels(photographs, config)(i) for i in range(len(photographs))])
    return Encode()(pixels).to(torch.float16).numpy()


def cached(folder, photographs, encode, weights_hash="w", config=SMALL):
    return cached_features(folder, photographs, config, weights_hash, encode, batch_size=2)


def test_pixels_are_those_of_load_image(photographs):
    pixels = Pixels(photographs, SMALL)(3)
    np.testing.assert_array_equal(pixels.numpy(), load_image(photographs[3].path, SMALL))


def test_cached_features_are_those_of_encoding(tmp_path, photographs):
    features = cached(tmp_path / "cache", photographs, Encode())
    assert len(np.unique(directly(photographs), axis=0)) == 7
    np.testing.assert_array_equal(features, directly(photographs))
    one = Features(features)(5)
    np.testing.assert_array_equal(one.numpy(), directly(photographs)[5])


def test_the_second_time_nothing_is_encoded(tmp_path, photographs):
    cached(tmp_path / "cache", photographs, Encode())
    again = Encode()
    features = cached(tmp_path / "cache", photographs, again)
    assert again.count == 0
    np.testing.assert_array_equal(features, directly(photographs))


@pytest.mark.parametrize(("fail_after", "left"), [(0, 7), (1, 7), (3, 5), (5, 3), (7, 1)])
def test_an_interruption_costs_only_what_was_not_done(tmp_path, photographs, fail_after, left):
    # The first photograph is always encoded once more, to learn the shape.
    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path / "cache", photographs, Encode(fail_after))
    again = Encode()
    features = cached(tmp_path / "cache", photographs, again)
    assert again.count == left + 1
    np.testing.assert_array_equal(features, directly(photographs))


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
def test_features_of_other_settings_are_not_mistaken(tmp_path, photographs, change):
    cached(tmp_path / "cache", photographs, Encode())
    own = photographs[change.pop("photographs", slice(None))]
    again = Encode()
    features = cached(tmp_path / "cache", own, again, **change)
    assert again.count == len(own) + 1
    np.testing.assert_array_equal(features, directly(own, change.get("config", SMALL)))


def test_a_cache_that_lost_a_file_is_named(tmp_path, photographs):
    cached(tmp_path / "cache", photographs, Encode())
    for path in (tmp_path / "cache").iterdir():
        if not path.name.endswith(".done.npy"):
            os.unlink(path)
    with pytest.raises(DataError, match="delete the cache folder"):
        cached(tmp_path / "cache", photographs, Encode())
