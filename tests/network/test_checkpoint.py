"""A checkpoint keeps all it was given, and no other file is mistaken for one."""

import os
import pickle
import socket
import subprocess
import sys
import urllib.request
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.data.vocab import TOKENS
from captioning.files import WriteError
from captioning.inference.decode import beam_search
from captioning.inference.torch_engine import TorchEngine
from captioning.network.checkpoint import Checkpoint, CheckpointError
from captioning.network.config import DecodeConfig
from captioning.network.novelty import NoveltyDetector
from captioning.network.saved_network import (
    build_network,
    load_plain,
    save_checkpoint,
    save_plain,
)

NOT_RECORDED = "not recorded"
ROOT = Path(__file__).resolve().parents[2]


class Intruder:
    """An object that creates a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def hollow(weights):
    """Zeros of the same names and shapes that take hardly any space in a file."""
    return {
        name: torch.zeros(
            (), dtype=torch.float16 if value.is_floating_point() else value.dtype
        ).expand(value.shape)
        for name, value in weights.items()
    }


def zeros(weights):
    """Arrays of zeros of the same kinds and shapes."""
    return {name: np.zeros(value.shape, value.dtype) for name, value in weights.items()}


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


@pytest.fixture(scope="module")
def shared_path(tmp_path_factory):
    """One path for all the examples of a property."""
    return tmp_path_factory.mktemp("property") / "model.pth"


def assert_refused(path):
    """Loading fails with one line that names the file; return that line."""
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
        if name == "decoder.classifier.nouns":
            assert loaded.weights[name].dtype == np.int64
            assert np.array_equal(loaded.weights[name], value)
            continue
        assert loaded.weights[name].dtype == np.float16
        assert np.array_equal(loaded.weights[name], value.astype(np.float16)), name


def test_weights_are_rounded_to_float16_and_integers_kept(small, checkpoint, path):
    name = "decoder.vocabulary.bias"
    values = np.full(checkpoint.weights[name].shape, 1 / 3, np.float32)
    weights = zeros(checkpoint.weights) | {name: values}
    save_checkpoint(replace(checkpoint, weights=weights), path)
    assert np.array_equal(Checkpoint.load(path).weights[name], values.astype(np.float16))
    large = 1001 * np.arange(16)  # float16 has no 5,005
    save_checkpoint(replace(checkpoint, weights=weights | {name: large}), path)
    assert np.array_equal(Checkpoint.load(path).weights[name], large)


def test_the_built_network_has_the_weights_and_writes_the_same_captions(
    network, checkpoint_path, pixels
):
    built = build_network(Checkpoint.load(checkpoint_path))
    assert not built.training
    state = network.state_dict()
    for name, value in built.state_dict().items():
        assert value.dtype == (torch.long if name == "decoder.classifier.nouns" else torch.float32)
        assert torch.equal(value, state[name]), name
    captions = []
    for engine in (TorchEngine(network), TorchEngine(built)):
        results = beam_search(engine, engine.encode(pixels[:4]), TOKENS, DecodeConfig(max_words=8))
        captions.append([hypothesis.tokens for beams in results for hypothesis in beams])
    assert captions[0] == captions[1]
    assert len(set(map(tuple, captions[0]))) > 8


def test_the_file_holds_plain_types_and_little_more_than_its_weights(content, checkpoint_path):
    weights = sum(value.nbytes for value in content["weights"].values())
    assert weights < checkpoint_path.stat().st_size < weights + 200_000
    assert content["model"] == asdict(Checkpoint.load(checkpoint_path).model)
    assert content["training_images"] == ["00ff", "abcd"]


def test_loading_does_not_use_the_internet(checkpoint_path, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("it used the internet")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    build_network(Checkpoint.load(checkpoint_path))


def test_a_path_may_be_a_string_and_folders_are_created(small, checkpoint, tmp_path):
    path = tmp_path / "runs" / "first" / "model.pth"
    save_checkpoint(replace(checkpoint, weights=zeros(checkpoint.weights)), path)
    assert Checkpoint.load(str(path)).vocabulary == checkpoint.vocabulary


# Writing -----------------------------------------------------------------------------------------


def test_a_failing_write_leaves_the_old_file_alone(checkpoint, path, monkeypatch):
    path.write_bytes(b"the old model")

    def fill_the_disk(content, file):
        Path(file).write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", fill_the_disk)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(checkpoint, path)
    assert os.listdir(path.parent) == ["model.pth"]
    assert path.read_bytes() == b"the old model"


LIMITED = """
import resource, sys, torch
from pathlib import Path
from captioning.network.saved_network import save_plain
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
try:
    save_plain({"weights": torch.zeros(int(sys.argv[2]))}, Path(sys.argv[1]))
