"""A checkpoint keeps all it was given, and nothing else is taken for one."""

import os
import pickle
import socket
import urllib.request
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from captioning.data.vocab import TOKENS
from captioning.inference.decode import beam_search
from captioning.inference.torch_engine import TorchEngine
from captioning.network.checkpoint import Checkpoint, CheckpointError
from captioning.network.config import DecodeConfig


class Intruder:
    """An object that makes a file as it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def hollow(weights):
    """The same names and shapes, all zeros, that take next to no room in a file."""
    zero = torch.zeros((), dtype=torch.float16)
    return {name: zero.expand(value.shape) for name, value in weights.items()}


@pytest.fixture(scope="module")
def content(checkpoint_path):
    """What the file holds, as plain types."""
    return torch.load(checkpoint_path, weights_only=True)


@pytest.fixture(scope="module")
def small(content):
    """The same with hollow weights: a complete checkpoint in a small file."""
    return content | {"weights": hollow(content["weights"])}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.pth"


def assert_refused(path):
    """Loading fails with one line that names the file; returns it."""
    with pytest.raises(CheckpointError) as caught:
        Checkpoint.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


# Whole files -------------------------------------------------------------------------------------


def test_a_loaded_checkpoint_equals_the_saved_one(checkpoint, checkpoint_path):
    loaded = Checkpoint.load(checkpoint_path)
    assert replace(loaded, weights={}) == replace(checkpoint, weights={})
    assert loaded.weights.keys() == checkpoint.weights.keys()
    for name, value in checkpoint.weights.items():
        assert loaded.weights[name].dtype == torch.float16
        assert torch.equal(loaded.weights[name], value.half()), name


def test_weights_are_rounded_to_float16_and_whole_numbers_kept(small, checkpoint, path):
    name = "decoder.vocabulary.bias"
    values = torch.full(checkpoint.weights[name].shape, 1 / 3)
    weights = dict(hollow(checkpoint.weights)) | {name: values}
    replace(checkpoint, weights=weights).save(path)
    assert torch.equal(Checkpoint.load(path).weights[name], values.half())
    counted = hollow(checkpoint.weights) | {name: torch.arange(16)}
    replace(checkpoint, weights=counted).save(path)
    assert torch.equal(Checkpoint.load(path).weights[name], torch.arange(16))


def test_the_built_network_has_the_weights_and_writes_the_same_captions(
    network, checkpoint_path, pixels
):
    built = Checkpoint.load(checkpoint_path).build()
    assert not built.training
    state = network.state_dict()
    for name, value in built.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, state[name]), name
    captions = []
    for engine in (TorchEngine(network), TorchEngine(built)):
        found = beam_search(engine, engine.encode(pixels[:4]), TOKENS, DecodeConfig(max_words=8))
        captions.append([hypothesis.tokens for beams in found for hypothesis in beams])
    assert captions[0] == captions[1]
    assert len(set(map(tuple, captions[0]))) > 8


def test_the_file_holds_plain_types_and_little_more_than_its_weights(content, checkpoint_path):
    weights = sum(value.nbytes for value in content["weights"].values())
    assert weights < checkpoint_path.stat().st_size < weights + 200_000
    assert content["model"] == asdict(Checkpoint.load(checkpoint_path).model)
    assert content["training_images"] == ["00ff", "abcd"]


def test_loading_asks_nothing_of_the_network(checkpoint_path, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("it went to the network")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    Checkpoint.load(checkpoint_path).build()


def test_a_path_may_be_a_string_and_folders_are_made(small, checkpoint, tmp_path):
    path = tmp_path / "runs" / "first" / "model.pth"
    replace(checkpoint, weights=small["weights"]).save(path)
    assert Checkpoint.load(str(path)).vocabulary == checkpoint.vocabulary


# Writing -----------------------------------------------------------------------------------------


def test_a_failing_write_leaves_the_old_file_alone(checkpoint, path, monkeypatch):
    path.write_bytes(b"the old model")

    def fill_the_disk(content, file):
        Path(file).write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", fill_the_disk)
    with pytest.raises(OSError, match="no space"):
        checkpoint.save(path)
    assert os.listdir(path.parent) == ["model.pth"]
    assert path.read_bytes() == b"the old model"


# What is no checkpoint ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a model\n",
        "caf\u00e9\n".encode("latin-1"),
        b"PK\x03\x04" + bytes(100),
        b"\x80\x02" + bytes(100),
        bytes(range(256)) * 20,
    ],
    ids=["empty", "text", "latin-1", "begins as a zip", "begins as a pickle", "noise"],
)
def test_another_file_is_refused(path, data):
    path.write_bytes(data)
    assert "not a checkpoint" in assert_refused(path)


def test_a_missing_file_is_refused(path):
    assert "no such" in assert_refused(path)


def test_a_folder_is_refused(tmp_path):
    assert "folder" in assert_refused(tmp_path)


@pytest.mark.parametrize("value", [torch.zeros(3), [1, 2], "text", None, {}], ids=repr)
def test_another_value_is_refused(path, value):
    torch.save(value, path)
    assert "not a checkpoint" in assert_refused(path)


def test_a_plain_state_dict_is_refused(network, path):
    torch.save(hollow(network.state_dict()), path)
    assert "not a checkpoint" in assert_refused(path)


@pytest.mark.parametrize("where", ["alone", "in a checkpoint", "in a bare pickle"])
def test_code_in_the_file_is_not_run(small, path, where):
    mark = path.with_name("mark")
    intruder = Intruder(mark)
    if where == "in a bare pickle":
        path.write_bytes(pickle.dumps(intruder, protocol=2))
    else:
        torch.save(intruder if where == "alone" else small | {"provenance": intruder}, path)
    assert "not a checkpoint" in assert_refused(path)
    assert not mark.exists()
    pickle.loads(pickle.dumps(intruder))
    assert mark.exists()  # it would have


def test_a_newer_version_is_told_from_damage(small, path):
    torch.save(small | {"version": 2}, path)
    message = assert_refused(path)
    assert "version 2" in message
    assert "update the program" in message


# Damage ------------------------------------------------------------------------------------------


def test_the_small_checkpoint_is_sound(small, path):
    torch.save(small, path)
    assert Checkpoint.load(path).weights.keys() == small["weights"].keys()


@pytest.mark.parametrize("kept", [0.001, 0.1, 0.5, 0.9, 0.99])
def test_a_truncated_checkpoint_is_refused(small, path, kept):
    torch.save(small, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    assert_refused(path)


def test_a_checkpoint_without_its_last_byte_is_refused(small, path):
    torch.save(small, path)
    path.write_bytes(path.read_bytes()[:-1])
    assert_refused(path)


def loads(path):
    try:
        Checkpoint.load(path)
    except CheckpointError:
        return False
    return True


def test_flipped_bytes_are_refused_or_harmless(small, path):
    torch.save(small, path)
    data = bytearray(path.read_bytes())
    outcomes = set()
    for place in range(40, len(data), len(data) // 40):
        broken = data.copy()
        broken[place] ^= 0xFF
        path.write_bytes(broken)
        outcomes.add(loads(path))
    assert False in outcomes


@pytest.mark.parametrize(
    "key",
    [
        "model",
        "images",
        "vocabulary",
        "weights",
        "training_images",
        "decoding",
        "provenance",
        "figures",
    ],
)
@pytest.mark.parametrize("value", ["missing", None, 7])
def test_a_part_that_is_missing_or_of_another_type_is_refused(small, path, key, value):
    broken = {name: part for name, part in small.items() if name != key}
    torch.save(broken if value == "missing" else small | {key: value}, path)
    assert "damaged" in assert_refused(path)


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("model", {"decoder_dim": 0}),
        ("model", {"decoder_dim": "9"}),
        ("model", {"decoder_dim": 9.5}),
        ("model", {"decoder_dim": 10**18}),
        ("model", {"heads": 8}),
        ("images", {"size": 0}),
        ("images", {"std": [0.0, 1.0, 1.0]}),
    ],
)
def test_a_setting_out_of_range_is_refused(small, path, key, change):
    torch.save(small | {key: small[key] | change}, path)
    assert "damaged" in assert_refused(path)


@pytest.mark.parametrize(
    "vocabulary", [["<pad>", "a"], [], [*"abcdefghijklmnop"]], ids=["short", "empty", "no specials"]
)
def test_a_wrong_vocabulary_is_refused(small, path, vocabulary):
    torch.save(small | {"vocabulary": vocabulary}, path)
    assert "damaged" in assert_refused(path)


def test_a_vocabulary_of_another_size_than_the_networks_is_refused(small, path):
    torch.save(small | {"vocabulary": [*small["vocabulary"], "more"]}, path)
    assert "differ in size" in assert_refused(path)


@pytest.mark.parametrize("name", ["decoder.gate.weight", "encoder.stages.layer4.2.bn3.running_var"])
def test_a_missing_weight_is_refused_by_name(small, path, name):
    weights = {key: value for key, value in small["weights"].items() if key != name}
    torch.save(small | {"weights": weights}, path)
    assert name in assert_refused(path)


@pytest.mark.parametrize("value", [torch.zeros(3), "text", None], ids=repr)
def test_a_weight_of_another_shape_is_refused_by_name(small, path, value):
    name = "decoder.gate.weight"
    torch.save(small | {"weights": small["weights"] | {name: value}}, path)
    message = assert_refused(path)
    assert name in message or not isinstance(value, torch.Tensor)


def test_a_weight_that_the_network_does_not_know_is_refused(small, path):
    torch.save(small | {"weights": small["weights"] | {"decoder.more": torch.zeros(1)}}, path)
    assert "does not know" in assert_refused(path)
