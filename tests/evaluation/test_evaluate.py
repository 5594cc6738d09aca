"""The metrics of an evaluation against a network small enough to be computed by hand.

It is a table of the next word's probabilities given only the last word, whatever the photograph.
"""

import math
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import f1_score

from captioning.data.caption_files import Photograph
from captioning.data.dataset import Batch, CaptionDataset, Item, Pixels, batches, collate
from captioning.data.features import Features
from captioning.data.images import ImageConfig
from captioning.data.vocab import PAD, SPECIAL_TOKENS, Vocabulary, tokenize
from captioning.evaluation import evaluate as evaluate_module
from captioning.evaluation.evaluate import BeamSweep, evaluate, split_by_length, teacher_forced
from captioning.inference.engine import likeliest
from captioning.inference.torch_engine import TorchEngine
from captioning.network.config import DecodeConfig
from tests.evaluation.captions import coco_scores

WORDS = (*SPECIAL_TOKENS, "a", "dog", "runs", "cat")
VOCABULARY = Vocabulary(WORDS)
ROOT = Path(__file__).resolve().parents[2]

# After each word: how likely the words are that can follow; nothing else can.
NEXT = {
    "<start>": {"a": 0.5, "dog": 0.25, "cat": 0.25},
    "a": {"dog": 0.6, "cat": 0.4},
    "dog": {"runs": 0.75, "<end>": 0.25},
    "cat": {"<end>": 0.5, "runs": 0.25, "dog": 0.25},
    "runs": {"<end>": 1.0},
}


def table():
    """The natural log-probabilities (V, V): row after which word, column which word."""
    probabilities = torch.full((len(WORDS), len(WORDS)), 1e-9)
    for word, following in NEXT.items():
        for other, probability in following.items():
            probabilities[WORDS.index(word), WORDS.index(other)] = probability
    return probabilities.log()


class TableEngine:
    """An engine that reads from the table; logits are log-probabilities plus a constant."""

    def encode(self, images):
        return images.flatten(2).transpose(1, 2)

    def teacher_force(self, features, tokens):
        return table()[tokens] + 3.0, torch.ones(*tokens.shape, features.shape[1])

    def start(self, features):
        return len(features)

    def step(self, tokens, state, count, end):
        alphas = np.ones((len(tokens), 1), dtype=np.float32)
        return likeliest(table().numpy()[tokens], alphas, count, end), state

    def reorder(self, state, index):
        return state

    def keep(self, state, images):
        return state


def photograph(name, *captions):
    return Photograph(name, None, captions)


PHOTOGRAPHS = [
    photograph("1", "a dog runs"),
    photograph("2", "a cat", "a dog"),
    photograph("3", "cat runs", "dog", "a cat dog runs"),
    photograph("4", "a dog runs", "dog"),
    photograph("5", "dog runs", "cat"),
]


def batches_of(photographs, size):
    features = torch.zeros(len(photographs), 3, 2)
    dataset = CaptionDataset(photographs, VOCABULARY, lambda index: features[index], 100)
    return batches(dataset, size)


def transitions(photographs):
    """Every (last word, next word) of the captions."""
    for one in photographs:
        for caption in one.captions:
            words = ["<start>", *caption.split(), "<end>"]
            yield from pairwise(words)


def metrics_of(photographs, size=2):
    loader = batches_of(photographs, size)
    return evaluate(TableEngine(), photographs, loader, VOCABULARY, DecodeConfig(beam=1)).metrics


def test_a_single_caption_by_hand():
    # a dog runs <end>: probabilities 1/2, 6/10, 3/4, 1, each the likeliest.
    metrics = metrics_of([photograph("1", "a dog runs")])
    assert metrics["loss"] == pytest.approx(-math.log(0.5 * 0.6 * 0.75) / 4)
    assert metrics["accuracy"] == 100
    # dog <end>: 1/4 and 1/4, neither the likeliest, both among the first five.
    metrics = metrics_of([photograph("1", "dog")])
    assert metrics["loss"] == pytest.approx(math.log(4))
    assert metrics["accuracy"] == 0
    assert metrics["accuracy top-5"] == 100


