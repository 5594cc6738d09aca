"""Captions of other systems: every format, what is wrong with a file, and whose photographs."""

import csv
import io
import json
import random
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools.coco import COCO

from captioning.__main__ import main
from captioning.data.caption_files import DataError
from captioning.evaluation.predictions import match_predictions, read_predictions
from tests.data import caption_writers

several = settings(max_examples=100, deadline=None, database=None)

HEADER = "image,caption\n"
CAPTIONS = {
    "b.jpg": 'a sign says "stop", twice',
    "a.jpg": "a man\nin a café 犬\u2028 with a dog",
    "c.jpg": "",
}
NAMES = ["a.jpg", "b.jpg", "c.jpg"]


@pytest.fixture
def path(tmp_path):
    """The file of captions: its suffix says nothing."""
    return tmp_path / "captions.any"


@pytest.fixture
def read(path):
    """Write a file of captions, and read it."""

    def read(content):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_predictions(path)

    return read


@pytest.fixture
def refuse(read, path):
    """The sentence of the DataError that reading raises."""

    def refuse(content):
        with pytest.raises(DataError) as caught:
            read(content)
        return sentence(caught, path)

    return refuse


def sentence(caught, path):
    """The message, if it is one sentence that names the file first and the remedy last."""
    message = str(caught.value)
    assert message.startswith(str(path))
    rest = message.removeprefix(str(path))
    assert rest.isprintable()
    assert rest.count("; ") == 1
    assert not rest.endswith(".")
    assert len(rest) < 450
    return rest


# Formats ----------------------------------------------------------------------------------------


def as_coco(captions):
    """What a system writes that is evaluated with coco-caption."""
    return json.dumps([{"image_id": name, "caption": text} for name, text in captions.items()])


def as_csv(captions, line_end="\r\n"):
    text = io.StringIO()
    rows = csv.writer(text, lineterminator=line_end)
    rows.writerow(["image", "caption"])
    rows.writerows(captions.items())
    return text.getvalue()


def as_lines(captions, key="image", ascii=False):
    rows = [{key: name, "caption": text} for name, text in captions.items()]
    return "".join(json.dumps(row, ensure_ascii=ascii) + "\n" for row in rows)


FORMATS = [as_coco, as_csv, as_lines]


@pytest.mark.parametrize("write", FORMATS)
@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        lambda text: "\ufeff" + text,
        lambda text: "\n \n" + text + "\n\n \n",
        lambda text: text.rstrip("\r\n"),
    ],
    ids=["plain", "BOM", "blank lines", "no last line end"],
)
def test_each_format_gives_its_captions_in_the_order_of_the_file(read, write, change):
    captions = read(change(write(CAPTIONS)))
    assert captions == CAPTIONS
    assert list(captions) == list(CAPTIONS)


# Whatever a format uses to tell its cells apart stands in a caption.
PAIRS = [
    ("b.jpg", 'A dog | runs, "fast" .'),
    ("a.jpg", "Two dogs# play\u2028here ."),
    ("c.jpg", ""),
]


@pytest.mark.parametrize("write", caption_writers.FORMATS)
def test_every_format_to_train_on_can_be_scored(read, write):
    captions = read(write(PAIRS))
    assert captions == dict(PAIRS)
    assert list(captions) == [image for image, _ in PAIRS]


