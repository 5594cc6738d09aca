"""Encoded captions, batches and their order."""

import multiprocessing
import os
import pickle
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import Dataset

from captioning.data.augment import Augmented
from captioning.data.augment_config import AugmentConfig
from captioning.data.caption_files import Photograph
from captioning.data.dataset import (
    CaptionDataset,
    Item,
    Pixels,
    View,
    batches,
    batches_by_length,
    collate,
    encode_caption,
)
from captioning.data.features import Features, MeanFeatures, OtherFeatures
from captioning.data.images import ImageConfig, ImageError, load_image
from captioning.data.vocab import END, PAD, SPECIAL_TOKENS, START, UNK, Vocabulary
from captioning.errors import CaptioningError, SettingError

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


LENGTHS = [5, 2, 9, 2, 7, 5, 1, 8, 3, 5, 9, 4]


def test_batches_by_length_hold_each_item_once_beside_items_of_similar_length(dataset):
    loaded = list(batches_by_length(dataset, LENGTHS, 4, 1, 0))
    groups = [sorted(LENGTHS[i] for i in batch.visual.flatten().tolist()) for batch in loaded]
    assert sorted(order(loaded)) == list(range(12))
    assert sorted(groups) == [[1, 2, 2, 3], [4, 5, 5, 5], [7, 8, 9, 9]]


def test_batches_by_length_come_in_an_order_that_the_seed_decides(dataset):
    first, again, other = (
        order(batches_by_length(dataset, LENGTHS, 2, seed, 0)) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    assert [LENGTHS[i] for i in first] != sorted(LENGTHS)  # short captions do not come first
    assert order(batches_by_length(dataset, LENGTHS, 2, 1, 4)) == first[8:]


def test_only_some_batches_at_once_are_sorted_by_length():
    """So that captions of the same length do not always meet in a batch."""
    photographs = [Photograph(f"{i}", Path(f"{i}"), ("a dog",)) for i in range(200)]
    many = CaptionDataset(photographs, VOCABULARY, lambda index: torch.tensor([index]), 20)
    lengths = list(range(200))
    spans = [
        max(lengths[i] for i in batch.visual.flatten().tolist())
        - min(lengths[i] for i in batch.visual.flatten().tolist())
        for batch in batches_by_length(many, lengths, 2, 1, 0)
    ]
    assert len(spans) == 100
    assert 2 <= sum(spans) / 100 <= 20  # 1 for all sorted at once, 67 for none sorted


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


@pytest.mark.parametrize("seed", [None, 3])
def test_batches_of_chosen_photographs_hold_each_of_them_once(dataset, seed):
    chosen = [7, 2, 11, 5, 0, 9]
    seen = order(batches(dataset, 4, seed, chosen=chosen))
    assert sorted(seen) == sorted(chosen)
    assert (seen == chosen) == (seed is None)
    assert order(batches(dataset, 4, seed, skip=1, chosen=chosen)) == seen[4:]
    assert [len(batch.visual) for batch in batches(dataset, 4, seed, chosen=chosen)] == [4, 2]
    assert order(batches(dataset, 4, seed, chosen=[])) == []


def test_what_a_classifier_says_of_the_photographs_comes_with_them():
    photographs = [Photograph(f"{i}", Path(f"{i}"), ("a dog",)) for i in range(3)]
    show, classes = (lambda i: torch.full((2,), i)), (lambda i: torch.tensor([i, i + 0.5]))
    dataset = CaptionDataset(photographs, VOCABULARY, show, 20, classes)
    (batch,) = batches(dataset, 3, shuffle_seed=1)
    assert batch.classes.tolist() == [[i, i + 0.5] for i in batch.visual[:, 0].tolist()]
    mirrored = CaptionDataset(
        photographs, VOCABULARY, lambda i: View(torch.zeros(1), mirrored=True), 20, classes
    )
    assert mirrored[2].classes.tolist() == [2, 2.5]


def test_without_a_classifier_a_batch_has_no_classes(dataset):
    assert dataset[0].classes is None
    assert next(iter(batches(dataset, 3))).classes is None


# Captions drawn at random -----------------------------------------------------------------------

CAPTIONS = ("a", "dog", "runs", "a dog", "dog runs")
ENCODED = [
    [START, 4, END],
    [START, 5, END],
    [START, 6, END],
    [START, 4, 5, END],
    [START, 5, 6, END],
]


def sampling(count, captions=CAPTIONS):
    photographs = [Photograph("0", Path("0"), captions)]
    return CaptionDataset(photographs, VOCABULARY, lambda i: torch.zeros(1), 20, sampled=count)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_different_captions_of_a_photograph_are_drawn_each_equally_often(count):
    torch.manual_seed(1)
    dataset, drawn = sampling(count), []
    for _ in range(1000):
        captions = dataset[0].captions
        assert len(captions) == len(set(map(tuple, captions))) == count
        drawn += captions
    assert sorted({tuple(ids) for ids in drawn}) == sorted(map(tuple, ENCODED))
    share = count / len(CAPTIONS)
    error = (share * (1 - share) / 1000) ** 0.5
    for ids in ENCODED:
        assert abs(drawn.count(ids) / 1000 - share) < 5 * error


@pytest.mark.parametrize("count", [0, 5, 9])
def test_all_captions_are_used_where_no_more_are_there_than_wanted(count):
    assert sampling(count)[0].captions == ENCODED


def test_which_captions_are_drawn_depends_on_the_epoch_and_the_photograph_alone():
    first, again, other = (
        [next(iter(batches(sampling(2), 1, seed))).inputs.tolist() for seed in seeds]
        for seeds in (range(20), range(20), range(20, 40))
    )
    assert first == again
    assert first != other


def test_captions_of_a_mirrored_view_are_drawn_too():
    photographs = [Photograph("0", Path("0"), ("left", "left left"))]
    vocabulary = Vocabulary((*SPECIAL_TOKENS, "left", "right"))
    dataset = CaptionDataset(
        photographs, vocabulary, lambda i: View(torch.zeros(1), True), 20, sampled=1
    )
    torch.manual_seed(2)
    drawn = {tuple(map(tuple, dataset[0].captions)) for _ in range(50)}
    assert drawn == {((START, 5, END),), ((START, 5, 5, END),)}


# Views ------------------------------------------------------------------------------------------


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


# Errors, and other processes --------------------------------------------------------------------


@pytest.fixture
def damaged(tmp_path):
    """Eight photographs of which the sixth is cut short."""
    random = np.random.default_rng(0)
    photographs = []
    for i in range(8):
        path = tmp_path / f"{i}.png"
        Image.fromarray(random.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path)
        photographs.append(Photograph(path.name, path, ("a dog",)))
    photographs[5].path.write_bytes(photographs[5].path.read_bytes()[:2000])
    return photographs


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("seed", [None, 1])
def test_a_damaged_photograph_is_the_same_one_line_whichever_process_reads_it(
    damaged, workers, seed
):
    dataset = CaptionDataset(damaged, VOCABULARY, Pixels(damaged, ImageConfig(size=8)), 20)
    with pytest.raises(ImageError) as error:
        list(batches(dataset, 2, seed, workers))
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"{damaged[5].path} is damaged")


