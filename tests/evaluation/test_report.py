"""report.py: what the page says, that it loads nothing, and that nobody's text becomes markup."""

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from captioning.evaluation.report import COLUMNS, PUBLISHED, Entry, report_html
from captioning.pictures import light

HOSTILE = "<script>alert('x')</script>\"'><img src=http://evil.example/a.png>&amp;{{ 7 * 7 }}"
VOID = {"meta", "img", "input", "wbr", "br", "link", "hr"}
WORDS = ("a", "man", "'s", "dog")


class Page(HTMLParser):
    """A page read strictly: every element that is opened is closed, in order."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements, self.open, self.text, self.raw = [], [], [], []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"an attribute twice: {attrs}"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        (self.raw if self.open and self.open[-1] in ("script", "style") else self.text).append(data)

    def all(self, tag):
        """The attributes of every element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    def of_class(self, name):
        """The attributes of every element of a class."""
        return [a for _, a in self.elements if name in (a.get("class") or "").split()]

    @property
    def sections(self):
        return [attributes["id"] for attributes in self.all("section")]

    @property
    def words(self):
        """All that can be read, with single spaces."""
        return " ".join(" ".join(self.text).split())


def minimal(**extra):
    """A result with what must be there."""
    return {
        "name": "base_dev",
        "metrics": {"CIDEr-D": 53.149, "BLEU-4": 21.993},
        "images": 1000,
        "split": "dev",
        "command": "python bleu_scorer.py",
    } | extra


def full():
    """A result with all there may be."""
    figures = {"CIDEr-D": 53.149, "BLEU-4": 21.993, "loss": 2.7898, "CHAIR-s": 24.61, "odd": 3.14}
    ends = {"CIDEr-D": [50.04, 56.36]}
    of_beam = {
        "metrics": {"CIDEr-D": 51.72, "BLEU-4": 20.83},
        "intervals": {"CIDEr-D": [48.1, 54.9]},
    }
    compared = {
        "this": 53.1,
        "other": 50.2,
        "difference": 2.9,
        "interval": [-0.4, 6.1],
        "p": 0.0312,
    }
    return minimal(
        metrics=figures,
        intervals=ends,
        system="The model base.pth with beam 3",
        model="base.pth",
        sha256="a5da1969",
        date="2026-11-24",
        beam=3,
        versions={"torch": "2.4.1"},
        notes=["METEOR needs Java."],
        **{"length penalty": 0.7, "references per image": 5, "split source": "the official split"},
        **{
            "four references": {
                "metrics": {"CIDEr-D": 49.4},
                "intervals": {"CIDEr-D": [46.1, 52.8]},
            }
        },
        attention={
            "faithfulness": 0.4123,
            "interval": [0.3612, 0.4713],
            "drop": 0.5317,
            "drop at random places": 0.1194,
            "entropy": 2.9137,
            "greatest entropy": 3.8918,
            "words": 4312,
        },
        calibration={
            "of": "CIDEr-D",
            "rank correlation": 0.4123,
            "interval": [0.36, 0.46],
            "bins": [{"probability": 0.314, "CIDEr-D": 44.7, "interval": [40, 49], "images": 97}],
        },
        beams=[{"beam": 1, **of_beam}],
        against={"name": "The nearest photograph", "metrics": {"CIDEr-D": compared}},
    )


def entry(**changes):
    """A photograph of the gallery."""
    attention = np.zeros((len(WORDS), 7, 7), np.float32)
    attention[:, 2, 3] = 1
    given = Entry(
        groups=("best", "random"),
        name="photo.jpg",
        photo=Image.new("RGB", (640, 320), "red"),
        caption="A man's dog.",
        references=("a dog of a man", "a brown dog"),
        scores={"CIDEr-D": 101.26, "BLEU-4": 31.4, "log-probability": -9.876},
        words=WORDS,
        attention=attention,
    )
    return replace(given, **changes)


def figure():
    drawn = Figure(figsize=(2, 1))
    drawn.subplots().plot([1, 2])
    return drawn


def page(result=None, entries=(), figures=None):
    return Page(report_html(result or minimal(), entries, figures or {}))


