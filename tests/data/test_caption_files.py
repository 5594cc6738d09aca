"""Caption files to train on: every format, and what is wrong with a file or a row."""

import csv
import gzip
import io
import json
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from captioning.data.caption_files import DataError, read_captions
from captioning.data.splits import split_photographs
from tests.data.caption_writers import FORMATS, coco, json_lines, kaggle, karpathy, results

HEADER = "image,caption\n"
ORPHAN = "2258277193_586949ec62.jpg.1"
# Whatever a format uses to tell its cells apart stands in a caption.
CAPTIONS = {
    "b.jpg": ('A dog | runs, "fast" .', "Two dogs# play\u2028here ."),
    "a.jpg": ("A man's hat .", "A man , in a hat ."),
    "c.jpg": ("Grass .",),
}
PAIRS = [(image, text) for image, texts in CAPTIONS.items() for text in texts]


@pytest.fixture
def images(tmp_path):
    """A folder with a.jpg, b.jpg and c.jpg, which are never opened."""
    folder = tmp_path / "Images"
    folder.mkdir()
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (folder / name).write_bytes(b"not read here")
    return folder


@pytest.fixture
def read(tmp_path, images):
    """Write a caption file, and read it, without the photographs that are missing."""

    def read(content, missing=(), **options):
        for name in missing:
            (images / name).unlink()
        path = tmp_path / "captions.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_captions(path, images, **options)

    return read


@pytest.fixture
def refuse(read):
    """The message of the DataError that reading raises: it always names the file."""

    def refuse(content, **options):
        with pytest.raises(DataError) as caught:
            read(content, **options)
        message = str(caught.value)
        assert "captions.txt" in message
        assert "\n" not in message
        return message

    return refuse


def captions_of(file):
    return {photograph.name: photograph.captions for photograph in file.photographs}


# Formats ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", FORMATS)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_every_format_is_recognised_and_gives_the_same_photographs(read, write, mark):
    file = read(mark + write(PAIRS))
    assert not file.remarks
    assert captions_of(file) == CAPTIONS
    assert list(captions_of(file)) == list(CAPTIONS)


@pytest.mark.parametrize("write", FORMATS)
def test_a_missing_photograph_is_named_with_its_row(refuse, write):
    message = refuse(write(PAIRS), missing=["a.jpg"])
    assert re.search(r"(line|entry|sentence|annotation) \d+: names a\.jpg, which is not", message)
    assert "(2 bad rows in all)" in message
    assert "--skip-bad" in message


@pytest.mark.parametrize("write", FORMATS)
def test_bad_rows_are_left_out_and_counted_with_skip_bad(read, write):
    pairs = [*PAIRS, ("c.jpg", " . ")]
    file = read(write(pairs), missing=["b.jpg"], skip_bad=True)
    assert list(captions_of(file)) == ["a.jpg", "c.jpg"]
    assert "left out 3 bad rows" in file.remarks[0]


@pytest.mark.parametrize("write", FORMATS)
def test_an_empty_caption_is_a_bad_row_of_every_format(refuse, write):
    message = refuse(write([*PAIRS, ("c.jpg", "")]))
    assert "has no caption for c.jpg; fix it, or pass --skip-bad to go on" in message


@pytest.mark.parametrize("key", ["file", "image", "image_id"])
def test_json_lines_may_name_an_image_several_times(read, key):
    lines = json_lines([("b.jpg", "A dog ."), ("a.jpg", "One ."), ("b.jpg", "Two dogs .")], key)
    assert captions_of(read(lines)) == {"b.jpg": ("A dog .", "Two dogs ."), "a.jpg": ("One .",)}


def test_of_a_path_in_json_lines_the_last_part_counts(read):
    assert captions_of(read(json_lines([("photos/a.jpg", "A dog .")]))) == {"a.jpg": ("A dog .",)}


def test_a_json_line_cut_off_is_a_bad_row(read, refuse):
    lines = json_lines(PAIRS)[:-9]
    message = refuse(lines)
    assert "line 5: cannot be read as JSON" in message
    assert "--skip-bad" in message
    assert list(captions_of(read(lines, skip_bad=True))) == ["b.jpg", "a.jpg"]


