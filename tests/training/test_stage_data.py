"""What a stage trains on and is scored on: which photographs, and how they are shown."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import main
from captioning.data.caption_files import Photograph
from captioning.data.data_sets import DataSet, DataSets
from captioning.data.dataset import Pixels
from captioning.data.images import ImageConfig
from captioning.data.splits import Splits
from captioning.training import stage_data as module
from captioning.training.config import TrainConfig
from captioning.training.stage_data import StageData, scored_by_manner
from tests.data.pictures import draw, save

several = settings(max_examples=100, deadline=None, database=None)


def scored(manners):
    photos = [Photograph(str(i), Path(str(i)), ("a",), manner=m) for i, m in enumerate(manners)]
    other = Photograph("train", Path("train"), ("a",), manner="poem")
    return photos, scored_by_manner(DataSet("web", Splits((other,), tuple(photos), (), "a split")))


@pytest.mark.parametrize(
    ("manners", "counts"),
    [
        ([], {}),
        ([""] * 3, {"web": 3}),
        ([""] * 900, {"web": 500}),
        (["news"] * 900 + [""] * 60, {"web, news": 440, "web": 60}),
        ([""] * 900 + ["news"] * 900, {"web": 250, "web, news": 250}),
        (["a"] * 900 + ["b"] * 200 + ["c"] * 10, {"web, a": 290, "web, b": 200, "web, c": 10}),
    ],
)
def test_small_manners_are_scored_whole_and_large_ones_share_the_rest(manners, counts):
    assert {name: len(photos) for name, photos in scored(manners)[1].items()} == counts


@several
@given(st.lists(st.sampled_from(["", "a", "b", "c"])), st.integers(4, 12))
def test_the_first_of_each_manner_are_scored_and_no_more_than_allowed(manners, most):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SCORED", most)
        photos, chosen = scored(manners)
    assert sum(map(len, chosen.values())) == min(most, len(photos))
    for name, group in chosen.items():
        manner = name.partition(", ")[2]
        assert group
        assert group == [photo for photo in photos if photo.manner == manner][: len(group)]
    assert len(chosen) == len(set(manners))


# Which training photographs an epoch uses --------------------------------------------------------


def named(prefix, count, manner=""):
    names = [f"{prefix}{number}" for number in range(count)]
    return tuple(Photograph(name, Path(name), ("a",), manner=manner) for name in names)


def stage_data(other_manners, default, *others):
    """A stage's data: photographs in the default manner, and others in two sets at most."""
    parts = [named("a", default), *(named(f"{n} ", size, "web") for n, size in enumerate(others))]
    # The first set has some of the second part, so that manners do not follow sets.
    half = len(parts[1]) // 2 if others else 0
    parts[:2] = [parts[0] + parts[1][:half], parts[1][half:]] if others else parts
    sets = [
        DataSet(str(number), Splits(part, (), (), "a split")) for number, part in enumerate(parts)
    ]
    config = TrainConfig(1, 1, 0.1, other_manners=other_manners)
    return StageData(None, DataSets(tuple(sets)), config, None)


@pytest.mark.parametrize(
    ("share", "sizes", "count"),
    [
        (1.0, (5, 7, 4), 16),
        (0.0, (5, 7, 4), 5),
        (0.5, (5, 10, 20), 20),
        (0.3, (5, 10), 8),
        (0.5, (5,), 5),
        (0.0, (0, 3), 0),
    ],
)
def test_all_in_the_default_manner_and_a_part_of_the_others_are_chosen(share, sizes, count):
    data = stage_data(share, *sizes)
    for seed in range(3):
        chosen = data.photographs_of_epoch(seed)
        assert len(chosen) == len(set(chosen)) == count
        assert chosen[: sizes[0]] == list(range(sizes[0]))
        assert set(chosen) <= set(range(sum(sizes)))


def test_each_epoch_chooses_others_of_other_manners_and_all_get_their_turn():
    data = stage_data(0.25, 3, 40, 20)
    chosen = [set(data.photographs_of_epoch(seed)) for seed in range(60)]
    assert chosen[0] == set(data.photographs_of_epoch(0))
    assert len(set(map(frozenset, chosen))) == 60
    turns = [sum(index in each for each in chosen) for index in range(3, 63)]
    assert min(turns) >= 3  # of 15 expected
    assert max(turns) <= 30


