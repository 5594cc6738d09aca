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
from captioning.processes import interleave

MOST_LOGITS = 2**26  # at once, of a batch: 256 MB
_ROWS = 1024  # logits of so many words are copied at once
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

    They are captioned in the default manner, whatever that of their captions. Of several processes
    each has its share of the batches, and all get the whole result: the batches are those of a
    single process, and so are their numbers, to the last bit.

    Each observer is called with the features (B, L, C) and the hypotheses of each batch.
    """
    own = list[tuple[TeacherForced, list[Hypothesis]]]()
    for batch in batches:
        features = engine.encode(batch.visual) if batch.visual.ndim == 4 else batch.visual
        beams = beam_search(engine, features, vocabulary.tokens(), decoding)
        best = [each[0] for each in beams]
        own.append((teacher_forced(engine, features, batch, len(vocabulary)), best))
        for observe in observers:
            observe(features, beams)
    parts, hypotheses = [TeacherForced.empty(len(vocabulary))], list[Hypothesis]()
    for part, best in interleave(own):
        parts.append(replace(part, photographs=part.photographs + len(hypotheses)))
        hypotheses += best
    captions = [detokenize(vocabulary.decode(each.tokens)) for each in hypotheses]
    forced = TeacherForced.join(parts)
    corpus = Corpus.of(captions, [photograph.captions for photograph in photographs])
    scores = caption_scores(corpus.candidates, corpus.references)
    return Evaluation(hypotheses, captions, forced, forced.metrics() | scores)


def teacher_forced(
    engine: TorchEngine, features: Tensor, batch: Batch, vocabulary_size: int, first: int = 0
) -> TeacherForced:
    """Predict each next word of one batch from the words before it. Features (B, L, C).

    ``first`` is the index of the batch's first photograph in the list. A batch whose longest
    caption would make too many logits of them is taken in parts, by the length of its captions:
    one that is very long costs no more than its own length.
    """
    lengths = (batch.targets != PAD).sum(dim=1).tolist()  # (N,)
    captions_per_image = len(batch.targets) // len(features)
    groups = split_by_length(lengths, batch.targets.shape[1], MOST_LOGITS // vocabulary_size)
    parts = [TeacherForced.empty(vocabulary_size)]
    for rows in groups:
        steps = max(lengths[row] for row in rows) if len(groups) > 1 else batch.targets.shape[1]
        photographs = torch.tensor(rows) // captions_per_image  # (n,)
        shown = features[photographs] if len(groups) > 1 else features
        logits, _ = engine.teacher_force(shown, batch.inputs[rows, :steps])  # (n, t, V)
        targets = batch.targets[rows, :steps]
        parts.append(_forced(vocabulary_size, logits, targets, first + photographs))
    return TeacherForced.join(parts)


def split_by_length(lengths: Sequence[int], longest: int, most: int) -> list[list[int]]:
    """Groups of captions, by their indices, that have at most ``most`` steps with their padding.

    All in one, of ``longest`` steps each, where that is few enough; else those of similar
    ``lengths`` together. A caption longer than ``most`` is alone.
    """
    if len(lengths) * longest <= most:
        return [list(range(len(lengths)))] if lengths else []
    groups: list[list[int]] = [[]]
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        # In this order each caption is the longest so far.
        if groups[-1] and (len(groups[-1]) + 1) * lengths[row] > most:
            groups.append([])
        groups[-1] += [row] if lengths[row] else []  # an empty one has nothing to predict
    return [sorted(group) for group in groups if group]


def _forced(
    vocabulary_size: int, logits: Tensor, targets: Tensor, photographs: Tensor
) -> TeacherForced:
    """What logits (N, T, V) say of targets (N, T) of ``photographs`` (N,)."""
    targets = targets.to(logits.device)
    real = targets != PAD
    wanted = targets[real]  # (M,)
    places = real.flatten().nonzero().squeeze(1)  # (M,)
    top5, losses = [], []
    # Row by row all of it is independent, and copies of all logits would take twice the memory.
    for some, words in zip(*(torch.split(part, _ROWS) for part in (places, wanted)), strict=True):
        predicted = logits.flatten(0, 1)[some].float()  # (m, V)
        top5.append(predicted.topk(5, dim=-1).indices)
        losses.append(functional.cross_entropy(predicted, words, reduction="none").double())
    return TeacherForced(
        vocabulary_size,
        photographs.unsqueeze(1).expand(targets.shape)[real.cpu()].numpy(),
        wanted.cpu().numpy(),
        torch.cat(top5).cpu().numpy(),
        torch.cat(losses).cpu().numpy(),
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