def test_ids_of_coco_results_are_the_numbers_that_file_names_end_in(read, images):
    for name in ("COCO_val2014_000000000042.jpg", "photo_7.jpg", "1000_9.jpg", "0.jpg"):
        (images / name).touch()
    file = read(results([(42, "A dog ."), ("0007", "A cat ."), (0, "One ."), (42, "Two .")]))
    assert captions_of(file) == {
        "COCO_val2014_000000000042.jpg": ("A dog .", "Two ."),
        "photo_7.jpg": ("A cat .",),
        "0.jpg": ("One .",),
    }
    assert file.photographs[1].path == images / "photo_7.jpg"


@pytest.mark.parametrize("image", [42, 2, "x42", "42.jpg", "٤٢"])
def test_an_id_of_several_files_or_of_none_is_a_missing_photograph(refuse, images, image):
    for name in ("train_42.jpg", "val_42.jpg", "x_42.png", "hash42.jpg"):
        (images / name).touch()
    assert f"names {image}, which is not in" in refuse(results([(image, "A dog .")]))


def test_a_file_named_by_a_number_alone_comes_before_one_that_ends_in_it(read, images):
    for name in ("42", "val_42.jpg"):
        (images / name).touch()
    assert captions_of(read(results([(42, "A dog .")]))) == {"42": ("A dog .",)}


def test_without_a_folder_of_photographs_none_is_looked_for(tmp_path):
    path = tmp_path / "captions"
    path.write_text(results([(42, "A dog ."), ("gone.jpg", "A cat .")]))
    file = read_captions(path, images=None)
    assert captions_of(file) == {"42": ("A dog .",), "gone.jpg": ("A cat .",)}


several = settings(max_examples=100, deadline=None, database=None)
# Of all the marks that tell cells and rows apart, and of words.
captions = st.lists(st.sampled_from(["a", "dog", *'",|#', "\t", "犬", "{", "["]), max_size=6).map(
    lambda parts: f"A {' '.join(parts)}."
)


@pytest.mark.parametrize("write", FORMATS)
@several
@given(st.lists(st.tuples(st.sampled_from(["a.jpg", "b/c.png", "e#1.jpg"]), captions), min_size=1))
def test_any_captions_come_back_from_every_format(tmp_path_factory, write, pairs):
    path = tmp_path_factory.mktemp("any") / "captions"
    path.write_bytes(write(pairs).encode())
    expected = {}
    for image, caption in pairs:
        # Of a path of another machine the name alone counts, where it is the only one.
        name = image.removeprefix("b/") if write is json_lines else image
        expected.setdefault(name, []).append(caption)
    file = read_captions(path, images=None)
    assert {name: list(texts) for name, texts in captions_of(file).items()} == expected


PIECES = [
    *("image,caption\n", "a.jpg", "#0\t", "image_name| comment_number| comment\n", "|"),
    *('{"images": ', '"annotations": ', '{"image": "a"', ', "caption": "b"}', "null", "A dog"),
    *'[]{}:,"\n\r\\ 1',
]
pieces = st.lists(st.sampled_from(PIECES), max_size=20).map(lambda parts: "".join(parts).encode())


@several
@given(st.binary(max_size=60) | pieces, st.booleans())
@example(b'{"images": [{"id": []}], "annotations": [{}]}', True)
@example(b'{"images": [{"filename": 1, "split": [], "sentences": [{"raw": "a"}]}]}', True)
@example(b'image,caption\n"\x00\xed\x9f\xbf,a dog\n', False)
def test_whatever_the_file_it_is_read_or_refused_in_one_line(tmp_path_factory, content, skip_bad):
    folder = tmp_path_factory.mktemp("any")
    (folder / "captions").write_bytes(content)
    (folder / "a.jpg").touch()
    try:
        assert read_captions(folder / "captions", folder, skip_bad).photographs
        return
    except DataError as error:
        message = str(error)
    assert message.startswith(str(folder))
    assert message.isprintable()
    assert "; " in message


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
    (photograph,) = read_captions(path, tmp_path).photographs
    assert photograph.path == tmp_path / "val2014" / "c.jpg"


def test_the_one_row_of_flickr30k_that_lacks_a_bar_is_read_as_meant(read):
    text = "image_name| comment_number| comment\nc.jpg| 4   A dog runs across the grass .\n"
    assert read(text).photographs[0].captions == ("A dog runs across the grass .",)


