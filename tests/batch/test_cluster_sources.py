"""What a cluster is to caption: local files, addresses, pictures in Parquet."""

import os
from datetime import UTC, datetime

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from captioning.batch.cluster_sources import find_for_cluster
from captioning.batch.folder import Stamp
from captioning.batch.parquet_sources import Columns, columns_of, hashes, read_rows
from captioning.batch.sources import Listing, find
from captioning.batch.stores import StoredPhoto
from captioning.data.image_names import as_utf8
from captioning.data.images import ImageError
from tests.batch.stand_in_s3 import MODIFIED, stand_in


def no_input():
    raise AssertionError("nothing should be read from standard input")


def find_in(*arguments, recursive=True, outputs=()):
    listing = Listing(recursive, True, frozenset(outputs))
    return find_for_cluster([str(a) for a in arguments], listing, no_input)


def write(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.table(columns), path)
    return path


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for name in ("a.jpg", "b.PNG", "notes.txt", ".hidden.jpg", "inner/c.webp"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


@pytest.mark.parametrize("recursive", [False, True])
@pytest.mark.parametrize("arguments", [["photos"], ["photos", "photos/a.jpg"], ["photos/*"]])
def test_local_pictures_are_those_of_the_folder_command(photos, monkeypatch, recursive, arguments):
    monkeypatch.chdir(photos.parent)
    found = find_in(*arguments, recursive=recursive)
    expected = find(arguments, Listing(recursive, True), no_input)
    assert [(i.name, i.path) for i in found.items.values()] == [
        (p.name, os.path.abspath(p.path)) for p in expected.pictures
    ]
    assert found.problems == expected.problems
    assert found.left_out == [text for text in [expected.left_out.describe()] if text]


def test_an_address_of_this_machine_is_its_path(photos):
    assert find_in(f"file://{photos}").items == find_in(photos).items


def test_names_that_are_no_utf8_are_escaped_and_found(photos):
    name = os.fsdecode(b"latin\xe9.jpg")
    (photos / name).touch()
    found = find_in(photos)
    assert found.items[as_utf8(name)].path == str(photos / name)


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("missing/*.jpg", "no file matches"),
        ("empty", "there is no image in this folder"),
        ("nowhere://bucket/x", "this address cannot be opened"),
        ("damaged.parquet", "this Parquet file cannot be read"),
    ],
)
def test_what_stands_for_nothing_is_a_problem_and_the_others_stay(
    photos, tmp_path, monkeypatch, argument, reason
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1 is not all of it")
    found = find_in(argument, photos / "a.jpg")
    assert len(found.problems) == 1
    assert argument in found.problems[0]
    assert reason in found.problems[0]
    assert list(found.items) == [str(photos / "a.jpg")]


def test_a_folder_that_is_missing_becomes_a_row_with_an_error(tmp_path):
    """As in the folder command: it might be a picture without a suffix."""
    assert [i.path for i in find_in(tmp_path / "missing").items.values()] == [
        str(tmp_path / "missing")
    ]


# Parquet ----------------------------------------------------------------------------------------

STRUCT = [{"bytes": b"x", "path": "x.jpg"}, {"bytes": b"y", "path": "y.jpg"}]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"bytes": [b"x"], "file": ["a"]}, Columns("bytes", "file")),
        ({"image": [b"x"], "key": ["a"], "other": [1]}, Columns("image", "key")),
        ({"content": [b"x"], "url": ["a"], "name": ["b"]}, Columns("content", "url")),
        ({"image": STRUCT}, Columns("image.bytes", "image.path")),
        ({"image": STRUCT, "file_name": ["a", "b"]}, Columns("image.bytes", "file_name")),
        ({"bytes": [1], "image": [b"x"], "file": ["a"]}, Columns("image", "file")),
    ],
)
def test_columns_are_recognised(tmp_path, columns, expected):
    assert columns_of("", str(write(tmp_path / "a.parquet", **columns))) == expected


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"picture": [b"x"], "file": ["a"]}, "no column of bytes that is called bytes, image or"),
        ({"bytes": ["text"], "file": ["a"]}, "no column of bytes"),
        ({"bytes": [b"x"], "file": [1]}, "no column of names that is called file, file_name"),
    ],
)
def test_columns_that_are_missing_are_named(tmp_path, columns, reason):
    found = find_in(write(tmp_path / "a.parquet", **columns))
    assert (found.count, len(found.problems)) == (0, 1)
    assert reason in found.problems[0]


def test_a_folder_of_parquet_and_one_of_pictures_with_a_table_among_them(tmp_path, photos):
    write(tmp_path / "set/b/2.parquet", bytes=[b"y"], file=["two"])
    write(tmp_path / "set/1.parquet", bytes=[b"x"], file=["one"])
    write(tmp_path / "set/.hidden.parquet", bytes=[b"x"], file=["three"])
    write(photos / "captions.parquet", caption=["a dog"])
    found = find_in(tmp_path / "set", photos)
    assert list(found.parquet.new) == ["one", "two"]
    assert [name for name in found.items if name.endswith(".parquet")] == []
    assert found.problems == []
    assert "1 .parquet" in found.left_out[0]
    assert list(find_in(tmp_path / "set", recursive=False).parquet.new) == ["one"]


