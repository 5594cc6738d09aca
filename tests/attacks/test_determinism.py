"""Captions are the same in any batch, process, number of threads and engine."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given

from captioning.inference.captioner import Captioner
from captioning.network.config import DecodeConfig
from tests.inference.test_decode import (
    INFINITY,
    Table,
    TableEngine,
    penalties,
    photographs,
    search_over_lists,
    seeds,
    several,
    st,
    token_sets,
)
from tools.attacks import determinism
from tools.attacks.determinism import Comparison, exact, narrowest_gap


@several
@given(seeds, st.integers(1, 4), penalties, st.sampled_from([0.0, 1.5]), token_sets)
def test_the_narrowest_gap_is_that_of_a_search_over_lists(seed, beam, penalty, repetition, tokens):
    table = Table(seed, tokens=tokens)
    found, margin = search_over_lists(table, 3, beam, penalty, 5, repetition)
    config = DecodeConfig(beam, penalty, max_words=5, repetition_penalty=repetition)
    gap = narrowest_gap(TableEngine(table), photographs(3), tokens, config)
    scores = [score for _, score in found]
    # Theirs is also that of the captions after the second.
    assert min([gap, *(a - b for a, b in pairwise(scores))]) == pytest.approx(margin, abs=1e-4)
    assert gap <= min([INFINITY, *(a - b for a, b in pairwise(scores[:2]))]) + 1e-4


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("determinism")
    return list(determinism.attacks(folder, count=4))


def test_nothing_differs_that_must_not(outcomes):
    assert [outcome.harm for outcome in outcomes] == [[]] * len(outcomes)
    assert {outcome.tried for outcome in outcomes} == {4}


def test_every_engine_and_new_processes_are_among_the_variants(outcomes):
    names = " ".join(outcome.what for outcome in outcomes)
    for part in ("engine openvino, threads: 2", "engine onnx, batches of 7", "new process 2"):
        assert part in names


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    paths = determinism.photographs(tmp_path_factory.mktemp("compared"), 2)
    captioner = Captioner.load()
    return Comparison(captioner, paths, list(captioner.stream(paths)))


def test_other_words_without_a_tie_are_harm(comparison):
    first, second = comparison.expected
    swapped = comparison.compare("", [second, first])
    assert len(swapped.harm) == 2
    assert "without a tie" in swapped.harm[0]


def test_other_words_at_a_tie_are_counted(comparison, monkeypatch):
    monkeypatch.setattr(Comparison, "gap", lambda *_: determinism.TIE / 2)
    swapped = comparison.compare("", comparison.expected[::-1])
    assert (swapped.harm, swapped.notes["other words at a tie"]) == ([], 2)


def test_other_probabilities_are_harm(comparison):
    others = [
        replace(one, probabilities=tuple(np.multiply(one.probabilities, 0.99)))
        for one in comparison.expected
    ]
    assert len(comparison.compare("", others).harm) == 2


def test_the_last_bit_counts_where_nothing_may_differ(comparison):
    first, second = map(exact, comparison.expected)
    second[1][2] = float(np.nextafter(second[1][2], 1))
    assert len(comparison.compare_exactly("", [first, second]).harm) == 1