class Deadly(Dataset):
    """A data set that ends the process which reads it, as a system without memory does."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_was_killed_is_one_sentence():
    with pytest.raises(CaptioningError, match=r"^a process that reads .* --workers 1, or 0$"):
        list(batches(Deadly(), 1, workers=1))


class Faulty(Dataset):
    """A data set with a defect."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        raise RuntimeError("shapes differ")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_defect_keeps_its_traceback(workers):
    with pytest.raises(RuntimeError, match="shapes differ"):
        list(batches(Faulty(), 1, workers=workers))


@pytest.fixture
def spawning():
    """Processes are started as on macOS and Windows: all that they get is pickled."""
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method("spawn", force=True)
    yield
    multiprocessing.set_start_method(before, force=True)


def visuals(photographs):
    """Everything that shows a network photographs."""
    config = ImageConfig(size=8)
    features = Features(np.arange(4 * 6, dtype=np.float16).reshape(4, 3, 2))
    return {
        "pixels": Pixels(photographs, config),
        "augmented": Augmented(photographs, config, AugmentConfig(0.5, 0.5, 0.2)),
        "features": features,
        "no attention": MeanFeatures(features),
        "blind": OtherFeatures(features, 4),
    }


@pytest.mark.parametrize("name", visuals([]))
def test_every_data_set_is_the_same_after_pickling(damaged, name):
    visual = visuals(damaged[:4])[name]
    dataset = CaptionDataset(damaged[:4], VOCABULARY, visual, 20)
    copy = pickle.loads(pickle.dumps(dataset))
    (first,), (second,) = (list(batches(each, 4, 3)) for each in (dataset, copy))
    assert torch.equal(first.visual, second.visual)
    assert torch.equal(first.inputs, second.inputs)


def test_a_control_experiment_can_be_read_by_a_process_started_anew(damaged, spawning):
    dataset = CaptionDataset(damaged[:4], VOCABULARY, visuals(damaged[:4])["blind"], 20)
    (here,), (there,) = (list(batches(dataset, 4, 3, workers)) for workers in (0, 1))
    assert torch.equal(here.visual, there.visual)
