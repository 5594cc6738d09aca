"""On every engine, beam search agrees with a search over lists and with trying all captions."""

from itertools import pairwise

import pytest
import torch

from captioning.data.vocab import END, START
from captioning.inference.decode import beam_search
from captioning.inference.engine_config import EngineConfig
from captioning.inference.engines import OFFERED, make_engine
from captioning.network.config import DecodeConfig
from tests.inference.test_decode import (
    CAPTIONER_TOKENS,
    Table,
    all_captions,
    search_over_lists,
)

IMAGES = range(4)
ROUNDING = 5e-3  # of a score: the tests' network amplifies it, and with two threads it is another


class NetworkTable(Table):
    """What the network itself says after every prefix, one at a time."""

    def __init__(self, network, pixels):
        super().__init__(0, network.config.vocabulary_size, CAPTIONER_TOKENS)
        with torch.no_grad():
            self.decoder, self.features = network.decoder, network.encoder(pixels)

    @torch.no_grad()
    def _log_probabilities(self, image, prefix):
        logits, _ = self.decoder(self.features[image : image + 1], torch.tensor([prefix]))
        return logits[0, -1].log_softmax(dim=-1).tolist()


@pytest.fixture(scope="module")
def table(network, pixels):
    return NetworkTable(network, pixels[: len(IMAGES)])


@pytest.fixture(scope="module", params=OFFERED)
def engine(request, checkpoint, checkpoint_path):
    return make_engine(checkpoint, checkpoint_path, EngineConfig(request.param))


@pytest.fixture(scope="module")
def features(engine, pixels):
    return engine.encode(pixels[: len(IMAGES)].numpy())


@pytest.mark.parametrize("penalties", [(0.0, 0.0), (0.8, 1.5)])
@pytest.mark.parametrize("beam", [1, 2, 4, 9])
def test_captions_are_those_of_a_search_over_lists(engine, features, table, beam, penalties):
    length, repetition = penalties
    config = DecodeConfig(beam, length, max_words=7, repetition_penalty=repetition)
    results = beam_search(engine, features, CAPTIONER_TOKENS, config)
    compared = 0
    for image, hypotheses in zip(IMAGES, results, strict=True):
        expected, margin = search_over_lists(table, image, beam, length, 7, repetition)
        if margin < ROUNDING:  # rounding may choose differently
            continue
        compared += 1
        assert [tuple(one.tokens) for one in hypotheses] == [words for words, _ in expected]
        scores = [score for _, score in expected]
        assert [one.score for one in hypotheses] == pytest.approx(scores, abs=ROUNDING)
    assert compared or beam == 9


def test_a_beam_that_holds_everything_finds_all_captions_in_order(engine, features, table):
    config = DecodeConfig(beam=200, length_penalty=0.7, max_words=2)
    results = beam_search(engine, features, CAPTIONER_TOKENS, config)
    for image, hypotheses in zip(IMAGES, results, strict=True):
        scores = {}
        for words in all_captions(table, 2):
            prefixes = [(START, *words[:length]) for length in range(len(words) + 1)]
            pairs = zip(prefixes, (*words, END), strict=True)
            values = [table.log_probabilities(image, prefix)[token] for prefix, token in pairs]
            scores[words] = sum(values) / len(values) ** 0.7
        found = {tuple(one.tokens): one.score for one in hypotheses}
        assert found == pytest.approx(scores, abs=ROUNDING)
        ordered = [scores[words] for words in found]
        assert all(second < first + ROUNDING for first, second in pairwise(ordered))
