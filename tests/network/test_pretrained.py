"""Where the encoder's first weights come from; and errors say what to do."""

import io
import pickle
import urllib.error
import warnings
from copy import deepcopy
from dataclasses import replace
from email.message import Message
from pathlib import Path
from urllib.response import addinfourl

import pytest
import torch
from torch.testing import assert_close
from torchvision.models import ResNet50_Weights, resnet18, resnet101
from torchvision.models._api import WeightsEnum

from captioning.network.checkpoint import Checkpoint, CheckpointError
from captioning.network.encoder import Encoder
from captioning.network.pretrained import (
    PretrainedError,
    encoder_hash,
    pretrained_encoder,
    weights_hash,
)
from captioning.network.saved_network import arrays_of, build_network, save_checkpoint, tensors_of


@pytest.fixture(scope="module")
def weights_file(resnet, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "resnet.pth"
    torch.save(resnet.state_dict(), path)
    return path


@pytest.fixture
def no_cache(monkeypatch, tmp_path):
    """An empty cache of torch's downloads."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.fixture
def no_network(monkeypatch, no_cache):
    def refuse(*arguments, **options):
        raise urllib.error.URLError("connection refused")

    monkeypatch.setattr(torch.hub, "urlopen", refuse)


@pytest.fixture
def broken_network(monkeypatch, no_cache):
    """A proxy that answers every request with a login page."""

    def answer(*arguments, **options):
        return addinfourl(io.BytesIO(b"log in first"), Message(), "https://proxy")

    monkeypatch.setattr(torch.hub, "urlopen", answer)


def rounded(state):
    """Weights as a checkpoint stores them."""
    return {name: value.half().float() for name, value in state.items()}


def assert_has_weights(first, resnet):
    """An encoder and a classifier with the weights of torchvision's network, rounded."""
    state = rounded(resnet.state_dict())
    for name, value in first.encoder.stages.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, state[name]), name
    assert torch.equal(first.classifier.weight, state["fc.weight"])
    assert torch.equal(first.classifier.bias, state["fc.bias"])


def zeros_of(network):
    """A state dict of the network's shapes that takes hardly any space."""
    return {name: torch.zeros(()).expand(v.shape) for name, v in network.state_dict().items()}


# From a file -------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride_in_1x1", [False, True])
def test_a_file_gives_its_weights_to_either_kind_of_resnet(resnet, weights_file, stride_in_1x1):
    first = pretrained_encoder(weights_file, stride_in_1x1)
    assert first.stride_in_1x1 is stride_in_1x1
    assert_has_weights(first, resnet)
    expected = Encoder(stride_in_1x1)
    expected.load_torchvision(rounded(resnet.state_dict()))
    images = torch.randn(1, 3, 64, 64, generator=torch.manual_seed(0))
    with torch.no_grad():
        assert torch.equal(first.encoder(images), expected(images))


