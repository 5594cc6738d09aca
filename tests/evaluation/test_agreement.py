"""The agreement of maps with occlusion, against a slow way."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from captioning.data.vocab import START, TOKENS
from captioning.evaluation.agreement import EvidenceProbe
from captioning.evaluation.uncertainty import estimates, spearman
from captioning.inference.decode import beam_search
from captioning.inference.evidence import evidence_maps
from captioning.inference.torch_engine import TorchEngine
from captioning.network.config import DecodeConfig
from tests.network.altered import see


@pytest.fixture(scope="module")
def engine(network):
    return TorchEngine(network)


@pytest.fixture(scope="module")
def seen(engine, pixels):
    """Features (B, 25, C) and the captions of them."""
    features = engine.encode(torch.nn.functional.interpolate(pixels[:4], size=160))
    return features, beam_search(engine, features, TOKENS, DecodeConfig(beam=3, max_words=9))


@torch.no_grad()
def occlusion(network, features, tokens):
    """The log-probability each word loses when each location and its neighbours show the mean."""
    decoder, lost = network.decoder, torch.zeros(len(tokens), 25)
    for location in range(25):
        row, column = divmod(location, 5)
        altered = features.clone().view(5, 5, -1)
        near = slice(max(0, row - 1), row + 2), slice(max(0, column - 1), column + 2)
        altered[near] = features.mean(dim=0)
        seen = see(decoder, features.unsqueeze(0), altered.view(1, 25, -1))
        memory, state = decoder.start(features.unsqueeze(0))
        for step, (last, word) in enumerate(zip([START, *tokens], tokens, strict=False)):
            before, _, following = decoder.step(torch.tensor([last]), memory, state)
            after, _, _ = decoder.step(torch.tensor([last]), seen, state)
            logits = (decoder.logits(output, memory.nouns) for output in (before, after))
            whole, hidden = (each.log_softmax(-1)[0] for each in logits)
            lost[step, location] = whole[word] - hidden[word]
            state = following
    return lost.numpy()


def test_the_probe_keeps_all_evidence_and_compares_the_first_photographs(engine, network, seen):
    features, beams = seen
    probe = EvidenceProbe(engine, photographs=3)
    probe(features[:2], beams[:2])
    probe(features[2:], beams[2:])
    tokens = [hypotheses[0].tokens for hypotheses in beams]
    assert len(probe.maps) == 4
    for computed, expected in zip(probe.maps, evidence_maps(engine, features, tokens), strict=True):
        assert np.allclose(computed, expected, atol=0.01)
    results = probe.results()
    assert results.words == [len(each) for each in tokens[:3]]
    correlations = {"evidence": [], "attention": []}
    for own, hypotheses, maps in zip(features[:3], beams, probe.maps, strict=False):
        full = occlusion(network, own, hypotheses[0].tokens)
        for row, (word, alphas) in enumerate(zip(maps, hypotheses[0].alphas, strict=True)):
            correlations["evidence"].append(spearmanr(word.ravel(), full[row]).statistic)
            correlations["attention"].append(spearmanr(alphas, full[row]).statistic)
    expected = {name: np.mean(values) for name, values in correlations.items()}
    # Float16 may turn the ranks of losses that are nearly equal.
    assert estimates(results.statistics()) == pytest.approx(expected, abs=0.02)


def test_rank_correlation_of_rows_is_that_of_scipy():
    random = np.random.default_rng(0)
    first, second = random.integers(0, 5, (2, 20, 30)).astype(float)
    expected = [spearmanr(a, b).statistic for a, b in zip(first, second, strict=True)]
    assert np.allclose(spearman(first, second), expected)
    assert spearman(np.ones((1, 5)), np.arange(5.0)[None])[0] == 0