# CSV and token files ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "caption"),
    [
        ("a.jpg,A dog runs .", "A dog runs ."),
        ('a.jpg,"A dog , a cat ."', "A dog , a cat ."),
        ("a.jpg,A dog , a cat .", "A dog , a cat ."),  # a comma that should have been quoted
        ('a.jpg,"A sign says ""stop"" , twice ."', 'A sign says "stop" , twice .'),
        ('a.jpg,A sign says "stop" .', 'A sign says "stop" .'),
        (" a.jpg , A dog . ", "A dog ."),
        ("a.jpg,A café 犬 .", "A café 犬 ."),
        ("a.jpg,A dog\u2028runs .", "A dog\u2028runs ."),  # a line separator, but not of the file
    ],
)
def test_a_row_of_kaggles_csv(read, row, caption):
    assert captions_of(read(HEADER + row + "\n")) == {"a.jpg": (caption,)}


def test_an_open_quote_spoils_no_other_row(read):
    content = HEADER + 'a.jpg,"A dog .\nb.jpg,A cat .\nc.jpg,"A man , running ."\n'
    expected = {"a.jpg": ("A dog .",), "b.jpg": ("A cat .",), "c.jpg": ("A man , running .",)}
    assert captions_of(read(content)) == expected


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_stray_quote_on_each_of_two_rows_makes_no_caption_of_both(read, line_end):
    lines = ["image,caption", 'a.jpg,"A dog .', 'b.jpg,A cat ."', "c.jpg,A man .", ""]
    expected = {"a.jpg": ("A dog .",), "b.jpg": ('A cat ."',), "c.jpg": ("A man .",)}
    assert captions_of(read(line_end.join(lines))) == expected
    lines = ["caption,image", '"A dog .,a.jpg', 'A cat .",b.jpg', ""]
    with pytest.raises(DataError, match="line 2: has 1 cell where the header has 2;"):
        read(line_end.join(lines))


@pytest.mark.parametrize("header", ["image,caption", "caption,image"])
def test_a_quoted_caption_may_have_several_lines(read, header):
    rows = {
        "image,caption": 'a.jpg,"A dog\nruns , fast ."',
        "caption,image": '"A dog\nruns , fast .",a.jpg',
    }
    other = {"image,caption": "b.jpg,A cat .", "caption,image": "A cat .,b.jpg"}
    content = f"{header}\n{rows[header]}\n{other[header]}\n"
    assert captions_of(read(content)) == {"a.jpg": ("A dog\nruns , fast .",), "b.jpg": ("A cat .",)}


def test_lines_may_end_in_a_carriage_return_alone(read):
    content = (HEADER + "a.jpg,A dog .\nb.jpg,A cat .\n").replace("\n", "\r")
    assert captions_of(read(content)) == {"a.jpg": ("A dog .",), "b.jpg": ("A cat .",)}


PLAIN_CSV = HEADER + "b.jpg,A dog .\na.jpg,One .\nb.jpg,Two dogs .\n"
PLAIN_TOKENS = "b.jpg#0\tA dog .\na.jpg#0\tOne .\nb.jpg#1\tTwo dogs .\n"


@pytest.mark.parametrize("content", [PLAIN_CSV, PLAIN_TOKENS], ids=["csv", "token file"])
@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: "\n \n" + text.replace("\n", "\n\n"),
        lambda text: text.rstrip("\n"),
    ],
    ids=["plain", "CRLF", "BOM", "blank lines", "no last newline"],
)
def test_captions_are_grouped_by_photograph_in_the_order_of_the_file(read, content, change):
    file = read(change(content))
    assert list(captions_of(file)) == ["b.jpg", "a.jpg"]
    assert captions_of(file) == {"b.jpg": ("A dog .", "Two dogs ."), "a.jpg": ("One .",)}
    assert file.remarks == ()


def test_a_photograph_knows_its_file_and_its_tokens(read, images):
    photograph = read(HEADER + "a.jpg,A man's dog .\n").photographs[0]
    assert photograph.path == images / "a.jpg"
    assert photograph.references == [["a", "man", "'s", "dog"]]


def test_a_header_may_be_quoted(read):
    assert captions_of(read('"image","caption"\n"a.jpg","A dog"\n')) == {"a.jpg": ("A dog",)}


