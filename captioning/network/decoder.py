"""Additive attention, and the LSTM decoder that writes word by word.

Show, Attend and Tell (Xu et al., ICML 2015), with the deterministic "soft" attention.
Dimensions: B images, N captions (a multiple of B: caption n belongs to image n // (N / B)),
T steps, L locations, C encoder channels, D decoder width, E embedding width, A attention width,
V vocabulary.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from captioning.network.config import ModelConfig

ENCODER_CHANNELS = 2048


class Memory(NamedTuple):
    """What the decoder attends to: one copy per image, however many captions or beams it has."""

    features: Tensor  # (B, L, C)
    keys: Tensor  # (B, L, A), the features' part of the attention scores


class State(NamedTuple):
    """What the decoder remembers between two words."""

    hidden: Tensor  # (N, D)
    cell: Tensor  # (N, D)


class Attention(nn.Module):
    """Additive attention over the locations (Bahdanau et al. 2015; Xu et al., eqs. 4 to 6, 13)."""

    def __init__(self, channels: int, decoder_dim: int, attention_dim: int) -> None:
        super().__init__()
        self.key = nn.Linear(channels, attention_dim)
        self.query = nn.Linear(decoder_dim, attention_dim, bias=False)
        self.score = nn.Linear(attention_dim, 1, bias=False)

    def forward(self, memory: Memory, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Attend from ``hidden`` (N, D): context (N, C), and alphas (N, L) that sum to 1."""
        _, locations, channels = memory.features.shape
        alphas = torch.softmax(self.scores(memory, hidden), dim=-1)  # (B, N/B, L)
        context = alphas.to(memory.features.dtype) @ memory.features  # (B, N/B, C)
        return context.reshape(-1, channels), alphas.reshape(-1, locations)

    def scores(self, memory: Memory, hidden: Tensor) -> Tensor:
        """What the softmax makes alphas of: float32 (B, N/B, L) from ``hidden`` (N, D)."""
        images = len(memory.features)
        query = self.query(hidden).view(images, -1, 1, self.query.out_features)  # (B, N/B, 1, A)
        # In place, because these (N, L, A) numbers are most of what a step writes.
        scores: Tensor = self.score((memory.keys.unsqueeze(1) + query).tanh_()).squeeze(-1)
        return scores.float()


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

    Xu et al. (2015): initial state from the mean feature (section 3.1.2), a sigmoid gate on the
    context vector (section 4.2.1; here one for each channel), deep output (eq. 7). ``step`` is the
    only copy of the arithmetic: training loops over it and decoding calls it.
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
        self.attention = Attention(channels, width, config.attention_dim)
        self.initial_hidden = nn.Linear(channels, width)
        self.initial_cell = nn.Linear(channels, width)
        self.gate = nn.Linear(width, channels)
        self.lstm = LSTM(embedding + channels, width)
        self.output_hidden = nn.Linear(width, embedding)
        self.output_context = nn.Linear(channels, embedding, bias=False)
        self.vocabulary = nn.Linear(embedding, config.vocabulary_size)
        self.dropout = nn.Dropout(config.dropout)

    def start(self, features: Tensor, captions_per_image: int = 1) -> tuple[Memory, State]:
        """Prepare features (B, L, C): the memory, and the state before the first word (N, D)."""
        mean = features.mean(dim=1)  # (B, C)
        hidden = torch.tanh(self.initial_hidden(mean)).repeat_interleave(captions_per_image, dim=0)
        cell = torch.tanh(self.initial_cell(mean)).repeat_interleave(captions_per_image, dim=0)
        return Memory(features, self.attention.key(features)), State(hidden, cell)

    def step(self, tokens: Tensor, memory: Memory, state: State) -> tuple[Tensor, Tensor, State]:
        """Read the next token of each caption (N,).

        Returns the output vector (N, E), which ``vocabulary`` turns into logits of the next word,
        alphas (N, L), and the new state.
        """
        context, alphas = self.attention(memory, state.hidden)  # (N, C), (N, L)
        output, new = self.read(tokens, torch.sigmoid(self.gate(state.hidden)) * context, state)
        return output, alphas, new

    def read(self, tokens: Tensor, contexts: Tensor, state: State) -> tuple[Tensor, State]:
        """The part of ``step`` after the attention: tokens (N,), gated contexts (N * M, C).

        Returns the output vectors (N * M, E) and the new states, M for each token.
        """
        embedded = self.dropout(self.embedding(tokens))  # (N, E)
        hidden, cell = self.lstm(embedded, contexts, state)  # (N * M, D) each
        output = self.output_hidden(self.dropout(hidden)) + self.output_context(contexts)
        output = output + embedded.repeat_interleave(len(contexts) // len(tokens), dim=0)
        return self.dropout(torch.tanh(output)), State(hidden, cell)

    def forward(self, features: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Write under teacher forcing.

        Features (B, L, C) and input tokens (N, T), beginning with ``<start>``, give logits
        (N, T, V) of the token after each one, and alphas (N, T, L).
        """
        memory, state = self.start(features, len(tokens) // len(features))
        outputs, alphas = [], []
        for column in tokens.unbind(dim=1):
            output, alpha, state = self.step(column, memory, state)
            outputs.append(output)
            alphas.append(alpha)
        # The decoder's largest matrix product, once for all steps.
        return self.vocabulary(torch.stack(outputs, dim=1)), torch.stack(alphas, dim=1)
