"""A larger vocabulary changes nothing of how the network treats the words it knew."""

import pytest
import torch
from torch.testing import assert_close

from captioning.data.vocab import UNK
from captioning.network.vocabulary_growth import extend_vocabulary

CAPTIONS = [["a", "red", "kite"], ["two", "kites", "and", "a", "kite"], ["a", "drone"]] * 2
TOKENS = torch.tensor([[1, 4, 5, 9], [1, 7, 4, 4]])  # (N, T)


@pytest.fixture(scope="module")
def larger(checkpoint):
    return extend_vocabulary(checkpoint, CAPTIONS, min_count=2)


def test_frequent_words_are_added_after_the_known_ones(checkpoint, larger):
    known = checkpoint.vocabulary.words
    assert larger.vocabulary.words[: len(known)] == known
    assert larger.vocabulary.words[len(known) :] == ("kite", "and", "drone", "kites")
    assert larger.model.vocabulary_size == len(larger.vocabulary)
    assert extend_vocabulary(checkpoint, CAPTIONS, 4).vocabulary.words[len(known) :] == ("kite",)


def test_known_words_keep_their_vectors_and_logits(checkpoint, larger, pixels):
    before, after = checkpoint.build(), larger.build()
    size = len(checkpoint.vocabulary)
    with torch.inference_mode():
        features = before.encoder(pixels[:2])
        logits, alphas = before.decoder(features, TOKENS)
        new_logits, new_alphas = after.decoder(features, TOKENS)
    assert_close(new_logits[..., :size], logits)
    assert_close(new_alphas, alphas)


def test_new_words_together_are_about_as_likely_as_an_unknown_one_was(checkpoint, larger, pixels):
    network, size = larger.build(), len(checkpoint.vocabulary)
    with torch.inference_mode():
        logits, _ = network.decoder(network.encoder(pixels[:2]), TOKENS)
    together = logits[..., size:].exp().sum(dim=-1) / logits[..., UNK].exp()
    assert 0.3 < float(together.median()) < 3


def test_new_words_differ_and_are_the_same_every_time(checkpoint, larger):
    rows = larger.weights["decoder.embedding.weight"][len(checkpoint.vocabulary) :]
    assert len({tuple(row.tolist()) for row in rows}) == len(rows)
    again = extend_vocabulary(checkpoint, CAPTIONS, min_count=2)
    assert all(torch.equal(larger.weights[name], again.weights[name]) for name in larger.weights)


def test_captions_without_a_new_word_change_nothing(checkpoint):
    assert extend_vocabulary(checkpoint, [["a", "red", "dog"]], min_count=1) is checkpoint


def test_an_extended_checkpoint_can_be_saved_and_loaded(larger, tmp_path):
    larger.save(tmp_path / "extended.pth")
    assert type(larger).load(tmp_path / "extended.pth").vocabulary == larger.vocabulary
