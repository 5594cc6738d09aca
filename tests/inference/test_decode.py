"""Beam search agrees with a search over lists, with trying all captions, and with the model."""

import copy
import math
import random
from dataclasses import replace
from functools import cache
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from captioning.data.vocab import END, PAD, START, UNK, Tokens
from captioning.inference.decode import beam_search
from captioning.inference.engine import likeliest
from captioning.inference.torch_engine import TorchEngine
from captioning.network.config import DecodeConfig

several = settings(max_examples=40, deadline=None, database=None)
seeds = st.integers(0, 10**6)
penalties = st.sampled_from([0.0, 0.3, 0.7, 1.0, 2.0, 5.0])
CAPTIONER_TOKENS = Tokens(start=START, end=END, never=(PAD, START, UNK))
# The same roles with other ids, so that a search with the usual ids built in fails.
OTHER_TOKENS = Tokens(start=4, end=0, never=(4, 2))
token_sets = st.sampled_from([CAPTIONER_TOKENS, OTHER_TOKENS])
INFINITY = math.inf


class Table:
    """A language model without structure: random probabilities for every image and prefix.

    ``bias`` is added to the logits of its tokens.
    """

    def __init__(self, seed, vocabulary=7, tokens=CAPTIONER_TOKENS, bias=None, scale=1.5):
        self.vocabulary, self.tokens = vocabulary, tokens
        self.identity = (seed, scale)
        self.bias = bias or {}
        self.log_probabilities = cache(self._log_probabilities)

    def _log_probabilities(self, image, prefix):
        generator = random.Random(f"{self.identity} {image} {prefix}")
        logits = [generator.gauss(0, self.identity[1]) for _ in range(self.vocabulary)]
        logits = [logit + self.bias.get(token, 0.0) for token, logit in enumerate(logits)]
        top = max(logits)
        if top == -INFINITY:
            return logits
        total = math.log(sum(math.exp(logit - top) for logit in logits))
        return [logit - top - total for logit in logits]

    def alphas(self, image, prefix):
        generator = random.Random(f"alphas {self.identity} {image} {prefix}")
        return [generator.random() for _ in range(3)]

    def words(self):
        forbidden = {self.tokens.end, *self.tokens.never}
        return [token for token in range(self.vocabulary) if token not in forbidden]

    def trace(self, image, words):
        """The log-probability of each word and of the end, and the alphas of each word."""
        prefixes = [(self.tokens.start, *words[:length]) for length in range(len(words) + 1)]
        pairs = zip(prefixes, (*words, self.tokens.end), strict=True)
        values = [self.log_probabilities(image, prefix)[token] for prefix, token in pairs]
        return values, [self.alphas(image, prefix) for prefix in prefixes[:-1]]


class TableEngine:
    """Runs a Table; its features are the images' numbers, its state one prefix per beam."""

    def __init__(self, table):
        self.table = table

    def encode(self, images):
        return images

    def start(self, features):
        self.images = len(features)
        return [(int(image), ()) for image in features[:, 0, 0]]

    def step(self, tokens, state, count, end):
        assert len(tokens) == len(state)
        state = [
            (image, (*prefix, token))
            for (image, prefix), token in zip(state, tokens.tolist(), strict=True)
        ]
        values = [self.table.log_probabilities(*beam) for beam in state]
        alphas = [self.table.alphas(*beam) for beam in state]
        values, alphas = (np.array(each, dtype=np.float32) for each in (values, alphas))
        return likeliest(values, alphas, count, end), state

    def grouped(self, beams):
        assert len(beams) % self.images == 0
        width = len(beams) // self.images
        return [beams[i : i + width] for i in range(0, len(beams), width)]

    def reorder(self, state, index):
        groups = self.grouped(index.tolist()), self.grouped(range(len(state)))
        assert all(set(new) <= set(old) for new, old in zip(*groups, strict=True))
        return [state[new] for new in index.tolist()]

    def keep(self, state, images):
        grouped = self.grouped(state)
        self.images = len(images)
        return [prefix for image in images.tolist() for prefix in grouped[image]]