def test_the_loss_is_the_mean_over_all_words_not_over_batches():
    losses = [-math.log(NEXT[last][word]) for last, word in transitions(PHOTOGRAPHS)]
    loss = sum(losses) / len(losses)
    assert metrics_of(PHOTOGRAPHS, size=1)["loss"] == pytest.approx(loss, rel=1e-5)
    means = [metrics_of([one])["loss"] for one in PHOTOGRAPHS]
    assert abs(sum(means) / len(means) - loss) > 0.01  # so that the one is not the other here


def test_accuracy_and_f1_are_over_all_words():
    pairs = list(transitions(PHOTOGRAPHS))
    truth = [word for _, word in pairs]
    guesses = [max(NEXT[last], key=NEXT[last].get) for last, _ in pairs]
    correct = sum(guess == word for guess, word in zip(guesses, truth, strict=True))
    metrics = metrics_of(PHOTOGRAPHS)
    occurring = sorted(set(truth))
    macro, weighted = (
        f1_score(truth, guesses, labels=occurring, average=average, zero_division=0)
        for average in ("macro", "weighted")
    )
    assert metrics["accuracy"] == pytest.approx(100 * correct / len(pairs))
    assert 0 < metrics["accuracy"] < 100
    assert metrics["F1 macro"] == pytest.approx(100 * macro)
    assert metrics["F1 weighted"] == pytest.approx(100 * weighted)


def test_top_5_counts_the_five_likeliest_words():
    # The fifth likeliest word after each is one that never follows, so the rest are misses.
    logits = torch.tensor([8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]).expand(1, 8, 8)

    class Constant(TableEngine):
        def teacher_force(self, features, tokens):
            return logits[:, : tokens.shape[1]], None

    targets = torch.tensor([[1, 2, 3, 4, 5, 6, 7, PAD]])
    forced = teacher_forced(Constant(), torch.zeros(1, 1, 1), Batch(None, targets, targets), 8)
    assert forced.metrics()["accuracy top-5"] == pytest.approx(100 * 4 / 7)  # ids 1 to 4


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_the_size_of_the_batches_changes_nothing(size):
    assert metrics_of(PHOTOGRAPHS, size) == pytest.approx(metrics_of(PHOTOGRAPHS, 4), rel=1e-6)


def test_captions_are_decoded_and_scored_photograph_by_photograph():
    evaluation = evaluate(
        TableEngine(), PHOTOGRAPHS, batches_of(PHOTOGRAPHS, 2), VOCABULARY, DecodeConfig(beam=3)
    )
    # Probability 0.225; the next are "dog runs" with 0.1875 and "cat" with 0.125.
    assert evaluation.captions == ["a dog runs"] * 5
    references = [[tokenize(caption) for caption in one.captions] for one in PHOTOGRAPHS]
    expected = coco_scores([["a", "dog", "runs"]] * 5, references)
    assert {name: evaluation.metrics[name] for name in expected} == pytest.approx(expected)
    assert {"loss", "accuracy", "accuracy top-5", "F1 macro", "F1 weighted"} <= set(
        evaluation.metrics
    )


def test_the_search_settings_are_used():
    short = evaluate(
        TableEngine(),
        PHOTOGRAPHS[:1],
        batches_of(PHOTOGRAPHS[:1], 1),
        VOCABULARY,
        DecodeConfig(beam=1, max_words=2),
    )
    assert short.captions == ["a dog"]


def test_each_target_is_of_its_photograph():
    forced = evaluate(
        TableEngine(), PHOTOGRAPHS, batches_of(PHOTOGRAPHS, 2), VOCABULARY, DecodeConfig(beam=1)
    ).forced
    for index, one in enumerate(PHOTOGRAPHS):
        words = [WORDS[target] for target in forced.targets[forced.photographs == index]]
        assert sorted(words) == sorted(word for _, word in transitions([one]))
    losses = [-math.log(NEXT[last][word]) for last, word in transitions(PHOTOGRAPHS[3:4])]
    assert forced.losses[forced.photographs == 3].sum() == pytest.approx(sum(losses), rel=1e-5)


