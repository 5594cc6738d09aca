"""Bad model files are refused in one sentence, whatever reads them, and their code is not run."""

import contextlib
import pickle

import numpy as np
import pytest
import torch

from captioning.inference.captioner import Captioner
from captioning.network.checkpoint import Checkpoint, CheckpointError, _is_finite
from captioning.network.pretrained import PretrainedError, pretrained_encoder
from tools.attacks import bad_contents, bad_models, models


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


def thinned(files, step):
    return [file for number, file in enumerate(files) if number % step == 0]


@pytest.mark.parametrize("name", [name for name, _ in bad_models.programs("x")])
def test_the_code_of_the_programs_does_run_where_nothing_prevents_it(tmp_path, name):
    canary = tmp_path / "canary"
    with contextlib.suppress(FileExistsError):  # one tries it many times
        pickle.loads(dict(bad_models.programs(canary))[name])
    assert canary.is_dir()


def test_the_good_files_of_these_attacks_are_read(tmp_path):
    path = tmp_path / "model.pth"
    path.write_bytes(bad_models.saved(bad_models.content()))
    assert Checkpoint.load(path).vocabulary.words == bad_models.WORDS
    with models.Reader("resume", tmp_path) as reader:
        for old in (False, True):
            path.write_bytes(bad_models.saved(bad_contents.resumable(), old))
            assert not reader.ask(path).error


@pytest.mark.parametrize("kind", models.READERS)
def test_each_is_refused_in_one_sentence_in_little_memory(folder, kind):
    with models.Reader(kind, folder) as reader:
        for what, files, may_load in models.files_of(kind, folder / "canary"):
            all_of_them = kind == "checkpoint" and "run code" in what
            some = thinned(files, 1 if all_of_them else 15)
            assert not models.attack(what, some, reader, may_load).harm


def test_what_did_harm_would_be_noticed(folder):
    files = [("good", bad_models.saved(bad_models.content()))]
    with models.Reader("checkpoint", folder) as reader:
        assert models.attack("good", files, reader).harm == ["good: it was accepted"]
        (folder / "canary").mkdir()
        outcome = models.attack("after code ran", [("bad", b"")], reader)
        assert outcome.harm == ["bad: its code ran"]


@pytest.mark.parametrize("kind", ["checkpoint", "encoder"])
def test_what_is_no_ordinary_file_is_not_waited_for(folder, kind):
    with models.Reader(kind, folder) as reader:
        for _, path in models.no_files(folder):
            models.judge(reader, path, folder / "canary")


def test_ranges_that_do_not_fit_are_refused(folder):
    assert not models.blends(folder).harm


def test_the_command_says_one_sentence(folder):
    (file,) = [each for each in bad_models.code(folder / "canary") if each[0] == "eval, bare"]
    assert not models.run_commands(folder, [file], ("captioning",)).harm


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -np.nan, 70000.0])
def test_encoder_weights_must_be_finite_in_float16(resnet, tmp_path, value):
    state = resnet.state_dict()
    state["layer4.2.conv3.weight"] = state["layer4.2.conv3.weight"].clone()
    state["layer4.2.conv3.weight"][-1, -1] = value
    path = tmp_path / "encoder.pth"
    torch.save(state, path)
    with pytest.raises(PretrainedError, match="not finite"):
        pretrained_encoder(path)


def test_weights_that_overflow_give_a_sentence_and_no_numbers(tmp_path):
    """They are finite in the file, but not what is computed with them."""
    content, draw = bad_models.content(), torch.manual_seed(0)
    for name, weight in content["weights"].items():
        if name.endswith("running_var"):
            content["weights"][name] = torch.full(weight.shape, 1e-4)
        elif weight.is_floating_point():
            content["weights"][name] = 1.2e5 * torch.randint(2, weight.shape, generator=draw) - 6e4
    path = tmp_path / "large.pth"
    path.write_bytes(bad_models.saved(content))
    with pytest.raises(CheckpointError, match="no numbers"):
        Captioner.load(path, engine="torch")(np.zeros((64, 64, 3), np.uint8))


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_all_numbers_are_finite_but_infinity_and_nan(kind):
    ends, numbers = np.finfo(kind), np.zeros((7, 5), kind)
    numbers.flat[:5] = [ends.max, ends.min, ends.smallest_subnormal, -0.0, ends.tiny]
    assert _is_finite(numbers)
    assert _is_finite(numbers[:, ::2].T)
    for bad in (np.nan, -np.nan, np.inf, -np.inf):
        numbers.flat[-1] = bad
        assert not _is_finite(numbers)
        assert not _is_finite(numbers[:, ::2].T)