def photographs(*numbers):
    return np.array(numbers, dtype=np.float32).reshape(-1, 1, 1)  # (B, 1, 1)


def search(table, images, **config):
    return beam_search(
        TableEngine(table), photographs(*images), table.tokens, DecodeConfig(**config)
    )


def search_over_lists(table, image, beam, length_penalty, max_words, repetition=0.0):
    """The best captions, best first, as (words, score); and the narrowest margin of any choice."""

    def cost(words, word):
        return 0.0 if word in table.tokens.repeatable else repetition * words.count(word)

    beams, margin = [((), 0.0, False)], INFINITY
    for position in range(max_words + 1):
        candidates = []
        for words, total, ended in beams:
            if ended:
                candidates.append((words, total, True))
                continue
            values = table.log_probabilities(image, (table.tokens.start, *words))
            if position > 0:
                candidates.append((words, total + values[table.tokens.end], True))
            if position < max_words:
                candidates += [
                    ((*words, word), total + values[word] - cost(words, word), False)
                    for word in table.words()
                ]
        ranked = sorted(
            (
                (total / (len(words) + ended) ** length_penalty, (words, total, ended))
                for words, total, ended in candidates
            ),
            reverse=True,
        )
        if len(ranked) > beam:
            margin = min(margin, ranked[beam - 1][0] - ranked[beam][0])
        beams = [candidate for _, candidate in ranked[:beam]]
        if all(ended for _, _, ended in beams):
            break
    final = [(words, total / (len(words) + 1) ** length_penalty) for words, total, _ in beams]
    final.sort(key=lambda pair: -pair[1])
    margin = min([margin, *(first[1] - second[1] for first, second in pairwise(final))])
    return final, margin


def all_captions(table, max_words):
    return [
        words
        for length in range(1, max_words + 1)
        for words in product(table.words(), repeat=length)
    ]


def assert_keeps_promises(hypotheses, table, beam, max_words):
    possible = sum(len(table.words()) ** length for length in range(1, max_words + 1))
    assert len(hypotheses) == min(beam, possible)
    assert len({tuple(hypothesis.tokens) for hypothesis in hypotheses}) == len(hypotheses)
    scores = [hypothesis.score for hypothesis in hypotheses]
    assert scores == sorted(scores, reverse=True)
    for hypothesis in hypotheses:
        assert 1 <= len(hypothesis.tokens) <= max_words
        assert set(hypothesis.tokens) <= set(table.words())
        assert hypothesis.alphas.shape == (len(hypothesis.tokens), 3)
        assert hypothesis.log_probabilities.shape == (len(hypothesis.tokens) + 1,)
        assert math.isfinite(hypothesis.score)


# Against independent searches --------------------------------------------------------------------


@pytest.mark.parametrize("beam", range(1, 7))
@several
@given(
    seeds,
    penalties,
    token_sets,
    st.integers(6, 9),
    st.integers(1, 6),
    st.sampled_from([-6.0, 0.0, 2.0]),
)
def test_captions_are_those_of_a_search_over_lists(
    beam, seed, penalty, tokens, vocabulary, max_words, end_bias
):
    table = Table(seed, vocabulary, tokens, bias={tokens.end: end_bias})
    results = search(table, [5, 8], beam=beam, length_penalty=penalty, max_words=max_words)
    for image, hypotheses in zip([5, 8], results, strict=True):
        expected, margin = search_over_lists(table, image, beam, penalty, max_words)
        assume(margin > 1e-5)  # float32 may break a tie differently
        assert [tuple(hypothesis.tokens) for hypothesis in hypotheses] == [w for w, _ in expected]
        assert [hypothesis.score for hypothesis in hypotheses] == pytest.approx(
            [score for _, score in expected], rel=1e-5, abs=1e-5
        )


