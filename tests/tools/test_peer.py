"""tools.peer: the way that make bench compares with gives the captions of our own search."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from captioning.app.examples import examples
from captioning.data.images import load_image
from captioning.data.vocab import END, START, Tokens
from captioning.inference.decode import beam_search
from captioning.inference.torch_engine import TorchEngine
from captioning.network.checkpoint import SHIPPED_MODEL, Checkpoint
from captioning.network.config import DecodeConfig
from captioning.network.saved_network import build_network
from tests.conftest import VOCABULARY
from tools.peer import Peer


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_model_captions_the_examples_as_we_do(channels_last):
    checkpoint = Checkpoint.load(SHIPPED_MODEL)
    network, tokens = build_network(checkpoint), checkpoint.vocabulary.tokens()
    peer = Peer(network, tokens, checkpoint.decoding, channels_last)
    engine = TorchEngine(network)
    images = [load_image(each.path, checkpoint.images) for each in examples()]
    for pixels in images:
        features = engine.encode(pixels[None])
        [hypotheses] = beam_search(engine, features, tokens, checkpoint.decoding)
        assert peer(torch.from_numpy(pixels)) == hypotheses[0].tokens


def test_small_networks_caption_as_we_do(network, pixels):
    engine = TorchEngine(network)
    features = engine.encode(pixels)
    # One for all: Hypothesis keeps what failed, and each has a copy of the encoder.
    peer = Peer(network, VOCABULARY.tokens(), DecodeConfig())

    @settings(max_examples=250, deadline=None, database=None)
    @given(
        image=st.integers(0, 7),
        config=st.builds(
            DecodeConfig,
            beam=st.integers(1, 5) | st.just(30),
            length_penalty=st.sampled_from([0.0, 0.8, 2.0, 5.0]),
            max_words=st.integers(1, 12),
            repetition_penalty=st.sampled_from([0.0, 1.5]),
        ),
        repeatable=st.sets(st.integers(4, len(VOCABULARY) - 1), max_size=3).map(tuple),
        never=st.sets(st.integers(3, len(VOCABULARY) - 1), max_size=8).map(tuple),
    )
    def agrees(image, config, repeatable, never):
        tokens = Tokens(start=START, end=END, never=(0, START, *never), repeatable=repeatable)
        [hypotheses] = beam_search(engine, features[image : image + 1], tokens, config)
        others = [one.score for one in hypotheses[1:2]]
        assume(not others or hypotheses[0].score - others[0] > 1e-4)  # rounding may break a tie
        peer.tokens, peer.config = tokens, config
        assert peer(pixels[image]) == hypotheses[0].tokens

    agrees()  # the fixtures are not its arguments, which a failure would print at length


def test_the_encoder_is_a_copy_with_its_own_layout(network):
    tokens = VOCABULARY.tokens()
    before = network.encoder.stages.conv1.weight.clone(memory_format=torch.preserve_format)
    peers = [
        Peer(network, tokens, DecodeConfig(), channels_last) for channels_last in (False, True)
    ]
    usual, ours = (peer.stages.conv1.weight for peer in peers)
    assert usual.is_contiguous()
    assert ours.is_contiguous(memory_format=torch.channels_last)
    assert network.encoder.stages.conv1.weight.stride() == before.stride()
