"""The torch engine gives, step by step, what the network gives under teacher forcing."""

import gc
import weakref
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from captioning.data.vocab import END
from captioning.errors import SettingError
from captioning.inference.torch_engine import CPU_CHUNK, TorchEngine, resolve_device

TOKENS = torch.tensor(
    # Three beams for each of two photographs.
    [[1, 4, 5, 9], [1, 7, 4, 4], [1, 6, 15, 8], [1, 4, 5, 9], [1, 14, 10, 11], [1, 5, 5, 12]]
)  # (B * K, T)
WORDS = 16  # of the vocabulary


@pytest.fixture(scope="module")
def engine(network):
    return TorchEngine(network)


@pytest.fixture(scope="module")
def images(pixels):
    return pixels[:2]


@pytest.fixture(scope="module")
def features(engine, images):
    return engine.encode(images)  # (B, L, C)


def begin(engine, features, beams):
    """The state before the first word, with this many beams per photograph."""
    index = np.arange(len(features)).repeat(beams)
    return engine.reorder(engine.start(features), index)


def step(engine, tokens, state):
    """All log-probabilities (N, V), alphas (N, L) and the new state."""
    following, state = engine.step(np.asarray(tokens), state, WORDS, END)
    outputs = np.empty_like(following.log_probabilities)
    np.put_along_axis(outputs, following.tokens, following.log_probabilities, axis=1)
    assert np.array_equal(following.end, outputs[:, END])
    return torch.from_numpy(outputs), torch.from_numpy(following.alphas), state


def run_steps(engine, state, tokens):
    """Log-probabilities (N, T, V), alphas (N, T, L) and the last state."""
    outputs, alphas = [], []
    for column in tokens.unbind(dim=1):
        output, alpha, state = step(engine, column, state)
        outputs.append(output)
        alphas.append(alpha)
    return torch.stack(outputs, dim=1), torch.stack(alphas, dim=1), state


def teacher_forced(network, features):
    """Logits (N, T, V) and alphas (N, T, L) of TOKENS from the network itself."""
    with torch.inference_mode():
        return network.decoder(features, TOKENS)


