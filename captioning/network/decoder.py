"""Additive attention, a copy gate, and the LSTM decoder that writes word by word.

Show, Attend and Tell (Xu et al., ICML 2015), with the deterministic "soft" attention, which asks
after it has read the last word, as in adaptive and top-down attention (Lu et al., CVPR 2017;
Anderson et al., CVPR 2018): each map belongs to the word that comes next. All that the decoder
knows of a photograph comes through the attention, or is a noun that it copies.

Dimensions: B images, N captions (a multiple of B: caption n belongs to image n // (N / B)),
T steps, L locations, C encoder channels, D decoder width, E embedding width, A attention width,
K offered nouns, V vocabulary.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from captioning.network.classifier import Classifier
from captioning.network.config import ENCODER_CHANNELS, ModelConfig


class Memory(NamedTuple):
    """What the decoder attends to: one copy per image, however many captions or beams it has."""

    features: Tensor  # (B, L, C)
    keys: Tensor  # (B, L, A), the features' part of the attention scores
    nouns: Tensor  # (B, K), vocabulary ids of the offered nouns
    confidence: Tensor  # (B, K), their log-probabilities
    copy_keys: Tensor  # (B, K, A), the nouns' part of the copy scores

    def take(self, images: Tensor) -> "Memory":
        """The memory of the images with these indices."""
        return Memory(*(part[images] for part in self))


class State(NamedTuple):
    """What the decoder remembers between two words."""

    hidden: Tensor  # (N, D)
    cell: Tensor  # (N, D)


class Output(NamedTuple):
    """What a step says of the next word; ``Decoder.logits`` makes logits of it."""

    vector: Tensor  # (N, E), or (N, T, E) of T steps
    copies: Tensor  # (N, K), or (N, T, K): the scores of copying each noun


class Attention(nn.Module):
    """Additive attention over the locations (Bahdanau et al. 2015; Xu et al., eqs. 4 to 6, 13)."""

    def __init__(self, channels: int, query_dim: int, attention_dim: int) -> None:
        super().__init__()
        self.key = nn.Linear(channels, attention_dim)
        self.query = nn.Linear(query_dim, attention_dim, bias=False)
        self.score = nn.Linear(attention_dim, 1, bias=False)

    def forward(self, memory: Memory, asking: Tensor) -> tuple[Tensor, Tensor]:
        """Attend from ``asking`` (N, D + E): context (N, C), and alphas (N, L) that sum to 1."""
        _, locations, channels = memory.features.shape
        alphas = torch.softmax(self.scores(memory.keys, asking), dim=-1)  # (B, N/B, L)
        context = alphas.to(memory.features.dtype) @ memory.features  # (B, N/B, C)
        return context.reshape(-1, channels), alphas.reshape(-1, locations)

    def scores(self, keys: Tensor, asking: Tensor) -> Tensor:
        """What the softmax makes alphas of: float32 (B, N/B, L).

        Keys (B, L, A), and hidden states with embedded words (N, D + E).
        """
        query = self.query(asking).view(len(keys), -1, 1, self.query.out_features)  # (B, N/B, 1, A)
        # In place, because these (N, L, A) numbers are most of what a step writes.
        scores: Tensor = self.score((keys.unsqueeze(1) + query).tanh_()).squeeze(-1)
        return scores.float()


class CopyGate(nn.Module):
    """How strongly the decoder wants to copy each of the nouns that it is offered.

    The scores join the logits of the vocabulary in one softmax (Gu et al., ACL 2016, "CopyNet",
    section 3.2). They depend on what has been said, on the noun, and on how sure the classifier is.
    """

    def __init__(self, width: int, embedding: int, attention_dim: int) -> None:
        super().__init__()
        self.noun = nn.Linear(embedding, attention_dim)
        self.sure = nn.Linear(1, attention_dim, bias=False)
        self.query = nn.Linear(width, attention_dim)
        self.trust = nn.Linear(1, 1)
        nn.init.ones_(self.trust.weight)  # at first as the classifier says

    def keys(self, nouns: Tensor, confidence: Tensor) -> Tensor:
        """The nouns' part: ``noun`` of embedded nouns (..., K, A), log-probabilities (..., K)."""
        return torch.tanh(nouns + self.sure(confidence.unsqueeze(-1)))

    def forward(self, hidden: Tensor, keys: Tensor, confidence: Tensor) -> Tensor:
        """Scores (N, K) of hidden states (N, D); keys (B, K, A) and log-probabilities (B, K)."""
        query = self.query(hidden).view(len(keys), -1, keys.shape[-1])  # (B, N/B, A)
        fit = query @ keys.transpose(1, 2) / math.sqrt(keys.shape[-1])  # (B, N/B, K)
        trust = self.trust(confidence.unsqueeze(-1)).transpose(1, 2)  # (B, 1, K)
        scores: Tensor = (fit + trust).flatten(0, 1)
        return scores


