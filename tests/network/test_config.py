"""Settings out of range are refused in a sentence that names them."""

import math

import pytest

from captioning.errors import SettingError
from captioning.network.config import MAX_BEAM, DecodeConfig, ModelConfig


@pytest.mark.parametrize(
    "sizes",
    [
        {"vocabulary_size": 0},
        {"embedding_dim": 0},
        {"attention_dim": -1},
        {"decoder_dim": 0},
        {"classes": 0},
        {"dropout": -0.1},
        {"dropout": 1.0},
        {"dropout": math.nan},
    ],
)
def test_sizes_out_of_range_are_refused_by_name(sizes):
    with pytest.raises(SettingError, match=next(iter(sizes))):
        ModelConfig(**{"vocabulary_size": 10, **sizes})


@pytest.mark.parametrize(
    "settings",
    [
        {"beam": 0},
        {"beam": -1},
        {"beam": MAX_BEAM + 1},
        {"length_penalty": -0.1},
        {"length_penalty": 5.1},
        {"length_penalty": math.nan},
        {"repetition_penalty": -0.1},
        {"repetition_penalty": math.nan},
        {"max_words": 0},
    ],
)
def test_settings_out_of_range_are_refused_by_name(settings):
    with pytest.raises(SettingError, match=next(iter(settings))):
        DecodeConfig(**settings)


def test_the_limits_themselves_are_allowed():
    assert DecodeConfig(beam=MAX_BEAM, length_penalty=5, max_words=1).max_words == 1
    sizes = dict.fromkeys(("embedding_dim", "attention_dim", "decoder_dim", "classes"), 1)
    assert ModelConfig(1, **sizes, dropout=0).dropout == 0


def test_there_are_as_many_classes_as_imagenet_has():
    assert ModelConfig(1).classes == 1000
