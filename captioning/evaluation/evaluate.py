"""Measures a network on photographs with captions: next-word metrics, captions, caption metrics."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from captioning.data.caption_files import Photograph
from captioning.data.dataset import Batch
from captioning.data.vocab import PAD, Vocabulary, detokenize
from captioning.evaluation.corpus import Corpus, caption_scores
from captioning.evaluation.token_metrics import TeacherForced
from captioning.inference.decode import Hypothesis, beam_search
from captioning.inference.torch_engine import TorchEngine
from captioning.network.config import DecodeConfig

# Is called with the features (B, L, C) and the hypotheses of each batch.
Observer = Callable[[Tensor, list[list[Hypothesis]]], None]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a network predicted for each photograph, and the metrics over all.

    ``hypotheses`` has the best caption of each photograph, in order, and ``captions`` its text.
    ``metrics``: BLEU-1..4, ROUGE-L, CIDEr-D and caption F1 of the freely decoded captions,
    accuracy and F1 of the next word under teacher forcing, all x100; and loss, in nats per token,
    without label smoothing.
    """

    hypotheses: list[Hypothesis]
    captions: list[str]
    forced: TeacherForced
    metrics: dict[str, float]


def evaluate(
    engine: TorchEngine,
    photographs: Sequence[Photograph],
    batches: Iterable[Batch],
    vocabulary: Vocabulary,
    decoding: DecodeConfig,
    observers: Sequence[Observer] = (),
) -> Evaluation:
    """Caption and score ``photographs``; ``batches`` hold the same ones in the same order.

    They are captioned in the default manner, whatever that of their captions.

    Each observer is called with the features (B, L, C) and the hypotheses of each batch.
    """
    parts, hypotheses = [TeacherForced.empty(len(vocabulary))], list[Hypothesis]()
    for batch in batches:
        features = engine.encode(batch.visual) if batch.visual.ndim == 4 else batch.visual
        parts.append(teacher_forced(engine, features, batch, len(vocabulary), len(hypotheses)))
        beams = beam_search(engine, features, vocabulary.tokens(), decoding)
        hypotheses += [each[0] for each in beams]
        for observe in observers:
            observe(features, beams)
    captions = [detokenize(vocabulary.decode(each.tokens)) for each in hypotheses]
    forced = TeacherForced.join(parts)
    corpus = Corpus.of(captions, [photograph.captions for photograph in photographs])
    scores = caption_scores(corpus.candidates, corpus.references)
    return Evaluation(hypotheses, captions, forced, forced.metrics() | scores)


def teacher_forced(
    engine: TorchEngine, features: Tensor, batch: Batch, vocabulary_size: int, first: int = 0
) -> TeacherForced:
    """Predict each next word of one batch from the words before it. Features (B, L, C).

    ``first`` is the index of the batch's first photograph in the list.
    """
    logits, _ = engine.teacher_force(features, batch.inputs)  # (N, T, V)
    targets = batch.targets.to(logits.device)  # (N, T)
    real = targets != PAD
    captions_per_image = len(targets) // len(features)
    photographs = first + torch.arange(len(targets)) // captions_per_image  # (N,)
    predicted, wanted = logits[real].float(), targets[real]  # (M, V), (M,)
    return TeacherForced(
        vocabulary_size,
        photographs.unsqueeze(1).expand(targets.shape)[real.cpu()].numpy(),
        wanted.cpu().numpy(),
        predicted.topk(5, dim=-1).indices.cpu().numpy(),
        functional.cross_entropy(predicted, wanted, reduction="none").double().cpu().numpy(),
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
        self.configs = [replace(decoding, beam=beam) for beam in beams]
        self.captions: dict[int, list[str]] = {config.beam: [] for config in self.configs}

    def __call__(self, features: Tensor, beams: list[list[Hypothesis]]) -> None:
        """Caption one batch of features (B, L, C)."""
        for config in self.configs:
            for hypotheses in beam_search(self.engine, features, self.vocabulary.tokens(), config):
                text = detokenize(self.vocabulary.decode(hypotheses[0].tokens))
                self.captions[config.beam].append(text)
