"""What sampled captions earn or lose beside their CIDEr-D."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.data.vocab import END, PAD, SPECIAL_TOKENS, Vocabulary
from captioning.evaluation.objects import ObjectWords
from captioning.network.classifier import Nouns
from captioning.training.rewards import FEWEST_REFERENCES, UnsupportedObjects, naming_rewards

VOCABULARY = Vocabulary(
    (*SPECIAL_TOKENS, "a", "dog", "puppy", "hot", "ball", "runs", "tank", "top")
)
words = st.lists(st.sampled_from(range(4, len(VOCABULARY))), min_size=1, max_size=6)
groups = st.lists(words, min_size=FEWEST_REFERENCES, max_size=5)


def test_naming_what_the_classifier_is_sure_of_is_rewarded_once_for_each_noun():
    nouns = Nouns(torch.tensor([[4, 5], [6, 4]]), torch.tensor([[0.7, 0.2], [0.9, 0.05]]).log())
    of_first = [[4, 7, 4, END], [5, 4, END, PAD], [7, 8, END, PAD]]
    of_second = [[6, 5, 7, END], [4, 4, 6, END], [8, END, PAD, PAD]]
    tokens = torch.tensor([*of_first, *of_second])
    expected = torch.tensor([0.7, 0.9, 0.0, 0.9, 0.95, 0.0])
    torch.testing.assert_close(naming_rewards(tokens, nouns), expected)


@settings(deadline=None)
@given(st.lists(st.tuples(groups, words, words), min_size=1, max_size=3))
def test_unsupported_objects_are_those_of_chair(images):
    """Two captions for each image, with <end>, as they are sampled."""
    captions = [[*caption, END] for _, *pair in images for caption in pair]
    references = [[[*ids, END] for ids in group] for group, *_ in images]
    expected = [
        len(
            ObjectWords.load().unsupported(
                VOCABULARY.decode(caption), [VOCABULARY.decode(ids) for ids in group]
            )
        )
        for group, *pair in images
        for caption in pair
    ]
    assert UnsupportedObjects(VOCABULARY)(captions, references).tolist() == expected


def test_a_photograph_with_few_references_has_no_unsupported_objects():
    def said(text):
        return [*VOCABULARY.encode(text.split()), END]

    count = UnsupportedObjects(VOCABULARY)
    few, enough = ([said("a dog runs")] * number for number in (2, 3))
    assert count([said("a ball"), said("a ball")], [few, enough]).tolist() == [0, 1]
    assert count([said("a puppy"), said("a hot dog")], [enough, enough]).tolist() == [0, 1]
