"""Graphs give, in every runtime, what the network gives in PyTorch."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.app.examples import examples
from captioning.data.images import load_image
from captioning.data.vocab import END, PAD, START
from captioning.errors import SettingError
from captioning.inference import decoder_graphs, encoder_graph, graph_engine
from captioning.inference.decoder_graphs import start_graph, step_graph
from captioning.inference.engine import OccludingEngine
from captioning.inference.graph_engine import GraphEngine
from captioning.inference.occlusion_graph import occlusion_graph
from captioning.network import classifier, occlusion
from captioning.network import encoder as torch_encoder
from captioning.network.checkpoint import SHIPPED_MODEL, Checkpoint
from captioning.network.config import ModelConfig
from captioning.network.decoder import ENCODER_CHANNELS, Decoder
from captioning.network.encoder import Encoder
from captioning.network.model import CaptioningModel
from captioning.network.saved_network import build_network
from tests.inference.runtimes import RUNTIMES, Lazy, weights_of

# What runtimes say may differ by so much, in nats: OpenVINO's tanh is an approximation, and the
# weights of the network that tests share are large.
ERROR = 5e-4
TOKENS = torch.tensor([[1, 4, 5], [1, 7, 4], [1, 6, 15], [1, 4, 5], [1, 14, 10], [1, 5, 5]])
CAPTIONS = [[4, 6, 8, 9], [], [5, 12], [4, 5, 8]]


@pytest.fixture(scope="module", params=RUNTIMES)
def runtime(request):
    return RUNTIMES[request.param]


@pytest.fixture(scope="module")
def engine(runtime, network):
    return GraphEngine(weights_of(network), network.config, 64, runtime)


@pytest.fixture(scope="module")
def features(engine, pixels):
    return engine.encode(pixels.numpy())  # (8, L, C)


@pytest.fixture(scope="module")
def masks():
    """Seven ways to hide locations: none, all, one, and random ones (M, L)."""
    masks = np.random.default_rng(2).random((7, 9)) < 0.4
    masks[0], masks[1], masks[2] = False, True, np.arange(9) == 4
    return masks


def close(found, expected, atol=1e-4):
    expected = expected.numpy() if isinstance(expected, torch.Tensor) else expected
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


@torch.no_grad()
def remember(decoder, features, state):
    """What the network's decoder starts with when it is offered the same nouns."""
    offered = torch.tensor(state.memory.nouns), torch.tensor(state.memory.confidence)
    return decoder.remember(torch.tensor(features), *offered)


@torch.no_grad()
def compare_steps(engine, decoder, features, tokens, count):
    """Step with tokens (N, T) in both; what is told must be the same at every step."""
    beams = len(tokens) // len(features)
    state = engine.start(features)
    memory = remember(decoder, features, state)
    state = engine.reorder(state, np.repeat(np.arange(len(features)), beams))
    own = decoder.blank_state(memory.features, len(tokens))
    for column in tokens.T:
        output, alphas, own = decoder.step(column, memory, own)
        expected = decoder.logits(output, memory.nouns).log_softmax(dim=-1)
        told, state = engine.step(column.numpy(), state, count, END)
        best = expected.topk(min(count, expected.shape[1])).values
        close(told.log_probabilities, best, ERROR)
        # Of equal words any may come first.
        close(expected.gather(1, torch.tensor(told.tokens)).numpy(), best, ERROR)
        assert all(len(set(row)) == best.shape[1] for row in told.tokens.tolist())
        close(told.end, expected[:, END], ERROR)
        close(told.alphas, alphas, ERROR)
        close(state.hidden, own.hidden, ERROR)
        close(state.cell, own.cell, ERROR)


# The graphs --------------------------------------------------------------------------------------


def test_graphs_are_valid(network):
    weights = weights_of(network)
    graphs = [
        *(encoder_graph.encoder_graph(weights, stride, 64) for stride in (False, True)),
        *(step_graph(weights, small) for small in (False, True)),
        start_graph(weights),
        occlusion_graph(weights),
    ]
    for graph in graphs:
        model = onnx.load_model_from_string(graph.to_bytes())
        onnx.checker.check_model(model, full_check=True)


def test_what_the_graphs_repeat_of_the_network_is_the_same():
    assert decoder_graphs.OFFERED == classifier.OFFERED
    assert decoder_graphs.LEAST_NOUN == classifier.LEAST_NOUN
    assert encoder_graph.BLOCKS == torch_encoder.BLOCKS
    channels = encoder_graph.ENCODER_CHANNELS
    assert channels == decoder_graphs.ENCODER_CHANNELS == ENCODER_CHANNELS
    assert graph_engine.AT_ONCE == occlusion._AT_ONCE


# Pixels to features ------------------------------------------------------------------------------


