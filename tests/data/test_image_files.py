"""Files on a disk, by the names that caption files have for them."""

import os
from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.data.image_files import NOTHING, Found, ImageFolder
from captioning.data.image_names import as_utf8

several = settings(max_examples=60, deadline=None, database=None)
ODD = [
    "Screenshot at 9.41.00\u202fAM.png",
    "v\xa013.05.jpg",
    "写真\u3000一.jpg",
    "\u3000 both\xa0",
    "soft\xadhyphen.jpg",
    "\u0645\u06cc\u200c\u062e.jpg",
    "bom\ufeff.jpg",
    "a  b.jpg",
    " leading.jpg",
    "trailing ",
    "new\nline.jpg",
    "re\rturn.jpg",
    "tab\there.jpg",
    "back\\slash.jpg",
    "escape\\u202f.jpg",
    "comma, name.jpg",
    'quote".jpg',
    "latin1\udce9.jpg",
    "cafe\u0301.jpg",
    "caf\xe9.jpg",
    "👨\u200d👩\u200d👧.jpg",
]


@pytest.fixture
def folder(tmp_path):
    """A folder, and a way to put empty files into it."""

    def make(*names):
        for name in names:
            path = tmp_path / "Images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return ImageFolder(tmp_path / "Images")

    return make


def names(images, image):
    return list(images.find(image).files)


def test_every_name_means_the_file_that_has_it(folder):
    images = folder(*ODD)
    for name in ODD:
        for written in (name, f"Images/{name}", f"/elsewhere/Images/{name}", as_utf8(name)):
            assert names(images, written) == [name]


def test_what_no_file_has_is_read_without_blanks_and_escapes(folder):
    images = folder("a.jpg", "b\u202f.jpg", "c\udce9.jpg", " d.jpg")
    assert names(images, " a.jpg\t") == ["a.jpg"]
    assert names(images, r"b\u202f.jpg") == ["b\u202f.jpg"]
    assert names(images, r"x/c\udce9.jpg") == ["c\udce9.jpg"]
    assert names(images, "d.jpg") == []  # blanks are taken away and never added
    folder(r"b\u202f.jpg")
    assert names(images, r"b\u202f.jpg") == [r"b\u202f.jpg"]


def test_the_whole_path_comes_before_its_ends(folder):
    images = folder("x/1.jpg", "1.jpg", "p/x/1.jpg", "only.jpg")
    assert images.find("x/1.jpg") == Found(("x/1.jpg",))
    assert images.find("q/x/1.jpg") == Found(("x/1.jpg",), by_end=True)
    assert images.find("p/x/1.jpg") == Found(("p/x/1.jpg",))
    assert images.find("z/1.jpg") == Found(("1.jpg",), by_end=True)
    assert images.find("C:\\photos\\x\\1.jpg") == Found(("x/1.jpg",), by_end=True)
    assert images.find("x/only.jpg") == Found(("only.jpg",), by_end=True)
    assert images.find("x/none.jpg") == NOTHING
    assert images.find("x") == NOTHING  # a folder


def test_the_path_of_a_file_is_that_below_the_folder(folder, tmp_path):
    images = folder("x/1.jpg")
    assert images.find(str(tmp_path / "Images" / "x" / "1.jpg")) == Found(("x/1.jpg",))
    assert images.find("./x//1.jpg") == Found(("x/1.jpg",))


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_another_normal_form_of_folders_and_files_is_the_same_name(folder, form):
    path = "été/café/1é.jpg"
    images = folder(normalize(form, path))
    for written in ("NFC", "NFD"):
        assert names(images, normalize(written, path)) == [normalize(form, path)]
        assert names(images, "x/" + normalize(written, path)) == [normalize(form, path)]


def test_of_both_forms_each_is_itself_and_a_third_may_be_either(folder):
    double = "e\u0301cafe\u0301.jpg"  # both forms of each accent
    images = folder(normalize("NFC", double), normalize("NFD", double))
    for form in ("NFC", "NFD"):
        assert names(images, normalize(form, double)) == [normalize(form, double)]
    assert len(names(images, "\xe9cafe\u0301.jpg")) == 2


def test_a_number_is_the_one_that_a_name_ends_in(folder):
    images = folder("val_0042.jpg", "x_7.jpg", "y_7.jpg")
    assert names(images, "42") == names(images, "042") == ["val_0042.jpg"]
    assert sorted(names(images, "7")) == ["x_7.jpg", "y_7.jpg"]
    assert names(images, "8") == []


@several
@given(
    st.text(max_size=30) | st.sampled_from(["\0", "\ud83d", "..", ".", "/", "a" * 5000, "é" * 999])
)
def test_any_name_is_found_or_not_and_raises_nothing(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("images")
    for file in ImageFolder(folder).find(name).files:
        assert os.path.isfile(folder / file)
