"""The metrics agree with the coco-caption code and with scikit-learn, and keep their promises."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from sklearn.metrics import accuracy_score, f1_score

from captioning.evaluation.metrics import (
    BleuStatistics,
    CiderD,
    DocumentFrequencies,
    Ngrams,
    bleu_statistics,
    caption_f1,
    caption_scores,
    cider_d,
    corpus_bleu,
    rouge_l,
)
from captioning.evaluation.token_metrics import TokenStatistics

TOLERANCE = 1e-6
several = settings(max_examples=150, deadline=None, database=None)

# Few words, so that captions share long n-grams and repeat themselves.
captions = st.lists(st.sampled_from(["a", "dog", "runs", "on", "grass"]), max_size=12)
images = st.tuples(captions, st.lists(captions, min_size=1, max_size=5))
corpora = st.lists(images, min_size=1, max_size=6).map(
    lambda corpus: tuple(zip(*corpus, strict=True))
)


def words(text):
    return text.split()


def coco(scorer, candidates, references):
    """The corpus score and the images' scores of one of pycocoevalcap's scorers."""
    gts = {i: [" ".join(caption) for caption in group] for i, group in enumerate(references)}
    res = {i: [" ".join(caption)] for i, caption in enumerate(candidates)}
    options = {"verbose": 0} if isinstance(scorer, Bleu) else {}
    return scorer.compute_score(gts, res, **options)


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


def zipf_corpus(size, seed):
    """Captions of Zipf-distributed words; a candidate repeats a part of one of its references."""
    rng = np.random.default_rng(seed)

    def caption():
        length = max(0, round(rng.normal(10, 4)))
        return [f"w{rank}" for rank in np.minimum(rng.zipf(1.4, length), 2000)]

    references = [[caption() for _ in range(rng.integers(1, 6))] for _ in range(size)]
    candidates = []
    for group in references:
        kept = group[rng.integers(len(group))][rng.integers(4) :]
        candidates.append(kept + caption()[: rng.integers(6)])
    return candidates, references


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


def test_caption_scores_are_those_of_coco_times_100():
    candidates, references = zipf_corpus(100, seed=5)
    scores = caption_scores(candidates, references)
    bleu = coco(Bleu(), candidates, references)[0]
    assert [scores[f"BLEU-{n}"] for n in (1, 2, 3, 4)] == pytest.approx([100 * b for b in bleu])
    assert scores["ROUGE-L"] == pytest.approx(100 * coco(Rouge(), candidates, references)[0])
    assert scores["CIDEr-D"] == pytest.approx(100 * coco(Cider(), candidates, references)[0])
    f1 = np.mean(list(map(caption_f1, candidates, references)))
    assert scores["caption F1"] == pytest.approx(100 * f1)
    assert list(scores)[:4] == ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4"]
    assert len(scores) == 7


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
    assert len(scorer) == 20
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
@given(corpora, st.randoms(use_true_random=False))
def test_order_of_images_and_of_references_does_not_matter(corpus, random):
    pairs = zip(*corpus, strict=True)
    shuffled = [(candidate, random.sample(group, len(group))) for candidate, group in pairs]
    random.shuffle(shuffled)
    assert caption_scores(*zip(*shuffled, strict=True)) == approx(caption_scores(*corpus))


@several
@given(corpora)
def test_ids_and_ready_counts_score_as_words_do(corpus):
    candidates, references = corpus
    ids = {word: number for number, word in enumerate(["a", "dog", "runs", "on", "grass"])}
    as_ids = [[ids[word] for word in caption] for caption in candidates]
    groups = [[tuple(ids[word] for word in caption) for caption in group] for group in references]
    assert caption_scores(as_ids, groups) == caption_scores(candidates, references)
    counted = [[Ngrams.of(caption) for caption in group] for group in groups]
    ready = cider_d(list(map(Ngrams.of, as_ids)), counted)
    assert ready.tolist() == cider_d(candidates, references).tolist()


@several
@given(corpora)
def test_scores_stay_in_their_range(corpus):
    scores = caption_scores(*corpus)
    tops = {"CIDEr-D": 1000}
    assert all(0 <= score <= tops.get(name, 100) + TOLERANCE for name, score in scores.items())


# --- caption F1 ---


def test_caption_f1_compares_sets_with_the_union():
    references = [["a", "dog", "dog"], ["a", "brown", "puppy"]]
    # 2 of the 3 words are among the 4 of the references.
    assert caption_f1(["a", "dog", "a", "cat"], references) == pytest.approx(2 * 2 / (3 + 4))
    assert caption_f1(["puppy", "brown", "dog", "a"], references) == 1


def test_caption_f1_without_words_is_zero():
    assert caption_f1([], [["a"]]) == caption_f1(["a"], [[]]) == caption_f1([], [[]]) == 0


# --- what is refused ---


@pytest.mark.parametrize("score", [cider_d, caption_scores])
def test_unequal_numbers_are_refused(score):
    with pytest.raises(ValueError, match="1 candidate captions but references for 2 images"):
        score([["a"]], [[["a"]], [["a"]]])


@pytest.mark.parametrize("score", [cider_d, caption_scores])
def test_an_image_without_references_is_refused(score):
    with pytest.raises(ValueError, match="at least one reference"):
        score([["a"], ["b"]], [[["a"]], []])


@pytest.mark.parametrize("score", [bleu_statistics, rouge_l, caption_f1])
def test_a_caption_without_references_is_refused(score):
    with pytest.raises(ValueError, match="at least one reference"):
        score(["a"], [])


def test_a_scorer_without_references_for_an_image_is_refused():
    with pytest.raises(ValueError, match="at least one reference"):
        CiderD([[["a"]], []])


@pytest.mark.parametrize("score", [cider_d, caption_scores])
@pytest.mark.parametrize(
    ("candidates", "references"), [(["a dog"], [[["a"]]]), ([["a"]], [["a dog"]])]
)
def test_strings_are_refused(score, candidates, references):
    with pytest.raises(TypeError, match="tokenize"):
        score(candidates, references)


def test_nothing_to_score():
    assert cider_d([], []).shape == (0,)
    with pytest.raises(ValueError, match="no caption"):
        caption_scores([], [])


# --- tokens under teacher forcing ---

COUNTS = ("count", "correct", "correct_top5", "true_positives", "predicted", "actual")


def token_sample(size, vocabulary_size, seed):
    """Targets (M,) and five different predictions (M, 5), the target often among them."""
    rng = np.random.default_rng(seed)
    top5 = np.argsort(rng.random((size, vocabulary_size)), axis=1)[:, :5]
    place = np.minimum(rng.geometric(0.4, size) - 1, 6)
    anything = np.minimum(rng.zipf(1.5, size), vocabulary_size) - 1
    picked = top5[np.arange(size), np.minimum(place, 4)]
    return np.where(place < 5, picked, anything), top5


@pytest.mark.parametrize(
    ("size", "vocabulary_size"), [(1, 5), (3, 50), (40, 6), (500, 30), (5000, 300)]
)
@pytest.mark.parametrize("seed", range(4))
def test_token_statistics_agree_with_scikit_learn(size, vocabulary_size, seed):
    targets, top5 = token_sample(size, vocabulary_size, seed)
    ours = TokenStatistics.from_predictions(targets, top5, vocabulary_size)
    predicted, present = top5[:, 0], np.unique(targets)
    macro = f1_score(targets, predicted, labels=present, average="macro", zero_division=0)
    weighted = f1_score(targets, predicted, average="weighted", zero_division=0)
    micro = f1_score(targets, predicted, average="micro", zero_division=0)
    assert ours.f1_macro == pytest.approx(macro)
    assert ours.f1_weighted == pytest.approx(weighted)
    assert ours.accuracy == pytest.approx(accuracy_score(targets, predicted))
    assert ours.accuracy == pytest.approx(micro)
    among = [target in row for target, row in zip(targets, top5, strict=True)]
    assert ours.accuracy_top5 == pytest.approx(np.mean(among))


@several
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 999))
def test_adding_token_statistics_equals_counting_at_once(size, cut, seed):
    targets, top5 = token_sample(size, 12, seed)
    parts = [slice(None, cut), slice(cut, None)]
    total = TokenStatistics.zero(12)
    for part in parts:
        total += TokenStatistics.from_predictions(targets[part], top5[part], 12)
    whole = TokenStatistics.from_predictions(targets, top5, 12)
    for name in COUNTS:
        np.testing.assert_array_equal(getattr(total, name), getattr(whole, name))


def test_token_statistics_of_nothing_are_zero():
    nothing = TokenStatistics.zero(4)
    assert nothing.accuracy == nothing.accuracy_top5 == nothing.f1_macro == nothing.f1_weighted == 0


def test_token_statistics_of_different_vocabularies_do_not_add():
    with pytest.raises(ValueError, match="different sizes"):
        TokenStatistics.zero(4) + TokenStatistics.zero(5)


@pytest.mark.parametrize(
    ("targets", "top5", "message"),
    [
        (np.zeros((2, 3), int), np.zeros((2, 5), int), r"must be \(M,\)"),
        (np.zeros(2, int), np.zeros((2, 4), int), r"must be \(M,\)"),
        (np.zeros(2, int), np.zeros((3, 5), int), r"must be \(M,\)"),
        (np.array([7]), np.zeros((1, 5), int), "from 0 to 6"),
        (np.array([0]), np.full((1, 5), -1), "from 0 to 6"),
    ],
)
def test_token_statistics_refuse_what_does_not_fit(targets, top5, message):
    with pytest.raises(ValueError, match=message):
        TokenStatistics.from_predictions(targets, top5, 7)