@pytest.mark.parametrize("write", caption_writers.FORMATS)
def test_every_format_with_several_captions_for_an_image_is_refused(refuse, write):
    message = refuse(write([*PAIRS, ("c.jpg", "A dog ."), ("c.jpg", "A cat .")]))
    assert re.match(
        r", (line|entry|sentence|annotation) \d+: has a caption for c\.jpg, and ", message
    )
    assert message.endswith(" (2 bad rows in all); keep one caption for each image")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("a.jpg#0\tA dog .\nb.jpg#0 A cat .\n", "line 2: has no caption for b.jpg"),
        ("a.jpg#0\tA dog .\nb.jpg\tA cat .\n", "line 2: has no image name"),
        ("image_name| comment_number| comment\na.jpg\n", "line 2: has no caption for a.jpg"),
        ("image_name| comment_number| comment\na.jpg| 4\n", "line 2: has no caption for a.jpg"),
        ("image_name| comment_number| comment\n| 0| A dog .\n", "line 2: has no image name"),
        (
            '{"images": [], "annotations": [{"image_id": 4, "caption": "a"}]}',
            "annotation 1: has no image name",
        ),
        ('{"images": 3}', "this JSON is of another kind, neither Karpathy's"),
    ],
)
def test_what_is_wrong_with_a_data_sets_format_is_named(refuse, content, complaint):
    assert complaint in refuse(content)


images = st.text(min_size=1).filter(str.strip)
mappings = st.dictionaries(images, st.text(), min_size=1, max_size=8)


@pytest.mark.parametrize("write", FORMATS)
@several
@given(mappings, st.randoms(use_true_random=False))
def test_any_captions_come_back_whatever_their_order(tmp_path_factory, write, captions, randomness):
    path = tmp_path_factory.mktemp("any") / "captions"
    names = list(captions)
    randomness.shuffle(names)
    path.write_bytes(write({name: captions[name] for name in names}).encode())
    read = read_predictions(path)
    assert read == captions
    assert match_predictions(read, list(captions), path) == list(captions.values())


@several
@given(mappings)
def test_json_may_be_ascii_too(tmp_path_factory, captions):
    path = tmp_path_factory.mktemp("any") / "captions"
    path.write_text(as_lines(captions, ascii=True), encoding="ascii")
    assert read_predictions(path) == captions


def test_a_coco_result_list_is_what_the_coco_tools_read(path):
    results = [
        {"image_id": 391895, "caption": "a man , riding"},
        {"image_id": 42, "caption": 'a "dog"', "score": -1.5, "id": 7},
    ]
    with path.open("w") as file:
        json.dump(results, file, indent=1)
    truth = COCO()
    truth.dataset = {"images": [{"id": row["image_id"]} for row in results], "annotations": []}
    truth.createIndex()
    expected = truth.loadRes(str(path)).imgToAnns
    assert read_predictions(path) == {str(i): rows[0]["caption"] for i, rows in expected.items()}


def test_csv_columns_are_found_by_their_names(read):
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")  # as bleu_scorer.py writes
    rows.writerow(["BLEU-4", "caption", "image", "invented objects", "new"])
    rows.writerows([0.5, caption, image, "", 1] for image, caption in CAPTIONS.items())
    assert read(text.getvalue()) == CAPTIONS


@pytest.mark.parametrize(
    "content",
    [
        'image,caption\r\na.jpg,"A dog, a cat"\r\nb.jpg,A "big" dog\r\n',
        ' image , caption \na.jpg,"A dog, a cat"\nb.jpg,"A ""big"" dog"\n,\n',
        '"image","caption"\n"a.jpg","A dog, a cat"\n\n"b.jpg","A ""big"" dog"\n , \n',
    ],
    ids=["CRLF", "blanks in the header", "all quoted"],
)
def test_csv_of_other_programs(read, content):
    assert read(content) == {"a.jpg": "A dog, a cat", "b.jpg": 'A "big" dog'}


@pytest.mark.parametrize(
    ("row", "caption"),
    [
        ("x.jpg,A dog, a cat", "A dog, a cat"),
        ('x.jpg,"a" dog', "a dog"),
        ('x.jpg,"a dog', "a dog"),
        ('x.jpg,"a dog, a cat', "a dog, a cat"),
    ],
)
def test_a_row_with_commas_or_quotes_out_of_order_is_read_as_for_training(read, row, caption):
    content = HEADER + row + '\nb.jpg,"a cat"\n'
    assert read(content) == {"x.jpg": caption, "b.jpg": "a cat"}


