"""The nouns that the classifier offers: probabilities added up class by class."""

import math

import pytest
import torch
from torch.testing import assert_close

from captioning.network.classifier import Classifier
from captioning.network.config import OFFERED

CHANNELS, SIZE = 6, 12
NOUNS = (7, 4, 4, 9, 11, 7, 5, 4, 10, 8)  # vocabulary ids of ten classes


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(0)
    classifier = Classifier(CHANNELS, len(NOUNS), SIZE)
    classifier.name_classes(NOUNS)
    with torch.no_grad():
        classifier.linear.weight.mul_(5)
    return classifier.requires_grad_(False)


@pytest.fixture(scope="module")
def features():
    return torch.randn(4, 3, CHANNELS, generator=torch.manual_seed(1))  # (B, L, C)


def probabilities_by_hand(classifier, feature):
    """Of the classes, for one mean feature (C,)."""
    logits = classifier.linear.weight @ feature + classifier.linear.bias
    exponentials = [math.exp(logit) for logit in logits.tolist()]
    return [value / sum(exponentials) for value in exponentials]


def chances_by_hand(classifier, feature):
    """The probability of each noun."""
    chances = dict.fromkeys(NOUNS, 0.0)
    for noun, chance in zip(NOUNS, probabilities_by_hand(classifier, feature), strict=True):
        chances[noun] += chance
    return chances


def test_the_classifier_reads_the_mean_feature(classifier, features):
    logits = classifier(features)
    assert logits.shape == (4, 10)
    for row, each in zip(logits.softmax(dim=-1).tolist(), features, strict=True):
        assert row == pytest.approx(probabilities_by_hand(classifier, each.mean(dim=0)), rel=1e-4)


def test_the_likeliest_nouns_are_offered_the_likeliest_first(classifier, features):
    nouns = classifier.offer(features)
    assert nouns.words.shape == nouns.log_probabilities.shape == (4, OFFERED)
    for image, feature in enumerate(features.mean(dim=1)):
        chances = chances_by_hand(classifier, feature)
        expected = sorted(chances, key=lambda noun: -chances[noun])[:OFFERED]
        assert nouns.words[image].tolist() == expected
        assert nouns.log_probabilities[image].exp().tolist() == pytest.approx(
            [chances[noun] for noun in expected], rel=1e-4
        )


def test_classes_of_the_same_noun_count_together(classifier, features):
    """The likeliest noun need not be that of the likeliest class."""
    likeliest = classifier(features).argmax(dim=1)
    of_class = [NOUNS[index] for index in likeliest.tolist()]
    alike = Classifier(CHANNELS, 3, SIZE)
    alike.name_classes([4, 6, 6])
    with torch.no_grad():
        alike.linear.weight.zero_()
        alike.linear.bias.copy_(torch.tensor([0.4, 0.3, 0.3]).log())
    offered = alike.offer(features)
    assert offered.words[:, 0].tolist() == [6] * 4
    assert_close(offered.log_probabilities[:, :2].exp(), torch.tensor([[0.6, 0.4]] * 4))
    assert len(set(of_class)) > 1  # the photographs of the other tests differ


def test_a_noun_that_is_next_to_impossible_has_a_probability_all_the_same(classifier, features):
    sure = Classifier(CHANNELS, 2, SIZE)
    sure.name_classes([4, 5])
    with torch.no_grad():
        sure.linear.bias.copy_(torch.tensor([200.0, -200.0]))
    offered = sure.offer(features)
    assert offered.words[:, 0].tolist() == [4] * 4
    assert_close(offered.log_probabilities[:, 1:].exp(), torch.full((4, OFFERED - 1), 1e-6))


def test_a_small_vocabulary_is_offered_whole(features):
    small = Classifier(CHANNELS, 3, 4)
    small.name_classes([1, 2, 3])
    offered = small.offer(features)
    assert offered.words.shape == (4, 4)
    assert [sorted(row) for row in offered.words.tolist()] == [[0, 1, 2, 3]] * 4


def test_probabilities_of_given_nouns_are_those_of_their_classes(classifier):
    logits = torch.randn(2, 3, len(NOUNS), generator=torch.manual_seed(2))  # (R, M, O)
    words = torch.tensor([[4, 9], [7, 3]])  # (R, K); no class is called by the last one
    found = classifier.noun_log_probabilities(words, logits)
    assert found.shape == (2, 3, 2)
    for row in range(2):
        for way in range(3):
            exponentials = [math.exp(value) for value in logits[row, way].tolist()]
            for place, word in enumerate(words[row].tolist()):
                own = sum(e for e, noun in zip(exponentials, NOUNS, strict=True) if noun == word)
                expected = max(own / sum(exponentials), 1e-6)
                assert math.exp(found[row, way, place]) == pytest.approx(expected, rel=1e-4)


def test_what_is_offered_agrees_with_the_probabilities_of_given_nouns(classifier, features):
    offered = classifier.offer(features)
    logits = classifier(features).unsqueeze(1)  # (B, 1, O)
    again = classifier.noun_log_probabilities(offered.words, logits).squeeze(1)
    assert_close(again, offered.log_probabilities)


def test_probabilities_of_bfloat16_features_are_computed_in_float32(classifier, features):
    half = Classifier(CHANNELS, len(NOUNS), SIZE).bfloat16()
    half.name_classes(NOUNS)
    offered = half.offer(features.bfloat16())
    assert offered.log_probabilities.dtype == torch.float32


def test_the_names_of_the_classes_are_kept_with_the_weights(classifier):
    assert classifier.state_dict()["nouns"].tolist() == list(NOUNS)
    assert classifier.nouns.dtype == torch.long
    assert "nouns" not in dict(classifier.named_parameters())


def test_as_many_names_as_classes_are_needed():
    with pytest.raises(RuntimeError):
        Classifier(CHANNELS, 3, SIZE).name_classes([4, 5])