def test_a_hash_mark_in_a_name_stays_in_it(read, images):
    (images / "a#1.jpg").touch()
    assert captions_of(read("a#1.jpg#0\tA dog .\n")) == {"a#1.jpg": ("A dog .",)}


def test_the_photograph_never_published_is_left_out_with_a_remark(read):
    content = "a.jpg#0\tA dog .\n" + "".join(f"{ORPHAN}#{i}\tA ghost .\n" for i in range(5))
    file = read(content)
    assert captions_of(file) == {"a.jpg": ("A dog .",)}
    assert len(file.remarks) == 1
    assert "5 captions" in file.remarks[0]


# Files and rows that are refused ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("", ["empty"]),
        (" \n\n", ["empty"]),
        ("picture;text\na.jpg;A dog\n", ["line 1", "picture;text", "image,caption", "#0<tab>"]),
        (HEADER, ["no caption", "check both paths"]),
        (b"\x89PNG\r\n\x1a\n\x00\x00\xff\xfe", ["UTF-8"]),
        ((HEADER + "a.jpg,A dog\n").encode("utf-16"), ["line 1", "but UTF-16", "save it as UTF-8"]),
        ((HEADER + "a.jpg,A dog\n").encode("utf-16-le"), ["line 1", "but UTF-16", "as UTF-8"]),
        ((HEADER + "a.jpg,A dog\n").encode("utf-16-be"), ["line 1", "but UTF-16", "as UTF-8"]),
        (
            (HEADER + "a.jpg,A dog\nb.jpg,A “café”\n").encode("cp1252"),
            ["line 3", "perhaps Windows-1252", "save it as UTF-8"],
        ),
    ],
    ids=[
        *("empty", "blank", "wrong header", "header only", "binary"),
        *("UTF-16", "UTF-16 without a mark", "the other UTF-16", "Windows-1252"),
    ],
)
def test_a_file_without_captions_is_refused(refuse, content, parts):
    message = refuse(content)
    assert [part for part in parts if part not in message] == []


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("a.jpg,", "has no caption for a.jpg"),
        ("a.jpg", "has no caption for a.jpg"),
        ('a.jpg,""', "has no caption for a.jpg"),
        ("a.jpg, . ", "has no caption for a.jpg"),
        (",A dog .", "has no image name"),
        ("z.jpg,A dog .", "names z.jpg, which is not in"),
        ("z" * 300 + ".jpg,A dog .", "is not in"),
        ("a.jpg," + "A dog . " * 20_000, "cannot be read"),
    ],
    ids=["empty", "no comma", "quotes", "stop", "no name", "missing", "long name", "long row"],
)
def test_a_bad_row_is_named_by_line_and_can_be_left_out(read, refuse, row, complaint):
    content = f"{HEADER}b.jpg,A cat .\n\n{row}\nc.jpg,A man .\n"
    message = refuse(content)
    assert "line 4" in message
    assert complaint in message
    assert "--skip-bad" in message
    file = read(content, skip_bad=True)
    assert list(captions_of(file)) == ["b.jpg", "c.jpg"]
    assert "left out 1 bad row" in file.remarks[0]


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("a.jpg#1\t", "has no caption for a.jpg"),
        ("a.jpg#1 A dog .", "has no caption for a.jpg"),
        ("a.jpg\tA dog .", "has no image name"),
        ("z.jpg#0\tA dog .", "names z.jpg"),
    ],
)
def test_a_bad_row_of_a_token_file_is_named_by_line(refuse, row, complaint):
    message = refuse(f"a.jpg#0\tA dog .\n{row}\n")
    assert "line 2" in message
    assert complaint in message


def test_many_bad_rows_make_one_message_with_the_first_and_their_number(read, refuse):
    content = HEADER + "a.jpg,\nz.jpg,A dog .\nb.jpg,A dog .\n,A cat .\n"
    message = refuse(content)
    assert "line 2" in message
    assert "(3 bad rows in all)" in message
    assert "left out 3 bad rows" in read(content, skip_bad=True).remarks[0]


def test_a_file_of_nothing_but_bad_rows_is_refused_even_when_they_may_be_skipped(refuse):
    assert "check both paths" in refuse(HEADER + "z.jpg,A dog .\n", skip_bad=True)