def test_own_outputs_are_no_input(tmp_path):
    path = write(tmp_path / "set/part-00000.parquet", bytes=[b"x"], file=["one"])
    assert find_in(tmp_path / "set", outputs=[str(path)]).count == 0


def test_rows_without_a_name_or_with_that_of_another_are_said(tmp_path):
    names = ["a", None, "b", "a", ""]
    found = find_in(write(tmp_path / "a.parquet", bytes=[b"x"] * 5, file=names))
    assert list(found.parquet.new) == ["a", "b"]
    assert found.left_out == ["left out: 1 rows of Parquet whose names others have too"]
    assert found.problems == [
        "left out: 2 rows of Parquet without a name, by which captions are kept"
    ]


@settings(deadline=None)  # the first example may import PyArrow
@given(
    rows=st.lists(st.tuples(st.none() | st.text(max_size=3), st.binary(max_size=3)), max_size=150),
    group=st.integers(1, 100),
    wanted=st.sets(st.text(max_size=3)),
)
def test_reading_gives_the_rows_that_are_wanted(tmp_path_factory, rows, group, wanted):
    path = tmp_path_factory.mktemp("rows") / "a.parquet"
    images = [{"bytes": content, "path": name} for name, content in rows]
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    table = pyarrow.table({"image": pyarrow.array(images, kind)})
    parquet.write_table(table, path, row_group_size=group)
    (file,) = find_in(path).parquet.files
    wanted = wanted | {name for name, _ in rows[::2] if name}
    tables = read_rows(file, lambda names: [name in wanted for name in names])
    read = [(r["name"], r["content"]) for table in tables for r in table.to_pylist()]
    assert read == [(name, content) for name, content in rows if name and name in wanted]


@given(st.sets(st.text(max_size=5), max_size=50))
def test_hashes_tell_names_apart(names):
    assert len(set(hashes(sorted(names)).tolist())) == len(names)
    assert hashes(sorted(names)).tolist() == hashes(sorted(names)).tolist()


# Addresses --------------------------------------------------------------------------------------

OBJECTS = {
    "photos/a b.jpg": b"a",
    "photos/inner/é.png": b"bb",
    "photos/notes.txt": b"c",
    "photos/.hidden.jpg": b"d",
}


def test_a_folder_at_an_address_is_listed_as_one_here():
    with stand_in(OBJECTS) as address:
        found = find_in(address("photos"))
        assert list(found.items) == ["a b.jpg", "inner/é.png"]
        item = found.items["inner/é.png"]
        modified = datetime.fromtimestamp(MODIFIED, UTC).isoformat()
        assert item.stamp == Stamp(2, modified)
        photo = StoredPhoto(item.store, item.path)
        assert (photo.read(), photo.stamp) == (b"bb", item.stamp)
        assert found.left_out == ["left out: 1 other file (1 .txt)"]
        assert list(find_in(address("photos"), recursive=False).items) == ["a b.jpg"]


def test_several_addresses_keep_theirs_without_keys(photos):
    with stand_in(OBJECTS) as address:
        found = find_in(address("photos/inner"), photos / "a.jpg", address("photos/a b.jpg"))
    names = ["s3://bucket/photos/inner/é.png", str(photos / "a.jpg"), "s3://bucket/photos/a b.jpg"]
    assert list(found.items) == names


def test_what_is_not_at_an_address_is_said_without_keys():
    with stand_in(OBJECTS) as address:
        (problem,) = find_in(address("elsewhere")).problems
        assert problem == "s3://bucket/elsewhere: there is nothing at this address; check it"
        with pytest.raises(ImageError, match=r"^the image does not exist: check the address"):
            StoredPhoto(address("photos"), "bucket/photos/gone.jpg").read()


def test_a_server_that_is_gone_is_said():
    with stand_in(OBJECTS) as address:
        gone = address("photos")
    (problem,) = find_in(gone).problems
    assert problem.startswith("s3://bucket/photos: this address cannot be read (")
    assert "secret" not in problem


def test_parquet_at_an_address(tmp_path):
    content = write(tmp_path / "a.parquet", bytes=[b"x", b"y"], file=["one", "two"]).read_bytes()
    with stand_in({"set/a.parquet": content}) as address:
        for key in ("set", "set/a.parquet"):
            found = find_in(address(key))
            (file,) = found.parquet.files
            tables = list(read_rows(file, lambda names: [name == "two" for name in names]))
            assert [table["content"].to_pylist() for table in tables] == [[b"y"]]
