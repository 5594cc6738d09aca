"""A larger vocabulary changes nothing of how the network treats the words it knew."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from captioning.data.vocab import START, UNK
from captioning.network.saved_network import build_network, save_checkpoint, tensor_of
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
    before, after = build_network(checkpoint), build_network(larger)
    size = len(checkpoint.vocabulary)
    with torch.inference_mode():
        features = before.encoder(pixels[:2])
        logits, alphas = before.decoder(features, TOKENS)
        new_logits, new_alphas = after.decoder(features, TOKENS)
    assert_close(new_logits[..., :size], logits)
    assert_close(new_alphas, alphas)


def test_new_words_together_are_about_as_likely_as_an_unknown_one_was(checkpoint, larger, pixels):
    network, size = build_network(larger), len(checkpoint.vocabulary)
    with torch.inference_mode():
        logits, _ = network.decoder(network.encoder(pixels[:2]), TOKENS)
    together = logits[..., size:].exp().sum(dim=-1) / logits[..., UNK].exp()
    assert 0.3 < float(together.median()) < 3


def test_new_words_differ_and_are_the_same_every_time(checkpoint, larger):
    rows = larger.weights["decoder.embedding.weight"][len(checkpoint.vocabulary) :]
    assert len({tuple(row.tolist()) for row in rows}) == len(rows)
    again = extend_vocabulary(checkpoint, CAPTIONS, min_count=2)
    assert all(np.array_equal(larger.weights[name], again.weights[name]) for name in larger.weights)


def test_the_nouns_of_the_classes_stay_the_same_words(checkpoint, larger):
    before, after = (build_network(each).decoder.classifier.nouns for each in (checkpoint, larger))
    assert torch.equal(after, before)
    assert after.dtype == torch.long


# Manners ----------------------------------------------------------------------------------------

ROWS = ("decoder.embedding.weight", "decoder.vocabulary.weight")


@pytest.fixture(scope="module")
def mannered(checkpoint):
    """With two new manners beside the new words."""
    starts = [["<web>"] * 2, ["<news>"] * 2]
    return extend_vocabulary(checkpoint, [*CAPTIONS, *starts], min_count=2)


def new_rows(extended, name, words):
    ids = [extended.vocabulary.ids[word] for word in words]
    return tensor_of(extended.weights[name])[ids].float()


def test_a_new_manner_starts_as_the_default_one_and_a_new_word_as_an_unknown_one(
    checkpoint, mannered
):
    assert mannered.vocabulary.manners == ("news", "web")
    assert {"kite", "kites"} <= set(mannered.vocabulary.words)
    for name in ROWS:
        known = tensor_of(checkpoint.weights[name]).float()
        for words, like, other in ((("<web>", "<news>"), START, UNK), (("kite",), UNK, START)):
            rows = new_rows(mannered, name, words)
            near, far = ((rows - known[index]).norm(dim=1) for index in (like, other))
            assert (near < 0.5 * far).all()
            assert (near > 0).all()


def test_a_new_manner_is_as_unlikely_to_be_written_as_the_default_one(checkpoint, mannered):
    bias = tensor_of(mannered.weights["decoder.vocabulary.bias"]).float()
    known = tensor_of(checkpoint.weights["decoder.vocabulary.bias"]).float()
    ids = mannered.vocabulary.ids
    assert bias[[ids["<web>"], ids["<news>"]]].tolist() == [float(known[START])] * 2
    words = mannered.vocabulary.words[len(checkpoint.vocabulary) :]
    added = [word for word in words if not word.startswith("<")]
    together = bias[[ids[word] for word in added]].exp().sum().log()
    assert_close(together, known[UNK])  # manners take no share of the unknown word's


def test_manners_alone_can_be_added(checkpoint):
    extended = extend_vocabulary(checkpoint, [["<web>"] * 5], min_count=5)
    assert extended.vocabulary.words == (*checkpoint.vocabulary.words, "<web>")
    for name, rows in ((name, tensor_of(extended.weights[name]).float()) for name in ROWS):
        assert torch.equal(rows[:-1], tensor_of(checkpoint.weights[name]).float())
    network = build_network(extended)
    assert network.decoder.embedding.weight.shape[0] == len(extended.vocabulary)


def test_captions_begin_alike_in_a_new_manner_and_in_the_default_one(checkpoint, pixels):
    """Up to the noise that makes new words differ."""
    network = build_network(extend_vocabulary(checkpoint, [["<web>"] * 5], min_count=5))
    with torch.inference_mode():
        features = network.encoder(pixels)
        default, web, dog = (
            network.decoder(features, torch.full((8, 1), token))[0][:, 0].softmax(dim=-1)
            for token in (START, len(checkpoint.vocabulary), 6)
        )
    assert float((web - default).abs().sum(dim=1).mean()) < 0.5 * float(
        (dog - default).abs().sum(dim=1).mean()
    )


# The rest ---------------------------------------------------------------------------------------


def test_captions_without_a_new_word_change_nothing(checkpoint):
    assert extend_vocabulary(checkpoint, [["a", "red", "dog"]], min_count=1) is checkpoint


def test_an_extended_checkpoint_can_be_saved_and_loaded(larger, tmp_path):
    save_checkpoint(larger, tmp_path / "extended.pth")
    assert type(larger).load(tmp_path / "extended.pth").vocabulary == larger.vocabulary