def test_a_missing_caption_file_is_named(tmp_path, images):
    with pytest.raises(DataError, match=r"nowhere\.csv: there is no such caption file"):
        read_captions(tmp_path / "nowhere.csv", images)


def test_a_folder_in_place_of_the_caption_file_is_named(images):
    with pytest.raises(DataError, match="Images: this is a folder"):
        read_captions(images, images)


def test_a_missing_folder_of_photographs_is_named(tmp_path):
    (tmp_path / "captions.txt").write_text(HEADER + "a.jpg,A dog .\n")
    with pytest.raises(DataError, match="nofolder: there is no such folder"):
        read_captions(tmp_path / "captions.txt", tmp_path / "nofolder", skip_bad=True)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"images": [', "line 1: cannot be read as JSON"),
        ("{}", "neither Karpathy's"),
        ('{"images": [{"id": 1}], "annotations": [{"caption": "a"}]}', "nor COCO's"),
        ('{"images": 3}', "neither Karpathy's"),
        ("image,text,description\na.jpg,a,b", "one column caption"),
        ("file,filename,caption\na.jpg,a.jpg,b", "one column image"),
        ("hello\nworld", "line 1: 'hello' is not how a known format begins"),
        ("image,caption,caption\na.jpg,a,b", "one column caption"),
        ("caption,by,image\na dog, running,me,c.jpg", "has 4 cells where the header has 3"),
    ],
)
def test_what_is_not_a_caption_file_is_refused_in_one_sentence(refuse, text, complaint):
    assert complaint in refuse(text)


@pytest.mark.parametrize(
    ("caption", "complaint"),
    [
        (None, "has null for the caption of b.jpg"),
        (3, "has 3 for the caption of b.jpg"),
        (["a"], "has a list for the caption of b.jpg"),
        ("a \ud83d", "has half a character in the caption of b.jpg"),
    ],
)
def test_a_caption_that_is_not_text_is_a_bad_row_of_a_data_set(refuse, caption, complaint):
    content = json.loads(coco(PAIRS))
    content["annotations"][0]["caption"] = caption
    assert f"annotation 1: {complaint}" in refuse(json.dumps(content))
    content = json.loads(karpathy(PAIRS))
    content["images"][0]["sentences"][0]["raw"] = caption
    assert f"sentence 1: {complaint}" in refuse(json.dumps(content))


def test_an_annotation_of_an_unknown_image_is_a_bad_row(read):
    content = json.loads(coco(PAIRS))
    content["annotations"][1]["image_id"] = 5
    with pytest.raises(DataError, match="annotation 2: has no image name"):
        read(json.dumps(content))


@pytest.mark.parametrize("name", [None, "", " "])
def test_an_image_without_a_file_name_is_a_bad_row_of_a_data_set(refuse, name):
    content = json.loads(coco(PAIRS))
    content["images"][0]["file_name"] = name
    assert "annotation 1: has no image name" in refuse(json.dumps(content))
    content = json.loads(karpathy(PAIRS))
    content["images"][0]["filename"] = name
    assert "sentence 1: has no image name" in refuse(json.dumps(content))


def test_an_id_of_two_images_is_refused(refuse):
    content = json.loads(coco(PAIRS))
    content["images"][1]["id"] = content["images"][0]["id"]
    assert "has the id 1000, which several images have" in refuse(json.dumps(content))


# Tables as people keep them ---------------------------------------------------------------------


def table(header, rows, separator):
    file = io.StringIO()
    writer = csv.writer(file, delimiter=separator)
    writer.writerows([header, *rows])
    return file.getvalue()


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize(
    "header",
    [
        ["image", "caption"],
        ["Image", "CAPTION"],
        [" File Name ", "Text"],
        ["file_name", "text"],
        ["filename", "description"],
        ["image-name", "comment"],
        ["file", "caption"],
        ["IMAGE_ID", "caption"],
    ],
)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_table_is_known_by_its_header_whatever_its_case_and_separator(
    read, header, separator, mark
):
    file = read(mark + table(header, PAIRS, separator))
    assert captions_of(file) == CAPTIONS
    wide = [["7", image, "x, y; z", text] for image, text in PAIRS]
    file = read(mark + table(["id", header[0], "by|whom", header[1]], wide, separator))
    assert captions_of(file) == CAPTIONS


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_in_a_caption_may_be_unquoted_in_two_columns(read, separator):
    content = f"image{separator}caption\na.jpg{separator}A dog{separator} a cat, a man; a bird\n"
    expected = f"A dog{separator} a cat, a man; a bird"
    assert captions_of(read(content)) == {"a.jpg": (expected,)}