def test_observers_see_every_batch():
    seen, also_seen = [], []

    def observe(features, beams):
        seen.append((len(features), [len(each) for each in beams]))

    evaluate(
        TableEngine(),
        PHOTOGRAPHS,
        batches_of(PHOTOGRAPHS, 2),
        VOCABULARY,
        DecodeConfig(beam=2),
        observers=[observe, lambda features, beams: also_seen.append(len(beams))],
    )
    assert seen == [(2, [2, 2]), (2, [2, 2]), (1, [2])]
    assert also_seen == [2, 2, 1]


def test_a_sweep_has_the_captions_of_each_beam_width():
    sweep = BeamSweep(TableEngine(), VOCABULARY, DecodeConfig(max_words=2), beams=(1, 3))
    evaluate(
        TableEngine(),
        PHOTOGRAPHS,
        batches_of(PHOTOGRAPHS, 2),
        VOCABULARY,
        DecodeConfig(beam=1),
        [sweep],
    )
    # Of two words, "a dog" has 0.5 * 0.6 * 0.25, "dog runs" 0.25 * 0.75 * 1.
    assert sweep.captions == {1: ["a dog"] * 5, 3: ["dog runs"] * 5}


def test_captions_are_in_the_default_manner_and_never_hold_the_token_of_another():
    """The last word of the vocabulary, likely at the start and after "a", is a manner's token."""
    vocabulary = Vocabulary((*SPECIAL_TOKENS, "a", "dog", "runs", "<cat>"))
    photographs = [replace(photograph("1", "runs"), manner="cat")]
    dataset = CaptionDataset(photographs, vocabulary, lambda index: torch.zeros(3, 2), None)
    sweep = BeamSweep(TableEngine(), vocabulary, DecodeConfig(), beams=(2, 100))
    config = DecodeConfig(beam=3)
    loader = batches(dataset, 1)
    made = evaluate(TableEngine(), photographs, loader, vocabulary, config, [sweep])
    assert "<cat>" not in " ".join([*made.captions, *sweep.captions[2], *sweep.captions[100]])
    assert made.captions == ["a dog runs"]
    # Teacher-forced, the caption follows its own manner's token: 0.25, then <end> with 1.
    assert made.metrics["loss"] == pytest.approx(math.log(4) / 2)
    default = [photograph("1", "runs")]
    assert made.metrics["CIDEr-D"] == metrics_of(default, 1)["CIDEr-D"]


