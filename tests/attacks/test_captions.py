"""Bad caption files are refused in one sentence, in time; nothing outside their folder is read."""

import csv
import gzip
import io
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.data.image_files import ImageFolder, climbs
from captioning.data.image_names import composed, last_number, only_number, trailing_parts
from captioning.data.text_files import read_text
from captioning.data.vocab import tokenize
from captioning.errors import CaptioningError
from captioning.evaluation.ptb import ptb_tokenize
from captioning.evaluation.report import report_html
from captioning.inference.export import as_csv
from tests.evaluation.report_pages import Page, entry, minimal
from tools.attacks import captions
from tools.attacks.bad_captions import FORMATS, MARKUP, large, malformed
from tools.attacks.outcome import Outcome
from tools.browser import CHROMIUM, chromium

PIECE = st.sampled_from(['"', ",", "\t", "#", "\n", "\r", "{", "}", "[", "]", ":", "null", "\0"])
TEXT = st.lists(PIECE | st.text(max_size=4), max_size=12).map("".join)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("captions")
    (folder / "images").mkdir()
    (folder / "images" / "a.jpg").touch()
    return folder


def test_malformed_files_are_refused_in_one_sentence(tmp_path):
    assert not captions.read_malformed(tmp_path, 200).harm


@settings(max_examples=150, deadline=None, database=None)
@given(st.integers(0, 2**63), st.binary(max_size=40), st.integers(0, 200))
def test_so_are_those_with_anything_in_them(folder, seed, more, at):
    content = malformed(seed)
    path = folder / "anything"
    path.write_bytes(content[:at] + more + content[at:])
    for read in captions.readers(folder / "images").values():
        captions.attempt(read, path)


@settings(max_examples=100, deadline=None, database=None)
@given(st.sampled_from(sorted(FORMATS)), st.lists(st.tuples(TEXT, TEXT), max_size=4))
def test_so_are_files_of_a_format_with_any_names_and_captions(folder, name, pairs):
    path = folder / "format"
    path.write_bytes(FORMATS[name](pairs).encode("utf-8", "surrogatepass"))
    for read in captions.readers(folder / "images").values():
        captions.attempt(read, path)


def test_another_exception_would_be_noticed(folder):
    def defect(path):
        raise KeyError("image")

    with pytest.raises(AssertionError, match="KeyError"):
        captions.attempt(defect, folder)


@pytest.mark.parametrize(("name", "content"), list(large(500_000)), ids=lambda each: str(each)[:30])
def test_no_file_takes_time_by_the_square_of_its_length(folder, name, content):
    path, started = folder / "large", time.perf_counter()
    path.write_bytes(content)
    for kind in ("training", "scoring", "text"):
        captions.attempt(captions.readers(folder / "images")[kind], path)
    assert time.perf_counter() - started < 20  # by the square it is minutes


@pytest.mark.parametrize("read", [tokenize, ptb_tokenize, composed, last_number, only_number])
@pytest.mark.parametrize("piece", ["n't", "'s", "\u0301\u0323", "0", "a/", " ", "-", "\u200c"])
def test_no_text_does_either(read, piece):
    started = time.perf_counter()
    for before, after in (("", ""), ("a", "x"), ("\xe9", "x"), ("-", "x")):
        read(before + piece * 20_000 + after)
    assert time.perf_counter() - started < 5  # by the square it is ten or more


@given(st.text("n't'sdabx -\xe9\u0301", max_size=30))
def test_tokens_are_a_fixed_point_whatever_the_clitics(text):
    tokens = tokenize(text)
    assert tokenize(" ".join(tokens)) == tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("don't", ["do", "n't"]),
        ("don'tn't", ["do", "n't", "n't"]),
        ("don'tn'tx", ["don'tn'tx"]),
        ("a'sn't", ["a", "'s", "n't"]),
        ("a'sn'tx", ["a'sn'tx"]),
        (" n'tn't", ["n't", "n't"]),
    ],
)
def test_clitics_that_follow_one_another(text, tokens):
    assert tokenize(text) == tokens


def test_a_file_packed_very_tightly_is_not_unpacked_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr("captioning.data.text_files._MOST_BYTES", 2**21)
    path = tmp_path / "captions.gz"
    path.write_bytes(gzip.compress(b"a" * 2**22))
    with pytest.raises(CaptioningError, match="split it"):
        read_text(path)
    path.write_bytes(gzip.compress(b"a" * 2**20))
    assert len(read_text(path)) == 2**20


def test_names_that_lead_out_are_refused_and_links_followed(tmp_path):
    assert not captions.names_elsewhere(tmp_path).harm
    assert not captions.links(tmp_path).harm


@given(st.lists(st.sampled_from(["..", ".", "", "a", "/", "\\", "secret.jpg", " "]), max_size=8))
def test_whatever_is_found_is_in_the_folder(tmp_path_factory, parts):
    folder = tmp_path_factory.mktemp("inside")
    for place in ("secret.jpg", "in/secret.jpg", "in/a/secret.jpg"):
        (folder / place).parent.mkdir(exist_ok=True)
        (folder / place).touch()
    images = ImageFolder(folder / "in")
    for separator in ("/", "\\", ""):
        name = separator.join(parts)
        for file in images.find(name).files:
            assert (folder / "in" / file).resolve().is_relative_to(folder / "in")


def test_two_points_in_a_name_do_not_climb():
    assert not climbs("a..b.jpg")
    assert not climbs("...")
    assert climbs("a/../b.jpg")


def test_a_path_has_no_end_of_more_than_a_hundred_parts():
    assert max(end.count("/") for end in trailing_parts("a/" * 10_000 + "b")) == 99


def test_names_stay_what_they_are_in_a_csv_and_captions_begin_no_formula():
    """A name is its file's: another text would not be found again."""
    names = ["=1+1.jpg", "+a.jpg", "-a.jpg", "@a.jpg", "=cmd|' /C calc'!A0.jpg"]
    rows = csv.reader(io.StringIO(as_csv((name, "a dog") for name in names)))
    assert [name for name, _ in rows][1:] == names


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_markup_in_exported_pages_and_reports_stays_text_in_a_browser(tmp_path):
    assert not captions.pages(tmp_path).harm
    result = minimal() | {"name": "".join(MARKUP), "system": "".join(MARKUP)}
    entries = [entry(name=text, caption=text, references=(text,)) for text in MARKUP]
    report = report_html(result, entries, {})
    (tmp_path / "report.html").write_text(report, encoding="utf-8")
    assert len(Page(report).all("script")) == 1
    with chromium() as browser:
        opened = browser.new_page()
        asked = []
        opened.on("dialog", lambda dialog: asked.append(dialog.message))
        opened.on("request", lambda request: asked.append(request.url))
        opened.goto((tmp_path / "report.html").as_uri())
        assert opened.evaluate("window.harm") is None
        body = opened.locator("body").inner_text()
        assert "<img src=x onerror=window.harm=1>" in body
        assert not [url for url in asked if not url.startswith(("file:", "data:"))]


def test_a_script_in_a_page_would_be_noticed():
    parser = captions.Scripts()
    parser.feed("<p title='x'><img src=x onerror=y><a href='javascript:z'><script>1</script>")
    assert parser.harm == ["onerror", "javascript:z", "script"]
    outcome = Outcome("x")
    with outcome.attempt("x"):
        raise AssertionError("y")
    assert outcome.harm == ["x: y"]
