"""Captions for other programs: independent parsers read back what was written."""

import csv
import io
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioning.data.caption_files import read_captions
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
    assert attributes == {"src": name, "alt": text}


def test_html_is_an_img_element_with_everything_escaped():
    expected = '<img src="a.jpg" alt="A man&#x27;s &lt;big&gt; &quot;dog&quot;.">'
    assert as_html("a.jpg", 'A man\'s <big> "dog".') == expected


@given(st.lists(st.tuples(TEXTS, TEXTS)))
def test_csv_keeps_every_row_on_one_line(rows):
    text = as_csv(rows)
    assert list(csv.reader(io.StringIO(text)))[1:] == [
        [" ".join(name.split()), " ".join(caption.split())] for name, caption in rows
    ]


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
    ],
)
def test_files_with_the_same_name_are_numbered(names, expected):
    assert distinct_names(names) == expected


@given(st.lists(st.sampled_from(["a.jpg", "a (2).jpg", "b", "a (3).jpg"])))
def test_no_name_occurs_twice(names):
    numbered = distinct_names(names)
    assert len(set(numbered)) == len(names) == len(numbered)