@pytest.mark.parametrize("beam", [14, 20])
@several
@given(seeds, penalties)
def test_a_beam_that_holds_everything_finds_all_captions_in_order(beam, seed, penalty):
    table = Table(seed, vocabulary=6)  # two words: 2 + 4 + 8 captions
    scores = {
        words: sum(table.trace(0, words)[0]) / (len(words) + 1) ** penalty
        for words in all_captions(table, 3)
    }
    assert len(scores) == 14
    ordered = sorted(scores, key=lambda words: -scores[words])
    assume(min(scores[a] - scores[b] for a, b in pairwise(ordered)) > 1e-5)
    [hypotheses] = search(table, [0], beam=beam, length_penalty=penalty, max_words=3)
    assert [tuple(hypothesis.tokens) for hypothesis in hypotheses] == ordered


@several
@given(seeds, penalties)
def test_beam_1_takes_the_likeliest_word_each_time(seed, penalty):
    table, words = Table(seed), []
    while len(words) < 8:
        values = table.log_probabilities(3, (START, *words))
        best = max([*table.words(), *([END] if words else [])], key=values.__getitem__)
        if best == END:
            break
        words.append(best)
    [[hypothesis]] = search(table, [3], beam=1, length_penalty=penalty, max_words=8)
    assert hypothesis.tokens == words


@several
@given(
    seeds,
    st.integers(1, 6),
    penalties,
    st.sampled_from([0.5, 1.5, 20.0]),
    st.sampled_from([(), (5,), (4, 5, 6)]),
)
def test_repeated_words_cost_what_a_search_over_lists_says(
    seed, beam, penalty, repetition, repeatable
):
    tokens = replace(CAPTIONER_TOKENS, repeatable=repeatable)
    table = Table(seed, tokens=tokens, bias={END: -2.0})
    settings = {"length_penalty": penalty, "max_words": 6}
    results = search(table, [5, 8], beam=beam, repetition_penalty=repetition, **settings)
    for image, hypotheses in zip([5, 8], results, strict=True):
        expected, margin = search_over_lists(table, image, beam, penalty, 6, repetition)
        assume(margin > 1e-5)
        assert [tuple(hypothesis.tokens) for hypothesis in hypotheses] == [w for w, _ in expected]
        scores = [score for _, score in expected]
        assert [h.score for h in hypotheses] == pytest.approx(scores, rel=1e-5, abs=1e-5)
        for hypothesis in hypotheses:  # of each word stays what the model said
            values, _ = table.trace(image, hypothesis.tokens)
            assert hypothesis.log_probabilities.tolist() == pytest.approx(values, abs=1e-5)


def test_a_high_repetition_penalty_leaves_only_function_words_twice():
    tokens = replace(CAPTIONER_TOKENS, repeatable=(4,))
    table = Table(0, tokens=tokens, bias={END: -60.0})
    [hypotheses] = search(table, [0], beam=1, max_words=6, repetition_penalty=100.0)
    assert max(hypotheses[0].tokens.count(word) for word in (5, 6)) == 1
    assert hypotheses[0].tokens.count(4) == 4


class GenerousEngine(TableEngine):
    """Hands over every continuation, however few are asked for."""

    def step(self, tokens, state, count, end):
        return super().step(tokens, state, self.table.vocabulary, end)


@several
@given(seeds, st.integers(1, 6), penalties, st.sampled_from([0.0, 0.5, 3.0]), token_sets)
def test_what_the_search_asks_for_is_enough(seed, beam, penalty, repetition, tokens):
    bias = {tokens.never[0]: 3.0, tokens.never[1]: 3.0, 5: 4.0, 9: 4.0, 11: 3.5}
    table = Table(seed, vocabulary=40, tokens=replace(tokens, repeatable=(11,)), bias=bias)
    config = DecodeConfig(
        beam=beam, length_penalty=penalty, max_words=7, repetition_penalty=repetition
    )
    results = [
        beam_search(kind(table), photographs(0, 3), table.tokens, config)
        for kind in (TableEngine, GenerousEngine)
    ]
    for asked, everything in zip(*results, strict=True):
        assert [(h.tokens, h.score) for h in asked] == [(h.tokens, h.score) for h in everything]


