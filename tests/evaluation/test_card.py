"""card.py: the card says what the checkpoint and the result say, and no more."""

import json
from dataclasses import replace

import pytest
import torch

from captioning.data.images import ImageConfig
from captioning.evaluation.card import (
    grid_side,
    model_card,
)
from captioning.network.checkpoint import SHIPPED_MODEL, Checkpoint
from captioning.network.config import DecodeConfig, ModelConfig
from captioning.network.encoder import resnet50
from tests.evaluation.report_pages import full, novelty, other_sets, pointing

OTHER = "a split by the hash of each name: 80 train, 10 dev, 10 test photographs"
FLICKR8K = "the official Flickr8k split: 6,091 train, 1,000 dev, 0 test photographs"
# What is true of the model that ships, and of no model trained on other photographs.
SHIPPED_ONLY = ("Flickr", "five", "crowd workers", "cup of coffee", "MIT licence", "224", "7 x 7")


def result(**extra):
    """What the scorer writes, as far as the card reads it."""
    return {
        "model": "mine.pth",
        "sha256": "a5da1969",
        "beam": 2,
        "length penalty": 0.3,
        "split": "test",
        "images": 10,
        "command": "python bleu_scorer.py --publish --model mine.pth",
        "metrics": {"BLEU-4": 12.345, "loss": 3.21044, "CHAIR-s": 4.0},
        "intervals": {"BLEU-4": [10.0, 14.444]},
        "split source": "a split by the hash of each name",
        "references per image": "2 to 3",
    } | extra


@pytest.fixture
def trained(checkpoint):
    """A checkpoint trained on photographs that are not Flickr8k's."""
    stage = {
        "stage": "decoder",
        "command": "python main.py --stage decoder",
        "config": {"epochs": 3, "seed": 1},
        "torch": "2.4.1",
        "data": OTHER,
    }
    return replace(
        checkpoint,
        decoding=DecodeConfig(beam=4, max_words=12),
        provenance={"encoder": "somebody's ResNet-50", "data": OTHER, "stages": [stage]},
    )


def text_of(card):
    """The card's text without its line breaks."""
    return " ".join(card.split())


def test_a_card_of_other_data_says_nothing_of_flickr8k(trained):
    card = text_of(model_card(trained, result()))
    assert [word for word in SHIPPED_ONLY if word in card] == []
    assert "The terms of the photographs are not known to this program: add them" in card
    assert "The biases of the photographs and their captions are not known to this program" in card


def test_a_card_says_what_the_checkpoint_and_the_result_say(trained):
    card = text_of(model_card(trained, result()))
    for expected in (
        "# Model card: mine.pth",
        "a grid of 2 x 2 locations",
        "LSTM of width 40",
        "vocabulary of 16 words",
        "10 photographs of the test split (a split by the hash of each name), 2 to 3 references "
        "each, none of which it was trained on; beam 2, length penalty 0.3, at most 12 words.",
        "| BLEU-4 | 12.3 | 10.0 to 14.4 | x100 |",
        "| loss | 3.210 | - | nats per token |",
        "`python bleu_scorer.py --publish --model mine.pth`",
        "`a5da1969`",
        f"Trained on 2 photographs: {OTHER}.",
        "somebody's ResNet-50.",
        "- decoder: `python main.py --stage decoder` (epochs 3, seed 1; torch 2.4.1)",
        "squeezed into 64 x 64 pixels",
        "Captions have 1 to 12 words",
    ):
        assert expected in card, expected


def test_a_card_says_how_strange_pictures_are_told(trained):
    assert "Strange pictures" not in model_card(trained, result())
    card = text_of(model_card(trained, result(novelty=novelty())))
    assert "1,000 photographs of the test split against pictures unlike those" in card
    assert "Of the ordinary photographs, 2.1 % are called unusual." in card
    assert "| drawings | 120 | 0.961 | 0.944 to 0.975 | 42 % |" in card


def test_a_card_says_where_the_maps_point(trained):
    card = text_of(model_card(trained, result(pointing=pointing(), occlusion=full()["occlusion"])))
    assert "1,240 mosaics, each of a photograph with a dog and one with people" in card
    assert "0.50 is chance" in card
    assert "| Evidence | 0.86 | 0.85 to 0.87 | 0.92 | 0.91 to 0.93 |" in card
    assert "| Attention | 0.58 | 0.57 to 0.59 | 0.72 | 0.71 to 0.73 |" in card
    assert "| Centre map | 0.50 | 0.49 to 0.51 | 0.50 | 0.49 to 0.51 |" in card
    assert "in turn is 0.95 for evidence and 0.10 for attention." in card


def test_a_card_has_the_scores_on_other_sets(trained):
    card = text_of(model_card(trained, result(**{"other sets": other_sets()})))
    assert "| CHAIR-s | 4.0 | - | % |" in card
    assert (
        "| Metric | everyday (243 photographs, 1 to 5 references each) | everyday, web (2,230 "
        "photographs, 1 reference each) | Unit |"
    ) in card
    assert "| CIDEr-D | 25.5 (20.7 to 31.4) | 8.7 (7.9 to 9.6) | x100 |" in card
    assert "| supported objects | 41.2 (36.4 to 46.9) | \N{EN DASH} | % |" in card
    assert "## Other data sets" in card
    assert "Other data sets" not in model_card(trained, result())


