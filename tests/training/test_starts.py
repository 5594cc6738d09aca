"""What the first stage of a command starts from: an earlier stage, or an encoder."""

import pytest
from torch import nn

import main
from captioning.data.caption_files import DataError
from captioning.data.vocab import tokenize
from captioning.errors import SettingError
from captioning.network.encoder import Encoder
from captioning.network.pretrained import PretrainedEncoder
from captioning.training import starts
from captioning.training.records import RunFiles
from captioning.training.starts import first_weights, refuse_phrases, stage_before


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return RunFiles("small")


def train(files, *stages):
    for stage in stages:
        files.checkpoint(stage).parent.mkdir(parents=True, exist_ok=True)
        files.checkpoint(stage).touch()


@pytest.mark.parametrize(
    ("trained", "stage", "before"),
    [
        ([], "language", None),
        (["language", "decoder"], "language", None),
        ([], "decoder", None),
        (["language"], "decoder", "language"),
        (["decoder"], "decoder", None),
        (["language"], "finetune", "language"),
        (["language", "decoder"], "finetune", "decoder"),
        (["decoder"], "finetune", "decoder"),
        ([], "finetune", "decoder"),  # which is then reported as missing
        (["language", "decoder"], "refine", "finetune"),
        ([], "refine", "finetune"),
        (["language"], "reinforce", "refine"),
    ],
)
def test_a_stage_starts_from_the_one_before_where_that_was_trained(files, trained, stage, before):
    train(files, *trained)
    assert stage_before(stage, files) == before


def test_an_encoder_with_other_classes_is_refused(monkeypatch):
    """A model of somebody's own may have fewer, and stand where the shipped one does."""
    other = PretrainedEncoder(Encoder(), nn.Linear(2048, 10), "a checkpoint's")
    monkeypatch.setattr(starts, "pretrained_encoder", lambda *_: other)
    with pytest.raises(SettingError, match=r"its classifier is one of 10 classes, not of ImageNet"):
        first_weights(main.parse_arguments([]))


def test_captions_whose_words_are_not_separated_are_refused():
    flags = main.parse_arguments(["--captions", "mine.csv", "--images", "folder"])
    with pytest.raises(DataError, match=r"^mine\.csv: the words .* not separated .*; separate the"):
        refuse_phrases([tokenize("一只狗在草地上奔跑")] * 9, flags)
    refuse_phrases([tokenize("一 只 狗 在 草地 上 奔跑")] * 9, flags)
    refuse_phrases([tokenize("एक कुत्ता घास पर दौड़ रहा है")], flags)
