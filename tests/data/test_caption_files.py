"""Caption files of other projects, each generated in its true format."""

import csv
import io
import json

import pytest

from captioning.data.caption_files import DataError, read_captions
from captioning.data.splits import split_photographs

# Whatever a format uses to tell its cells apart stands in a caption.
CAPTIONS = {
    "b.jpg": ['A dog | runs, "fast" .', "Two dogs# play\u2028here ."],
    "a.jpg": ["A man's hat .", "A man , in a hat ."],
    "c.jpg": ["Grass ."],
}


def kaggle(pairs):
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([("image", "caption"), *pairs])
    return file.getvalue()


def own_columns(pairs):
    """As a spreadsheet saves it: other columns, another order."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(("caption", "photographer", "image"))
    writer.writerows((caption, "me, myself", image) for image, caption in pairs)
    return file.getvalue()


def tokens(pairs):
    counts = {}
    lines = []
    for image, caption in pairs:
        counts[image] = counts.get(image, -1) + 1
        lines.append(f"{image}#{counts[image]}\t{caption}\n")
    return "".join(lines)


def flickr30k(pairs):
    """results.csv: a blank after each bar."""
    lines = ["image_name| comment_number| comment\n"]
    lines += [f"{image}| {count % 5}| {text}\n" for count, (image, text) in enumerate(pairs)]
    return "".join(lines)


def karpathy(pairs, splits=("train", "val", "test")):
    """dataset_flickr8k.json: sentences beneath their image, with ids, and a split."""
    images, count = [], 0
    names = list(dict.fromkeys(image for image, _ in pairs))
    for place, name in enumerate(names):
        sentences = []
        for _, text in (pair for pair in pairs if pair[0] == name):
            words = text.lower().split()
            sentences.append({"tokens": words, "raw": text, "imgid": place, "sentid": count})
            count += 1
        images.append(
            {
                "sentids": [each["sentid"] for each in sentences],
                "imgid": place,
                "sentences": sentences,
                "split": splits[place % len(splits)],
                "filename": name,
            }
        )
    return json.dumps({"images": images, "dataset": "flickr8k"})


def coco(pairs):
    """captions_val2014.json: images and annotations apart, joined by an id."""
    names = list(dict.fromkeys(image for image, _ in pairs))
    ids = {name: 1000 + 7 * place for place, name in enumerate(names)}
    images = [
        {"license": 3, "file_name": name, "height": 480, "width": 640, "id": number}
        for name, number in ids.items()
    ]
    annotations = [
        {"image_id": ids[image], "id": place, "caption": text}
        for place, (image, text) in enumerate(pairs)
    ]
    content = {"info": {"year": 2014}, "images": images, "licenses": []}
    return json.dumps(content | {"annotations": annotations})


FORMATS = [kaggle, own_columns, tokens, flickr30k, karpathy, coco]
PAIRS = [(image, text) for image, own in CAPTIONS.items() for text in own]


@pytest.fixture
def read(tmp_path):
    """Read a text as a caption file; the photographs are there unless named as missing."""

    def read(text, missing=(), **options):
        path = tmp_path / "captions"
        path.write_text(text, encoding="utf-8")
        for name in set(CAPTIONS) - set(missing):
            (tmp_path / name).touch()
        return read_captions(path, tmp_path, **options)

    return read


@pytest.mark.parametrize("written", FORMATS)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_every_format_is_recognised_and_gives_the_same_photographs(read, written, mark):
    found = read(mark + written(PAIRS))
    assert not found.remarks
    assert {photo.name: list(photo.captions) for photo in found.photographs} == CAPTIONS
    assert [photo.name for photo in found.photographs] == list(CAPTIONS)


@pytest.mark.parametrize("written", FORMATS)
def test_a_missing_photograph_is_named_with_its_place_and_can_be_left_out(read, written):
    text = written(PAIRS)
    with pytest.raises(DataError, match=r"(line|sentence|annotation) \d+: names a\.jpg") as error:
        read(text, missing=["a.jpg"])
    assert "--skip-bad" in str(error.value)


@pytest.mark.parametrize("written", FORMATS)
def test_what_is_bad_is_left_out_where_that_is_asked_for(read, written):
    pairs = [*PAIRS, ("c.jpg", " . ")]
    found = read(written(pairs), missing=["b.jpg"], skip_bad=True)
    assert {photo.name for photo in found.photographs} == {"a.jpg", "c.jpg"}
    assert "left out 3 bad rows" in found.remarks[0]


def test_karpathys_split_is_respected(read):
    splits = split_photographs(read(karpathy(PAIRS, ["restval", "val", "test"])).photographs)
    assert [photo.name for photo in splits.train] == ["b.jpg"]
    assert [photo.name for photo in splits.dev] == ["a.jpg"]
    assert [photo.name for photo in splits.test] == ["c.jpg"]
    assert "own split" in splits.source


def test_a_file_without_a_split_is_split_by_the_names(read):
    assert "own split" not in split_photographs(read(coco(PAIRS)).photographs).source


def test_karpathys_folders_of_coco_are_followed(tmp_path):
    content = json.loads(karpathy(PAIRS[-1:]))
    content["images"][0]["filepath"] = "val2014"
    (tmp_path / "val2014").mkdir()
    (tmp_path / "val2014" / "c.jpg").touch()
    path = tmp_path / "dataset_coco.json"
    path.write_text(json.dumps(content))
    (found,) = read_captions(path, tmp_path).photographs
    assert found.path == tmp_path / "val2014" / "c.jpg"


def test_the_one_row_of_flickr30k_that_lacks_a_bar_is_read_as_meant(read):
    text = "image_name| comment_number| comment\nc.jpg| 4   A dog runs across the grass .\n"
    assert read(text).photographs[0].captions == ("A dog runs across the grass .",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"images": [', "no complete JSON"),
        ("{}", "neither Karpathy's"),
        ('{"images": [{"id": 1}], "annotations": [{"caption": "a"}]}', "nor COCO's"),
        ('{"images": 3}', "neither Karpathy's"),
        ("hello\nworld", "begins no format"),
        ("caption,by,image\na dog, running,me,c.jpg", "has 4 cells where the header has 3"),
    ],
)
def test_what_is_no_caption_file_is_refused_in_one_sentence(read, text, said):
    with pytest.raises(DataError, match=said) as error:
        read(text)
    assert "\n" not in str(error.value)


def test_an_annotation_of_an_unknown_image_is_a_bad_row(read):
    content = json.loads(coco(PAIRS))
    content["annotations"][1]["image_id"] = 5
    with pytest.raises(DataError, match="annotation 2: has no image name"):
        read(json.dumps(content))