def test_a_card_of_an_older_result_says_nothing_of_mosaics(trained):
    card = text_of(model_card(trained, result()))
    assert "mosaic" not in card
    assert "how much support the word loses when a place is hidden" in card  # the limit stays


def test_a_card_of_flickr8k_has_its_citation_terms_limits_and_biases(trained):
    card = text_of(model_card(replace(trained, provenance={"data": FLICKR8K}), result()))
    for expected in ("M. Hodosh", "released for research", "people and dogs", "crowd workers"):
        assert expected in card
    assert "not known to this program" not in card


def test_a_card_of_a_model_adapted_to_other_data_says_both(trained):
    provenance = {**trained.provenance, "data": FLICKR8K}
    card = text_of(model_card(replace(trained, provenance=provenance), result()))
    assert f"{FLICKR8K}; then {OTHER}." in card
    assert "M. Hodosh" in card
    assert "The terms of the other photographs are not known to this program" in card


@pytest.mark.parametrize(
    ("data", "known"),
    [
        (f"first: {FLICKR8K}; everyday: {OTHER}", False),
        (f"{FLICKR8K}; text: 10 captions", True),
        (f"first: {FLICKR8K}; everyday: {OTHER}; text: 10 captions", False),
    ],
)
def test_a_card_of_several_data_sets_says_whether_there_are_others(trained, data, known):
    card = text_of(model_card(replace(trained, provenance={"data": data}), result()))
    assert f"photographs: {data}." in card
    assert "M. Hodosh" in card
    assert ("The terms of the other photographs are not known" in card) != known


def test_a_photograph_recorded_by_name_and_again_with_its_hash_counts_once(trained):
    entries = frozenset({"00ff", "00ff:0123456789abcdef", "abcd", "00ff:ffff456789abcdef"})
    card = text_of(model_card(replace(trained, training_images=entries), result()))
    assert f"Trained on 3 photographs: {OTHER}." in card


@pytest.mark.parametrize(
    "provenance",
    [
        {},
        {"seed": 1, "stages": [{"stage": "first"}]},
        {"stages": [{}]},
        {"stages": [{"stage": "decoder", "command": "python main.py"}]},
    ],
)
def test_a_checkpoint_that_says_little_gets_a_card_that_says_so(checkpoint, provenance):
    bare = replace(checkpoint, provenance=provenance, training_images=frozenset())
    card = text_of(model_card(bare, result()))
    assert "The photographs it was trained on are not recorded." in card
    assert "none of which it was trained on" not in card
    assert "not known to this program" in card
    assert "Flickr" not in card


def test_the_card_states_the_terms_of_the_data_where_they_are_recorded(trained):
    terms = ["Photographs of the web: only to look at.", "Text: non-commercial."]
    unknown, cards = "The terms of the photographs are not known to this program", []
    for recorded in ([], terms):
        made = replace(trained, provenance={**trained.provenance, "terms": recorded})
        cards.append(text_of(model_card(made, result())))
    assert unknown in cards[0]
    assert unknown not in cards[1]
    assert [paragraph for paragraph in terms if paragraph not in cards[1]] == []
    assert "The biases of the photographs and their captions are not known" in cards[1]


def test_the_card_states_the_biases_of_the_data_where_they_are_recorded(trained):
    recorded = ["Biases: The web sells things.", "Text: non-commercial."]
    card = model_card(
        replace(trained, provenance={**trained.provenance, "terms": recorded}), result()
    )
    before, after = card.split("## Biases")
    assert "not known to this program" not in card
    assert "Text: non-commercial." in before
    assert "- The web sells things.\n" in after
    assert "The web sells" not in before


@pytest.mark.parametrize("size", [32, 64, 100, 224, 225, 250, 288])
@pytest.mark.parametrize("stride_in_1x1", [False, True])
def test_the_grid_is_that_of_the_network(size, stride_in_1x1):
    with torch.device("meta"):
        grid = resnet50(stride_in_1x1)(torch.empty(1, 3, size, size))
    model = ModelConfig(10, stride_in_1x1=stride_in_1x1)
    assert grid.shape[2:] == (grid_side(ImageConfig(size), model),) * 2


# The model that ships ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped_result():
    return json.loads(SHIPPED_MODEL.with_name("results.json").read_text(encoding="utf-8"))


def test_the_card_of_the_model_that_ships_knows_its_data(shipped_result):
    card = text_of(model_card(Checkpoint.load(SHIPPED_MODEL), shipped_result))
    assert [word for word in SHIPPED_ONLY if word not in card] == []
    score, (low, high) = (shipped_result[key]["METEOR"] for key in ("metrics", "intervals"))
    assert f"| METEOR | {score:.1f} | {low:.1f} to {high:.1f} | x100 |" in card
    assert "6,091 train" in card
    assert "not recorded" not in card
    assert "not known" not in card
