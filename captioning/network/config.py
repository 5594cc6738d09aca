"""What a checkpoint stores of the network and of the search for captions."""

from dataclasses import dataclass
from typing import Annotated

from captioning.errors import SettingError

MAX_BEAM = 1000  # what memory allows, and far more than helps
MAX_WORDS = 1000  # a search that never finds an end stops there
BLOCKS = (3, 4, 6, 3)  # of a ResNet-50, in each layer (He et al. 2016, table 1)
EXPANSION = 4  # a block's output channels, relative to its width
ENCODER_CHANNELS = 2048
OFFERED = 5  # nouns per photograph, of its classifier
LEAST_NOUN = 1e-6  # probability of a noun: the decoder reads its logarithm


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of the network.

    ``classes`` are those of the encoder's own classifier, whose nouns the decoder may copy.
    ``stride_in_1x1`` describes the ResNet-50 that the encoder's weights were trained as: True for
    the original one of He et al. (2015), which strides in the 1x1 convolutions and pools with
    ``ceil_mode``; False for torchvision's, which strides in the 3x3 ones (its "v1.5").
    """

    vocabulary_size: int
    embedding_dim: int = 512
    attention_dim: int = 512
    decoder_dim: int = 512
    dropout: float = 0.5
    stride_in_1x1: bool = False
    classes: int = 1000

    def __post_init__(self) -> None:
        for name in ("vocabulary_size", "embedding_dim", "attention_dim", "decoder_dim", "classes"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise SettingError(f"dropout must be in [0, 1), not {self.dropout}")


@dataclass(frozen=True)
class DecodeConfig:
    """Settings of the beam search.

    ``beam`` is its width; 1 is greedy search. A hypothesis is ranked, during the search and after
    it, by its log-probability divided by ``length ** length_penalty``, where its length counts
    ``<end>``: 0 ranks by probability alone, 1 by the mean over the words. A content word loses
    ``repetition_penalty`` of its log-probability for each time that the caption has it already. A
    caption has 1 to ``max_words`` words, and every one ends: after ``max_words`` only ``<end>``
    may follow.
    """

    beam: Annotated[int, "beam width of the search; 1 is greedy"] = 3
    length_penalty: Annotated[
        float, "power of a caption's length that divides its log-probability; 0 for none"
    ] = 0.0
    max_words: Annotated[int, "longest caption, in words"] = 30
    repetition_penalty: Annotated[
        float, "log-probability that a content word loses each time it is repeated"
    ] = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.beam <= MAX_BEAM:
            raise SettingError(f"beam must be from 1 to {MAX_BEAM:,}, not {self.beam}")
        if not 0 <= self.length_penalty <= 5:
            raise SettingError(f"length_penalty must be in [0, 5], not {self.length_penalty}")
        if not 1 <= self.max_words <= MAX_WORDS:
            raise SettingError(f"max_words must be from 1 to {MAX_WORDS:,}, not {self.max_words}")
        if not 0 <= self.repetition_penalty <= 100:
            raise SettingError(
                f"repetition_penalty must be in [0, 100], not {self.repetition_penalty}"
            )