def test_the_column_image_comes_before_others_that_may_be_one(read):
    content = "filename,image,text,caption\nb.jpg,a.jpg,no,A dog\n"
    assert captions_of(read(content)) == {"a.jpg": ("A dog",)}


def test_a_header_of_flickr30k_may_have_capitals(read):
    text = "Image_Name| Comment_Number| Comment\nc.jpg| 0| A dog .\n"
    assert captions_of(read(text)) == {"c.jpg": ("A dog .",)}


@pytest.mark.parametrize(
    "text",
    ["A dog\nruns, fast", "A sign says\nphoto.jpg", "A dog\n\n runs", "photo.jpg\nand a dog"],
)
@pytest.mark.parametrize("header", [("image", "caption"), ("id", "image", "caption")])
def test_a_quoted_caption_of_several_lines_may_name_a_file(read, header, text):
    rows = [{"id": 1, "image": "a.jpg", "caption": text}, {"image": "b.jpg", "caption": "A cat"}]
    content = table(header, [[row.get(key, "") for key in header] for row in rows], ",")
    assert captions_of(read(content)) == {"a.jpg": (text,), "b.jpg": ("A cat",)}


def test_a_stray_quote_makes_no_caption_of_rows_whose_names_have_blanks(read, images):
    for name in ("my dog.jpg", "my cat.heic"):
        (images / name).touch()
    content = 'image,caption\nmy dog.jpg,"A dog .\nmy cat.heic,A cat ."\n'
    expected = {"my dog.jpg": ("A dog .",), "my cat.heic": ('A cat ."',)}
    assert captions_of(read(content)) == expected


KEYS = [("file", "caption"), ("file_name", "text"), ("Filename", "Description")]


@pytest.mark.parametrize(("image", "caption"), KEYS)
def test_objects_are_known_by_the_same_names(read, image, caption):
    rows = [{image: name, caption: text} for name, text in PAIRS]
    assert captions_of(read(json.dumps(rows))) == CAPTIONS
    assert captions_of(read("\n".join(map(json.dumps, rows)))) == CAPTIONS


def test_a_packed_table_is_read_too(read):
    content = gzip.compress(table(["File", "Text"], PAIRS, "\t").encode())
    assert captions_of(read(content)) == CAPTIONS


# What the command writes ------------------------------------------------------------------------


def test_photographs_that_could_not_be_captioned_are_left_out_with_a_remark(read):
    rows = [
        {"version": 1, "file": "x/a.jpg", "caption": "A dog", "error": None},
        {"version": 1, "file": "x/gone.jpg", "caption": None, "error": "x/gone.jpg: cut off"},
        {"version": 1, "file": "x/bad.jpg", "error": "x/bad.jpg: cut off"},
        {"version": 1, "file": "x/b.jpg", "caption": "A cat", "error": ""},
    ]
    file = read("".join(json.dumps(row) + "\n" for row in rows))
    assert captions_of(file) == {"a.jpg": ("A dog",), "b.jpg": ("A cat",)}
    assert [remark.partition(": ")[2] for remark in file.remarks] == [
        "left out 2 photographs that could not be captioned"
    ]
    header = ["image", "caption", "confidence", "warning", "error"]
    cells = [
        ["a.jpg", "A dog", "0.5", "Unusual, so beware.", ""],
        ["gone.jpg", "", "", "", "gone.jpg: cut off"],
    ]
    file = read(table(header, cells, ","))
    assert captions_of(file) == {"a.jpg": ("A dog",)}
    assert "left out 1 photograph that could" in file.remarks[0]


@pytest.mark.parametrize("error", [None, "", 3])
def test_an_object_without_caption_and_error_is_a_bad_row(refuse, error):
    row = {"file": "a.jpg", "caption": None, "error": error}
    assert "has null for the caption of a.jpg" in refuse(json.dumps([row]))


