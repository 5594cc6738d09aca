"""The usual way to caption with such a model, for make bench to be compared with.

Show, Attend and Tell (Xu et al. 2015), as tutorials of PyTorch write it: one photograph at a time,
its features repeated for its K beams, which are one batch of the decoder; log-probabilities of the
whole vocabulary at every step; beams that have ended leave the batch. All in eager float32, batch
norm as it was trained. Where tutorials differ it does what takes less time: the features are
projected once per caption, not at every step. The search is the model's own, so that the captions
are those of ``inference.decode``.

Dimensions: K beams, N of them that go on, L locations, C encoder channels, T words, V vocabulary.
"""

from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor

from captioning.data.vocab import Tokens
from captioning.network.config import DecodeConfig
from captioning.network.decoder import Memory, State
from captioning.network.model import CaptioningModel

_LOWEST = -1e4  # the least log-probability, as in ``inference.decode``


class _Ended(NamedTuple):
    """A caption with its ``<end>``, which goes on competing with those without."""

    words: list[int]
    total: float  # log-probability less penalties
    score: float  # what it is ranked by


class Peer:
    """Captions with a copy of a network's encoder, in PyTorch's own memory layout.

    With ``channels_last`` the encoder has the memory layout of ours.
    """

    def __init__(
        self,
        network: CaptioningModel,
        tokens: Tokens,
        config: DecodeConfig,
        channels_last: bool = False,
    ) -> None:
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.stages = deepcopy(network.encoder.stages).eval().to(memory_format=self.layout)
        self.decoder = network.decoder.eval()
        self.tokens, self.config = tokens, config

    @torch.inference_mode()
    def __call__(self, pixels: Tensor) -> list[int]:
        """The best caption, as word ids, of a photograph's pixels (3, H, W)."""
        features = self.encode(pixels.unsqueeze(0))  # (1, L, C)
        memory, state = self.decoder.start(features.expand(self.config.beam, -1, -1))
        words = torch.zeros(self.config.beam, 0, dtype=torch.long)  # (N, T)
        totals = torch.zeros(self.config.beam)  # (N,)
        last = torch.full((self.config.beam,), self.tokens.start)
        ended: list[_Ended] = []
        for position in range(self.config.max_words + 1):
            output, _, state = self.decoder.step(last, memory, state)
            gains = torch.log_softmax(self.decoder.logits(output, memory.nouns), dim=1)  # (N, V)
            following = totals.unsqueeze(1) + self.allowed(gains, position) - self.penalties(words)
            if position == 0:
                following = following[:1]  # they are all the same
            parents, last, totals, ended = self.choose(following, position, ended, words)
            going = last != self.tokens.end
            parents, last, totals = parents[going], last[going], totals[going]
            if not len(last):
                break
            words = torch.cat([words[parents], last.unsqueeze(1)], dim=1)
            state = State(*(part[parents] for part in state))
            memory = Memory(*(part[parents] for part in memory))
        return max(ended, key=lambda caption: caption.score).words

    def encode(self, images: Tensor) -> Tensor:
        """Pixels (B, 3, H, W) to features (B, L, C)."""
        grid = self.stages(images.contiguous(memory_format=self.layout))
        features: Tensor = grid.flatten(2).transpose(1, 2).contiguous()
        return features

    def allowed(self, gains: Tensor, position: int) -> Tensor:
        """The log-probabilities (N, V), -inf for what may not come next."""
        gains = gains.clamp(min=_LOWEST)
        forbidden = [*self.tokens.never, *([self.tokens.end] if position == 0 else [])]
        gains[:, forbidden] = -torch.inf
        if position == self.config.max_words:
            only = torch.full_like(gains, -torch.inf)
            only[:, self.tokens.end] = gains[:, self.tokens.end]
            return only
        return gains

    def penalties(self, words: Tensor) -> Tensor | float:
        """What each token loses (N, V) for being among the words (N, T) already."""
        if not self.config.repetition_penalty:
            return 0.0
        size = self.decoder.vocabulary.out_features
        times = torch.zeros(len(words), size).scatter_add_(1, words, torch.ones(words.shape))
        times[:, [*self.tokens.repeatable, self.tokens.end]] = 0
        return self.config.repetition_penalty * times

    def choose(
        self, following: Tensor, position: int, ended: list[_Ended], words: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, list[_Ended]]:
        """The K best of totals (N, V) and of captions that have ended.

        Returns parents, tokens and totals of those that are new, and the ended ones that stay,
        together with those that end now.
        """
        ranks = following / (position + 1) ** self.config.length_penalty
        scores = torch.tensor([caption.score for caption in ended])
        everything = torch.cat([ranks.flatten(), scores])
        best = everything.topk(min(self.config.beam, len(everything))).indices
        best = best[everything[best] > -torch.inf]
        new, old = best[best < ranks.numel()], best[best >= ranks.numel()] - ranks.numel()
        parents, chosen = new // ranks.shape[1], new % ranks.shape[1]
        totals = following[parents, chosen]
        kept = [ended[index] for index in old.tolist()]
        for parent, token, total in zip(parents, chosen.tolist(), totals.tolist(), strict=True):
            if token == self.tokens.end:
                score = total / (position + 1) ** self.config.length_penalty
                kept.append(_Ended(words[parent].tolist(), total, score))
        return parents, chosen, totals, kept