def test_line_breaks_within_a_caption_stay_as_they_are(read):
    captions = {"a.jpg": "one\r\ntwo\nthree\rfour", "b.jpg": "\n"}
    assert read(as_csv(captions)) == captions


def test_json_lines_with_windows_line_ends(read):
    assert read(as_lines(CAPTIONS).replace("\n", "\r\n")) == CAPTIONS


def test_a_path_in_json_lines_counts_by_its_name(read, path):
    captions = read(as_lines({"/data/photos/a.jpg": "a dog", "b.jpg": "a cat"}, "file"))
    assert match_predictions(captions, ["b.jpg", "a.jpg"], path) == ["a cat", "a dog"]


@pytest.mark.parametrize("before", ["", "\n\n"])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_single_json_line_is_a_file_too(read, before, indent):
    row = {"file": "photos/a.jpg", "caption": "a dog"}
    assert read(before + json.dumps(row, indent=indent)) == {"photos/a.jpg": "a dog"}


def test_a_single_json_line_is_named_by_its_line_too(refuse):
    assert refuse('\n\n{"image": "a.jpg"}').startswith(", line 3: has no caption for a.jpg; ")


@pytest.mark.parametrize("caption", ["", " ", "\t"])
@pytest.mark.parametrize("write", FORMATS)
def test_an_empty_caption_is_a_caption(read, path, write, caption):
    captions = read(write({"a.jpg": caption, "b.jpg": "a dog"}))
    assert match_predictions(captions, ["b.jpg", "a.jpg"], path) == ["a dog", caption]


@pytest.fixture
def photos(tmp_path):
    """A folder of three photographs, one of which cannot be read."""
    folder = tmp_path / "photos, mine"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "café 犬.png")
    Image.new("RGB", (60, 80), "white").save(folder / "b.jpg")
    (folder / "bad.jpg").write_text("This is not a photograph.")
    return folder


def test_what_the_command_line_writes_is_read(
    read, path, photos, checkpoint_path, captioner, capsys
):
    status = main([str(photos), "--json", "--model", str(checkpoint_path)])
    assert status == 2  # for the one that cannot be read, which is not among the lines
    captions = read(capsys.readouterr().out)
    names = ["café 犬.png", "b.jpg"]
    expected = [captioner(photos / name).text for name in names]
    assert len(set(expected)) == 2
    assert match_predictions(captions, names, path) == expected
    with pytest.raises(DataError, match=r"the first bad\.jpg, has no caption"):
        match_predictions(captions, [*names, "bad.jpg"], path)


# Files without captions -------------------------------------------------------------------------

LINE = '{"image": "a.jpg", "caption": "a dog"}\n'
SHAPES = {
    "empty": ("", ["empty"]),
    "blank": (" \r\n\n", ["empty"]),
    "only a BOM": ("\ufeff", ["empty"]),
    "binary": (b"\x89PNG\r\n\x1a\n\x00\x00\xff\xfe", ["line 1", "UTF-8", "name a file"]),
    "zeros": (b"\0" * 100, ["line 1", "not how a known format begins"]),
    "UTF-16": ((HEADER + "a.jpg,a dog\n").encode("utf-16"), ["save it as UTF-8"]),
    "invalid UTF-8": (HEADER.encode() + b"a.jpg,caf\xe9\n", ["line 2", "save it as UTF-8"]),
    "text": ("a.jpg: A dog.\n", ["line 1", "a.jpg: A dog.", "COCO's", "CSV", "--json"]),
    "a JSON string": ('"a dog"', ["line 1", "not how a known format begins"]),
    "no caption column": ("image,by\na.jpg,a dog\n", ["line 1", "image,by", "column caption"]),
    "no image column": ("id,caption\na.jpg,a dog\n", ["line 1", "id,caption", "column image"]),
    "colons": ("image:caption\na.jpg:a dog\n", ["line 1", "image:caption"]),
    "two columns of captions": (
        "image,caption,caption\na.jpg,a dog,a cat\n",
        ["line 1", "one column caption"],
    ),
    "commas": ("\n,,\n,\n", ["line 1", "not how a known format begins"]),
    "header only": (HEADER, ["no caption in it", "name another file"]),
    "empty list": ("[]", ["no caption in it", "name another file"]),
    "an object by name": ('{"a.jpg": "a dog"}', ["of another kind", "COCO's list of results"]),
    "an empty object": ("{}", ["of another kind"]),
    "a list cut off": ('[\n{"image_id": 1,\n', ["line 3", "as JSON", "again"]),
    "a list with a break": (
        '[{"image_id": 1, "caption": "a\ndog"}]',
        ["line 1", "character at column 31)"],
    ),
    "two lists": ("[]\n[]\n", ["line 2", "Extra data"]),
    "a line cut off": (LINE + "\n" + LINE[:-9] + "\n", ["line 3", "as JSON", "again"]),
    "a line of text": (LINE + "b.jpg: there is no such file\n", ["line 2", "as JSON"]),
    "brackets": ("[" * 100_000, ["line 1", "too deep"]),
    "braces": ('{"image": ' * 100_000, ["line 1", "too deep"]),
    "digits": ('[{"image_id": 1' + "0" * 5000 + "}]", ["line 1", "too long"]),
}


