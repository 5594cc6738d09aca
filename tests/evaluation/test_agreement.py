"""The agreement of maps with a full occlusion, itself against a slower one."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from captioning.data.vocab import START, TOKENS
from captioning.evaluation.agreement import EvidenceProbe, full_occlusion
from captioning.evaluation.uncertainty import estimates, spearman
from captioning.inference.decode import beam_search
from captioning.inference.evidence import evidence_maps
from captioning.inference.torch_engine import TorchEngine
from captioning.network.config import DecodeConfig


@pytest.fixture(scope="module")
def engine(network):
    return TorchEngine(network)


@pytest.fixture(scope="module")
def seen(engine, pixels):
    """Features (B, 25, C) and the captions of them."""
    features = engine.encode(torch.nn.functional.interpolate(pixels[:4], size=160))
    return features, beam_search(engine, features, TOKENS, DecodeConfig(beam=3, max_words=9))


@torch.no_grad()
def test_the_full_occlusion_is_that_of_features_replaced_from_the_beginning(network, seen):
    features, beams = seen
    tokens = beams[0][0].tokens
    said = []
    for hidden in (None, 12):  # nothing, and the middle with its neighbours
        own = features[0].clone().view(5, 5, -1)
        if hidden is not None:
            own[1:4, 1:4] = features[0].mean(dim=0)
        logits, _ = network.decoder(own.view(1, 25, -1), torch.tensor([[START, *tokens[:-1]]]))
        rows = logits[0].log_softmax(-1)
        said.append(rows[torch.arange(len(tokens)), tokens])
    lost = full_occlusion(network.decoder, features[0], tokens)
    assert lost.shape == (len(tokens), 25)
    torch.testing.assert_close(lost[:, 12], said[0] - said[1], atol=1e-3, rtol=0)
    assert float(lost.abs().max()) > 0.05


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
        full = full_occlusion(network.decoder, own, hypotheses[0].tokens).numpy()
        for row, (word, alphas) in enumerate(zip(maps, hypotheses[0].alphas, strict=True)):
            correlations["evidence"].append(spearmanr(word.ravel(), full[row]).statistic)
            correlations["attention"].append(spearmanr(alphas.numpy(), full[row]).statistic)
    expected = {name: np.mean(values) for name, values in correlations.items()}
    assert estimates(results.statistics()) == pytest.approx(expected, abs=1e-6)


def test_rank_correlation_of_rows_is_that_of_scipy():
    random = np.random.default_rng(0)
    first, second = random.integers(0, 5, (2, 20, 30)).astype(float)
    expected = [spearmanr(a, b).statistic for a, b in zip(first, second, strict=True)]
    assert np.allclose(spearman(first, second), expected)
    assert spearman(np.ones((1, 5)), np.arange(5.0)[None])[0] == 0