@pytest.fixture(scope="module")
def html():
    """A report with everything."""
    figures = {key: figure() for key in ("scores", "lengths", "reliability", "beams")}
    return report_html(full(), [entry(), entry(photo=None, invented=("dog",))], figures)


# One file ----------------------------------------------------------------------------------------


def test_a_report_is_well_formed_and_in_english(html):
    assert html.startswith("<!DOCTYPE html>")
    found = Page(html)
    assert found.all("html") == [{"lang": "en"}]
    assert len(found.all("h1")) == len(found.all("main")) == 1
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_a_report_loads_nothing(html):
    found = Page(html)
    assert not found.all("link")
    assert all("src" not in attributes for attributes in found.all("script"))
    assert all(attributes["src"].startswith("data:image/") for attributes in found.all("img"))
    assert all(attributes["href"].startswith("#") for attributes in found.all("a"))
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|https?:", "".join(found.raw))
    policy = next(a["content"] for a in found.all("meta") if "http-equiv" in a)
    assert "default-src 'none'" in policy
    # Pictures are in base64, where no address can be told from chance.
    assert "http" not in re.sub(r"data:image/[^\"]+", "", html).replace("http-equiv", "")


def test_links_lead_to_what_is_there(html):
    found = Page(html)
    ids = {attributes["id"] for _, attributes in found.elements if "id" in attributes}
    assert {attributes["href"][1:] for attributes in found.all("a")} <= ids


def test_every_picture_says_what_it_shows(html):
    pictures = Page(html).all("img")
    assert len(pictures) == 5
    assert all(len(attributes["alt"]) > 10 for attributes in pictures)


def test_every_field_has_a_label_and_every_table_a_head(html):
    found = Page(html)
    assert len(found.all("label")) == len(found.all("select")) + len(found.all("input")) == 4
    assert all("scope" in attributes for attributes in found.all("th"))
    assert len(found.all("thead")) == len(found.all("table"))


def test_what_scrolls_can_be_reached_with_the_keyboard(html):
    wide = Page(html).of_class("wide")
    assert wide
    assert all(a["tabindex"] == "0" and a["role"] == "region" and a["aria-label"] for a in wide)


def test_the_same_figure_gives_the_same_page():
    first, second = (report_html(minimal(), [entry()], {"scores": figure()}) for _ in range(2))
    assert first == second


# Hostile text ------------------------------------------------------------------------------------


def test_text_stays_text_wherever_it_stands():
    result = full() | {"name": HOSTILE, "system": HOSTILE, "command": HOSTILE, "notes": [HOSTILE]}
    result |= {"split": HOSTILE, "split source": HOSTILE, "versions": {HOSTILE: HOSTILE}}
    result["metrics"] = result["metrics"] | {HOSTILE: 1.0}
    result["against"] = {
        "name": HOSTILE,
        "metrics": {HOSTILE: full()["against"]["metrics"]["CIDEr-D"]},
    }
    hostile = entry(
        groups=(HOSTILE,),
        name=HOSTILE,
        caption=HOSTILE,
        references=(HOSTILE,),
        words=(HOSTILE,) * len(WORDS),
        invented=(HOSTILE,),
    )
    found = Page(report_html(result, [hostile, entry(caption=HOSTILE)], {HOSTILE: figure()}))
    assert len(found.all("script")) == 1
    assert "alert" not in "".join(found.raw)
    assert all(attributes["src"].startswith("data:") for attributes in found.all("img"))
    assert not any(name.startswith("on") for _, a in found.elements for name in a)
    assert found.words.count("alert('x')") >= 12
    assert "49" not in found.words.split()  # no template in a template


def test_scores_are_plain_numbers_for_the_page_to_sort_by():
    scores = {"CIDEr-D": np.float64(101.26), "log-probability": float("-inf")}
    (card,) = page(entries=[entry(scores=scores)]).all("article")
    assert json.loads(card["data-values"]) == {"CIDEr-D": 101.26, "length": 4}


# What it says ------------------------------------------------------------------------------------