@pytest.mark.parametrize(("content", "parts"), SHAPES.values(), ids=SHAPES.keys())
def test_a_file_without_captions_is_refused_in_one_sentence(refuse, content, parts):
    message = refuse(content)
    assert [part for part in parts if part not in message] == []


def test_a_missing_file_is_named(path):
    with pytest.raises(DataError) as caught:
        read_predictions(path)
    assert "there is no such caption file; name the file" in sentence(caught, path)


def test_a_folder_in_place_of_the_file_is_named(tmp_path):
    with pytest.raises(DataError) as caught:
        read_predictions(tmp_path)
    assert "cannot be read" in sentence(caught, tmp_path)


def test_a_file_that_may_not_be_read_is_named(unreadable):
    with pytest.raises(DataError) as caught:
        read_predictions(unreadable)
    assert "cannot be read" in sentence(caught, unreadable)


CAPTION = 'write a text there, "" for an empty caption'
NAME = "write the image's name or id there"
OBJECT = "write one with image_id and caption"
OBJECTS = {
    "no caption": ({"image": "x.jpg"}, "has no caption for x.jpg", CAPTION),
    "no error": ({"file": "x.jpg", "error": ""}, "has no caption for x.jpg", CAPTION),
    "null": ({"image_id": 42, "caption": None}, "has null for the caption of 42", CAPTION),
    "number": ({"image_id": "x", "caption": 3}, "has 3 for the caption of x", CAPTION),
    "list": ({"image": "x", "caption": ["a"]}, "has a list for the caption of x", CAPTION),
    "half": ({"image": "x", "caption": "a \ud83d"}, "has half a character in", "fix that caption"),
    "no image": ({"caption": "a"}, "names no image", "write image_id or file or image there"),
    "empty name": ({"image": "", "caption": "a"}, 'has "" for image, which names no image', NAME),
    "blank id": ({"image_id": " ", "caption": "a"}, 'has " " for image_id', NAME),
    "null id": ({"image_id": None, "caption": "a"}, "has null for image_id", NAME),
    "true id": ({"image_id": True, "caption": "a"}, "has true for image_id", NAME),
    "real id": ({"image_id": 42.0, "caption": "a"}, "has 42.0 for image_id", NAME),
    "list id": ({"file": ["a"], "caption": "a"}, "has a list for file", NAME),
    "root": ({"file": "/", "caption": "a"}, 'has "/" for file, which names no image', NAME),
    "a string": ("a dog", 'is "a dog" and not an object', OBJECT),
    "a long string": ("dog " * 1000, 'is "dog dog', OBJECT),
    "a list for an object": (["x.jpg", "a dog"], "is a list and not an object", OBJECT),
    "nothing": (None, "is null and not an object", OBJECT),
    "a long name": ({"image": "犬\n" * 1000}, "has no caption for 犬\\n犬\\n", CAPTION),
}


