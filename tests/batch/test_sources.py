"""Which pictures are found, in which order, under which names, and what is left out."""

import os
import subprocess
from pathlib import PurePath

import pytest

from captioning.batch.sources import Listing, find
from captioning.data.images import IMAGE_SUFFIXES


def no_input():
    raise AssertionError("standard input must not be read")


def names(arguments, stdin=no_input, **listing):
    return [picture.name for picture in find(arguments, Listing(**listing), stdin).pictures]


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A folder such as people have."""
    for name in ("b.jpg", "A.JPG", "a.png", "notes.txt", "clip.mov", "raw.jxl", "b.jpg.txt"):
        (tmp_path / name).write_bytes(b"x")
    for name in ("._b.jpg", ".hidden.jpg", "sub/1.jpg", "sub/deep/2.jpg", "trip.jpg/3.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_gives_its_pictures_sorted_by_name(tree):
    assert names([str(tree)], relative=True) == ["A.JPG", "a.png", "b.jpg"]
    assert names([str(tree)]) == [str(tree / name) for name in ("A.JPG", "a.png", "b.jpg")]


def test_sub_folders_are_read_on_request_alone(tree):
    deep = names([str(tree)], relative=True, recursive=True)
    assert deep == ["A.JPG", "a.png", "b.jpg", "sub/1.jpg", "sub/deep/2.jpg", "trip.jpg/3.jpg"]


def test_everything_is_found_that_find_finds(tree):
    """Compared with another program, on everything that is not hidden."""
    tests = [word for suffix in IMAGE_SUFFIXES for word in ("-o", "-iname", f"*{suffix}")][1:]
    command = ["find", ".", "-type", "f", "-not", "-name", ".*", "(", *tests, ")"]
    found = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=True).stdout
    expected = sorted(str(PurePath(line)) for line in found.splitlines())
    assert sorted(names(["."], relative=True, recursive=True)) == expected


def test_what_is_left_out_is_counted(tree):
    found = find([str(tree)], Listing(relative=True), no_input)
    assert found.left_out.describe() == (
        "left out: 1 picture of a kind that is not read (1 .jxl), 2 other files (1 .mov, 1 .txt), "
        "2 sub-folders (--recursive reads them)"
    )
    assert find([str(tree / "sub/deep")], Listing(), no_input).left_out.describe() == ""


def test_what_the_command_writes_is_not_left_out(tree):
    (tree / "captions.jsonl").write_text("")
    outputs = frozenset({str(tree / "captions.jsonl")})
    found = find([str(tree)], Listing(outputs=outputs), no_input)
    assert ".jsonl" not in found.left_out.describe()
    assert "1 .txt" in found.left_out.describe()  # notes.txt, and not b.jpg.txt


def test_several_arguments_keep_their_order_and_each_picture_counts_once(tree):
    assert names(["b.jpg", "sub", "b.jpg", "a.png"]) == ["b.jpg", "sub/1.jpg", "a.png"]


def test_a_pattern_that_the_shell_has_left_is_expanded(tree):
    assert names(["*.jpg"]) == ["b.jpg", "trip.jpg/3.jpg"]
    assert names(["**/*.jpg"]) == ["b.jpg", "sub/1.jpg", "sub/deep/2.jpg", "trip.jpg/3.jpg"]
    found = find(["*.gif"], Listing(), no_input)
    assert found.problems == ["*.gif: no file matches this pattern; check it"]


def test_a_file_that_looks_like_a_pattern_is_itself(tree):
    (tree / "a[1].jpg").write_bytes(b"x")
    assert names(["a[1].jpg"]) == ["a[1].jpg"]


def test_a_folder_without_pictures_is_a_problem(tree):
    (tree / "empty").mkdir()
    found = find(["empty", "sub/deep"], Listing(), no_input)
    assert [picture.name for picture in found.pictures] == ["sub/deep/2.jpg"]
    assert found.problems == ["empty: there is no image in this folder"]


def test_a_folder_whose_pictures_are_in_sub_folders_says_so(tree):
    (tree / "outer/inner").mkdir(parents=True)
    (tree / "outer/inner/1.jpg").write_bytes(b"x")
    (problem,) = find(["outer"], Listing(), no_input).problems
    assert problem.endswith("there is no image in this folder; --recursive reads its sub-folders")


def test_a_link_that_leads_back_ends(tree):
    os.symlink(tree, tree / "sub/back")
    assert len(names(["."], relative=True, recursive=True)) == 6


def test_a_linked_folder_is_read(tree, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "4.jpg").write_bytes(b"x")
    os.symlink(other, tree / "sub/link")
    assert "link/4.jpg" in names(["sub"], relative=True, recursive=True)


# Standard input ---------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\0"])
def test_names_come_by_standard_input(tree, end):
    listed = [b"b.jpg", b"a  b.jpg", "é.jpg".encode(), b"latin\xe9.jpg", b"*.jpg", b"sub"]
    expected = ["b.jpg", "a  b.jpg", "é.jpg", "latin\udce9.jpg", "*.jpg", "sub/1.jpg"]
    assert names(["-"], lambda: end.join(listed) + end) == expected


def test_names_with_line_breaks_come_ended_by_nuls(tree):
    assert names(["-"], lambda: b"a\nb.jpg\0c.jpg\0") == ["a\nb.jpg", "c.jpg"]


def test_a_picture_comes_by_standard_input(tree, picture_bytes):
    found = find(["-"], Listing(), lambda: picture_bytes)
    assert (found.content, found.pictures) == (picture_bytes, [])


def test_empty_standard_input_is_a_problem():
    found = find(["-"], Listing(), lambda: b" \n")
    assert found.problems == ["standard input is empty: send it a picture, or names one a line"]


@pytest.fixture(params=["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
def picture_bytes(request):
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", (3, 2), "red").save(stream, request.param)
    return stream.getvalue()