def test_a_file_of_nothing_but_failures_is_refused(refuse):
    assert "no caption in it" in refuse(json.dumps([{"file": "a.jpg", "error": "cut off"}]))


@pytest.fixture
def nested(images):
    """Photographs of the same name in two folders."""
    for name in ("x/1.jpg", "y/1.jpg"):
        (images / name).parent.mkdir()
        (images / name).touch()
    return images


@pytest.mark.parametrize("before", ["", "photos/Images/", "/home/me/"])
def test_photographs_of_one_name_in_two_folders_are_two(read, nested, before):
    pairs = [(f"{before}x/1.jpg", "A dog"), (f"{before}y/1.jpg", "A cat")]
    for write in FORMATS:
        file = read(write(pairs))
        assert captions_of(file) == {"x/1.jpg": ("A dog",), "y/1.jpg": ("A cat",)}
        assert [photo.path for photo in file.photographs] == [
            nested / "x/1.jpg",
            nested / "y/1.jpg",
        ]


def test_two_paths_that_end_in_one_name_are_not_guessed(refuse):
    rows = json_lines([("one/a.jpg", "A dog"), ("two/a.jpg", "A cat")])
    assert "names one/a.jpg, which may be a.jpg in " in refuse(rows)


def test_a_name_of_two_normal_forms_is_not_guessed(refuse, images):
    for name in ("\xe9caf\xe9.jpg", "e\u0301cafe\u0301.jpg"):
        (images / name).touch()
    assert ", which may be " in refuse(kaggle([("\xe9cafe\u0301.jpg", "A dog")]))


def test_both_normal_forms_of_a_name_are_one_photograph(read, images):
    (images / "caf\xe9.jpg").touch()
    pairs = [("caf\xe9.jpg", "A dog"), ("cafe\u0301.jpg", "A cat")]
    assert captions_of(read(kaggle(pairs))) == {"caf\xe9.jpg": ("A dog", "A cat")}


@pytest.mark.parametrize("name", [" a.jpg", "a.jpg\u3000", "a\n b.jpg", "\u202fa.jpg"])
def test_names_with_blanks_of_their_own_are_kept(read, images, name):
    (images / name).touch()
    for write in (kaggle, json_lines, results):
        assert captions_of(read(write([(name, "A dog")]))) == {name: ("A dog",)}


def test_without_a_folder_blanks_around_are_dropped_unless_they_make_a_difference(tmp_path):
    path = tmp_path / "captions"
    path.write_text(HEADER + " a.jpg ,A dog\n b.jpg,A cat\nb.jpg,A man\n")
    names = [photo.name for photo in read_captions(path, None).photographs]
    assert names == ["a.jpg", " b.jpg", "b.jpg"]
    path.write_text(json_lines([(" a.jpg", "A dog")], "image"))
    assert [photo.name for photo in read_captions(path, None).photographs] == [" a.jpg"]


def test_a_name_that_is_no_utf8_is_read_from_json_and_csv(read, images):
    (images / "latin\udce9.jpg").touch()
    row = json.dumps({"file": "latin\udce9.jpg", "caption": "A dog"})
    assert captions_of(read(row)) == {"latin\udce9.jpg": ("A dog",)}
    row = r"latin\udce9.jpg,A dog"
    assert captions_of(read(HEADER + row)) == {"latin\udce9.jpg": ("A dog",)}


def test_half_a_character_that_is_no_byte_is_a_bad_name(refuse):
    row = json.dumps({"file": "a\ud83d.jpg", "caption": "A dog"})
    assert r"has half a character in the name a\ud83d.jpg" in refuse(row)


def test_the_ids_of_a_data_set_are_known(tmp_path):
    path = tmp_path / "captions"
    path.write_text(coco(PAIRS))
    assert [photo.ids for photo in read_captions(path, None).photographs] == [
        (("id", str(number)),) for number in (1000, 1007, 1014)
    ]
    path.write_text(karpathy(PAIRS))
    assert [photo.ids for photo in read_captions(path, None).photographs] == [
        (("imgid", str(number)),) for number in range(3)
    ]
    path.write_text("image_id,file_name,caption\n007,a.jpg,A dog\n")
    assert read_captions(path, None).photographs[0].ids == (("image_id", "7"),)
