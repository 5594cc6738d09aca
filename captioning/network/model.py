"""The network: a ResNet-50 encoder, additive attention, and an LSTM decoder.

Show, Attend and Tell (Xu et al., ICML 2015), with the deterministic "soft" attention.
Dimensions: B images, N captions (a multiple of B: caption n belongs to image n // (N / B)),
T steps, L locations, C encoder channels, D decoder width, E embedding width, A attention width,
V vocabulary.
"""

from torch import Tensor, nn

from captioning.network.config import ModelConfig
from captioning.network.decoder import Decoder
from captioning.network.encoder import Encoder


class CaptioningModel(nn.Module):
    """Encoder and decoder together."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config.stride_in_1x1)
        self.decoder = Decoder(config)

    def forward(self, visual: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Write under teacher forcing: see ``Decoder.forward``.

        ``visual`` holds pixels (B, 3, H, W), which are encoded, or features (B, L, C) computed
        before, while the encoder is frozen.
        """
        logits, alphas = self.decoder(self.features(visual), tokens)
        return logits, alphas

    def features(self, visual: Tensor) -> Tensor:
        """Pixels (B, 3, H, W) encoded as features (B, L, C); features stay as they are."""
        features: Tensor = self.encoder(visual) if visual.ndim == 4 else visual
        return features
