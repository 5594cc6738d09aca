"""Captions for the tests of metrics, and what pycocoevalcap scores them."""

import numpy as np
from hypothesis import strategies as st
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

# Few words, so that captions share long n-grams and repeat themselves.
captions = st.lists(st.sampled_from(["a", "dog", "runs", "on", "grass"]), max_size=12)
images = st.tuples(captions, st.lists(captions, min_size=1, max_size=5))
corpora = st.lists(images, min_size=1, max_size=6).map(
    lambda corpus: tuple(zip(*corpus, strict=True))
)


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


def coco(scorer, candidates, references):
    """The corpus score and the images' scores of one of pycocoevalcap's scorers."""
    gts = {i: [" ".join(caption) for caption in group] for i, group in enumerate(references)}
    res = {i: [" ".join(caption)] for i, caption in enumerate(candidates)}
    options = {"verbose": 0} if isinstance(scorer, Bleu) else {}
    return scorer.compute_score(gts, res, **options)


def coco_scores(candidates, references):
    """pycocoevalcap's scores of a corpus by our names, x100."""
    bleu, _ = coco(Bleu(4), candidates, references)
    scores = {f"BLEU-{order}": 100 * value for order, value in enumerate(bleu, start=1)}
    for name, scorer in {"ROUGE-L": Rouge(), "CIDEr-D": Cider()}.items():
        scores[name] = 100 * coco(scorer, candidates, references)[0]
    return scores