def test_pixels_and_features_of_a_network_have_the_same_metrics(network, checkpoint, tmp_path):
    """The real network: evaluation encodes pixels itself, and takes features as they are."""
    random = np.random.default_rng(0)
    photographs = []
    for i, caption in enumerate(["a man runs", "two dog on grass play", "a red ball"]):
        path = tmp_path / f"{i}.png"
        Image.fromarray(random.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(path)
        photographs.append(Photograph(path.name, path, (caption,)))
    engine, vocabulary = TorchEngine(network), checkpoint.vocabulary
    pixels = Pixels(photographs, ImageConfig(size=64))
    features = Features(engine.encode(torch.stack([pixels(i) for i in range(3)])).numpy())
    pair = [
        evaluate(
            engine,
            photographs,
            batches(CaptionDataset(photographs, vocabulary, visual, 20), 2),
            vocabulary,
            DecodeConfig(beam=2),
        )
        for visual in (pixels, features)
    ]
    assert pair[0].captions == pair[1].captions
    assert pair[0].metrics == pytest.approx(pair[1].metrics, rel=1e-4)
    assert 0 < pair[0].metrics["loss"] < 100


# One very long caption --------------------------------------------------------------------------


@settings(max_examples=200, deadline=None, database=None)
@given(st.lists(st.integers(0, 40), max_size=30), st.integers(1, 300))
def test_captions_are_grouped_so_that_only_one_alone_has_more_steps_than_allowed(lengths, most):
    longest = max(lengths, default=0)
    groups = split_by_length(lengths, longest, most)
    rows = [row for group in groups for row in group]
    assert len(rows) == len(set(rows))
    assert {row for row in range(len(lengths)) if lengths[row]} <= set(rows)
    for group in groups:
        assert group == sorted(group)
        assert len(group) == 1 or len(group) * max(lengths[row] for row in group) <= most
    if len(lengths) * longest <= most:
        assert groups in ([], [list(range(len(lengths)))])


class Counting(TableEngine):
    """Counts the logits of each call, with an attention to the photograph."""

    def __init__(self):
        self.sizes = []

    def teacher_force(self, features, tokens):
        logits = table()[tokens] + 3.0  # (N, T, V)
        self.sizes.append(logits.numel())
        each = len(tokens) // len(features)
        seen = features.flatten(1).sum(dim=1).repeat_interleave(each)  # (N,)
        logits[..., 0] = logits[..., 0] + seen[:, None]
        return logits, None


@pytest.mark.parametrize("words", [1, 5, 20, 60, 2000])
def test_a_batch_in_parts_says_the_same_of_every_word(monkeypatch, words):
    long = photograph("6", "a dog", "dog runs " * words, "cat")
    photographs = [*PHOTOGRAPHS, long]
    features = torch.linspace(-3, 3, 6)[:, None, None].expand(6, 3, 2)
    dataset = CaptionDataset(photographs, VOCABULARY, lambda index: features[index], None)
    (batch,) = batches(dataset, 6)
    whole, parts = Counting(), Counting()
    expected = teacher_forced(whole, features, batch, len(WORDS), 100)
    most = 40 * len(WORDS)
    monkeypatch.setattr(evaluate_module, "MOST_LOGITS", most)
    found = teacher_forced(parts, features, batch, len(WORDS), 100)
    assert len(parts.sizes) > len(whole.sizes) == 1
    assert all(size <= max(most, (2 * words + 1) * len(WORDS)) for size in parts.sizes)
    one, other = (rows_of(forced) for forced in (expected, found))
    np.testing.assert_array_equal(one, other)
    assert found.metrics() == pytest.approx(expected.metrics(), rel=1e-12)


def rows_of(forced):
    """All that is known of each target, in an order of its own."""
    columns = (forced.photographs, forced.targets, *forced.top5.T, forced.losses)
    rows = np.stack([np.asarray(column, np.float64) for column in columns], axis=1)
    return rows[np.lexsort(rows.T)]


def test_a_network_says_the_same_of_a_batch_in_parts(network, pixels, monkeypatch):
    engine = TorchEngine(network)
    size = network.config.vocabulary_size
    captions = [[[1, *range(4, 4 + n), 2] for n in (i + 1, 3)] for i in range(8)]
    captions[2][1] = [1, *[4, 6, 5] * 40, 2]
    features = engine.encode(pixels)
    batch = collate([Item(one, each) for one, each in zip(features, captions, strict=True)])
    expected = teacher_forced(engine, features, batch, size)
    monkeypatch.setattr(evaluate_module, "MOST_LOGITS", 30 * size)
    found = teacher_forced(engine, features, batch, size)
    assert found.metrics() == pytest.approx(expected.metrics(), rel=1e-5)
    assert len(found.targets) == len(expected.targets)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as Linux does")
def test_one_long_caption_among_fifty_costs_little_memory():
    """Logits of fifty captions as long as the longest would take 3.9 GB."""
    code = """
import resource, torch
from captioning.data.dataset import Batch
from captioning.evaluation.evaluate import teacher_forced

class Engine:
    def teacher_force(self, features, tokens):
        return torch.zeros(*tokens.shape, 8000), None

tokens = torch.zeros(50, 2401, dtype=torch.long)
tokens[:, :8] = 5
tokens[7] = 5
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
forced = teacher_forced(Engine(), torch.zeros(50, 1, 1), Batch(None, tokens, tokens), 8000)
assert len(forced.targets) == 49 * 8 + 2401
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stderr == ""
    assert int(done.stdout) < 600  # MB