def test_the_figures_of_the_result_appear(html):
    text = Page(html).words
    for expected in (
        "53.1 50.0 to 56.4",
        "22.0",
        "2.790",  # loss
        "24.6",  # CHAIR-s
        "odd 3.1",  # a figure that this page knows nothing of
        "49.4 46.1 to 52.8",  # one reference left out
        "0.412 0.361 to 0.471",  # faithfulness
        "3.892 evenly on all",
        "4,312 words",
        "0.41 (95 % interval 0.36 to 0.46)",  # rank correlation
        "0.314 44.7 40.0 to 49.0 97",  # a bin
        "1 51.7 48.1 to 54.9 20.8",  # a beam
        "+2.90 \N{MINUS SIGN}0.40 to +6.10 0.0312 no clear difference",
        "101.3",
        "\N{MINUS SIGN}9.88",
        "1,000 photographs",
        "5 references each",
        "length penalty 0.7",
        "python bleu_scorer.py",
        "a5da1969",
        "torch 2.4.1",
        "2026-11-24",
        "METEOR needs Java.",
        "The model base.pth with beam 3.",
    ):
        assert expected in text, expected


def test_published_figures_stand_beside_the_result(html):
    text = Page(html).words
    assert len(PUBLISHED) == 8
    assert all(len(system.figures) == len(COLUMNS) for system in PUBLISHED)
    assert "beam 5) test 65.9 48.0 33.9 23.5 20.7 47.6 58.9" in text
    dash = "\N{EN DASH}"
    assert f"Google NIC (2014) test 63.0 41.0 27.0 {dash} {dash} {dash} {dash}" in text
    assert "NIC-era BLEU had in effect no brevity penalty" in text


@pytest.mark.parametrize(
    ("split", "source", "expected"),
    [
        ("dev", "the official Flickr8k split", "These are other photographs"),
        ("test", "the official Flickr8k split", "The split is the same"),
        ("test", "a split by the hash of each name", "These may be other photographs"),
    ],
)
def test_nobody_compares_splits_unaware(split, source, expected):
    text = page(minimal(split=split, **{"split source": source})).words
    assert expected in text
    shown = {"dev": "development split", "test": "test split"}[split]
    assert f"This result is of the {shown} ({source})." in text
    assert f"Scored on {shown}" in text


@pytest.mark.parametrize(
    ("name", "difference", "p", "expected"),
    [
        ("CIDEr-D", 2.0, 0.01, "better"),
        ("CIDEr-D", -2.0, 0.01, "worse"),
        ("CHAIR-s", 2.0, 0.01, "worse"),
        ("loss", -2.0, 0.01, "better"),
        ("length", 2.0, 0.01, "higher"),
        ("CIDEr-D", 2.0, 0.05, "no clear difference"),
        ("CIDEr-D", 0.5, 0.04, "no clear difference"),  # its interval holds 0
    ],
)
def test_a_difference_is_called_better_only_when_it_is(name, difference, p, expected):
    interval = [difference - 1, difference + 1]
    row = {"this": 1, "other": 1, "difference": difference, "interval": interval, "p": p}
    text = page(minimal(against={"name": "other", "metrics": {name: row}})).words
    assert f"{p:.4f} {expected}" in text


# What is not there -------------------------------------------------------------------------------


def test_sections_are_left_out_with_their_keys():
    found = page()
    assert found.sections == ["results", "figures", "made"]
    assert not found.all("img")
    assert "95 %" not in found.words


def test_sections_are_there_with_their_keys(html):
    assert Page(html).sections == [
        "results",
        "figures",
        "four",
        "attention",
        "calibration",
        "against",
        "beams",
        "spread",
        "gallery",
        "made",
    ]


@pytest.mark.parametrize("missing", sorted(set(full()) - set(minimal())))
def test_any_key_may_be_missing(missing):
    result = full()
    del result[missing]
    page(result, [entry()])


def test_a_result_may_lack_the_headline_figures():
    assert "CIDEr-D" in page(minimal(metrics={"loss": 2.5})).words