def test_encode_gives_the_networks_features(engine, network, images, features):
    assert features.shape == (2, 4, 2048)
    with torch.inference_mode():
        expected = network.encoder(images)
    assert_close(features, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("count", [1, CPU_CHUNK, CPU_CHUNK + 1, 2 * CPU_CHUNK + 3])
def test_encoding_in_chunks_equals_encoding_each_alone(engine, count):
    images = torch.rand(count, 3, 64, 64)
    alone = torch.cat([engine.encode(image.unsqueeze(0)) for image in images])
    assert_close(engine.encode(images), alone, rtol=1e-4, atol=1e-4 * float(alone.abs().max()))


def test_a_photograph_may_get_more_beams_than_it_had(engine, features):
    _, _, state = step(engine, [1, 1], engine.start(features))
    widened = engine.reorder(state, np.array([0, 0, 0, 1, 1, 1]))
    outputs, alphas, _ = run_steps(engine, widened, TOKENS[:, 1:])
    expected, expected_alphas, _ = run_steps(engine, begin(engine, features, 3), TOKENS)
    assert_close(outputs, expected[:, 1:], rtol=1e-4, atol=1e-4)
    assert_close(alphas, expected_alphas[:, 1:], rtol=1e-4, atol=1e-4)


def test_stepping_equals_teacher_forcing(engine, network, features):
    outputs, alphas, _ = run_steps(engine, begin(engine, features, 3), TOKENS)
    logits, expected_alphas = teacher_forced(network, features)
    assert_close(outputs, logits.log_softmax(dim=-1), rtol=1e-4, atol=1e-4)
    assert_close(alphas, expected_alphas, rtol=1e-5, atol=1e-5)


def test_teacher_force_gives_what_the_network_gives(engine, network, features):
    logits, alphas = engine.teacher_force(features, TOKENS)
    expected_logits, expected_alphas = teacher_forced(network, features)
    assert_close(logits, expected_logits)
    assert_close(alphas, expected_alphas)


@pytest.mark.parametrize("count", [1, 3, WORDS, 100])
def test_a_step_gives_the_likeliest_continuations(engine, network, features, count):
    state = begin(engine, features, 3)
    following, _ = engine.step(TOKENS[:, 0].numpy(), state, count, 7)
    logits, _ = teacher_forced(network, features)
    expected = logits[:, 0].log_softmax(dim=-1).numpy()  # (N, V)
    assert following.tokens.shape == (6, min(count, WORDS))
    values = np.sort(expected, axis=1)[:, ::-1][:, :count]
    np.testing.assert_allclose(following.log_probabilities, values, rtol=1e-4, atol=1e-4)
    chosen = np.take_along_axis(expected, following.tokens, axis=1)
    np.testing.assert_allclose(chosen, values, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(following.end, expected[:, 7], rtol=1e-4, atol=1e-4)


def test_steps_give_log_probabilities_and_alphas_that_sum_to_1(engine, features):
    outputs, alphas, _ = run_steps(engine, begin(engine, features, 3), TOKENS)
    assert outputs.shape == (6, 4, 16)
    assert alphas.shape == (6, 4, 4)
    assert_close(outputs.exp().sum(dim=-1), torch.ones(6, 4))
    assert_close(alphas.sum(dim=-1), torch.ones(6, 4))


def test_reordered_beams_continue_the_beams_they_come_from(engine, features):
    index = np.array([2, 0, 2, 4, 5, 3])  # beam 1 ends, beam 2 splits, the others rotate
    _, _, state = run_steps(engine, begin(engine, features, 3), TOKENS[:, :2])
    outputs, alphas, _ = run_steps(engine, engine.reorder(state, index), TOKENS[:, 2:])
    prefixes = torch.cat([TOKENS[index, :2], TOKENS[:, 2:]], dim=1)
    logits, expected_alphas = engine.teacher_force(features, prefixes)
    assert_close(outputs, logits[:, 2:].log_softmax(dim=-1), rtol=1e-4, atol=1e-4)
    assert_close(alphas, expected_alphas[:, 2:], rtol=1e-5, atol=1e-5)


def test_kept_photographs_continue_as_if_the_others_had_never_been_there(engine, features):
    whole, alone = begin(engine, features, 3), begin(engine, features[1:], 3)
    first, then = [4, 5, 6, 7, 8, 9], [5, 5, 6]
    _, _, whole = step(engine, first, whole)
    _, _, alone = step(engine, first[3:], alone)
    outputs, alphas, _ = step(engine, then, engine.keep(whole, np.array([1])))
    expected_outputs, expected_alphas, _ = step(engine, then, alone)
    assert_close(outputs, expected_outputs, rtol=1e-4, atol=1e-4)
    assert_close(alphas, expected_alphas, rtol=1e-5, atol=1e-5)


def test_step_and_reorder_do_not_change_the_state_they_are_given(engine, features):
    _, _, state = run_steps(engine, begin(engine, features, 3), TOKENS[:, :2])
    before = deepcopy(state)
    step(engine, TOKENS[:, 2], state)
    engine.reorder(state, np.array([2, 1, 0, 5, 4, 3]))
    for name in ("memory", "state"):
        parts, expected = getattr(state, name), getattr(before, name)
        assert all(torch.equal(*pair) for pair in zip(parts, expected, strict=True))


def test_there_is_one_memory_per_photograph(engine, features):
    state = begin(engine, features, 5)
    assert [part.shape[0] for part in state.memory] == [2] * 5
    assert [part.shape[0] for part in state.state] == [10, 10]


def test_features_may_be_cached_in_float16(engine, features):
    half = features.half()
    outputs, _, _ = run_steps(engine, begin(engine, half, 3), TOKENS)
    expected, _, _ = run_steps(engine, begin(engine, half.float(), 3), TOKENS)
    assert outputs.dtype == torch.float32
    assert torch.equal(outputs, expected)


def test_dropout_is_off_even_for_a_network_in_training(network, features):
    training = deepcopy(network).train()
    engine = TorchEngine(training)
    first, second = (run_steps(engine, begin(engine, features, 3), TOKENS)[0] for _ in range(2))
    assert torch.equal(first, second)
    assert not training.training


def test_no_result_requires_a_gradient(engine, images):
    features = engine.encode(images)
    _, _, state = step(engine, TOKENS[:, 0], begin(engine, features, 3))
    tensors = (features, *state.memory, *state.state)
    assert not any(tensor.requires_grad for tensor in tensors)


# Memory ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def captioning_engine(network):
    """An engine that took over a copy of the network."""
    return TorchEngine(deepcopy(network), take_over=True)


def test_an_engine_that_takes_the_network_over_gives_the_same_bits(
    engine, captioning_engine, images
):
    features = engine.encode(images)
    assert torch.equal(captioning_engine.encode(images), features)
    outputs, alphas, _ = run_steps(engine, begin(engine, features, 3), TOKENS)
    others = run_steps(captioning_engine, begin(captioning_engine, features, 3), TOKENS)
    assert torch.equal(others[0], outputs)
    assert torch.equal(others[1], alphas)


def test_an_engine_that_took_the_network_over_does_not_score(captioning_engine, features):
    with pytest.raises(ValueError, match="take_over"):
        captioning_engine.teacher_force(features, TOKENS)
    with pytest.raises(ValueError, match="take_over"):
        _ = captioning_engine.reference_decoder


def test_an_engine_leaves_the_network_to_training(network, images):
    training = deepcopy(network)
    before = {name: value.clone() for name, value in training.state_dict().items()}
    engine = TorchEngine(training)
    assert engine.reference_decoder is training.decoder
    engine.encode(images)
    after = training.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert all(parameter.requires_grad for parameter in training.parameters())


@pytest.mark.parametrize("take_over", [False, True])
def test_an_engine_does_not_keep_the_original_encoder(network, take_over):
    copy = deepcopy(network)
    convolution = weakref.ref(copy.encoder.stages.layer4[2].conv2.weight)
    decoder = weakref.ref(copy.decoder)
    engine = TorchEngine(copy, take_over=take_over)
    del copy
    gc.collect()
    assert convolution() is None
    halved = engine.decoder is not decoder()
    assert (decoder() is None) == (take_over and halved)


# Devices -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("has_gpu", "device"), [(False, "cpu"), (True, "cuda")])
def test_auto_is_a_gpu_where_there_is_one(monkeypatch, has_gpu, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    assert resolve_device("auto") == device


def test_the_cpu_is_always_there():
    assert resolve_device("cpu") == "cpu"


def assert_no_device(device):
    with pytest.raises(SettingError) as caught:
        resolve_device(device)
    message = str(caught.value)
    assert message.startswith(f"device {device} cannot be used here (")
    assert message.endswith("); choose auto, cpu or another one")
    assert "\n" not in message
    assert ". " not in message  # one sentence


@pytest.mark.parametrize("device", ["abacus", "", "meta", "mps:7", "hpu", "opengl", "cuda:x"])
def test_a_device_that_cannot_compute_is_refused_in_one_sentence(device):
    assert_no_device(device)


def test_a_gpu_that_is_not_there_is_refused_in_one_sentence():
    assert_no_device("cuda" if not torch.cuda.is_available() else "cuda:99")


def test_cuda_is_refused_where_torch_was_built_without_it(monkeypatch):
    def zeros(*size, device):
        raise AssertionError("Torch not compiled with CUDA enabled")

    monkeypatch.setattr(torch, "zeros", zeros)
    assert_no_device("cuda")