# Promises ----------------------------------------------------------------------------------------


@several
@given(seeds, st.integers(1, 6), penalties, st.integers(1, 5))
def test_the_score_is_the_sum_of_the_log_probabilities_over_the_length(
    seed, beam, penalty, max_words
):
    table = Table(seed)
    [hypotheses] = search(table, [1], beam=beam, length_penalty=penalty, max_words=max_words)
    assert_keeps_promises(hypotheses, table, beam, max_words)
    for hypothesis in hypotheses:
        values, _ = table.trace(1, hypothesis.tokens)
        assert hypothesis.log_probabilities.tolist() == pytest.approx(values, abs=1e-5)
        length = len(hypothesis.tokens) + 1
        assert hypothesis.score == pytest.approx(sum(values) / length**penalty, rel=1e-5)


@several
@given(seeds, st.integers(1, 6), penalties)
def test_alphas_follow_the_surviving_words(seed, beam, penalty):
    table = Table(seed)
    results = search(table, [2, 6], beam=beam, length_penalty=penalty, max_words=5)
    for image, hypotheses in zip([2, 6], results, strict=True):
        for hypothesis in hypotheses:
            _, alphas = table.trace(image, hypothesis.tokens)
            np.testing.assert_allclose(hypothesis.alphas, alphas, rtol=1e-6)


@several
@given(seeds, st.integers(1, 5), st.lists(st.integers(0, 4), min_size=1, max_size=5))
def test_other_photographs_in_the_batch_change_nothing(seed, beam, images):
    table = Table(seed)
    together = search(table, images, beam=beam, length_penalty=0.7, max_words=6)
    for image, hypotheses in zip(images, together, strict=True):
        [alone] = search(table, [image], beam=beam, length_penalty=0.7, max_words=6)
        assert [(h.tokens, h.score) for h in hypotheses] == [(h.tokens, h.score) for h in alone]
        for one, other in zip(hypotheses, alone, strict=True):
            assert np.array_equal(one.log_probabilities, other.log_probabilities)
            assert np.array_equal(one.alphas, other.alphas)


@pytest.mark.parametrize("beam", [1, 3, 6])
@pytest.mark.parametrize("max_words", [1, 2, 6])
@pytest.mark.parametrize(
    "bias",
    [
        {END: -60.0},
        {END: -INFINITY},
        {END: 60.0},
        {UNK: 60.0, PAD: 60.0, START: 60.0},
        {END: -INFINITY, UNK: 60.0},
        {END: 60.0, **dict.fromkeys(range(4, 7), -INFINITY)},
        {END: -INFINITY, **dict.fromkeys(range(4, 7), -INFINITY)},
        dict.fromkeys(range(7), -INFINITY),
        {4: -INFINITY, 5: -INFINITY},
    ],
    ids=[
        "end nearly impossible",
        "end impossible",
        "end nearly certain",
        "forbidden tokens nearly certain",
        "end impossible, unknown nearly certain",
        "only the end possible",
        "only forbidden tokens possible",
        "nothing possible",
        "most words impossible",
    ],
)
def test_the_search_ends_and_loses_no_beam_whatever_the_model_says(bias, max_words, beam):
    for seed in range(4):
        table = Table(seed, bias=bias)
        results = search(table, [0, 1], beam=beam, length_penalty=0.7, max_words=max_words)
        for hypotheses in results:
            assert_keeps_promises(hypotheses, table, beam, max_words)


@several
@given(seeds)
def test_captions_that_the_model_calls_impossible_come_last(seed):
    table = Table(seed, bias={4: -INFINITY})
    [hypotheses] = search(table, [0], beam=14, length_penalty=0.0, max_words=2)
    assert len(hypotheses) == 12  # 3 + 9
    impossible = [4 in hypothesis.tokens for hypothesis in hypotheses]
    assert impossible == sorted(impossible)
    assert sum(impossible) == 6  # 4; 4 4, 4 5, 4 6, 5 4, 6 4