@pytest.mark.parametrize(("bad", "complaint", "remedy"), OBJECTS.values(), ids=OBJECTS.keys())
def test_a_bad_object_is_named_by_its_position_with_their_number(refuse, bad, complaint, remedy):
    good = {"image": "a.jpg", "caption": "a dog"}
    for message, position in [
        (refuse(json.dumps([good, bad, bad], indent=1)), "entry 2"),
        (refuse("\n".join(map(json.dumps, [good, bad, bad]))), "line 2"),
    ]:
        assert message.startswith(f", {position}: {complaint}")
        assert message.endswith(f" (2 bad rows in all); {remedy}")
    assert "in all" not in refuse(json.dumps([good, bad]))


ROWS = {
    "too short": ("x.jpg", "has 1 cell where the header has 2", "quotes"),
    "no name": (",a dog", "has no image name", NAME),
    "a blank name": (" ,a dog", "has no image name", NAME),
    "a bare return": (
        "x.jpg,a\rdog",
        "(new-line character seen in unquoted field)",
        "fix its quotes",
    ),
    "endless": ("x.jpg," + "a dog " * 30_000, "cannot be read (field larger", "fix its quotes"),
}


@pytest.mark.parametrize(("row", "complaint", "remedy"), ROWS.values(), ids=ROWS.keys())
def test_a_bad_row_of_csv_is_named_by_the_line_where_it_begins(refuse, row, complaint, remedy):
    message = refuse(HEADER + '\na.jpg,"a\nman"\n' + row + "\nb.jpg,a cat\n")
    assert message.startswith(", line 5: ")
    assert complaint in message
    assert remedy in message


def test_with_other_columns_commas_must_be_quoted(refuse):
    message = refuse("image,caption,score\nx.jpg,A dog, a cat,1\nb.jpg,a cat,1\n")
    assert message.startswith(", line 2: has 4 cells where the header has 3; ")
    assert "quotes" in message
    message = refuse('image,caption,score\nx.jpg,"A dog,1\nb.jpg,"a cat",1\n')
    assert message.startswith(", line 2: has 2 cells where the header has 3; ")


def test_many_bad_rows_make_one_message_with_their_number(refuse):
    message = refuse("image,caption,score\nx.jpg,1\ny.jpg,a,dog,1\nz.jpg,a cat,1\n")
    assert message.startswith(", line 2: has 2 cells where the header has 3 (2 bad rows in all); ")


@pytest.mark.parametrize("again", ["a dog", "a cat", ""])
def test_a_second_caption_for_an_image_is_refused_with_both_positions(refuse, again):
    rows = [("b.jpg", "a man"), ("a.jpg", "a dog"), ("a.jpg", again)]
    coco = [{"image_id": image, "caption": caption} for image, caption in rows]
    lines = [{"image": image, "caption": caption} for image, caption in rows]
    complaint = "has a caption for a.jpg, and so has"
    remedy = "; keep one caption for each image"
    assert refuse(json.dumps(coco)) == f", entry 3: {complaint} entry 2{remedy}"
    text = "\n".join(map(json.dumps, lines))
    assert refuse(text) == f", line 3: {complaint} line 2{remedy}"
    table = HEADER + "".join(f"{image},{caption}\n" for image, caption in rows)
    assert refuse(table) == f", line 4: {complaint} line 3{remedy}"


def test_a_path_with_two_captions_is_refused(refuse):
    rows = [json.dumps({"file": "one/a.jpg", "caption": text}) for text in ("a dog", "a cat")]
    message = refuse("\n".join(rows))
    assert message.startswith(", line 2: has a caption for one/a.jpg, and so has line 1; ")


