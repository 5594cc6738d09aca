"""The shapes that are computed are those of the network."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.network.config import ModelConfig
from captioning.network.model import CaptioningModel
from captioning.network.shapes import count_numbers, weight_shapes

SIZES = st.integers(1, 3000)
CONFIGS = st.builds(
    ModelConfig, *(SIZES,) * 4, dropout=st.just(0.1), stride_in_1x1=st.booleans(), classes=SIZES
)


@settings(max_examples=20, deadline=None, database=None)
@given(CONFIGS)
def test_the_shapes_are_those_of_the_network_in_its_order(config):
    with torch.device("meta"):
        state = CaptioningModel(config).state_dict()
    shapes = weight_shapes(config)
    assert list(shapes.items()) == [(name, tuple(value.shape)) for name, value in state.items()]
    assert count_numbers(shapes) == sum(value.numel() for value in state.values())