def test_a_figure_without_its_section_is_shown_all_the_same():
    found = page(figures={"beams": figure(), "my own": figure()})
    assert found.sections == ["results", "figures", "spread", "made"]
    assert [a["alt"] for a in found.all("img")][1] == "Figure: my own"


# The gallery -------------------------------------------------------------------------------------


def test_a_card_has_the_photograph_the_caption_and_the_references():
    found = page(entries=[entry()])
    (picture,) = found.all("img")
    kind, _, content = picture["src"].partition(";base64,")
    assert kind == "data:image/jpeg"
    with Image.open(BytesIO(base64.b64decode(content))) as photo:
        assert photo.size == (320, 160) == (int(picture["width"]), int(picture["height"]))
    assert "a dog of a man" in found.words
    assert "2 references" in found.words
    assert found.all("article")[0]["data-groups"] == "best random"


def test_each_word_has_its_map_as_plots_shows_it():
    weights = np.random.default_rng(0).dirichlet(np.ones(6), 4).astype(np.float32).reshape(4, 2, 3)
    found = page(entries=[entry(attention=weights)])
    shown = [np.array(a["data-light"].split(), float) / 99 for a in found.of_class("word")]
    assert found.all("article")[0]["data-columns"] == "3"
    assert np.allclose(shown, [light(of_word).ravel() for of_word in weights], atol=0.01)


def test_nearly_even_attention_is_shown_with_little_contrast():
    weights = np.full((4, 7, 7), 1 / 49, np.float32)
    weights[:, 0, 0] *= 1.02
    found = page(entries=[entry(attention=weights)])
    assert min(int(step) for step in found.of_class("word")[0]["data-light"].split()) > 95


def headline(found_html):
    """The caption of the first card, as markup and as text."""
    markup = re.search(r'<h3 class="caption">(.*?)</h3>', found_html, re.DOTALL)[1]
    return markup, re.sub("<[^>]+>", "", markup).replace("&#39;", "'")


def test_the_words_of_a_caption_make_up_its_sentence():
    markup, text = headline(report_html(minimal(), [entry()], {}))
    assert text == "A man's dog."
    assert re.findall(r">([^<>]+)</span>", markup) == ["A", "man", "&#39;s", "dog"]


def test_words_that_the_sentence_lacks_stand_in_its_place():
    markup, text = headline(report_html(minimal(), [entry(caption="Something else.")], {}))
    assert text == "a man 's dog"
    assert markup.count("data-light") == 4


def test_fewer_maps_than_words_leave_words_without():
    markup, text = headline(report_html(minimal(), [entry(attention=entry().attention[:2])], {}))
    assert text == "A man's dog."
    assert markup.count("data-light") == 2


def test_a_caption_file_needs_neither_photographs_nor_attention():
    bare = entry(photo=None, attention=None, words=(), scores={"CIDEr-D": 12.3})
    found = page(entries=[bare, replace(bare, caption="", references=())])
    assert not found.all("img")
    assert not found.of_class("word")
    assert "A man's dog." in found.words
    assert "(no caption)" in found.words
    assert "log-probability" not in found.words


@pytest.mark.parametrize("words", [WORDS, ()])
def test_invented_objects_are_marked_and_named(words):
    html = report_html(minimal(), [entry(words=words, attention=None, invented=("dog",))], {})
    markup, text = headline(html)
    assert re.findall(r'<span class="word invented">([^<]+)</span>', markup) == ["dog"]
    assert text == "A man's dog."
    assert "In no reference: dog" in Page(html).words


def test_only_groups_and_scores_that_occur_can_be_chosen():
    html = report_html(minimal(), [entry(groups=("worst",), scores={"ROUGE-L": 3.0})], {})
    options = re.findall(r"<option[^>]*>([^<]+)</option>", html)
    assert options == ["all", "worst", "as listed", "ROUGE-L", "length", *options[-2:]]


def test_without_javascript_there_are_cards_and_no_dead_controls(html):
    found = Page(html)
    assert "hidden" in found.all("form")[0]
    assert all("hidden" not in card for card in found.all("article"))
    assert [button["type"] for button in found.all("button")] == ["reset"]
    assert "2 of 2 shown" in found.words
