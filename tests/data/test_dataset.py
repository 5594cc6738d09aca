"""Encoded captions, batches and their order."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import Dataset

from captioning.data.caption_files import Photograph
from captioning.data.dataset import (
    CaptionDataset,
    Item,
    Pixels,
    View,
    batches,
    collate,
    encode_caption,
)
from captioning.data.images import ImageConfig, load_image
from captioning.data.vocab import END, PAD, SPECIAL_TOKENS, START, UNK, Vocabulary
from captioning.errors import SettingError

several = settings(max_examples=60, deadline=None, database=None)

VOCABULARY = Vocabulary((*SPECIAL_TOKENS, "a", "dog", "runs"))


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


def test_without_a_limit_no_caption_is_cut():
    long = ("a dog runs " * 50, "a dog")
    whole = [[START, *[4, 5, 6] * 50, END], [START, 4, 5, END]]
    photographs = [Photograph("0", Path("0"), long)]
    dataset = CaptionDataset(photographs, VOCABULARY, lambda index: torch.zeros(1), None)
    assert dataset[0].captions == whole
    assert encode_caption(long[0].split(), VOCABULARY, max_words=None) == whole[0]


def test_captions_of_different_lengths_and_numbers_are_padded():
    first = Item(torch.zeros(2), [[START, 4, END], [START, 4, 5, 6, END]])
    second = Item(torch.ones(2), [[START, 5, END]])
    batch = collate([first, second])
    assert batch.inputs.tolist() == [
        [START, 4, END, PAD],
        [START, 4, 5, 6],
        [START, 5, END, PAD],
        [PAD, PAD, PAD, PAD],  # the second photograph has one caption fewer
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
    batch = collate([Item(torch.full((2,), i), each) for i, each in enumerate(captions)])
    per_photograph = len(batch.inputs) // len(batch.visual)
    for n, (inputs, targets) in enumerate(zip(batch.inputs, batch.targets, strict=True)):
        encoded = captions[int(batch.visual[n // per_photograph, 0])]
        column = n % per_photograph
        expected = encoded[column] if column < len(encoded) else []
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


def test_reading_in_other_processes_changes_no_order(dataset):
    assert order(batches(dataset, 5, 1)) == order(batches(dataset, 5, 1, workers=1))


class RandomItems(Dataset):
    """Twenty items of random numbers."""

    def __len__(self):
        return 20

    def __getitem__(self, index):
        return Item(torch.rand(3), [[START, END]])


def random_numbers(seed, **options):
    return torch.cat([batch.visual for batch in batches(RandomItems(), 3, seed, **options)])


@pytest.mark.parametrize("options", [{}, {"workers": 2}, {"workers": 1, "skip": 4}, {"skip": 4}])
def test_random_numbers_depend_on_the_epoch_and_the_item_alone(options):
    torch.manual_seed(1)
    expected = random_numbers(7)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    seen = random_numbers(7, **options)
    assert torch.equal(torch.get_rng_state(), state)  # the global generator is not used
    assert torch.equal(seen, expected[3 * options.get("skip", 0) :])
    assert len(expected.unique()) == 60
    assert not torch.isin(random_numbers(8), expected).any()


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


def test_pixels_are_those_of_load_image(tmp_path):
    config = ImageConfig(size=8)
    noise = np.random.default_rng(0).integers(0, 256, (2, 10, 12, 3), dtype=np.uint8)
    photographs = [Photograph(f"{i}", tmp_path / f"{i}.png", ("a dog",)) for i in range(2)]
    for photograph, pixels in zip(photographs, noise, strict=True):
        Image.fromarray(pixels).save(photograph.path)
    expected = load_image(photographs[1].path, config)
    np.testing.assert_array_equal(Pixels(photographs, config)(1).numpy(), expected)


# Manners ----------------------------------------------------------------------------------------


def test_captions_start_with_the_token_of_their_photographs_manner():
    vocabulary = Vocabulary((*SPECIAL_TOKENS, "<web>", "left", "right"))
    photographs = [
        Photograph("0", Path("0"), ("left", "right left right")),
        Photograph("1", Path("1"), ("left", "right left right"), manner="web"),
    ]
    dataset = CaptionDataset(photographs, vocabulary, lambda i: View(torch.zeros(1), i > 1), 2)
    assert dataset[0].captions == [[START, 5, END], [START, 6, 5]]
    assert dataset[1].captions == [[4, 5, END], [4, 6, 5]]
    assert [each[0] for each in dataset.mirrored[1]] == [4, 4]


def test_a_manner_that_the_vocabulary_lacks_is_refused():
    photographs = [Photograph("0", Path("0"), ("a dog",), manner="web")]
    with pytest.raises(SettingError, match="no manner 'web'"):
        CaptionDataset(photographs, VOCABULARY, lambda index: torch.zeros(1), None)
