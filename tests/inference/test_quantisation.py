"""Whole numbers of 8 bits give nearly the same features, with ranges of the least error."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captioning.app.examples import examples
from captioning.data.images import load_image
from captioning.data.vocab import END, START
from captioning.errors import SettingError
from captioning.inference.encoder_graph import convolve, encoder_graph
from captioning.inference.graph_engine import GraphEngine
from captioning.inference.quantisation import (
    IN_FLOAT,
    _best_range,
    measure_ranges,
    quantised,
    quantised_names,
)
from captioning.inference.ranges import MeasuredRanges, RangesError
from captioning.network.checkpoint import SHIPPED_MODEL, Checkpoint
from tests.inference.runtimes import RUNTIMES, weights_of

HASH = "ab" * 32
NAMES = ["one", "two"]
GOOD = MeasuredRanges(HASH, 7, {"one": (0.0, 2.5), "two": (-1.0, 0.125)})


@pytest.fixture(scope="module")
def weights(network):
    return weights_of(network)


@pytest.fixture(scope="module")
def ranges(weights, pixels):
    return measure_ranges(weights, False, list(pixels[:6].numpy()), RUNTIMES["onnx"])


def features(runtime, weights, images, kind):
    run = RUNTIMES[runtime].compile(encoder_graph(weights, False, 64, kind))
    return run({"images": images})["features"]


# Measuring ---------------------------------------------------------------------------------------


def test_every_convolution_in_whole_numbers_has_a_range(weights, ranges):
    convolutions = [name.removesuffix(".weight") for name, w in weights.items() if w.ndim == 4]
    assert len(convolutions) == 53
    assert sorted([*ranges, *IN_FLOAT]) == sorted(convolutions)
    assert quantised_names(weights) == list(ranges)


def test_ranges_lie_in_what_occurs(network, pixels, ranges):
    inputs = {}

    def remember(name):
        return lambda module, given, output: inputs.__setitem__(name, given[0])

    hooks = [
        module.register_forward_hook(remember(f"encoder.{name}"))
        for name, module in network.encoder.named_modules()
        if f"encoder.{name}" in ranges
    ]
    try:
        with torch.no_grad():
            network.encoder(pixels[:6])
    finally:
        for hook in hooks:
            hook.remove()
    for name, (low, high) in ranges.items():
        # Activations come out of a rectifier.
        assert low == 0
        assert 0.1 * inputs[name].max() < high <= 1.0001 * inputs[name].max(), name


@given(st.integers(0, 2**32 - 1), st.floats(0.5, 8))
def test_a_range_has_the_least_error_of_all_that_are_tried(seed, power):
    numbers = np.abs(np.random.default_rng(seed).normal(size=2000)) ** power

    def error(low, high):
        step = (high - low) / 255
        return np.square(np.clip(np.rint(numbers / step), 0, 255) * step - numbers).mean()

    whole = (0.0, float(numbers.max()))
    counts, _ = np.histogram(numbers, 2048, whole)
    low, high = _best_range(*whole, counts.astype(float))
    least = min(error(0, whole[1] * share) for share in np.linspace(0.2, 1, 41))
    assert low == 0
    assert error(low, high) <= 1.1 * least  # bins are a little coarse


# Features ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_features_are_nearly_those_in_float32(runtime, weights, ranges, pixels):
    images = pixels[6:].numpy()  # others than were measured
    whole = features(runtime, weights, images, convolve)
    found = features(runtime, weights, images, quantised(ranges))
    error = np.linalg.norm(found - whole) / np.linalg.norm(whole)
    assert 0.001 < error < 0.15  # they are of whole numbers, and close


@pytest.fixture(scope="module")
def shipped():
    return Checkpoint.load(SHIPPED_MODEL)


@pytest.fixture(scope="module")
def shipped_weights(shipped):
    return shipped.weights


@pytest.fixture(scope="module")
def photographs(shipped):
    return np.stack([load_image(example.path, shipped.images) for example in examples()])


@pytest.fixture(scope="module")
def shipped_ranges(shipped, shipped_weights, photographs):
    stride = shipped.model.stride_in_1x1
    return measure_ranges(shipped_weights, stride, photographs[1:], RUNTIMES["onnx"])


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
@pytest.mark.parametrize("name", RUNTIMES)
def test_the_shipped_model_says_nearly_the_same_in_lower_precision(
    name, precision, shipped, shipped_weights, photographs, shipped_ranges
):
    runtime, given = RUNTIMES[name], (shipped_weights, shipped.model, shipped.images.size)
    if precision not in runtime.precisions:
        with pytest.raises(SettingError, match=f"has no {precision} on this processor"):
            GraphEngine(*given, runtime, precision)
        return
    told = []
    for engine in (
        GraphEngine(*given, runtime),
        GraphEngine(*given, runtime, precision, shipped_ranges),
    ):
        state = engine.start(engine.encode(photographs))
        first, _ = engine.step(np.full(len(photographs), START), state, 5, END)
        told.append(first)
    exact, rough = told
    assert np.array_equal(exact.tokens[:, 0], rough.tokens[:, 0])
    error = np.abs(exact.log_probabilities - rough.log_probabilities).mean()
    assert 1e-4 < error < 0.1  # it is less exact, but not by much


# The file ----------------------------------------------------------------------------------------


def test_ranges_are_read_as_they_were_written(tmp_path, ranges):
    measured = MeasuredRanges(HASH, 6, ranges)
    measured.save(tmp_path / "ranges.json")
    assert MeasuredRanges.load(tmp_path / "ranges.json", HASH, list(ranges)) == measured


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "another version than 1; measure them again for this model"),
        ({"checkpoint": "cd" * 32}, "belong to another model; measure them again"),
        ({"ranges": {"one": [0, 1]}}, "are damaged; measure them again"),
        ({"ranges": {"one": [0, 1], "two": [0, 1], "three": [0, 1]}}, "are damaged"),
        ({"ranges": {"one": [0, 1], "two": [1, 2]}}, "are damaged"),
        ({"ranges": {"one": [0, 1], "two": [0, 0]}}, "are damaged"),
        ({"ranges": {"one": [0, 1], "two": [0, float("nan")]}}, "are damaged"),
        ({"ranges": {"one": [0, 1], "two": [0, float("inf")]}}, "are damaged"),
        ({"ranges": {"one": [0, 1], "two": [0, 10**400]}}, "are damaged"),
        ({"ranges": {"one": [0, 1], "two": "01"}}, "are damaged"),
        ({"ranges": None}, "are damaged"),
        ({"photographs": "7"}, "are damaged"),
    ],
)
def test_ranges_that_do_not_belong_are_refused(tmp_path, change, message):
    path = tmp_path / "ranges.json"
    GOOD.save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(RangesError, match=message):
        MeasuredRanges.load(path, HASH, NAMES)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b"{", b"[" * 100_000, b"3"])
def test_a_file_of_something_else_is_refused(tmp_path, content):
    path = tmp_path / "ranges.json"
    path.write_bytes(content)
    with pytest.raises(RangesError, match="not a file of ranges; measure them again"):
        MeasuredRanges.load(path, HASH, NAMES)


def test_a_missing_file_is_named():
    with pytest.raises(RangesError, match="nowhere: there are no measured ranges for int8"):
        MeasuredRanges.load(Path("nowhere"), HASH, NAMES)
