"""report_gallery.py: photographs, captions cut at their words, and maps."""

import base64
import re
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from captioning.evaluation.report import report_html
from captioning.pictures import attention_heat, evidence_heat
from tests.evaluation.report_pages import (
    WORDS,
    Page,
    entry,
    everything,
    evidence,
    minimal,
    page,
)


def test_a_card_has_the_photograph_the_caption_and_the_references():
    parsed = page(entries=[entry()])
    (picture,) = parsed.all("img")
    kind, _, content = picture["src"].partition(";base64,")
    assert kind == "data:image/jpeg"
    with Image.open(BytesIO(base64.b64decode(content))) as photo:
        assert photo.size == (320, 160) == (int(picture["width"]), int(picture["height"]))
    assert "a dog of a man" in parsed.words
    assert "2 references" in parsed.words
    assert parsed.all("article")[0]["data-groups"] == "best random"


@pytest.mark.parametrize(
    ("kind", "as_heat"), [("attention", attention_heat), ("evidence", evidence_heat)]
)
def test_each_word_has_its_maps_as_an_overlay_shows_them(kind, as_heat):
    values = np.random.default_rng(0).normal(0.3, 0.5, (4, 2, 3)).astype(np.float32)
    given = {"attention": np.full((4, 2, 3), 1 / 6, np.float32), kind: values}
    parsed = page(entries=[entry(**given)])
    shown = [np.array(a[f"data-{kind}"].split(), float) / 99 for a in parsed.of_class("word")]
    assert parsed.all("article")[0]["data-columns"] == "3"
    assert np.allclose(shown, [as_heat(each).share().ravel() for each in values], atol=0.01)


def test_the_value_at_the_end_of_the_scale_is_given():
    weights = np.full((4, 7, 7), 0.9375 / 48, np.float32)
    weights[:, 0, 0] = 0.0625
    losses = np.zeros((4, 7, 7), np.float32)
    losses[0, 1, 1] = np.log(4)  # the probability falls to a quarter
    first, second, *_ = page(entries=[entry(attention=weights, evidence=losses)]).of_class("word")
    assert (first["data-attention-top"], first["data-evidence-top"]) == ("6.2 %", "75 %")
    assert second["data-evidence-top"] == "10 %"  # nothing is lost, and nothing is hot
    assert set(second["data-evidence"].split()) == {"0"}


def test_nearly_even_attention_is_shown_with_little_contrast():
    weights = np.full((4, 7, 7), 1 / 49, np.float32)
    weights[:, 0, 0] *= 1.02
    parsed = page(entries=[entry(attention=weights)])
    assert min(int(step) for step in parsed.of_class("word")[0]["data-attention"].split()) > 95


def test_the_maps_can_be_chosen_only_where_there_are_both():
    both = page(entries=[entry(), entry(evidence=evidence())])
    radios = [a for a in both.all("input") if a["type"] == "radio"]
    assert [(a["value"], "checked" in a) for a in radios] == [
        ("evidence", True),
        ("attention", False),
    ]
    for only in (entry(), entry(attention=None, evidence=evidence())):
        assert [a["type"] for a in page(entries=[only]).all("input")] == ["search"]
    assert not page(entries=[entry(attention=None)]).of_class("scale")


def headline(html):
    """The caption of the first card, as markup and as text."""
    markup = re.search(r'<h3 class="caption">(.*?)</h3>', html, re.DOTALL)[1]
    return markup, re.sub("<[^>]+>", "", markup).replace("&#39;", "'")


def test_the_words_of_a_caption_make_up_its_sentence():
    markup, text = headline(report_html(minimal(), [entry()], {}))
    assert text == "A man's dog."
    assert re.findall(r">([^<>]+)</span>", markup) == ["A", "man", "&#39;s", "dog"]


def test_words_that_the_sentence_lacks_replace_it():
    markup, text = headline(report_html(minimal(), [entry(caption="Something else.")], {}))
    assert text == "a man 's dog"
    assert markup.count("data-attention=") == 4


def test_fewer_maps_than_words_leave_words_without():
    markup, text = headline(report_html(minimal(), [entry(attention=entry().attention[:2])], {}))
    assert text == "A man's dog."
    assert markup.count("data-attention=") == 2


def test_a_caption_file_needs_neither_photographs_nor_attention():
    bare = entry(photo=None, attention=None, words=(), scores={"CIDEr-D": 12.3})
    parsed = page(entries=[bare, replace(bare, caption="", references=())])
    assert not parsed.all("img")
    assert not parsed.of_class("word")
    assert "A man's dog." in parsed.words
    assert "(no caption)" in parsed.words
    assert "log-probability" not in parsed.words


@pytest.mark.parametrize("words", [WORDS, ()])
def test_hallucinated_objects_are_marked_and_named(words):
    html = report_html(minimal(), [entry(words=words, attention=None, hallucinated=("dog",))], {})
    markup, text = headline(html)
    assert re.findall(r'<span class="word hallucinated">([^<]+)</span>', markup) == ["dog"]
    assert text == "A man's dog."
    assert "In no reference: dog" in Page(html).words


def test_only_groups_and_scores_that_occur_can_be_chosen():
    html = report_html(minimal(), [entry(groups=("worst",), scores={"ROUGE-L": 3.0})], {})
    options = re.findall(r"<option[^>]*>([^<]+)</option>", html)
    assert options == ["all", "worst", "as listed", "ROUGE-L", "length", *options[-2:]]


def test_without_javascript_there_are_cards_and_no_dead_controls():
    parsed = Page(everything())
    assert "hidden" in parsed.all("form")[0]
    assert all("hidden" not in card for card in parsed.all("article"))
    assert [button["type"] for button in parsed.all("button")] == ["reset"]
    assert "3 of 3 shown" in parsed.words