class LSTM(nn.LSTMCell):
    """An LSTM whose input is a word and a context vector (Hochreiter and Schmidhuber 1997)."""

    def forward(  # type: ignore[override]
        self, embedded: Tensor, contexts: Tensor, state: State
    ) -> tuple[Tensor, Tensor]:
        """Read words (N, E) with M contexts each (N * M, C): hidden and cell (N * M, D)."""
        if len(contexts) == len(embedded):
            return super().forward(torch.cat([embedded, contexts], dim=1), state)
        # What the contexts of a word have in common is computed once.
        words = embedded.shape[1]
        of_word, of_context = self.weight_ih[:, :words], self.weight_ih[:, words:]  # (4 D, ...)
        common = functional.linear(embedded, of_word, self.bias_ih)  # (N, 4 D)
        common = common + functional.linear(state.hidden, self.weight_hh, self.bias_hh)
        return gates_to_state(common, functional.linear(contexts, of_context), state.cell)


def gates_to_state(common: Tensor, of_contexts: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """An LSTM's hidden and cell (N * M, D), for M contexts of each of N words.

    ``common`` (N, 4 D) and ``of_contexts`` (N * M, 4 D) add up to the input, forget, cell and
    output gates before their nonlinearities, in PyTorch's order; ``cell`` is (N, D).
    """
    gates = (of_contexts.view(len(common), -1, common.shape[1]) + common.unsqueeze(1)).chunk(4, -1)
    enter, forget, new, leave = gates  # (N, M, D) each
    cells = torch.sigmoid(forget) * cell.unsqueeze(1) + torch.sigmoid(enter) * torch.tanh(new)
    hidden = torch.sigmoid(leave) * torch.tanh(cells)
    return hidden.flatten(0, 1), cells.flatten(0, 1)


class Decoder(nn.Module):
    """An LSTM that writes word by word from attention-guided context vectors.

    Xu et al. (2015): a sigmoid gate on the context vector (section 4.2.1; here one for each
    channel), deep output (eq. 7); the state begins empty. ``step`` is the only copy of the
    arithmetic: training loops over it and decoding calls it.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, embedding, channels = config.decoder_dim, config.embedding_dim, ENCODER_CHANNELS
        # Uniform, not nn.Embedding's normal numbers: to draw those on the meta device, as loading a
        # checkpoint does to know the shapes, imports half of PyTorch's compiler in 1.5 s.
        vectors = torch.empty(config.vocabulary_size, embedding).uniform_(-0.17, 0.17)
        self.embedding: nn.Embedding = nn.Embedding.from_pretrained(  # type: ignore[no-untyped-call]
            vectors, freeze=False
        )
        self.width = width
        self.classifier = Classifier(channels, config.classes, config.vocabulary_size)
        self.attention = Attention(channels, width + embedding, config.attention_dim)
        self.copy = CopyGate(width, embedding, config.attention_dim)
        self.gate = nn.Linear(width + embedding, channels)
        self.lstm = LSTM(embedding + channels, width)
        self.output_hidden = nn.Linear(width, embedding)
        self.output_context = nn.Linear(channels, embedding, bias=False)
        self.vocabulary = nn.Linear(embedding, config.vocabulary_size)
        self.dropout = nn.Dropout(config.dropout)

    def start(self, features: Tensor, captions_per_image: int = 1) -> tuple[Memory, State]:
        """Prepare features (B, L, C): the memory, and the state before the first word (N, D)."""
        nouns, confidence = self.classifier.offer(features)
        memory = self.remember(features, nouns, confidence)
        return memory, self.blank_state(features, len(features) * captions_per_image)

    def remember(self, features: Tensor, nouns: Tensor, confidence: Tensor) -> Memory:
        """The memory of features (B, L, C) and offered nouns (B, K), ids and log-probabilities."""
        confidence = confidence.to(features.dtype)
        copy_keys = self.copy.keys(self.copy.noun(self.embedding(nouns)), confidence)
        return Memory(features, self.attention.key(features), nouns, confidence, copy_keys)

    def blank_state(self, like: Tensor, count: int) -> State:
        """The state before the first word, of ``count`` captions."""
        zeros = like.new_zeros(count, self.width)
        return State(zeros, zeros)

    def step(self, tokens: Tensor, memory: Memory, state: State) -> tuple[Output, Tensor, State]:
        """Read the next token of each caption (N,).

        Returns the output, which ``logits`` turns into logits of the next word, alphas (N, L), and
        the new state.
        """
        embedded = self.dropout(self.embedding(tokens))  # (N, E)
        asking = torch.cat([state.hidden, embedded], dim=1)  # (N, D + E)
        context, alphas = self.attention(memory, asking)  # (N, C), (N, L)
        vector, new = self.read(embedded, torch.sigmoid(self.gate(asking)) * context, state)
        copies = self.copy(new.hidden, memory.copy_keys, memory.confidence)  # (N, K)
        return Output(vector, copies), alphas, new

    def read(self, embedded: Tensor, contexts: Tensor, state: State) -> tuple[Tensor, State]:
        """The part of ``step`` after the attention: words (N, E), gated contexts (N * M, C).

        Returns the output vectors (N * M, E) and the new states, M for each word.
        """
        hidden, cell = self.lstm(embedded, contexts, state)  # (N * M, D) each
        output = self.output_hidden(self.dropout(hidden)) + self.output_context(contexts)
        output = output + embedded.repeat_interleave(len(contexts) // len(embedded), dim=0)
        return self.dropout(torch.tanh(output)), State(hidden, cell)

    def logits(self, output: Output, nouns: Tensor) -> Tensor:
        """Logits (N, ..., V) of the next word; ``nouns`` (B, K) are those of the memory.

        The probability of a noun is that of writing it plus that of copying it.
        """
        written: Tensor = self.vocabulary(output.vector)  # (N, ..., V)
        copies = output.copies  # (N, ..., K)
        each = len(copies) // max(1, len(nouns))  # of no photograph too
        words = nouns.repeat_interleave(each, dim=0)  # (N, K)
        words = words.view(len(words), *[1] * (copies.ndim - 2), words.shape[1]).expand_as(copies)
        both = torch.logaddexp(written.gather(-1, words).float(), copies.float())
        return written.scatter(-1, words, both.to(written.dtype))

    def forward(self, features: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Write under teacher forcing.

        Features (B, L, C) and input tokens (N, T), beginning with ``<start>``, give logits
        (N, T, V) of the token after each one, and alphas (N, T, L).
        """
        return self.write(*self.start(features, len(tokens) // len(features)), tokens)

    def write(self, memory: Memory, state: State, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """``forward`` from a memory and a state."""
        outputs, alphas = self.unroll(memory, state, tokens)
        # The decoder's largest matrix product, once for all steps.
        return self.logits(outputs, memory.nouns), alphas

    def unroll(self, memory: Memory, state: State, tokens: Tensor) -> tuple[Output, Tensor]:
        """The steps of ``write``: the outputs of all of them, and alphas (N, T, L)."""
        outputs, alphas = [], []
        for column in tokens.unbind(dim=1):
            output, alpha, state = self.step(column, memory, state)
            outputs.append(output)
            alphas.append(alpha)
        vectors, copies = (torch.stack(parts, dim=1) for parts in zip(*outputs, strict=True))
        return Output(vectors, copies), torch.stack(alphas, dim=1)

    def logits_at(self, output: Output, memory: Memory, mask: Tensor) -> Tensor:
        """Logits (M, V) at the M steps of mask (N, T) alone: padding would cost as much."""
        count, steps = mask.shape
        nouns = memory.nouns.repeat_interleave(count // len(memory.nouns), dim=0)  # (N, K)
        nouns = nouns.unsqueeze(1).expand(-1, steps, -1)[mask]  # (M, K)
        return self.logits(Output(*(part[mask] for part in output)), nouns)

    def word_scores(self, features: Tensor, words: Tensor) -> Tensor:
        """How much each location speaks for words: (B, L, W) of features (B, L, C).

        ``words`` are vocabulary ids (W,), or (B, W) for words of each image. It is what a location
        adds to a word's logit by the context alone, before the output's nonlinearity.
        """
        shown = self.output_context(features)  # (B, L, E)
        scores: Tensor = shown @ self.vocabulary.weight[words].transpose(-1, -2)
        return scores
