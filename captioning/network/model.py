"""The whole network: a ResNet-50 encoder, and an LSTM decoder with attention.

Show, Attend and Tell (Xu et al., ICML 2015). Dimensions: B images, N captions, T steps,
L locations, C encoder channels, V vocabulary; see ``decoder`` for how captions belong to images.
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
        """Write under teacher forcing: logits (N, T, V) and alphas (N, T, L).

        ``visual`` holds pixels (B, 3, H, W), which are encoded, or features (B, L, C) that were
        computed before, while the encoder is frozen; tokens (N, T) as in ``Decoder.forward``.
        """
        logits, alphas = self.decoder(self.features(visual), tokens)
        return logits, alphas

    def features(self, visual: Tensor) -> Tensor:
        """Encode pixels (B, 3, H, W) as features (B, L, C); features are returned as they are."""
        features: Tensor = self.encoder(visual) if visual.ndim == 4 else visual
        return features
