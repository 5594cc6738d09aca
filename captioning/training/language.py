"""The decoder as a language model: captions without photographs.

From text it learns grammar, and how to use nouns that no photograph of the training set shows. So
that it learns to copy too, it is offered nouns as the classifier would offer them: some that the
caption has, and others.

Dimensions: N captions, T steps, K offered nouns.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from captioning.data.caption_files import DataError
from captioning.data.dataset import (
    Batch,
    Item,
    batches,
    batches_by_length,
    draw,
    encode_caption,
)
from captioning.data.vocab import PAD, Vocabulary
from captioning.network.config import ENCODER_CHANNELS, OFFERED
from captioning.network.model import CaptioningModel
from captioning.processes import interleave
from captioning.training.config import TrainConfig
from captioning.training.fit import Task
from captioning.training.losses import token_cross_entropy
from captioning.training.stages import Stage
from captioning.training.terms import Term

_HELD_OUT = 50  # every so many captions one is not trained on
_UNLIKELY = -13.8  # the log-probability of a noun that is not there

_NAMED = 2  # nouns of the caption that are offered, at most
_SEEN = 0.8  # probability that the classifier sees one of them
_FAVOUR = 6.0  # how much likelier it is than another noun
_SHARPNESS = (0.5, 3.0)  # how unequal the probabilities are, from this to that


class TextDataset(Dataset[Item]):
    """Captions (token lists) without photographs: their features are zero, at a single location."""

    def __init__(
        self, captions: Sequence[Sequence[str]], vocabulary: Vocabulary, max_words: int | None
    ) -> None:
        self.captions = [encode_caption(tokens, vocabulary, max_words) for tokens in captions]
        self.nothing = torch.zeros(1, ENCODER_CHANNELS)

    def __len__(self) -> int:
        return len(self.captions)

    def __getitem__(self, index: int) -> Item:
        return Item(self.nothing, [self.captions[index]])


class LanguageLoss:
    """The cross-entropy of captions without photographs, a ``LossFunction``."""

    def __call__(self, network: CaptioningModel, batch: Batch, config: TrainConfig) -> list[Term]:
        """The one term of a batch."""
        decoder = network.decoder
        known = torch.unique(decoder.classifier.nouns)
        nouns, confidence = imagine(batch.targets, known, batch.seeds)
        memory = decoder.remember(batch.visual, nouns, confidence)
        state = decoder.blank_state(batch.visual, len(batch.inputs))
        outputs, _ = decoder.unroll(memory, state, batch.inputs)
        real = batch.targets != PAD
        logits = decoder.logits_at(outputs, memory, real)
        return [token_cross_entropy(logits, batch.targets[real], PAD, config.label_smoothing)]


class LanguageStage(Stage):
    """The decoder learns from the text alone; scored on every fiftieth caption, held out."""

    def task(self) -> Task:
        """The captions to learn from, and the loss on those held out."""
        text, words = self.sets.text, self.recipe.caption_words
        held_out = TextDataset(text[::_HELD_OUT], self.start.vocabulary, words)
        rest = [tokens for index, tokens in enumerate(text) if index % _HELD_OUT]
        if not rest:
            raise DataError(
                f"{self.flags.text[0]}: a language model needs two captions at least that no data "
                "set holds out; add text, or leave out --text"
            )
        training = TextDataset(rest, self.start.vocabulary, words)
        size, seed = self.config.batch_size, self.config.seed * 1000
        lengths = [len(ids) for ids in training.captions]

        def training_batches(epoch: int, done: int) -> Iterable[Batch]:
            return batches_by_length(training, lengths, size, seed + epoch, done)

        def score(network: CaptioningModel) -> dict[str, float]:
            return {"loss": text_loss(network, batches(held_out, size))}

        return Task(
            batches=training_batches,
            steps=-(-len(training) // size),
            score=score,
            rank=lambda figures: (-figures["loss"],),
            loss_function=LanguageLoss(),
        )

    def origin(self) -> str:
        """That of any stage, with the text."""
        text = hashlib.sha256(repr(self.sets.text).encode()).hexdigest()
        return f"{super().origin()}, text {text}"


def text_loss(network: CaptioningModel, captions: Iterable[Batch]) -> float:
    """The loss per token of captions without photographs, in nats.

    Of several processes each gives its share of the batches.
    """
    parts = interleave(
        [(float(losses.sum()), int(counts.sum())) for losses, counts in _each(network, captions)]
    )
    return sum(loss for loss, _ in parts) / max(1, sum(count for _, count in parts))


def caption_losses(network: CaptioningModel, captions: Iterable[Batch]) -> list[float]:
    """The loss per token of each caption without its photograph, in nats."""
    parts = [losses / counts for losses, counts in _each(network, captions)]
    means: list[float] = torch.cat(parts).tolist() if parts else []
    return means


@torch.inference_mode()
def _each(network: CaptioningModel, captions: Iterable[Batch]) -> Iterator[tuple[Tensor, Tensor]]:
    """The loss (N,) and the number of tokens (N,) of each caption, without nouns to copy."""
    decoder = network.decoder
    device = decoder.embedding.weight.device
    for batch in captions:
        features, targets = batch.visual.to(device), batch.targets.to(device)
        nouns = torch.zeros(len(targets), 1, dtype=torch.long, device=device)
        memory = decoder.remember(features, nouns, torch.full(nouns.shape, _UNLIKELY).to(device))
        state = decoder.blank_state(features, len(targets))
        logits, _ = decoder.write(memory, state, batch.inputs.to(device))
        losses = functional.cross_entropy(
            logits.transpose(1, 2).float(), targets, ignore_index=PAD, reduction="none"
        )  # (N, T)
        yield losses.sum(dim=1), (targets != PAD).sum(dim=1)


def imagine(targets: Tensor, nouns: Tensor, seeds: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """What a classifier might offer for captions (N, T): ids (N, K) and log-probabilities.

    ``nouns`` (G,) are the ids of all nouns that it knows. The likeliest comes first. It is drawn by
    the ``seeds`` (N,) of the captions, see ``dataset.draw``.
    """
    known, offers = len(nouns), min(OFFERED, len(nouns))
    sizes = [known, min(_NAMED, known), known, offers, 1]
    noise = torch.split(draw(seeds, len(targets), sum(sizes)).to(targets.device), sizes, dim=1)
    said = ((targets.unsqueeze(-1) == nouns) & (targets != PAD).unsqueeze(-1)).any(dim=1)  # (N, G)
    best = (said + noise[0]).topk(sizes[1], dim=1).indices
    named = torch.zeros_like(said).scatter(1, best, noise[1] < _SEEN) & said
    # The named ones first, then any others, no noun twice.
    order = (named + noise[2]).topk(offers, dim=1).indices
    offered, named = nouns[order], named.gather(1, order)  # (N, K) each
    weights = -torch.log1p(-noise[3])  # exponentially distributed
    weights = torch.where(named, weights * _FAVOUR, weights)
    low, high = _SHARPNESS
    sharpness = low + (high - low) * noise[4]  # (N, 1)
    sure = torch.log_softmax(sharpness * weights.clamp(min=1e-6).log(), dim=1)
    ranked = sure.sort(dim=1, descending=True)
    return offered.gather(1, ranked.indices), ranked.values.float()
