"""The metrics agree with the coco-caption code, and keep their promises."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from captioning.evaluation.metrics import (
    BleuStatistics,
    CiderD,
    DocumentFrequencies,
    Ngrams,
    bleu_of_sums,
    bleu_rows,
    bleu_statistics,
    caption_f1,
    cider_d,
    rouge_l,
)
from tests.evaluation.captions import coco, corpora, images, zipf_corpus

TOLERANCE = 1e-6
several = settings(max_examples=150, deadline=None, database=None)


def words(text):
    return text.split()


def corpus_bleu(statistics):
    return tuple(bleu_of_sums(bleu_rows(statistics).sum(axis=0)))


def approx(expected):
    return pytest.approx(expected, rel=0, abs=TOLERANCE)


def assert_equal_to_coco(candidates, references):
    bleu, bleu_of_images = coco(Bleu(), candidates, references)
    statistics = list(map(bleu_statistics, candidates, references))
    assert corpus_bleu(statistics) == approx(tuple(bleu))
    ours = np.array([corpus_bleu([one]) for one in statistics]).T
    np.testing.assert_allclose(ours, bleu_of_images, rtol=0, atol=TOLERANCE)

    rouge = coco(Rouge(), candidates, references)[1]
    ours = list(map(rouge_l, candidates, references))
    np.testing.assert_allclose(ours, rouge, rtol=0, atol=TOLERANCE)

    cider = coco(Cider(), candidates, references)[1]
    np.testing.assert_allclose(cider_d(candidates, references), cider, rtol=0, atol=TOLERANCE)


# --- against coco-caption ---


@several
@given(corpora)
def test_equal_to_coco_on_any_captions(corpus):
    candidates, references = corpus
    assume(any(any(group) for group in references))  # else coco's Cider crashes
    assert_equal_to_coco(candidates, references)


@pytest.mark.parametrize(("size", "seed"), [(1, 0), (2, 1), (30, 2), (300, 3), (2000, 4)])
def test_equal_to_coco_on_zipf_captions(size, seed):
    assert_equal_to_coco(*zipf_corpus(size, seed))


A_DOG = words("a dog runs on the grass")
EDGES = {
    "empty candidate": ([[], A_DOG], [[A_DOG], [["a", "cat"]]]),
    "only empty candidates": ([[], []], [[A_DOG], [["a", "cat"]]]),
    "shorter than the n-grams": ([["dog"], ["a", "cat"], ["x", "y", "z"]], [[A_DOG]] * 3),
    "one image": ([A_DOG], [[A_DOG, ["a", "dog"]]]),
    "duplicate references": ([A_DOG, ["a", "cat"]], [[A_DOG] * 5, [["a", "cat", "sits"]] * 2]),
    "duplicate images": ([A_DOG] * 3, [[A_DOG, ["a", "cat"]]] * 3),
    "references of one word": ([["dog"], ["a", "dog"], []], [[["dog"]], [["dog"]], [["cat"]]]),
    "an empty reference": ([A_DOG, ["a"], []], [[A_DOG, []], [[]], [[], ["cat"]]]),
    "a word again and again": ([["the"] * 7, A_DOG], [[["the", "cat"], ["the", "the"]], [A_DOG]]),
    "nothing in common": ([["x", "y"], ["z"]], [[A_DOG], [["a", "cat"]]]),
    "very long": ([A_DOG * 20, A_DOG], [[A_DOG], [A_DOG * 20]]),
}


@pytest.mark.parametrize("name", EDGES)
def test_equal_to_coco_at_the_edges(name):
    assert_equal_to_coco(*EDGES[name])


def test_all_references_empty_where_coco_crashes():
    candidates, references = [[], ["a"]], [[[]], [[], []]]
    with pytest.raises(ValueError, match="empty"):
        coco(Cider(), candidates, references)
    assert cider_d(candidates, references).tolist() == [0, 0]


# --- BLEU ---


def test_bleu_statistics_of_a_caption_worked_out_by_hand():
    references = [words("the cat is on the mat"), words("there is a cat on the mat")]
    statistics = bleu_statistics(words("the the the cat on mat ."), references)
    # "the" is clipped to the 2 of the first reference; "the cat" is there once, "cat on" too.
    assert statistics == BleuStatistics(7, 7, (5, 2, 0, 0), (7, 6, 5, 4))


@pytest.mark.parametrize(
    ("lengths", "closest"), [((3, 5), 3), ((5, 3), 3), ((7, 3), 3), ((9, 5), 5), ((4, 9), 4)]
)
def test_closest_reference_length_and_the_shorter_of_two(lengths, closest):
    references = [["x"] * length for length in lengths]
    assert bleu_statistics(["x"] * 4, references).reference_length == closest


def test_bleu_of_nothing_is_zero():
    assert corpus_bleu([]) == (0, 0, 0, 0)


# --- ROUGE-L ---


def longest_common_subsequence(one, other):
    """By trying all subsequences of one caption, longest first."""

    def is_subsequence(part):
        rest = iter(other)
        return all(token in rest for token in part)

    for length in range(len(one), 0, -1):
        if any(is_subsequence(part) for part in combinations(one, length)):
            return length
    return 0


@several
@given(*[st.lists(st.sampled_from("abc"), min_size=1, max_size=8)] * 2)
def test_rouge_is_the_f_measure_of_the_longest_common_subsequence(candidate, reference):
    common = longest_common_subsequence(candidate, reference)
    precision, recall = common / len(candidate), common / len(reference)
    expected = 2.44 * precision * recall / (recall + 1.44 * precision) if common else 0
    assert rouge_l(candidate, [reference]) == approx(expected)


def test_rouge_takes_precision_and_recall_from_different_references():
    assert rouge_l(["a", "b"], [["a", "b", "c", "d"], ["a"]]) == pytest.approx(1)


@several
@given(images, st.integers(0, 4))
def test_a_caption_equal_to_a_reference_has_rouge_one(image, index):
    references = image[1]
    assert rouge_l(references[index % len(references)], references) == pytest.approx(1)


# --- CIDEr-D ---


def test_frequencies_count_an_image_once():
    references = [[["a", "a"], ["a", "b"]], [["a"]]]
    frequencies = DocumentFrequencies.from_references(iter(references))
    assert frequencies.images == 2
    assert frequencies.counts == {("a",): 2, ("b",): 1, ("a", "a"): 1, ("a", "b"): 1}


def test_given_frequencies_score_a_part_as_in_the_whole():
    candidates, references = zipf_corpus(60, seed=6)
    frequencies = DocumentFrequencies.from_references(references)
    whole = cider_d(candidates, references)
    part = cider_d(candidates[:7], references[:7], frequencies)
    np.testing.assert_allclose(part, whole[:7], rtol=0, atol=TOLERANCE)
    assert not np.allclose(cider_d(candidates[:7], references[:7]), whole[:7])


def test_a_scorer_scores_any_caption_for_any_image():
    candidates, references = zipf_corpus(20, seed=7)
    scorer = CiderD(references)
    swapped = [*candidates[1:], candidates[0]]
    expected = coco(Cider(), swapped, references)[1]
    scores = [scorer.score(caption, index) for index, caption in enumerate(swapped)]
    np.testing.assert_allclose(scores, expected, rtol=0, atol=TOLERANCE)


def test_the_only_reference_scores_ten():
    references = [[A_DOG], [words("a man in a red shirt")]]
    assert cider_d([A_DOG, A_DOG], references)[0] == pytest.approx(10)


def test_frequencies_above_the_number_of_images_are_refused():
    with pytest.raises(ValueError, match="more than all 2 images"):
        DocumentFrequencies({("a",): 3}, 2)


# --- properties of all ---


@several
@given(corpora)
def test_ids_and_ready_counts_score_as_words_do(corpus):
    candidates, references = corpus
    ids = {word: number for number, word in enumerate(["a", "dog", "runs", "on", "grass"])}
    as_ids = [[ids[word] for word in caption] for caption in candidates]
    groups = [[tuple(ids[word] for word in caption) for caption in group] for group in references]
    pairs = zip(as_ids, groups, candidates, references, strict=True)
    for caption, group, of_words, group_of_words in pairs:
        assert bleu_statistics(caption, group) == bleu_statistics(of_words, group_of_words)
        assert rouge_l(caption, group) == rouge_l(of_words, group_of_words)
        assert caption_f1(caption, group) == caption_f1(of_words, group_of_words)
    counted = [[Ngrams.of(caption) for caption in group] for group in groups]
    ready = cider_d(list(map(Ngrams.of, as_ids)), counted)
    assert ready.tolist() == cider_d(candidates, references).tolist()


# --- caption F1 ---


def test_caption_f1_compares_sets_with_the_union():
    references = [["a", "dog", "dog"], ["a", "brown", "puppy"]]
    # 2 of the 3 words are among the 4 of the references.
    assert caption_f1(["a", "dog", "a", "cat"], references) == pytest.approx(2 * 2 / (3 + 4))
    assert caption_f1(["puppy", "brown", "dog", "a"], references) == 1


def test_caption_f1_without_words_is_zero():
    assert caption_f1([], [["a"]]) == caption_f1(["a"], [[]]) == caption_f1([], [[]]) == 0


# --- what is refused ---


def test_unequal_numbers_are_refused():
    with pytest.raises(ValueError, match="1 candidate captions but references for 2 images"):
        cider_d([["a"]], [[["a"]], [["a"]]])


def test_an_image_without_references_is_refused():
    with pytest.raises(ValueError, match="at least one reference"):
        cider_d([["a"], ["b"]], [[["a"]], []])


@pytest.mark.parametrize("score", [bleu_statistics, rouge_l, caption_f1])
def test_a_caption_without_references_is_refused(score):
    with pytest.raises(ValueError, match="at least one reference"):
        score(["a"], [])


def test_a_scorer_without_references_for_an_image_is_refused():
    with pytest.raises(ValueError, match="at least one reference"):
        CiderD([[["a"]], []])


@pytest.mark.parametrize(
    ("candidates", "references"), [(["a dog"], [[["a"]]]), ([["a"]], [["a dog"]])]
)
def test_strings_are_refused(candidates, references):
    with pytest.raises(TypeError, match="tokenize"):
        cider_d(candidates, references)


def test_nothing_to_score():
    assert cider_d([], []).shape == (0,)