def test_one_word_at_most_gives_one_word_each():
    table = Table(seed=0)
    [hypotheses] = search(table, [0], beam=6, max_words=1)
    assert sorted(hypothesis.tokens for hypothesis in hypotheses) == [[4], [5], [6]]


def test_the_search_takes_no_more_steps_than_the_longest_caption_needs():
    engine = TableEngine(Table(seed=0, bias={END: 60.0}))
    steps = []
    engine.step = lambda *arguments: steps.append(1) or TableEngine.step(engine, *arguments)
    beam_search(engine, photographs(0), CAPTIONER_TOKENS, DecodeConfig(beam=1, max_words=30))
    assert len(steps) == 2  # one word and the end


# With the real network ---------------------------------------------------------------------------


class RecordingEngine(TorchEngine):
    """The torch engine, recording every reordering."""

    def __init__(self, network):
        super().__init__(network)
        self.indices = []

    def reorder(self, state, index):
        self.indices.append(index.tolist())
        return super().reorder(state, index)


@pytest.fixture(scope="module")
def engine(network):
    return RecordingEngine(network)


@pytest.fixture(scope="module")
def exact_engine(network):
    """In double precision, because the tests' network amplifies rounding."""
    return RecordingEngine(copy.deepcopy(network).double())


@pytest.mark.parametrize("penalty", [0.0, 0.7])
@pytest.mark.parametrize("beam", [1, 2, 5])
def test_teacher_forcing_the_captions_gives_their_attention_and_probabilities(
    exact_engine, pixels, beam, penalty
):
    engine, pixels = exact_engine, pixels.double()
    engine.indices.clear()
    features = engine.encode(pixels)
    config = DecodeConfig(beam=beam, length_penalty=penalty, max_words=8)
    results = beam_search(engine, features, CAPTIONER_TOKENS, config)
    if beam > 1:  # the test means nothing unless beams crossed after the first word
        assert any(index != sorted(index) for index in engine.indices[1:])
    for image, hypotheses in enumerate(results):
        assert len(hypotheses) == beam
        for words, _, log_probabilities, alphas in hypotheses:
            logits, expected = engine.teacher_force(
                features[image : image + 1], torch.tensor([[START, *words]])
            )
            np.testing.assert_allclose(alphas, expected[0, : len(words)], atol=1e-9, rtol=0)
            targets = torch.tensor([*words, END]).unsqueeze(1)
            values = logits[0].log_softmax(dim=-1).gather(1, targets).squeeze(1).float()
            np.testing.assert_allclose(log_probabilities, values, atol=1e-5, rtol=0)


def test_the_real_networks_captions_differ_from_photograph_to_photograph(engine, pixels):
    features = engine.encode(pixels)
    results = beam_search(engine, features, CAPTIONER_TOKENS, DecodeConfig(max_words=8))
    assert len({tuple(hypotheses[0].tokens) for hypotheses in results}) >= 5


def test_the_real_networks_captions_depend_on_the_nouns_that_are_offered(engine, network, pixels):
    silent = copy.deepcopy(network)
    with torch.no_grad():
        silent.decoder.copy.trust.bias.fill_(-60.0)  # it copies nothing any more
    features, config = engine.encode(pixels), DecodeConfig(max_words=8)
    captions = [
        [
            hypotheses[0].tokens
            for hypotheses in beam_search(each, features, CAPTIONER_TOKENS, config)
        ]
        for each in (engine, TorchEngine(silent))
    ]
    assert sum(one != other for one, other in zip(*captions, strict=True)) >= 4
    nouns = network.decoder.classifier.offer(features).words.tolist()
    copied = [set(words) & set(offered) for words, offered in zip(captions[0], nouns, strict=True)]
    assert sum(map(bool, copied)) >= 4
