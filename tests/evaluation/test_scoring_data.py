"""Which photographs are scored."""

import json

import pytest
from PIL import Image

from captioning.data.caption_files import DataError
from captioning.errors import SettingError
from captioning.evaluation.scoring_data import ScoringData
from captioning.evaluation.scoring_flags import ScoringFlags

SPLITS = {"train": 6, "val": 3, "test": 2}


@pytest.fixture
def read(tmp_path):
    """Read a data set with a split of its own, and without photographs, by other flags."""

    def read(sizes=SPLITS, predictions=None, sentences=2, **flags):
        images = [
            {
                "filename": f"{split}{n}.jpg",
                "split": split,
                "sentences": [{"raw": f"a dog {'runs ' * (9 - n)}"}] * sentences,
            }
            for split, count in sizes.items()
            for n in range(count)
        ]
        (tmp_path / "data.json").write_text(json.dumps({"images": images}))
        captions = tmp_path / "captions.csv"
        rows = [f"{name},a dog" for name in predictions or ["test0.jpg"]]
        captions.write_text("\n".join(["image,caption", *rows]))
        references = tmp_path / "data.json"
        return ScoringData.read(ScoringFlags(captions=captions, references=references, **flags))

    return read


def names(photographs):
    return [photograph.name for photograph in photographs]


@pytest.mark.parametrize(
    ("predictions", "split"),
    [
        (["test0.jpg", "test1.jpg"], "test"),
        (["val0.jpg", "val1.jpg", "val2.jpg"], "dev"),
        ([f"train{n}.jpg" for n in range(6)], "train"),
        (["val0.jpg", "val2.jpg"], "dev"),  # fits none, and this one best
    ],
)
def test_the_split_is_the_one_that_the_captions_fit(read, predictions, split):
    assert read(predictions=predictions).split == split


def test_captions_of_all_photographs_are_scored_on_all(read):
    every = [f"{split}{n}.jpg" for split, count in SPLITS.items() for n in range(count)]
    data = read(predictions=every)
    assert data.split == "all"
    assert sorted(names(data.photographs)) == sorted(every)


def test_a_trial_scores_the_first_photographs_shortest_captions_first(read):
    data = read(split="dev", limit=2)
    assert names(data.part) == ["val0.jpg", "val1.jpg", "val2.jpg"]
    assert names(data.photographs) == ["val1.jpg", "val0.jpg"]


def test_training_captions_are_known_unless_they_are_scored(read):
    assert read(split="test").training_captions() == {
        ("a", "dog", *["runs"] * count) for count in range(4, 10)
    }
    assert read(split="train").training_captions() is None
    assert read(split="all").training_captions() is None
    assert read(sizes={"test": 2}, split="test").training_captions() is None


def test_a_split_without_photographs_is_refused(read):
    with pytest.raises(DataError, match="no dev photographs; choose another --split"):
        read(sizes={"train": 2, "test": 2}, split="dev")


def test_training_photographs_for_baselines(read):
    assert len(read(split="test").require_training()) == 6
    for split in ("train", "all"):
        with pytest.raises(DataError, match="choose another --split"):
            read(split=split).require_training()
    with pytest.raises(DataError, match="has none; choose another baseline"):
        read(sizes={"test": 2}, split="test").require_training()


def test_a_single_reference_cannot_be_left_out(read):
    assert read(sentences=1)
    assert read(sentences=2, four_references=True)
    for flags in ({"four_references": True}, {"against": "human"}):
        with pytest.raises(SettingError, match="at least two"):
            read(sentences=1, **flags)


def test_damaged_photographs_are_left_out_on_request(tmp_path):
    rows = ["image,caption"]
    for name in ("a.png", "b.png", "c.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
        rows.append(f"{name},a dog")
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:40])
    (tmp_path / "data.csv").write_text("\n".join(rows))
    flags = ScoringFlags(
        references=tmp_path / "data.csv",
        images=tmp_path,
        split="all",
        skip_bad=True,
        cache=tmp_path / "cache",
    )
    data = ScoringData.read(flags)
    assert sorted(names(data.photographs)) == sorted(names(data.part)) == ["a.png", "c.png"]
    assert data.remarks[0].startswith("left out 1 photograph that cannot be read, the first: ")
    for name in ("a.png", "c.png"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match="none of the photographs can be read"):
        ScoringData.read(flags)