def test_the_choice_does_not_use_the_global_random_numbers():
    state = torch.get_rng_state()
    stage_data(0.5, 3, 9).photographs_of_epoch(1)
    assert torch.equal(torch.get_rng_state(), state)


# How photographs are shown -----------------------------------------------------------------------

SIDE, SMALLER = 64, 48  # of photographs, and of those that a learning encoder is shown


@pytest.fixture(scope="module")
def folder(tmp_path_factory, resnet):
    """A data set of five photographs, and the encoder's first weights."""
    folder = tmp_path_factory.mktemp("stage")
    torch.save(resnet.state_dict(), folder / "resnet50.pth")
    captions = ("a dog runs", "a red ball", "two dogs")
    for seed in range(5):
        save(folder, f"{seed}.png", draw(seed), captions)
    return folder


@pytest.fixture
def make(folder, checkpoint, monkeypatch):
    """A function that makes the data of a stage, with these settings."""
    monkeypatch.chdir(folder)
    photographs = tuple(
        Photograph(f"{seed}.png", folder / f"{seed}.png", ("a dog runs", "a red ball", "two play"))
        for seed in range(5)
    )
    data = DataSets((DataSet("home", Splits(photographs[:3], photographs[3:], (), "a split")),))

    def make(**settings):
        flags = main.parse_arguments(["--encoder-weights", "resnet50.pth", "--device", "cpu"])
        config = TrainConfig(1, 1, 0.1, **settings)
        return StageData(checkpoint, data, config, flags)

    return make


LEARNING = {"encoder_learning_rate": 1e-4}


def pixels_of(photograph, size):
    return Pixels([photograph], ImageConfig(size=size))(0)


@pytest.mark.parametrize(("train_size", "side"), [(0, SIDE), (SMALLER, SMALLER)])
def test_a_learning_encoder_is_shown_photographs_of_the_training_size(
    make, network, train_size, side
):
    data = make(**LEARNING, train_size=train_size)
    training, dev = data.training(network, 20), data.dev(network)
    for index, photograph in enumerate(data.data.train):
        assert torch.equal(training[index].visual, pixels_of(photograph, side))
    # It is scored on what it will be shown when it is used.
    assert torch.equal(dev[0].visual, pixels_of(data.data.dev[0], SIDE))


def test_a_frozen_encoder_gives_features_of_the_whole_size(make, network):
    data = make(train_size=SMALLER)
    with torch.no_grad():
        expected = network.encoder(pixels_of(data.data.train[1], SIDE).unsqueeze(0))[0]
    features = data.training(network, 20)[1].visual.float()
    assert features.shape == expected.shape == (4, 2048)
    torch.testing.assert_close(features, expected, rtol=0, atol=2e-3 * float(expected.max()))


@pytest.mark.parametrize(("setting", "count"), [(0, 3), (1, 1), (2, 2), (5, 3)])
def test_a_step_uses_as_many_captions_as_wanted_and_scoring_all(make, network, setting, count):
    data = make(**LEARNING, captions_per_photo=setting)
    assert len(data.training(network, 20)[0].captions) == count
    assert len(data.dev(network)[0].captions) == 3


def test_the_teacher_is_the_first_network_on_photographs_of_the_training_size(
    make, network, resnet
):
    data = make(**LEARNING, train_size=SMALLER, distillation=0.5)
    dataset = data.training(network, 20)
    for index, photograph in enumerate(data.data.train):
        with torch.no_grad():
            logits = resnet(pixels_of(photograph, SMALLER).unsqueeze(0))[0]
        classes = dataset[index].classes.float()
        assert classes.shape == (1000,)
        # Up to rounding to float16.
        tolerance = 0.01 * float(logits.max() - logits.min())
        torch.testing.assert_close(classes, logits.log_softmax(dim=0), rtol=0, atol=tolerance)
        assert classes.argmax() == logits.argmax()
        assert classes.exp().sum().item() == pytest.approx(1, abs=5e-3)


def test_without_distillation_there_is_no_teacher(make, network):
    assert make(**LEARNING).training(network, 20)[0].classes is None
    assert make(**LEARNING, distillation=0.5).dev(network)[0].classes is None