except OSError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("count", [80_000, 500_000])
def test_a_limit_on_the_size_of_files_is_one_sentence_and_leaves_the_old_file(path, count):
    """In a process of its own, for the limit cannot be taken back."""
    path.write_bytes(b"the old model")
    command = [sys.executable, "-c", LIMITED, str(path), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    sentence = f"WriteError {path}: it could not be written (File too large), and what was there "
    assert done.stdout.startswith(sentence)
    assert path.read_bytes() == b"the old model"
    assert os.listdir(path.parent) == ["model.pth"]


@pytest.mark.parametrize("count", [190_000, 300_000], ids=["by a bit", "by far"])
def test_a_full_disk_is_one_sentence_and_leaves_the_old_file(small_disk, count):
    path = small_disk / "model.pth"
    save_plain({"weights": torch.ones(100_000)}, path)
    with pytest.raises(WriteError) as error:
        save_plain({"weights": torch.zeros(count)}, path)
    sentence = f"{path}: it could not be written (No space left on device)"
    assert str(error.value).startswith(sentence)
    assert load_plain(path)["weights"].sum() == 100_000
    assert os.listdir(small_disk) == ["model.pth"]


def test_what_cannot_be_saved_is_still_a_defect(path):
    with pytest.raises(AttributeError):
        save_plain({"function": lambda: 0}, path)
    assert os.listdir(path.parent) == []


# Other files -------------------------------------------------------------------------------------


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


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 76821569\n"
PAGES = [
    b"<!DOCTYPE html>\n<html lang=en>",
    b"\n\n  <html><head>",
    b"\xef\xbb\xbf<!doctype HTML>",
    b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
]


def test_a_pointer_of_git_lfs_says_how_to_fetch_the_file(path):
    path.write_bytes(POINTER)
    message = assert_refused(path)
    assert "a pointer of Git LFS and not the file itself; fetch it with 'git lfs pull'" in message


@pytest.mark.parametrize("data", PAGES)
def test_a_web_page_is_to_be_fetched_again(path, data):
    path.write_bytes(data)
    assert "this is a web page and not the file itself; fetch it again" in assert_refused(path)


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
    assert mark.exists()  # so the code does run where nothing prevents it


def test_a_newer_version_is_not_called_damage(small, path):
    torch.save(small | {"version": 3}, path)
    message = assert_refused(path)
    assert "version 3, this program reads version 2" in message
    assert "update the program" in message


@pytest.mark.parametrize("version", [-1, 0, 1])
def test_an_older_version_asks_for_a_new_training_and_is_not_called_damage(small, path, version):
    torch.save(small | {"version": version}, path)
    message = assert_refused(path)
    assert f"format version {version}, of an older network" in message
    assert "this program reads version 2" in message
    assert "train the model again, or use the program that made it" in message
    assert "damaged" not in message
    assert "update the program" not in message


def test_an_older_version_is_told_from_its_parts_too(small, path):
    """A file of version 1, as it was written: its network had no classifier."""
    weights = {n: v for n, v in small["weights"].items() if "classifier" not in n}
    model = {name: value for name, value in small["model"].items() if name != "classes"}
    torch.save(small | {"version": 1, "model": model, "weights": weights}, path)
    assert "of an older network" in assert_refused(path)


# Damage ------------------------------------------------------------------------------------------


def test_the_small_checkpoint_loads(small, path):
    torch.save(small, path)
    assert Checkpoint.load(path).weights.keys() == small["weights"].keys()


@pytest.mark.parametrize("kept", [0.001, 0.1, 0.5, 0.9, 0.99])
def test_a_truncated_checkpoint_is_refused(small, path, kept):
    torch.save(small, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    assert "this file is cut short" in (message := assert_refused(path))
    assert "fetch it again" in message


def test_an_end_that_tells_of_other_disks_is_damage(path, checkpoint_path):
    content = bytearray(checkpoint_path.read_bytes())
    content[content.rindex(b"PK\x06\x07") + 16] ^= 0x20  # how many there are (APPNOTE 4.3.15)
    path.write_bytes(content)
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
    for position in range(40, len(data), len(data) // 40):
        broken = data.copy()
        broken[position] ^= 0xFF
        path.write_bytes(broken)
        outcomes.add(loads(path))
    assert False in outcomes


PARTS = (
    *("model", "images", "vocabulary", "weights"),
    *("training_images", "decoding", "provenance", "figures", "novelty"),
)
REQUIRED = PARTS[:4]


@pytest.mark.parametrize("part", REQUIRED)
def test_a_required_part_that_is_missing_is_refused_by_name(small, path, part):
    torch.save({name: value for name, value in small.items() if name != part}, path)
    assert f"damaged ({part} is missing)" in assert_refused(path)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("value", [None, 7, "text", {1: 2}, [1]], ids=repr)
def test_a_part_of_another_type_is_refused(small, path, part, value):
    torch.save(small | {part: value}, path)
    assert "damaged" in assert_refused(path)


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("model", {"decoder_dim": 0}),
        ("model", {"decoder_dim": "9"}),
        ("model", {"decoder_dim": 9.5}),
        ("model", {"decoder_dim": True}),
        ("model", {"classes": 0}),
        ("model", {"classes": "10"}),
        ("model", {"decoder_dim": 10**18}),
        ("model", {"decoder_dim": 10**30}),
        ("model", {"stride_in_1x1": 1}),
        ("images", {"size": 0}),
        ("images", {"size": torch.tensor(64)}),
        ("images", {"mean": None}),
        ("images", {"std": [0.0, 1.0, 1.0]}),
        ("images", {"std": [float("inf"), 1.0, 1.0]}),
        pytest.param("images", {"std": [10**400, 1.0, 1.0]}, id="images, beyond any float"),
        ("decoding", {"beam": 0}),
        ("decoding", {"beam": 2.5}),
        ("decoding", {"max_words": 5.5}),
        ("decoding", {"length_penalty": "0.7"}),
        ("decoding", {"length_penalty": float("nan")}),
        ("provenance", {"stages": "decoder"}),
        ("provenance", {"stages": ["decoder"]}),
        ("provenance", {"stages": [{"config": None}]}),
        ("provenance", {"stages": [{"data": 5}]}),
        ("provenance", {"encoder": 5}),
        ("provenance", {"terms": "non-commercial"}),
        ("provenance", {"terms": [5]}),
        ("figures", {"CIDEr-D": "61.6"}),
    ],
    ids=str,
)
def test_a_value_out_of_range_or_of_another_type_is_refused(small, path, part, change):
    torch.save(small | {part: small[part] | change}, path)
    message = assert_refused(path)
    assert "damaged" in message
    assert part in message


@pytest.fixture(scope="module")
def detector():
    """A novelty detector, its arrays those of random features."""
    means = np.random.default_rng(0).random((9, 2048))
    return NoveltyDetector.fit(means[:5], means[5:])


def test_a_novelty_detector_is_kept_exactly(small, checkpoint, detector, path):
    weights = zeros(checkpoint.weights)
    save_checkpoint(replace(checkpoint, weights=weights, novelty=detector), path)
    loaded = Checkpoint.load(path).novelty
    for name in NOVELTY:
        assert np.array_equal(getattr(loaded, name), getattr(detector, name)), name
    part = torch.load(path, weights_only=True)["novelty"]
    assert part["components"].dtype == part["mean"].dtype == torch.float16
    torch.save(small, path)
    assert Checkpoint.load(path).novelty is None


NOVELTY = ("mean", "components", "variances", "quantiles")


@pytest.mark.parametrize("name", NOVELTY)
@pytest.mark.parametrize(
    "change",
    [
        lambda part: None,
        lambda part: [1.0],
        lambda part: part[:1],
        lambda part: part * float("nan"),
        lambda part: part.to("meta"),
        lambda part: part.to_sparse(),
        lambda part: part.to(torch.complex64),
    ],
    ids=["none", "list", "short", "not numbers", "no memory", "sparse", "complex"],
)
def test_a_damaged_novelty_detector_is_refused(checkpoint, detector, path, name, change):
    weights = zeros(checkpoint.weights)
    save_checkpoint(replace(checkpoint, weights=weights, novelty=detector), path)
    content = torch.load(path, weights_only=True)
    content["novelty"][name] = change(content["novelty"][name])
    torch.save(content, path)
    assert "damaged (novelty" in assert_refused(path)


def test_a_novelty_detector_of_other_features_or_parts_is_refused(checkpoint, detector, path):
    arrays = {name: getattr(detector, name) for name in NOVELTY}
    arrays |= {"mean": detector.mean[:7], "components": detector.components[:, :7]}
    other = NoveltyDetector(**arrays)
    weights = zeros(checkpoint.weights)
    save_checkpoint(replace(checkpoint, weights=weights, novelty=other), path)
    assert "features of another size" in assert_refused(path)
    content = torch.load(path, weights_only=True)
    for part in ({"mean": torch.zeros(7)}, content["novelty"] | {"more": torch.zeros(7)}):
        torch.save(content | {"novelty": part}, path)
        assert "not a table of its tensors" in assert_refused(path)


@pytest.mark.parametrize(
    "vocabulary", [["<pad>", "a"], [], [*"abcdefghijklmnop"]], ids=["short", "empty", "no specials"]
)
def test_a_wrong_vocabulary_is_refused(small, path, vocabulary):
    torch.save(small | {"vocabulary": vocabulary}, path)
    assert "damaged" in assert_refused(path)


def test_a_vocabulary_of_another_size_than_the_networks_is_refused(small, path):
    torch.save(small | {"vocabulary": [*small["vocabulary"], "more"]}, path)
    assert "differ in size" in assert_refused(path)


@pytest.mark.parametrize(
    "name",
    [
        *("decoder.gate.weight", "decoder.classifier.nouns"),
        "encoder.stages.layer4.2.bn3.running_var",
    ],
)
def test_a_missing_weight_is_refused_by_name(small, path, name):
    weights = {key: value for key, value in small["weights"].items() if key != name}
    torch.save(small | {"weights": weights}, path)
    assert name in assert_refused(path)


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(3),
        "text",
        None,
        torch.zeros(2048, 64, dtype=torch.complex64),
        torch.zeros(2048, 64).to_sparse(),
        torch.zeros(2048, 64, device="meta"),
    ],
    ids=["reshaped", "text", "None", "complex", "sparse", "without its numbers"],
)
def test_a_weight_of_another_kind_is_refused_by_name(small, path, value):
    name = "decoder.gate.weight"
    assert small["weights"][name].shape == (2048, 64)
    torch.save(small | {"weights": small["weights"] | {name: value}}, path)
    assert name in assert_refused(path)