@pytest.mark.parametrize("stride_in_1x1", [False, True])
@pytest.mark.parametrize("size", [64, 96, 101])
def test_features_are_the_encoders(runtime, resnet, stride_in_1x1, size):
    encoder = Encoder(stride_in_1x1)
    encoder.load_torchvision(resnet.state_dict())
    graph = encoder_graph.encoder_graph(weights_of(encoder, "encoder."), stride_in_1x1, size)
    images = torch.randn(2, 3, size, size, generator=torch.manual_seed(0))
    with torch.no_grad():
        expected = encoder(images)
    found = runtime.compile(graph)({"images": images.numpy()})["features"]
    assert found.shape == expected.shape
    close(found, expected, atol=1e-4 * float(expected.abs().max()))


def test_an_engine_encodes_any_number_of_photographs(engine, network, pixels, features):
    with torch.no_grad():
        expected = network.encoder(pixels)
    close(features, expected, atol=1e-4 * float(expected.abs().max()))
    close(engine.encode(pixels[:1].numpy()), features[:1], atol=0)
    assert engine.encode(pixels[:0].numpy()).shape == (0, 4, ENCODER_CHANNELS)
    close(engine.mean(features), features.mean(axis=1), atol=1e-5)


# Steps -------------------------------------------------------------------------------------------


def test_a_photograph_is_offered_its_nouns(engine, network, features):
    memory = engine.start(features).memory
    with torch.no_grad():
        expected, _ = network.decoder.start(torch.tensor(features))
    assert np.array_equal(memory.nouns, expected.nouns)
    for found, own in zip(memory, expected, strict=False):
        close(found, own)


@pytest.mark.parametrize("count", [1, 5, 16, 100])
def test_steps_are_the_decoders(engine, network, features, count):
    compare_steps(engine, network.decoder, features[:2], TOKENS, count)


sizes = st.integers(1, 40)


@settings(max_examples=25, deadline=None)
@given(
    runtime=st.sampled_from(sorted(RUNTIMES)),
    vocabulary=st.integers(END + 1, 60),
    classes=st.integers(1, 30),
    sizes=st.tuples(sizes, sizes, sizes),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 10)),
    count=st.integers(1, 70),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_decoder_steps_as_in_torch(
    encoder_weights, runtime, vocabulary, classes, sizes, shape, count, seed
):
    torch.manual_seed(seed)
    embedding, attention, width = sizes
    config = ModelConfig(vocabulary, embedding, attention, width, classes=classes)
    decoder = Decoder(config).eval()
    decoder.classifier.name_classes(torch.randint(vocabulary, (classes,)).tolist())
    photographs, beams, locations = shape
    features = 4 * torch.randn(photographs, locations, ENCODER_CHANNELS).relu().numpy()
    weights = {**encoder_weights, **weights_of(decoder, "decoder.")}
    engine = GraphEngine(weights, config, 32, Lazy(RUNTIMES[runtime]))
    tokens = torch.randint(vocabulary, (photographs * beams, 3))
    compare_steps(engine, decoder, features, tokens, count)
    memory = engine.start(features).memory
    with torch.no_grad():
        words, confidence = decoder.classifier.offer(torch.tensor(features))
    close(memory.confidence, confidence)
    chances = torch.zeros(photographs, vocabulary)
    for photograph in range(photographs):  # of equally likely nouns any may be offered
        chances[photograph, words[photograph]] = confidence[photograph]
        assert len(set(memory.nouns[photograph])) == words.shape[1]
    remembered = remember(decoder, features, engine.start(features))
    close(memory.copy_keys, remembered.copy_keys)


@pytest.fixture(scope="module")
def encoder_weights():
    return weights_of(Encoder(), "encoder.")


def test_kept_photographs_go_on_as_if_the_others_had_never_been_there(engine, features):
    state = engine.reorder(engine.start(features[:3]), np.array([0, 0, 1, 1, 2, 2]))
    _, state = engine.step(np.array([4, 5, 6, 7, 8, 9]), state, 3, END)
    alone = engine.reorder(engine.start(features[[0, 2]]), np.array([0, 0, 1, 1]))
    _, alone = engine.step(np.array([4, 5, 8, 9]), alone, 3, END)
    found, _ = engine.step(np.array([5, 5, 6, 7]), engine.keep(state, np.array([0, 2])), 3, END)
    expected, _ = engine.step(np.array([5, 5, 6, 7]), alone, 3, END)
    for part, own in zip(found, expected, strict=True):
        close(part, own)


def test_of_no_photograph_nothing_is_told(engine, features):
    state = engine.start(features[:0])
    told, state = engine.step(np.zeros(0, np.int64), state, 6, END)
    assert [part.shape for part in told] == [(0, 6), (0, 6), (0,), (0, 4)]
    state = engine.keep(engine.reorder(state, np.zeros(0, np.int64)), np.zeros(0, np.int64))
    assert len(engine.step(np.zeros(0, np.int64), state, 6, END)[0].end) == 0
    assert engine.occlude(features[:0], [], np.zeros((2, 4), bool)) == []