def test_paths_that_end_in_one_name_are_two_images(read, path):
    captions = read(as_lines({"p/one/a.jpg": "a dog", "p/two/a.jpg": "a cat"}, "file"))
    names = ["two/a.jpg", "one/a.jpg"]
    assert match_predictions(captions, names, path) == ["a cat", "a dog"]
    with pytest.raises(DataError, match="in it are both the photograph"):
        match_predictions(captions, ["a.jpg"], path)


def test_what_could_not_be_captioned_is_told_and_no_caption(read, path):
    lines = [
        {"version": 1, "file": "a.jpg", "caption": "a dog"},
        {"version": 1, "file": "b.jpg", "caption": None, "error": "b.jpg: cut off"},
    ]
    captions = read("\n".join(map(json.dumps, lines)))
    assert captions == {"a.jpg": "a dog"}
    assert captions.remarks == (f"{path}: left out 1 photograph that could not be captioned",)
    with pytest.raises(DataError, match=r"the first b\.jpg, has no caption in it"):
        match_predictions(captions, ["a.jpg", "b.jpg"], path)


def test_a_number_and_its_text_are_one_image(refuse):
    rows = [{"image_id": 42, "caption": "a dog"}, {"image_id": "42", "caption": "a dog"}]
    assert "has a caption for 42, and so has entry 1; " in refuse(json.dumps(rows))


def test_a_file_of_references_is_refused_with_the_number_of_repeats(refuse):
    rows = [f"{image},A dog number {i} .\n" for image in ("a.jpg", "b.jpg") for i in range(5)]
    message = refuse(HEADER + "".join(rows))
    assert message.startswith(
        ", line 3: has a caption for a.jpg, and so has line 2 (8 bad rows in "
    )


PIECES = ['{"image": "a", ', '"caption": ', '"b"}', "image,caption\n", *'[]{}:,"\n\r\\ a1']
pieces = st.lists(st.sampled_from(PIECES), max_size=20).map(lambda parts: "".join(parts).encode())