def test_a_weight_that_the_network_does_not_know_is_refused(small, path):
    torch.save(small | {"weights": small["weights"] | {"decoder.more": torch.zeros(1)}}, path)
    assert "does not know" in assert_refused(path)


# Older, newer and foreign versions ---------------------------------------------------------------


@pytest.mark.parametrize("version", [0, 3, None, "2", 2.0, True, torch.zeros(3)], ids=repr)
def test_another_version_is_refused(small, path, version):
    torch.save(small | {"version": version}, path)
    assert "version" in assert_refused(path)


def test_parts_that_an_older_program_did_not_write_get_defaults(small, path):
    torch.save({name: small[name] for name in ("format", "version", *REQUIRED)}, path)
    loaded = Checkpoint.load(path)
    assert loaded.training_images == frozenset()
    assert loaded.decoding == DecodeConfig(beam=3, length_penalty=0.0, max_words=30)
    assert (loaded.provenance, loaded.figures, loaded.stages) == ({}, {}, [])
    assert loaded.terms == ()
    for text in (loaded.encoder_source, loaded.data, loaded.measured_on):
        assert text == NOT_RECORDED


def test_settings_that_an_older_program_did_not_write_get_defaults(small, path):
    model = {name: value for name, value in small["model"].items() if name != "stride_in_1x1"}
    old = {"model": model, "images": {"size": 64}, "decoding": {"beam": 4, "length_penalty": 0.8}}
    torch.save(small | old, path)
    loaded = Checkpoint.load(path)
    assert not loaded.model.stride_in_1x1
    assert loaded.images.mean == (0.485, 0.456, 0.406)
    assert loaded.decoding == DecodeConfig(beam=4, length_penalty=0.8, max_words=30)


