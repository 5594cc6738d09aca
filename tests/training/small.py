"""A small network for the tests of training: the real decoder behind one small convolution."""

from dataclasses import replace

import torch
from torch import nn

from captioning.data.dataset import Batch
from captioning.data.vocab import END, PAD, SPECIAL_TOKENS, START, Vocabulary
from captioning.network.config import ENCODER_CHANNELS, ModelConfig
from captioning.network.decoder import Decoder
from captioning.network.model import CaptioningModel
from captioning.training.config import TrainConfig
from captioning.training.objective import CaptionLoss
from captioning.training.terms import Term

WORDS = ("a", "dog", "ball", "man", "runs")  # the first is a function word
VOCABULARY = Vocabulary((*SPECIAL_TOKENS, *WORDS))
SIZES = ModelConfig(9, embedding_dim=5, attention_dim=4, decoder_dim=6, dropout=0.5, classes=8)
CONFIG = TrainConfig(epochs=4, batch_size=2, learning_rate=0.01, patience=4)
# With all that the loss of captions is made of.
EVERYTHING = replace(CONFIG, entropy=0.1, guidance=0.3, detection=0.05, distillation=0.5)
LOCATIONS = 4
# All words are frequent enough to be detected, but for the function word.
caption_loss = CaptionLoss(VOCABULARY, [[[START, 4, 5, 6, END], [START, 7, 8, END]]] * 10)


def mean_of(loss):
    """A loss that gives a term, as a function that gives its mean."""
    return lambda *arguments, **options: loss(*arguments, **options).mean


def cost(terms):
    """What the terms of a batch add up to."""
    return sum(term.weight * term.mean for term in terms)


def as_terms(value):
    """A number as the one term of a batch."""
    return [Term(value)]


class Patches(nn.Module):
    """Pixels (B, 3, 8, 8) to features (B, 4, C)."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, ENCODER_CHANNELS, 4, stride=4)

    def forward(self, images):
        return self.conv(images).flatten(2).transpose(1, 2)


class SmallModel(CaptioningModel):
    """The network as it is, but for the encoder."""

    def __init__(self, config):
        nn.Module.__init__(self)
        self.config = config
        self.encoder = Patches()
        self.decoder = Decoder(config)
        # Each word is the noun of some class, so that exactly these are offered.
        words = range(len(SPECIAL_TOKENS), config.vocabulary_size)
        self.decoder.classifier.name_classes([words[c % len(words)] for c in range(config.classes)])


def small_model(seed=0, config=SIZES):
    torch.manual_seed(seed)
    return SmallModel(config)


def make_batch(seed, visual=(LOCATIONS, ENCODER_CHANNELS)):
    """Two photographs with two captions each."""
    random = torch.Generator().manual_seed(seed)
    words = torch.randint(4, 9, (4, 3), generator=random)
    tokens = torch.cat([torch.full((4, 1), START), words, torch.full((4, 1), END)], dim=1)
    tokens[1, 3:] = torch.tensor([END, PAD])
    return Batch(torch.randn(2, *visual, generator=random), tokens[:, :-1], tokens[:, 1:])


def sampler(epoch, done=0):
    return [make_batch(10 * epoch + step) for step in range(done, 3)]


def weights_of(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def equal(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def changed(first, second):
    return {name for name in first if not torch.equal(first[name], second[name])}
