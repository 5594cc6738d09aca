"""Measures a network on photographs with captions: loss, accuracy, F1, captions, metrics."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from captioning.data.caption_files import Photograph
from captioning.data.dataset import Batch
from captioning.data.vocab import PAD, TOKENS, Vocabulary, detokenize
from captioning.evaluation.metrics import caption_scores
from captioning.evaluation.ptb import ptb_tokenize
from captioning.evaluation.token_metrics import TokenStatistics
from captioning.inference.decode import Hypothesis, beam_search
from captioning.inference.torch_engine import TorchEngine
from captioning.network.config import DecodeConfig

Look = Callable[[Tensor, list[list[Hypothesis]]], None]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a network said of each photograph, and the figures of the whole.

    ``hypotheses`` has the best caption of each photograph, in order, and ``captions`` its text.
    ``figures``: BLEU-1..4, ROUGE-L, CIDEr-D and caption F1 of the freely decoded captions,
    accuracy and F1 of the next word under teacher forcing, all x100; and loss, in nats a token,
    without label smoothing.
    """

    hypotheses: list[Hypothesis]
    captions: list[str]
    forced: "Forced"
    figures: dict[str, float]


def evaluate(
    engine: TorchEngine,
    photographs: Sequence[Photograph],
    batches: Iterable[Batch],
    vocabulary: Vocabulary,
    decoding: DecodeConfig,
    look: Look | None = None,
) -> Evaluation:
    """Caption and score ``photographs``; ``batches`` hold the same ones in the same order.

    ``look`` is called with the features (B, L, C) and the hypotheses of each batch.
    """
    forced, hypotheses = [Forced.nothing(len(vocabulary))], list[Hypothesis]()
    for batch in batches:
        features = engine.encode(batch.visual) if batch.visual.ndim == 4 else batch.visual
        forced.append(teacher_forced(engine, features, batch, len(vocabulary), len(hypotheses)))
        found = beam_search(engine, features, TOKENS, decoding)
        hypotheses += [each[0] for each in found]
        if look is not None:
            look(features, found)
    captions = [detokenize(vocabulary.decode(each.tokens)) for each in hypotheses]
    together = Forced.join(forced)
    return Evaluation(
        hypotheses, captions, together, together.figures() | score_texts(captions, photographs)
    )


def score_texts(captions: Sequence[str], photographs: Sequence[Photograph]) -> dict[str, float]:
    """All caption metrics x100, with the tokens of coco-caption."""
    references = [[ptb_tokenize(text) for text in photo.captions] for photo in photographs]
    return caption_scores([ptb_tokenize(caption) for caption in captions], references)


@dataclass(frozen=True, eq=False)
class Forced:
    """How the next word was foretold when the words before it are given: M targets, no padding.

    ``photographs`` (M,) are places in the list of photographs; ``targets`` (M,) and ``top5``
    (M, 5), likeliest first, are word ids; ``losses`` (M,) are in nats.
    """

    vocabulary_size: int
    photographs: NDArray[np.int64]
    targets: NDArray[np.int64]
    top5: NDArray[np.int64]
    losses: NDArray[np.float64]

    @classmethod
    def nothing(cls, vocabulary_size: int) -> "Forced":
        """Without a target yet."""
        none = np.zeros(0, dtype=np.int64)
        return cls(vocabulary_size, none, none, none.reshape(0, 5), none.astype(np.float64))

    @classmethod
    def join(cls, parts: Sequence["Forced"]) -> "Forced":
        """The targets of all parts."""
        names = [field.name for field in fields(cls)][1:]
        arrays = [np.concatenate([getattr(part, name) for part in parts]) for name in names]
        return cls(parts[0].vocabulary_size, *arrays)

    def figures(self) -> dict[str, float]:
        """Mean loss in nats a token; accuracies and F1 x100."""
        tokens = TokenStatistics.from_predictions(self.targets, self.top5, self.vocabulary_size)
        return {
            "loss": float(self.losses.sum()) / max(1, len(self.losses)),
            "accuracy": 100 * tokens.accuracy,
            "accuracy top-5": 100 * tokens.accuracy_top5,
            "F1 macro": 100 * tokens.f1_macro,
            "F1 weighted": 100 * tokens.f1_weighted,
        }


def teacher_forced(
    engine: TorchEngine, features: Tensor, batch: Batch, vocabulary_size: int, first: int = 0
) -> Forced:
    """Measure one batch under teacher forcing, padding left out. Features (B, L, C).

    ``first`` is the place of the batch's first photograph in the list.
    """
    logits, _ = engine.teacher_force(features, batch.inputs)  # (N, T, V)
    targets = batch.targets.to(logits.device)  # (N, T)
    real = targets != PAD
    captions_per_image = len(targets) // len(features)
    places = first + torch.arange(len(targets)) // captions_per_image  # (N,)
    chosen, wanted = logits[real].float(), targets[real]  # (M, V), (M,)
    return Forced(
        vocabulary_size,
        places.unsqueeze(1).expand(targets.shape)[real.cpu()].numpy(),
        wanted.cpu().numpy(),
        chosen.topk(5, dim=-1).indices.cpu().numpy(),
        functional.cross_entropy(chosen, wanted, reduction="none").double().cpu().numpy(),
    )


class BeamSweep:
    """Captions the same photographs with several beam widths; ``captions`` holds their texts."""

    def __init__(
        self,
        engine: TorchEngine,
        vocabulary: Vocabulary,
        decoding: DecodeConfig,
        beams: Iterable[int],
    ) -> None:
        self.engine, self.vocabulary = engine, vocabulary
        self.settings = [replace(decoding, beam=beam) for beam in beams]
        self.captions: dict[int, list[str]] = {each.beam: [] for each in self.settings}

    def __call__(self, features: Tensor, found: list[list[Hypothesis]]) -> None:
        """Caption one batch of features (B, L, C)."""
        for each in self.settings:
            for hypotheses in beam_search(self.engine, features, TOKENS, each):
                text = detokenize(self.vocabulary.decode(hypotheses[0].tokens))
                self.captions[each.beam].append(text)