def test_the_number_of_classes_is_imagenets_where_it_is_not_written(small, path):
    model = {name: value for name, value in small["model"].items() if name != "classes"}
    weights = small["weights"]
    sizes = {"nouns": (1000,), "linear.weight": (1000, 2048), "linear.bias": (1000,)}
    for name, shape in sizes.items():
        name = f"decoder.classifier.{name}"
        weights = weights | {name: torch.zeros((), dtype=weights[name].dtype).expand(shape)}
    torch.save(small | {"model": model, "weights": weights}, path)
    assert Checkpoint.load(path).model.classes == 1000


def test_a_size_that_has_no_default_is_refused_by_name(small, path):
    model = {name: value for name, value in small["model"].items() if name != "vocabulary_size"}
    torch.save(small | {"model": model}, path)
    assert "vocabulary_size is missing" in assert_refused(path)


@pytest.mark.parametrize("part", ["model", "images", "decoding"])
@pytest.mark.parametrize("name", ["heads", "two\nlines", 7], ids=repr)
def test_an_unknown_setting_is_refused_by_name(small, path, part, name):
    torch.save(small | {part: small[part] | {name: 8}}, path)
    message = assert_refused(path)
    if isinstance(name, str):  # a name of another kind is damage
        assert f"setting of {part} {name!r}" in message
        assert "update the program" in message


