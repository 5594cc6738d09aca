"""Captions for other programs: independent parsers read back what was written."""

import csv
import io
from html.parser import HTMLParser
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioning.data.caption_files import read_captions
from captioning.data.caption_formats import read_rows
from captioning.data.image_names import as_utf8
from captioning.inference.export import as_csv, as_html, distinct_names

# What a file name or a caption can hold; surrogates cannot be encoded in UTF-8.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)


class ElementParser(HTMLParser):
    """Collects the attributes of every element."""

    def __init__(self):
        super().__init__()
        self.elements = []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))


def parse(text):
    parser = ElementParser()
    parser.feed(text)
    parser.close()
    return parser.elements


@given(TEXTS, TEXTS)
def test_html_is_one_image_with_its_alt_text_whatever_they_hold(name, text):
    ((tag, attributes),) = parse(as_html(name, text))
    assert tag == "img"
    assert attributes["alt"] == text
    assert unquote_to_bytes(attributes["src"].removeprefix("/.")) == name.encode()


NAMES = ["#a.jpg", "100%20.jpg", "a?b.jpg", "c: d.jpg", "http:x.jpg", "a\\b.jpg", "犬 é.jpg", "'\""]


@pytest.mark.parametrize("name", NAMES)
def test_the_address_is_that_of_a_file_beside_the_page(name):
    ((_, attributes),) = parse(as_html(name, ""))
    page = "http://host/photos/page.html"
    address = urlsplit(urljoin(page, attributes["src"]))
    assert (address.scheme, address.netloc) == ("http", "host")
    assert not address.query
    assert not address.fragment
    assert unquote_to_bytes(address.path).decode() == f"/photos/{name}"
    assert attributes["src"].isascii()


def test_an_address_keeps_folders_names_no_host_and_has_any_byte():
    assert 'src="x/a%20b.jpg"' in as_html("x/a b.jpg", "")
    assert urlsplit(urljoin("http://host/", as_html("//evil/a.jpg", "")[10:-9])).netloc == "host"
    assert 'src="latin1%E9.jpg"' in as_html("latin1\udce9.jpg", "")


def test_html_is_an_img_element_with_everything_escaped():
    expected = '<img src="a.jpg" alt="A man&#x27;s &lt;big&gt; &quot;dog&quot;.">'
    assert as_html("a.jpg", 'A man\'s <big> "dog".') == expected


@given(st.lists(st.tuples(TEXTS, TEXTS)))
def test_csv_keeps_names_as_they_are_and_every_caption_on_one_line(rows):
    text = as_csv(rows)
    assert list(csv.reader(io.StringIO(text, newline="")))[1:] == [
        [name, " ".join(caption.split())] for name, caption in rows
    ]


ODD = st.text(st.sampled_from('a.,"\n\r\t \xa0\u202f\u3000\xad\u200d\\;\udce9\u0301é'), min_size=1)


@given(st.lists(ODD.filter(lambda name: name.strip()), unique=True, min_size=1))
def test_names_come_back_from_the_csv_as_they_are(tmp_path_factory, names):
    path = tmp_path_factory.mktemp("odd") / "captions.csv"
    path.write_text(as_csv((name, f"dog {n}") for n, name in enumerate(names)), "utf-8", newline="")
    read = read_rows(path)
    assert [row.image for row in read.rows] == [as_utf8(name) for name in names]
    assert [row.caption for row in read.rows] == [f"dog {n}" for n in range(len(names))]
    assert not read.problems


def test_csv_is_what_training_reads(tmp_path):
    rows = [("a.jpg", 'A man, a "dog"\nand a ball.'), ("b, c.png", "Two dogs run.")]
    path = tmp_path / "captions.csv"
    path.write_text(as_csv(rows), encoding="utf-8")
    for name, _ in rows:
        (tmp_path / name).touch()
    read = {photo.name: photo.captions for photo in read_captions(path, tmp_path).photographs}
    assert read == {"a.jpg": ('A man, a "dog" and a ball.',), "b, c.png": ("Two dogs run.",)}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], []),
        (["a.jpg", "b.jpg"], ["a.jpg", "b.jpg"]),
        (["a.jpg", "a.jpg", "a.jpg"], ["a.jpg", "a (2).jpg", "a (3).jpg"]),
        (["a.jpg", "a.jpg", "a (2).jpg"], ["a.jpg", "a (2).jpg", "a (2) (2).jpg"]),
        (["a", "a"], ["a", "a (2)"]),
        (["x/a.jpg", "y/a.jpg", "x/a.jpg"], ["x/a.jpg", "y/a.jpg", "x/a (2).jpg"]),
        (["a  b.jpg", "a b.jpg"], ["a  b.jpg", "a b.jpg"]),
    ],
)
def test_files_with_the_same_name_are_numbered(names, expected):
    assert distinct_names(names) == expected


@given(st.lists(st.sampled_from(["a.jpg", "a (2).jpg", "b", "a (3).jpg"])))
def test_no_name_occurs_twice(names):
    numbered = distinct_names(names)
    assert len(set(numbered)) == len(names) == len(numbered)