def test_threads_may_share_an_engine(engine, pixels):
    images = pixels.numpy()
    start = threading.Barrier(4)

    def work(number):
        own = [number, (number + 3) % 8]
        start.wait()
        parts = []
        for _ in range(5):
            features = engine.encode(images[own])
            told, state = engine.step(np.array([START] * 2), engine.start(features), 6, END)
            told, _ = engine.step(np.array([4, 5]), state, 6, END)
            parts.append((features.copy(), told))
        return own, parts

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(work, range(4)))
    for own, parts in results:
        features = engine.encode(images[own])
        _, state = engine.step(np.array([START] * 2), engine.start(features), 6, END)
        expected, _ = engine.step(np.array([4, 5]), state, 6, END)
        for found, told in parts:
            close(found, features, atol=1e-5)
            close(told.log_probabilities, expected.log_probabilities)


def test_what_an_engine_returns_stays_as_it_is(engine, pixels, features):
    first = engine.encode(pixels[:1].numpy())
    before = first.copy()
    engine.encode(pixels[1:2].numpy())
    assert np.array_equal(first, before)
    told, state = engine.step(np.array([START] * 2), engine.start(features[:2]), 6, END)
    kept = [part.copy() for part in (*told, state.hidden, state.cell)]
    engine.step(np.array([6, 7]), state, 6, END)
    for part, copy in zip((*told, state.hidden, state.cell), kept, strict=True):
        assert np.array_equal(part, copy)


# Locations hidden --------------------------------------------------------------------------------


@torch.no_grad()
def expected_losses(decoder, features, caption, hidden, competition):
    """Those (T, M) of one photograph's caption, by ``network.occlusion``."""
    memory, state = decoder.start(torch.tensor(features[None]))
    words = torch.tensor([caption])
    said = occlusion.follow(decoder, memory, state, words, words != PAD)
    return occlusion.drops(decoder, memory, said, torch.tensor(hidden), competition)


@pytest.mark.parametrize("competition", [1.0, 0.6, 0.0])
@pytest.mark.parametrize("at_once", [1, 20, 1024])
def test_words_lose_what_they_lose_in_torch(
    engine, network, masks, competition, at_once, monkeypatch
):
    monkeypatch.setattr(graph_engine, "AT_ONCE", at_once)
    random = torch.manual_seed(1)
    features = 8 * torch.randn(4, 9, ENCODER_CHANNELS, generator=random).relu().numpy()
    lost = engine.occlude(features, CAPTIONS, masks, competition)
    assert [part.shape for part in lost] == [(len(caption), 7) for caption in CAPTIONS]
    assert max(part.max() for part in lost if part.size) > 0.3  # there is something to compare
    for own, caption, found in zip(features, CAPTIONS, lost, strict=True):
        if caption:
            close(found, expected_losses(network.decoder, own, caption, masks, competition), 1e-3)


def test_a_graph_engine_can_hide_locations(engine):
    assert isinstance(engine, OccludingEngine)


# Precisions --------------------------------------------------------------------------------------


def test_what_cannot_be_used_is_refused(network):
    weights, runtime = weights_of(network), RUNTIMES["onnx"]
    for precision, message in (
        ("half", "precision must be float32, bfloat16, int8, not 'half'"),
        ("bfloat16", "ONNX Runtime has no bfloat16 on this processor; choose float32 or int8"),
        ("int8", "int8 needs the measured ranges"),
    ):
        with pytest.raises(SettingError, match=message):
            GraphEngine(weights, network.config, 64, runtime, precision)


# The model that ships ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped():
    return Checkpoint.load(SHIPPED_MODEL)


@pytest.fixture(scope="module")
def shipped_network(shipped) -> CaptioningModel:
    return build_network(shipped)


def test_the_shipped_model_says_the_same_of_photographs_and_of_noise(
    runtime, shipped, shipped_network
):
    photographs = [load_image(example.path, shipped.images) for example in examples()]
    size = shipped.images.size
    noise = np.random.default_rng(0).normal(size=(2, 3, size, size)).astype(np.float32)
    images = np.stack([*photographs, *noise])
    engine = GraphEngine(weights_of(shipped_network), shipped.model, size, runtime)
    features = engine.encode(images)
    decoder = shipped_network.decoder
    with torch.no_grad():
        expected = shipped_network.encoder(torch.tensor(images))
        close(features, expected, atol=1e-3 * float(expected.abs().max()))
        memory, own = decoder.start(expected)
        state = engine.start(features)
        last = torch.full((len(images),), START)
        for _ in range(12):
            output, _, own = decoder.step(last, memory, own)
            values = decoder.logits(output, memory.nouns).log_softmax(dim=-1)
            told, state = engine.step(last.numpy(), state, 20, END)
            close(told.log_probabilities, values.topk(20).values, atol=1e-3)
            close(told.end, values[:, END], atol=1e-3)
            last = values.argmax(dim=-1)
            assert np.array_equal(told.tokens[:, 0], last)