def test_an_unknown_part_is_refused_by_name(small, path):
    torch.save(small | {"tokenizer": {}}, path)
    assert "does not know the part 'tokenizer'" in assert_refused(path)


def test_the_whole_search_is_kept(small, checkpoint, path):
    decoding = DecodeConfig(beam=7, length_penalty=1.5, max_words=5, repetition_penalty=0.5)
    assert all(value != asdict(DecodeConfig())[name] for name, value in asdict(decoding).items())
    weights = zeros(checkpoint.weights)
    save_checkpoint(replace(checkpoint, weights=weights, decoding=decoding), path)
    assert Checkpoint.load(path).decoding == decoding


# Values of every kind that a file can hold, most of them wrong wherever they stand.
NUMBERS = (True, -1, 0, 7, 2.5, float("nan"), 10**30, torch.zeros(2), torch.tensor(5))
TEXTS = (None, "", "text", "two\nlines", b"bytes")
TABLES = ((), [], [1], ["text"], {}, {"text": 1}, {1: "text"}, [{}])
VALUES = st.sampled_from((*NUMBERS, *TEXTS, *TABLES))
NAMES = st.sampled_from(["heads", "stages", "beam", "size", "two\nlines", 7, (1, 2)])


def change(draw, table):
    """Remove, replace or add an entry, perhaps of a table inside."""
    keys = list(table)
    inside = [key for key in keys if isinstance(table[key], dict)]
    kind = draw(st.sampled_from(["remove", "replace", "add", *(["inside"] * 3)]))
    if kind == "inside" and inside:
        key = draw(st.sampled_from(inside))
        return table | {key: change(draw, table[key])}
    if kind == "add" or not keys:
        return table | {draw(NAMES): draw(VALUES)}
    key = draw(st.sampled_from(keys))
    if kind == "remove":
        return {name: value for name, value in table.items() if name != key}
    return table | {key: draw(VALUES)}


