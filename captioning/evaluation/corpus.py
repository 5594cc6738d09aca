"""What a corpus of captions scores, as statistics that can be resampled, and each image's scores.

Everything follows coco-caption's definitions with its tokens. Nothing here needs the network that
wrote the captions, so that captions of other systems get the same treatment.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from captioning.errors import SettingError
from captioning.evaluation.metrics import (
    Ngrams,
    bleu_of_sums,
    bleu_rows,
    bleu_statistics,
    caption_f1,
    cider_d,
    require_pairs,
    rouge_l,
)
from captioning.evaluation.ptb import ptb_tokenize
from captioning.evaluation.uncertainty import Array, Statistic, averaged, estimates, mean

Tokens = Sequence[str]


@dataclass(frozen=True)
class Corpus:
    """Captions and references as tokens, image by image.

    Raises ValueError unless there is an image, and every image has one candidate and at least one
    reference; TypeError where a caption is a string.
    """

    candidates: Sequence[Tokens]
    references: Sequence[Sequence[Tokens]]

    def __post_init__(self) -> None:
        require_pairs(self.candidates, self.references)
        if len(self.candidates) == 0:
            raise ValueError("there is no caption to score")

    @classmethod
    def of(cls, captions: Sequence[str], references: Sequence[Sequence[str]]) -> "Corpus":
        """Tokenise as coco-caption does. An empty caption stays, as a caption without tokens."""
        return cls(
            [ptb_tokenize(caption) for caption in captions],
            [[ptb_tokenize(text) for text in texts] for texts in references],
        )

    def without(self, index: int) -> "Corpus":
        """The same captions against all references but number ``index`` of each image."""
        kept = [[*texts[:index], *texts[index + 1 :]] for texts in self.references]
        return Corpus(self.candidates, kept)

    def reference_as_candidate(self, index: int) -> "Corpus":
        """Reference number ``index`` of each image against its others: what a person scores."""
        candidates = [texts[index] for texts in self.references]
        return Corpus(candidates, self.without(index).references)

    def leave_one_out(self) -> list["Corpus"]:
        """The same captions with each reference left out in turn.

        Raises SettingError where an image has only one reference.
        """
        return self._each_reference(Corpus.without)

    def references_as_candidates(self) -> list["Corpus"]:
        """Each reference in turn against the others: what people score.

        Raises SettingError where an image has only one reference.
        """
        return self._each_reference(Corpus.reference_as_candidate)

    def _each_reference(self, change: Callable[["Corpus", int], "Corpus"]) -> list["Corpus"]:
        require_two_references(self.references)
        fewest = min(len(texts) for texts in self.references)
        return [change(self, index) for index in range(fewest)]


def require_two_references(references: Sequence[Sequence[object]]) -> None:
    """Raise SettingError where an image has only one reference, so that none can be left out."""
    if min(map(len, references)) < 2:
        raise SettingError(
            "to leave a reference out, every image needs at least two, and one has only one; leave "
            "out --four-references and the baseline human"
        )


def references_per_image(references: Sequence[Sequence[object]]) -> int | str:
    """How many references each image has: a number, or "1 to 5" where images differ."""
    counts = {len(texts) for texts in references}
    return counts.pop() if len(counts) == 1 else f"{min(counts)} to {max(counts)}"


@dataclass(frozen=True, eq=False)
class CaptionScores:
    """The scores of each image, and those of the corpus as functions of sums over images."""

    images: dict[str, Array]  # (B,) each, x100
    statistics: dict[str, Statistic]


def caption_statistics(corpus: Corpus) -> CaptionScores:
    """BLEU-1..4, ROUGE-L, CIDEr-D and caption F1 against the references, x100.

    An image's own BLEU-4 is coco-caption's, of that image as a corpus: almost 0 where no four words
    in a row match. Document frequencies of CIDEr-D are those of all images, also in resamples.
    """
    counted = [Ngrams.of(tokens) for tokens in corpus.candidates]
    references = [[Ngrams.of(tokens) for tokens in texts] for texts in corpus.references]
    rows = bleu_rows(map(bleu_statistics, counted, references))
    pairs = list(zip(corpus.candidates, corpus.references, strict=True))
    images = {
        "BLEU-4": bleu_of_sums(rows)[:, 3],
        "ROUGE-L": np.array([rouge_l(*pair) for pair in pairs]),
        "CIDEr-D": cider_d(counted, references),
        "caption F1": np.array([caption_f1(*pair) for pair in pairs]),
    }
    statistics = {f"BLEU-{order}": _bleu(rows, order) for order in range(1, 5)}
    for name in ("ROUGE-L", "CIDEr-D", "caption F1"):
        statistics[name] = mean(images[name], 100)
    return CaptionScores({name: 100 * values for name, values in images.items()}, statistics)


def _bleu(rows: Array, order: int) -> Statistic:
    return Statistic(rows, lambda sums: 100 * bleu_of_sums(sums)[:, order - 1])


def caption_scores(
    candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]
) -> dict[str, float]:
    """The metrics of ``caption_statistics`` for all images, by their names.

    One candidate per image, against all its references. Raises as ``Corpus`` does.
    """
    return estimates(caption_statistics(Corpus(candidates, references)).statistics)


def average_scores(corpora: Sequence[Corpus]) -> CaptionScores:
    """The mean of what several corpora of the same images score, resampled together."""
    parts = [caption_statistics(corpus) for corpus in corpora]
    names = parts[0].statistics
    return CaptionScores(
        {name: np.mean([part.images[name] for part in parts], 0) for name in parts[0].images},
        {name: averaged([part.statistics[name] for part in parts]) for name in names},
    )