def test_the_classifier_of_the_mean_feature_is_that_of_the_network(resnet, weights_file):
    first = pretrained_encoder(weights_file)
    images = torch.randn(2, 3, 64, 64, generator=torch.manual_seed(0))
    with torch.no_grad():
        classes = first.classifier(first.encoder(images).mean(dim=1))  # (B, O)
        copy = deepcopy(resnet)
        copy.load_state_dict(rounded(resnet.state_dict()))
        expected = copy(images)
    assert_close(classes, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def test_the_weights_are_those_that_a_checkpoint_gives_back(
    resnet, weights_file, checkpoint, tmp_path
):
    """So the encoder is the same before and after it is saved, whose features are cached."""
    first = pretrained_encoder(weights_file)
    encoder = {f"encoder.{name}": value for name, value in first.encoder.state_dict().items()}
    assert not torch.equal(
        encoder["encoder.stages.conv1.weight"], resnet.state_dict()["conv1.weight"]
    )
    path = tmp_path / "model.pth"
    weights = {**checkpoint.weights, **arrays_of(encoder)}
    save_checkpoint(replace(checkpoint, weights=weights), path)
    loaded = build_network(Checkpoint.load(path)).encoder
    assert encoder_hash(loaded) == encoder_hash(first.encoder)


def test_the_source_names_the_file_and_a_hash_of_its_tensors(weights_file, tmp_path):
    source = pretrained_encoder(weights_file).source
    assert source.startswith("resnet.pth (tensors' sha256 ")
    other = tmp_path / "resnet.pth"
    state = torch.load(weights_file, weights_only=True)
    torch.save(state | {"bn1.bias": state["bn1.bias"] + 1}, other)
    assert pretrained_encoder(other).source.startswith("resnet.pth (tensors' sha256 ")
    assert pretrained_encoder(other).source != source


def test_a_file_takes_precedence_over_everything_else(resnet, weights_file, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("it requested torchvision's weights")

    monkeypatch.setattr(WeightsEnum, "get_state_dict", refuse)
    first = pretrained_encoder(weights_file, fallback=weights_file.with_name("missing.pth"))
    assert_has_weights(first, resnet)


@pytest.mark.parametrize(
    "content",
    [
        *("text", "tensor", "numbered", "another model", "part", "reshaped", "sparse", "deeper"),
        *("headless", "without a bias", "other classes", "other biases", "no tensor", "checkpoint"),
    ],
)
def test_a_wrong_file_is_refused_by_name(content, resnet, checkpoint_path, tmp_path):
    path = tmp_path / "wrong.pth"
    with torch.device("meta"):
        smaller, deeper = resnet18(weights=None), resnet101(weights=None)
    whole = zeros_of(resnet)
    if content == "text":
        path.write_text("not weights\n")
    elif content == "checkpoint":
        path.symlink_to(checkpoint_path)
    else:
        value = {
            "tensor": torch.zeros(3),
            "numbered": {1: torch.zeros(3)},
            "another model": zeros_of(smaller),
            "part": {name: value for name, value in whole.items() if "layer4" not in name},
            "reshaped": whole | {"conv1.weight": torch.zeros(64, 1, 7, 7)},
            "sparse": whole | {"bn1.bias": torch.zeros(64).to_sparse()},
            "deeper": zeros_of(deeper),
            "headless": {n: value for n, value in whole.items() if not n.startswith("fc.")},
            "without a bias": {n: value for n, value in whole.items() if n != "fc.bias"},
            "other classes": whole
            | {"fc.weight": torch.zeros(365, 2048), "fc.bias": torch.zeros(365)},
            "other biases": whole | {"fc.bias": torch.zeros(7)},
            "no tensor": whole | {"fc.bias": "text"},
        }[content]
        torch.save(value, path)
    with pytest.raises(PretrainedError) as caught:
        pretrained_encoder(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "resnet50" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_without_the_classifier_says_so(resnet, tmp_path):
    path = tmp_path / "headless.pth"
    zeros = zeros_of(resnet)
    torch.save({n: value for n, value in zeros.items() if not n.startswith("fc.")}, path)
    with pytest.raises(PretrainedError, match=r"no classifier \(fc\) of ImageNet's 1,000 classes"):
        pretrained_encoder(path)


def test_zeros_of_the_right_shapes_are_accepted(resnet, tmp_path):
    path = tmp_path / "zeros.pth"  # so that the test above fails for no other reason
    torch.save(zeros_of(resnet), path)
    assert not pretrained_encoder(path).encoder.stages.conv1.weight.any()


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(PretrainedError, match=r"missing\.pth: there is no such file"):
        pretrained_encoder(tmp_path / "missing.pth")


def test_a_folder_is_refused_by_name(tmp_path):
    with pytest.raises(PretrainedError, match=f"{tmp_path}: this is a folder"):
        pretrained_encoder(tmp_path)


def test_a_file_that_may_not_be_read_is_refused_by_name(unreadable):
    with pytest.raises(PretrainedError, match="may not be read; change its permissions"):
        pretrained_encoder(unreadable)


def test_a_foreign_pickle_is_refused_without_warnings_of_torch(tmp_path):
    path = tmp_path / "foreign.pth"
    path.write_bytes(pickle.dumps({"weights": Path("x")}, protocol=4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(PretrainedError, match="not a state dict"):
            pretrained_encoder(path)


@pytest.mark.parametrize(
    ("data", "remedy"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "fetch it with 'git lfs pull'"),
        (b"<!DOCTYPE html>", "this is a web page and not the file itself; fetch it again"),
        (b"PK\x03\x04" + bytes(100), "this file is cut short"),
    ],
    ids=["pointer", "page", "cut short"],
)
def test_what_was_not_fetched_whole_says_so(tmp_path, data, remedy):
    path = tmp_path / "resnet50.pth"
    path.write_bytes(data)
    with pytest.raises(PretrainedError) as error:
        pretrained_encoder(path)
    assert str(error.value).startswith(f"{path}: ")
    assert remedy in str(error.value)


# From torchvision --------------------------------------------------------------------------------


def test_without_a_file_torchvisions_weights_are_used(resnet, monkeypatch):
    requests = []

    def give(choice, **options):
        requests.append((choice, options))
        return resnet.state_dict()

    monkeypatch.setattr(WeightsEnum, "get_state_dict", give)
    first = pretrained_encoder()
    assert_has_weights(first, resnet)
    assert not first.stride_in_1x1
    assert first.source == "torchvision ResNet50_Weights.IMAGENET1K_V2"
    assert requests == [(ResNet50_Weights.IMAGENET1K_V2, {"check_hash": True})]


@pytest.mark.parametrize("failure", ["no_network", "broken_network"])
def test_a_download_that_fails_falls_back_on_the_checkpoints_encoder(
    failure, request, checkpoint_path, resnet
):
    request.getfixturevalue(failure)
    first = pretrained_encoder(fallback=checkpoint_path)
    assert first.source == (
        "the encoder of tiny.pth, because torchvision's weights could not be downloaded"
    )
    state = resnet.state_dict()
    # The photographs that this encoder was trained on count for all that is trained from it.
    assert first.training_images == Checkpoint.load(checkpoint_path).training_images
    for name, value in first.encoder.stages.state_dict().items():
        assert_close(value, state[name].half().float(), rtol=0, atol=0)
    kept = tensors_of(Checkpoint.load(checkpoint_path).weights)
    assert torch.equal(first.classifier.weight, kept["decoder.classifier.linear.weight"].float())
    assert torch.equal(first.classifier.bias, kept["decoder.classifier.linear.bias"].float())


@pytest.mark.parametrize("failure", ["no_network", "broken_network"])
def test_a_download_that_fails_without_a_fallback_says_what_to_do(failure, request):
    request.getfixturevalue(failure)
    with pytest.raises(PretrainedError) as caught:
        pretrained_encoder()
    message = str(caught.value)
    assert "could not be downloaded" in message
    assert "--encoder-weights" in message
    assert "\n" not in message


def test_the_strides_are_those_of_the_fallback(no_network, checkpoint, tmp_path):
    path = tmp_path / "original.pth"
    model = replace(checkpoint.model, stride_in_1x1=True)
    save_checkpoint(replace(checkpoint, model=model), path)
    first = pretrained_encoder(fallback=path)
    assert first.stride_in_1x1
    assert first.encoder.stages.layer2[0].conv1.stride == (2, 2)


def test_a_fallback_that_is_not_a_checkpoint_is_refused(no_network, tmp_path):
    path = tmp_path / "fallback.pth"
    path.write_text("not a checkpoint\n")
    with pytest.raises(CheckpointError, match=r"fallback\.pth"):
        pretrained_encoder(fallback=path)


# Hashes ------------------------------------------------------------------------------------------


def test_the_hash_depends_on_names_and_values_but_not_on_their_order():
    one, two = torch.arange(3.0), torch.ones(2)
    weights = {"a": one, "b": two}
    digest = weights_hash(weights)
    assert len(digest) == 16
    assert weights_hash({"b": two.clone(), "a": one.clone()}) == digest
    others = ({"a": one, "c": two}, {"a": one, "b": two + 1}, {"a": one}, {"a": two, "b": one})
    assert len({digest, *map(weights_hash, others)}) == 5


def test_the_hash_does_not_depend_on_the_layout_in_memory():
    square = torch.arange(6.0).view(2, 3)
    assert weights_hash({"a": square.t()}) == weights_hash({"a": square.t().contiguous()})
    assert weights_hash({"a": square.requires_grad_()}) == weights_hash({"a": square.detach()})
    assert weights_hash({"a": square.t()}) == weights_hash(arrays_of({"a": square.t()}))


def test_the_hash_of_an_encoder_depends_on_where_it_strides(resnet):
    encoders = [Encoder(stride_in_1x1) for stride_in_1x1 in (False, True)]
    for encoder in encoders:
        encoder.load_torchvision(resnet.state_dict())
    first, second = map(encoder_hash, encoders)
    assert first != second
    assert first == encoder_hash(deepcopy(encoders[0]))


@pytest.mark.parametrize("name", ["conv1.weight", "layer3.0.bn2.running_var", "fc.bias"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(resnet, tmp_path, name, bad):
    state = {each: value.clone() for each, value in resnet.state_dict().items()}
    state[name].view(-1)[1] = bad
    torch.save(state, tmp_path / "bad.pth")
    with pytest.raises(PretrainedError, match=rf"bad\.pth: .* its {name} holds .* not finite"):
        pretrained_encoder(tmp_path / "bad.pth")