@several
@given(st.binary(max_size=60) | pieces)
def test_whatever_the_file_it_is_read_or_refused_in_one_sentence(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "captions"
    path.write_bytes(content)
    try:
        assert read_predictions(path)
        return
    except DataError as error:
        message = str(error)
    assert message.startswith(str(path))
    assert message.isprintable()
    assert "; " in message


# Whose photographs ------------------------------------------------------------------------------

COCO_42 = "COCO_val2014_000000000042.jpg"
SAME = {
    "exactly": ("sub/a.jpg", "sub/a.jpg"),
    "a folder in the file": ("Images/a.jpg", "a.jpg"),
    "a folder of Windows": ("C:\\photos\\a.jpg", "a.jpg"),
    "a folder in the data set": ("a.jpg", "sub/a.jpg"),
    "another folder": ("one/a.jpg", "two/a.jpg"),
    "blanks around": (" a.jpg ", "a.jpg"),
    "the stem": ("1000268201_693b08cb0e", "1000268201_693b08cb0e.jpg"),
    "a stem with a point": ("man.red", "man.red.jpg"),
    "a stem with a point, the other way": ("man.red.jpg", "man.red"),
    "a stem in a folder": ("one/a", "two/a.jpg"),
    "the end of a path": ("home/me/sub/a.jpg", "sub/a.jpg"),
    "the end of a path of Windows": ("C:\\me\\sub\\a.jpg", "sub/a.jpg"),
    "a path in the data set": ("sub/a.jpg", "val2014/sub/a.jpg"),
    "a backslash in a name": ("photos/a\\b.jpg", "a\\b.jpg"),
    "another normal form": ("cafe\u0301.jpg", "caf\xe9.jpg"),
    "the other normal form": ("caf\xe9.jpg", "sub/cafe\u0301.jpg"),
    "a stem in another form": ("cafe\u0301", "caf\xe9.png"),
    "a byte that CSV escapes": ("a\udce9.jpg", r"x/a\udce9.jpg"),
    "an escaped byte": (r"a\udce9.jpg", "x/a\udce9.jpg"),
    "an escaped blank": (r"names/a\u202fb\u3000.png", "a\u202fb\u3000.png"),
    "its own blanks": (" a  b.jpg", " a  b.jpg"),
    "another extension": ("a.jpg", "a.png"),
    "another case": ("a.JPEG", "a.jpg"),
    "an extension in the file only": ("a.jpg", "a"),
    "an id": ("42", "42.jpg"),
    "a padded id": ("000000000042", "42.jpg"),
    "a padded name": ("42", "000000000042.jpg"),
    "an id of COCO": ("42", COCO_42),
    "a padded id of COCO": ("000000000042.jpg", COCO_42),
    "zero": ("0", "COCO_val2014_000000000000.jpg"),
    "thousands of digits": ("1" * 5000, "1" * 5000 + ".jpg"),
}
OTHERS = {
    "another name": ("b.jpg", "a.jpg"),
    "another case of the name": ("A.jpg", "a.jpg"),
    "another id": ("43", COCO_42),
    "the end of an id": ("2", COCO_42),
    "digits of a hash": ("9", "1000268201_693b08cb9.jpg"),
    "a number in front": ("1000268201", "1000268201_693b08cb0e.jpg"),
    "another set of COCO": ("COCO_train2014_000000000042", COCO_42),
    "a number for an extension": ("img.002", "img.001"),
    "other blanks": ("a b.jpg", "a  b.jpg"),
    "another blank": ("a b.jpg", "a\xa0b.jpg"),
    "a joiner more": ("a\u200db.jpg", "ab.jpg"),
    "the photograph never published": ("a.jpg.1", "a.jpg"),
    "other digits": ("٤٢", COCO_42),
    "a folder": ("a.jpg/", "a.jpg"),
}


@pytest.mark.parametrize(("image", "name"), SAME.values(), ids=SAME.keys())
def test_a_photograph_is_known_by(path, image, name):
    assert match_predictions({image: "a dog", "z": "a cat"}, ["z", name], path) == [
        "a cat",
        "a dog",
    ]


@pytest.mark.parametrize(("image", "name"), OTHERS.values(), ids=OTHERS.keys())
def test_a_photograph_is_not_known_by(path, image, name):
    with pytest.raises(DataError, match="not among"):
        match_predictions({image: "a dog"}, [name], path)


def test_ids_of_coco_from_the_file_to_the_photographs(read, path):
    captions = read('[{"image_id": 42, "caption": "a dog"}, {"image_id": 7, "caption": "a cat"}]')
    names = ["COCO_val2014_000000000007.jpg", COCO_42]
    assert match_predictions(captions, names, path) == ["a cat", "a dog"]


@pytest.mark.parametrize(
    ("image", "names", "expected"),
    [
        ("42", ["42.jpg", COCO_42, "x_42.jpg"], "42.jpg"),
        ("a", ["a", "a.jpg", "b/a.png"], "a"),
        ("a.jpg", ["a.jpg", "b/a.jpg", "a.png"], "a.jpg"),
        ("x/a.jpg", ["a.jpg", "a.png", "a"], "a.jpg"),
        ("p/x/1.jpg", ["x/1.jpg", "1.jpg", "y/1.jpg"], "x/1.jpg"),
        ("p/1.jpg", ["x/1.jpg", "1.jpg", "y/1.jpg"], "1.jpg"),
        ("q/cafe\u0301.jpg", ["caf\xe9.jpg", "cafe\u0301.jpg"], "cafe\u0301.jpg"),
        (r"a\udce9.jpg", [r"a\udce9.jpg", "a\udce9.jpg"], r"a\udce9.jpg"),
        (" a.jpg", ["a.jpg", " a.jpg"], " a.jpg"),
        ("a.red", ["a.red.jpg", "a.jpg"], "a.red.jpg"),
        ("a.red.jpg", ["a.red", "a.jpg"], "a.red"),
    ],
)
def test_the_nearest_name_is_chosen(path, image, names, expected):
    # The others are there by their own names, so that each has a caption.
    candidates = {image: "this"} | {name: "other" for name in names if name != expected}
    matched = match_predictions(candidates, names, path)
    assert dict(zip(names, matched, strict=True))[expected] == "this"
    assert matched.count("this") == 1


def test_a_photograph_given_twice_has_its_caption_twice(path):
    assert match_predictions({"a": "a dog"}, ["a.jpg", "a.jpg"], path) == ["a dog", "a dog"]


@pytest.fixture
def mismatch(path):
    """The sentence of the DataError that matching raises."""

    def mismatch(images, names):
        with pytest.raises(DataError) as caught:
            match_predictions(dict.fromkeys(images, "a dog"), names, path)
        return sentence(caught, path)

    return mismatch


@pytest.mark.parametrize(
    ("image", "names"),
    [
        ("x/a.jpg", ["y/a.jpg", "z/a.jpg"]),
        ("a", ["a.jpg", "a.png"]),
        ("a.gif", ["a.jpg", "a.png"]),
        ("42", ["COCO_train2014_000000000042.jpg", COCO_42]),
        ("\xe9cafe\u0301.jpg", ["\xe9caf\xe9.jpg", "e\u0301cafe\u0301.jpg"]),
    ],
)
def test_a_name_that_may_be_two_photographs_is_refused(mismatch, image, names):
    expected = f"{image} in it may be {names[0]} or {names[1]}; write the name of the photograph"
    assert expected in mismatch([image], names)


@pytest.mark.parametrize("second", ["x/a.jpg", "a", "a.png"])
def test_two_names_of_one_photograph_are_refused(mismatch, second):
    message = mismatch(["a.jpg", second, "b.jpg"], NAMES)
    assert f"a.jpg and {second} in it are both the photograph a.jpg; keep one" in message


def test_captions_of_other_images_are_refused_with_their_number_and_the_first(mismatch):
    others = [f"other{i}.jpg" for i in range(1500)]
    assert mismatch([*NAMES, *others], NAMES) == (
        ": 1,500 images in it, the first other0.jpg, are not among the 3 photographs to be scored; "
        "choose their split with --split, or take them out"
    )
    assert ": 1 image in it, the first z.jpg, is not among the 3 " in mismatch(["z.jpg"], NAMES)


def test_photographs_without_a_caption_are_refused_with_their_number_and_the_first(mismatch):
    assert mismatch(["b.jpg"], NAMES) == (
        ": 2 photographs of the 3 to be scored, the first a.jpg, have no caption in it; add what "
        "is missing, or choose the split that it is for with --split"
    )
    message = mismatch(["a.jpg", "c.jpg"], NAMES)
    assert ": 1 photograph of the 3 to be scored, the first b.jpg, has no caption" in message
    assert ": 3 photographs of the 3 to be scored, the first a.jpg, have" in mismatch([], NAMES)


def test_a_name_of_several_lines_makes_one_line_of_message(mismatch):
    assert "the first a\\nb" in mismatch(["a\nb" * 100], NAMES)


@several
@given(st.lists(st.from_regex(r"[a-z]{1,3}/[a-z0-9_]{1,9}\.jpg", fullmatch=True), unique=True))
def test_a_file_of_stems_gives_the_same_as_one_of_names_or_is_refused(names):
    stems = {name.rpartition("/")[2].removesuffix(".jpg"): name for name in names}
    order = list(stems)
    random.Random(0).shuffle(order)
    candidates = {stem: f"caption of {stems[stem]}" for stem in order}
    if len(stems) < len(names):
        with pytest.raises(DataError, match="may be"):
            match_predictions(candidates, names, Path("captions"))
    else:
        expected = [f"caption of {name}" for name in names]
        assert match_predictions(candidates, names, Path("captions")) == expected
