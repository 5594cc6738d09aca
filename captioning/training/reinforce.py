"""Self-critical training: captions sampled from the model itself, rewarded by CIDEr-D.

Rennie et al. (CVPR 2017), "Self-critical Sequence Training for Image Captioning", with the mean of
the other samples as the baseline (Luo 2020, "A Better Variant of Self-Critical Sequence Training").
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from captioning.data.dataset import Batch, draw
from captioning.data.vocab import END, PAD, TOKENS
from captioning.evaluation.metrics import CiderD, DocumentFrequencies
from captioning.network.decoder import Decoder
from captioning.network.model import CaptioningModel
from captioning.training.config import TrainConfig
from captioning.training.losses import self_critical_loss
from captioning.training.rewards import UnsupportedObjects, naming_rewards
from captioning.training.terms import LossFunction, Term


class Samples(NamedTuple):
    """Captions drawn from the model; sample n belongs to image n // samples."""

    tokens: Tensor  # (N, T), with <end> where it was reached, then <pad>
    log_probabilities: Tensor  # (N, T), of each token; 0 at <pad>


def sample(
    decoder: Decoder,
    features: Tensor,
    starts: Tensor,
    max_words: int,
    never: Sequence[int],
    noise: Tensor | None = None,
) -> Samples:
    """Draw captions for the images of features (B, L, C), word by word.

    ``starts`` (N,) are their start tokens, N / B for each image. The tokens ``never``, which
    decoding never writes, are never drawn, and no caption is empty; the probabilities are
    renormalised over the other tokens. A caption that reaches ``max_words`` is cut there. Uniform
    ``noise`` from 0 to 1 (N, max_words) decides; it is drawn where there is none.
    """
    noise = draw(None, len(starts), max_words) if noise is None else noise
    noise = noise.to(features.device)
    memory, state = decoder.start(features, len(starts) // len(features))
    last = starts
    ended = torch.zeros_like(last, dtype=torch.bool)
    drawn, log_probabilities = [], []
    for position in range(max_words):
        output, _, state = decoder.step(last, memory, state)
        silent = starts.new_tensor(never if position else [*never, END])
        logits = decoder.logits(output, memory.nouns).float()  # (N, V)
        scores = logits.index_fill(1, silent, -torch.inf).log_softmax(dim=-1)
        last = choose(scores.detach(), noise[:, position])  # (N,)
        score = scores.gather(1, last.unsqueeze(1)).squeeze(1)  # (N,)
        drawn.append(last.masked_fill(ended, PAD))
        log_probabilities.append(score.masked_fill(ended, 0.0))
        ended = ended | (last == END)
        if ended.all():
            break
    return Samples(torch.stack(drawn, dim=1), torch.stack(log_probabilities, dim=1))


def choose(scores: Tensor, noise: Tensor) -> Tensor:
    """Tokens (N,) with the probabilities whose logarithms are ``scores`` (N, V).

    Uniform ``noise`` from 0 to 1, float64 (N,), decides, by the inverse of the distribution
    function: which token it is hardly depends on how the scores were rounded. One that is
    impossible is never chosen.
    """
    sums = scores.double().exp().cumsum(dim=1)  # (N, V)
    wanted = noise.unsqueeze(1) * sums[:, -1:]
    return torch.searchsorted(sums, wanted, right=True).squeeze(1)


@contextmanager
def disable_dropout(decoder: Decoder) -> Iterator[None]:
    """Eval mode within it, so that captions are sampled from the network that will write them."""
    training = decoder.training
    decoder.eval()
    try:
        yield
    finally:
        decoder.train(training)


class SelfCritical:
    """The loss of self-critical training, a ``LossFunction``.

    ``captions`` are the encoded training captions of each photograph, starting with ``<start>``:
    they give the document frequencies. ``caption_loss`` is what ``cross_entropy`` weighs, ``never``
    what ``sample`` never draws, ``unsupported`` what ``hallucination`` weighs. Rewards count
    ``<end>`` as a word, or the network would learn captions that break off ("a man in a").
    """

    def __init__(
        self,
        captions: Iterable[Sequence[Sequence[int]]],
        max_words: int,
        caption_loss: LossFunction,
        never: Sequence[int] = TOKENS.never,
        unsupported: UnsupportedObjects | None = None,
    ) -> None:
        without_start = ([ids[1:] for ids in references] for references in captions)
        self.frequencies = DocumentFrequencies.from_references(without_start)
        self.max_words, self.caption_loss, self.never = max_words, caption_loss, never
        self.unsupported = unsupported

    def __call__(self, network: CaptioningModel, batch: Batch, config: TrainConfig) -> list[Term]:
        """The terms of one batch; the cross-entropy, if it counts, is of the same features."""
        features = network.features(batch.visual)  # (B, L, C)
        with disable_dropout(network.decoder):
            each = len(batch.inputs) // len(features)
            starts = batch.inputs[::each, 0].repeat_interleave(config.samples)  # (B * samples,)
            noise = draw(batch.seeds, len(features), config.samples * self.max_words)
            noise = noise.view(-1, self.max_words)  # (B * samples, T)
            drawn = sample(network.decoder, features, starts, self.max_words, self.never, noise)
        said = _rows(drawn.tokens)
        references = _grouped(batch.targets, len(features))
        rewards = self.rewards(said, references).to(features.device)
        if config.hallucination:
            if self.unsupported is None:
                raise ValueError("what hallucinations cost needs the objects that are unsupported")
            lost = self.unsupported(said, references).to(features.device)
            rewards = rewards - config.hallucination * lost
        if config.naming:
            nouns = network.decoder.classifier.offer(features)
            rewards = rewards + config.naming * naming_rewards(drawn.tokens, nouns)
        mask = drawn.tokens != PAD
        terms = [self_critical_loss(drawn.log_probabilities, mask, rewards, config.samples)]
        if config.cross_entropy:
            encoded = batch._replace(visual=features)
            given = self.caption_loss(network, encoded, config)
            terms += [term.times(config.cross_entropy) for term in given]
        return terms

    def rewards(
        self, captions: Sequence[Sequence[int]], references: Sequence[Sequence[Sequence[int]]]
    ) -> Tensor:
        """CIDEr-D (N,), 0 to 10, of captions against the references of their B images."""
        each = len(captions) // len(references)
        scorer = CiderD(references, self.frequencies)
        return torch.tensor([scorer.score(ids, n // each) for n, ids in enumerate(captions)])


def _grouped(targets: Tensor, images: int) -> list[list[list[int]]]:
    """The references (M, T) of each image, without padding."""
    references = _rows(targets)
    each = len(references) // images
    grouped = [references[each * image :][:each] for image in range(images)]
    # A photograph with fewer captions than others has empty ones.
    return [[ids for ids in group if ids] for group in grouped]


def _rows(tokens: Tensor) -> list[list[int]]:
    """Captions (N, T) as lists without padding."""
    return [[token for token in row if token != PAD] for row in tokens.tolist()]