def loaded_or_refused(path):
    """The checkpoint, or None where it is refused as it should be."""
    try:
        return Checkpoint.load(path)
    except CheckpointError:
        assert_refused(path)
        return None


@settings(max_examples=100, deadline=None, database=None)
@given(st.data())
def test_any_change_to_the_content_loads_or_is_refused_in_one_line(small, shared_path, data):
    changed = small
    for _ in range(data.draw(st.integers(1, 3))):
        changed = change(data.draw, changed)
    torch.save(changed, shared_path)
    loaded = loaded_or_refused(shared_path)
    if loaded is None:
        return
    # All that others use of a checkpoint has the right type.
    assert loaded.model.vocabulary_size == len(loaded.vocabulary)
    assert all(isinstance(word, str) for word in loaded.vocabulary.words)
    assert all(isinstance(name, str) for name in loaded.training_images)
    assert all(isinstance(figure, int | float) for figure in loaded.figures.values())
    assert type(loaded.decoding.beam) is type(loaded.decoding.max_words) is int
    assert type(loaded.images.size) is int
    for text in (loaded.encoder_source, loaded.data, loaded.measured_on, *loaded.terms):
        assert isinstance(text, str)
    for stage in loaded.stages:
        assert all(isinstance(stage[name], str) for name in ("stage", "command", "data", "torch"))
        assert isinstance(stage["config"], dict)


def test_the_terms_of_the_data_are_kept_in_paragraphs(small, checkpoint, path):
    terms = ["Flickr8k: for research.", "Text: non-commercial."]
    weights = zeros(checkpoint.weights)
    save_checkpoint(replace(checkpoint, weights=weights, provenance={"terms": terms}), path)
    assert Checkpoint.load(path).terms == tuple(terms)


@pytest.mark.parametrize(
    "nouns",
    [
        torch.zeros(10, dtype=torch.float16),
        torch.zeros(10, dtype=torch.bool),
        torch.tensor([4] * 9 + [16]),
        torch.tensor([4] * 9 + [-1]),
    ],
    ids=["fractions", "truths", "beyond the vocabulary", "negative"],
)
def test_classes_that_are_called_by_no_word_are_refused(small, path, nouns):
    weights = small["weights"] | {"decoder.classifier.nouns": nouns}
    torch.save(small | {"weights": weights}, path)
    assert "the nouns of its classes are not words of the vocabulary" in assert_refused(path)


def test_stages_that_record_little_are_completed(checkpoint):
    stages = [{"stage": "decoder", "config": {"epochs": 2}}, {"data": "other photographs"}]
    provenance = {"data": "photographs", "encoder": "a ResNet-50", "stages": stages}
    complete = replace(checkpoint, provenance=provenance)
    assert complete.encoder_source == "a ResNet-50"
    assert complete.data == "photographs"
    assert complete.measured_on == "other photographs"
    first, second = complete.stages
    assert first == stages[0] | {
        "data": "photographs",
        "command": NOT_RECORDED,
        "torch": NOT_RECORDED,
    }
    assert second == {
        "stage": NOT_RECORDED,
        "command": NOT_RECORDED,
        "config": {},
        "data": "other photographs",
        "torch": NOT_RECORDED,
    }


def failing(message):
    def fail(*_):
        raise RuntimeError(message)

    return fail


def test_a_disk_that_fails_for_a_moment_is_a_sentence(tmp_path, monkeypatch):
    message = "[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0"
    monkeypatch.setattr(torch, "save", failing(message))
    with pytest.raises(WriteError, match=r"plain\.pth: it could not be written \(Input/output"):
        save_plain({}, tmp_path / "plain.pth")
    monkeypatch.setattr(torch, "save", failing("a defect"))
    with pytest.raises(RuntimeError, match="a defect"):
        save_plain({}, tmp_path / "plain.pth")
    assert list(tmp_path.iterdir()) == []
