"""The shapes of a network's weights, known without the network: to make it needs PyTorch."""

import math
from collections.abc import Mapping
from typing import TypeAlias

from captioning.network.config import BLOCKS, ENCODER_CHANNELS, EXPANSION, ModelConfig

Shapes: TypeAlias = dict[str, tuple[int, ...]]

_STEM = 64  # channels


def weight_shapes(config: ModelConfig) -> Shapes:
    """The shape of each tensor of ``CaptioningModel``, by its name."""
    return {
        **_inside("encoder.stages", _encoder()),
        **_inside("decoder", _decoder(config)),
    }


def count_numbers(shapes: Shapes) -> int:
    """How many numbers tensors of these shapes hold."""
    return sum(math.prod(shape) for shape in shapes.values())


def _encoder() -> Shapes:
    """Those of ``encoder.resnet50``, for both of its kinds."""
    shapes: Shapes = {"conv1.weight": (_STEM, 3, 7, 7), **_norm("bn1", _STEM)}
    channels = _STEM
    for number, blocks in enumerate(BLOCKS):
        width = _STEM * 2**number
        for block in range(blocks):
            name = f"layer{number + 1}.{block}"
            shapes |= _inside(name, _block(channels, width, shortcut=block == 0))
            channels = width * EXPANSION
    return shapes


def _block(channels: int, width: int, shortcut: bool) -> Shapes:
    leaving = width * EXPANSION
    shapes: Shapes = {
        "conv1.weight": (width, channels, 1, 1),
        **_norm("bn1", width),
        "conv2.weight": (width, width, 3, 3),
        **_norm("bn2", width),
        "conv3.weight": (leaving, width, 1, 1),
        **_norm("bn3", leaving),
    }
    if shortcut:
        shapes |= {"downsample.0.weight": (leaving, channels, 1, 1)}
        shapes |= _norm("downsample.1", leaving)
    return shapes


def _decoder(config: ModelConfig) -> Shapes:
    """Those of ``decoder.Decoder``."""
    words, classes, channels = config.vocabulary_size, config.classes, ENCODER_CHANNELS
    width, embedding, attention = config.decoder_dim, config.embedding_dim, config.attention_dim
    return {
        "embedding.weight": (words, embedding),
        "classifier.nouns": (classes,),
        **_linear("classifier.linear", channels, classes),
        **_linear("attention.key", channels, attention),
        "attention.query.weight": (attention, width + embedding),
        "attention.score.weight": (1, attention),
        **_linear("copy.noun", embedding, attention),
        "copy.sure.weight": (attention, 1),
        **_linear("copy.query", width, attention),
        **_linear("copy.trust", 1, 1),
        **_linear("gate", width + embedding, channels),
        "lstm.weight_ih": (4 * width, embedding + channels),
        "lstm.weight_hh": (4 * width, width),
        "lstm.bias_ih": (4 * width,),
        "lstm.bias_hh": (4 * width,),
        **_linear("output_hidden", width, embedding),
        "output_context.weight": (embedding, channels),
        **_linear("vocabulary", embedding, words),
    }


def _linear(name: str, entering: int, leaving: int) -> Shapes:
    return {f"{name}.weight": (leaving, entering), f"{name}.bias": (leaving,)}


def _norm(name: str, channels: int) -> Shapes:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (channels,) for part in parts}


def _inside(name: str, shapes: Mapping[str, tuple[int, ...]]) -> Shapes:
    return {f"{name}.{part}": shape for part, shape in shapes.items()}
