"""report.py: what the page says, that it loads nothing, and that nobody's text becomes markup."""

import json
import re

import numpy as np
import pytest

from captioning.evaluation.catalogue import REPORTED
from captioning.evaluation.published import PUBLISHED
from captioning.evaluation.report import report_html
from captioning.pictures import COLOURS, STRENGTH
from tests.evaluation.report_pages import (
    WORDS,
    Page,
    entry,
    everything,
    example,
    full,
    minimal,
    mosaic,
    page,
    plot,
    pointing_of,
)
from tools.browser import CHROMIUM, chromium

HOSTILE = "<script>alert('x')</script>\"'><img src=http://evil.example/a.png>&amp;{{ 7 * 7 }}"


@pytest.fixture(scope="module")
def html():
    """A report with everything."""
    return everything()


# One file ----------------------------------------------------------------------------------------


def test_a_report_is_well_formed_and_in_english(html):
    assert html.startswith("<!DOCTYPE html>")
    parsed = Page(html)
    assert parsed.all("html") == [{"lang": "en"}]
    assert len(parsed.all("h1")) == len(parsed.all("main")) == 1
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_a_report_loads_nothing(html):
    parsed = Page(html)
    assert not parsed.all("link")
    assert all("src" not in attributes for attributes in parsed.all("script"))
    assert all(attributes["src"].startswith("data:image/") for attributes in parsed.all("img"))
    assert all(attributes["href"].startswith("#") for attributes in parsed.all("a"))
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|https?:", "".join(parsed.raw))
    policy = next(a["content"] for a in parsed.all("meta") if "http-equiv" in a)
    assert "default-src 'none'" in policy
    # Pictures are in base64, where an address could occur by accident.
    assert "http" not in re.sub(r"data:image/[^\"]+", "", html).replace("http-equiv", "")


def test_links_lead_to_what_is_there(html):
    parsed = Page(html)
    ids = {attributes["id"] for _, attributes in parsed.elements if "id" in attributes}
    assert {attributes["href"][1:] for attributes in parsed.all("a")} <= ids


def test_every_picture_says_what_it_shows(html):
    pictures = Page(html).all("img")
    assert len(pictures) == 6 + 2 * 3 + 2 * 3 + 2  # plots, mosaics, examples, photographs
    assert all(len(attributes["alt"]) > 10 for attributes in pictures)


def test_every_field_has_a_label_and_every_table_a_head(html):
    parsed = Page(html)
    assert len(parsed.all("label")) == len(parsed.all("select")) + len(parsed.all("input")) == 6
    assert len(parsed.all("fieldset")) == len(parsed.all("legend")) == 1
    assert all("scope" in attributes for attributes in parsed.all("th"))
    assert len(parsed.all("thead")) == len(parsed.all("table"))


def test_what_scrolls_can_be_reached_with_the_keyboard(html):
    wide = Page(html).of_class("wide")
    assert wide
    assert all(a["tabindex"] == "0" and a["role"] == "region" and a["aria-label"] for a in wide)


def test_the_same_plot_gives_the_same_page():
    first, second = (report_html(minimal(), [entry()], {"scores": plot()}) for _ in range(2))
    assert first == second


# Hostile text ------------------------------------------------------------------------------------


def test_text_is_escaped_wherever_it_appears():
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
        hallucinated=(HOSTILE,),
    )
    result["pointing"] = {"maps": {HOSTILE: pointing_of(0.5, 0.5)}, "words": {HOSTILE: 3}}
    result["pointing"] |= {"pairs": 60, "mosaics": 240}
    result["occlusion"] = {"metrics": {HOSTILE: 0.5}}
    result["novelty"]["kinds"] = {HOSTILE: result["novelty"]["kinds"]["posters"]}
    mosaics = [mosaic(caption=HOSTILE, word="x"), mosaic(word=HOSTILE)]
    others = [example(caption=HOSTILE, word=HOSTILE, references=(HOSTILE,))]
    result["other sets"] = [{"name": HOSTILE, "metrics": {"CIDEr-D": 1}}]
    entries = [hostile, entry(caption=HOSTILE)]
    parsed = Page(report_html(result, entries, {HOSTILE: plot()}, mosaics, others))
    assert len(parsed.all("script")) == 1
    assert "alert" not in "".join(parsed.raw)
    assert all(attributes["src"].startswith("data:") for attributes in parsed.all("img"))
    assert not any(name.startswith("on") for _, a in parsed.elements for name in a)
    assert parsed.words.count("alert('x')") >= 12
    assert "49" not in parsed.words.split()  # no template in a template


def test_scores_are_plain_numbers_for_the_page_to_sort_by():
    scores = {"CIDEr-D": np.float64(101.26), "log-probability": float("-inf")}
    (card,) = page(entries=[entry(scores=scores)]).all("article")
    assert json.loads(card["data-values"]) == {"CIDEr-D": 101.26, "length": 4}


# What it says ------------------------------------------------------------------------------------


def test_the_values_of_the_result_appear(html):
    text = Page(html).words
    for expected in (
        "53.1 50.0 to 56.4",
        "22.0",
        "2.790",  # loss
        "24.6",  # CHAIR-s
        "odd 3.1",  # a metric that the catalogue lacks
        "1,240 mosaics of 60 pairs of photographs, with 251 dog words and 232 person words.",
        "Evidence 0.86 0.85 to 0.87 0.88 0.87 to 0.89 0.84 0.83 to 0.85 0.92 0.91 to 0.93",
        "Attention 0.58 0.57 to 0.59",
        "Centre map 0.50 0.49 to 0.51",
        "2,100 words of 200 photographs",
        "1,000 photographs of the development split against pictures unlike those",
        "Drawings 120 pictures 0.961 0.944 to 0.975 42 % Posters 165 pictures 0.683",
        "Evidence 0.95 0.94 to 0.96 Attention 0.10",  # rank correlation with occlusion
        "everyday 243 photographs 1 to 5 references each",
        "CIDEr-D x100 25.5 20.7 to 31.4 8.7 7.9 to 9.6 53.1 50.0 to 56.4",
        "supported objects % 41.2 36.4 to 46.9 \N{EN DASH} \N{EN DASH}",
        "everyday: compared with another system",
        "+12.30 +8.10 to +16.50 0.0004 better",
        "A cup is on a table.",
        "References a cup of coffee the table has a mug on it",
        "49.4 46.1 to 52.8",  # one reference left out
        "0.412 0.361 to 0.471",  # faithfulness
        "3.892 is evenly over all",
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


def test_published_values_are_compared_with_the_result(html):
    text = Page(html).words
    assert len(PUBLISHED) == 8
    assert all(len(system.values) == len(REPORTED) for system in PUBLISHED)
    assert "beam 5) test 65.9 48.0 33.9 23.5 20.7 47.6 58.9" in text
    dash = "\N{EN DASH}"
    assert f"Google NIC (2014) test 63.0 41.0 27.0 {dash} {dash} {dash} {dash}" in text
    assert "NIC-era BLEU had in effect no brevity penalty" in text


@pytest.mark.parametrize(
    ("split", "source", "expected"),
    [
        ("dev", "the official Flickr8k split", "These are different photographs"),
        ("test", "the official Flickr8k split", "The split is the same"),
        ("test", "a split by the hash of each name", "These may be different photographs"),
    ],
)
def test_a_comparison_across_splits_is_marked_as_one(split, source, expected):
    text = page(minimal(split=split, **{"split source": source})).words
    assert expected in text
    shown = {"dev": "development split", "test": "test split"}[split]
    assert f"This result is on the {shown} ({source})." in text
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
    parsed = page()
    assert parsed.sections == ["results", "metrics", "provenance"]
    assert not parsed.all("img")
    assert "95 %" not in parsed.words


def test_sections_are_there_with_their_keys(html):
    assert Page(html).sections == [
        "results",
        "pointing",
        "attention",
        "calibration",
        "novelty",
        "beams",
        "distributions",
        "gallery",
        "other-sets",
        "metrics",
        "leave-one-out",
        "against",
        "provenance",
    ]


@pytest.mark.parametrize("missing", sorted(set(full()) - set(minimal())))
def test_any_key_may_be_missing(missing):
    result = full()
    del result[missing]
    page(result, [entry()])


def test_a_result_may_lack_the_headline_metrics():
    assert "CIDEr-D" in page(minimal(metrics={"loss": 2.5})).words


def test_a_plot_without_its_section_is_shown_anyway():
    parsed = page(plots={"beams": plot(), "my own": plot()})
    assert parsed.sections == ["results", "distributions", "metrics", "provenance"]
    assert [a["alt"] for a in parsed.all("img")][1] == "Plot: my own"


@pytest.mark.parametrize("section", ["pointing", "occlusion"])
def test_any_part_of_the_new_sections_may_be_missing(section):
    for missing in full()[section]:
        part = {key: value for key, value in full()[section].items() if key != missing}
        page(minimal(**{section: {"metrics": {}} | part}), [entry()])


def test_photographs_of_another_set_are_shown_without_its_scores():
    parsed = Page(report_html(minimal(), [], {}, [], [example(references=("a mug",))]))
    assert parsed.sections == ["results", "other-sets", "metrics", "provenance"]
    assert "Photographs of another data set" in parsed.words
    assert "Reference a mug" in parsed.words
    photograph, evidence, attention = parsed.all("img")
    assert photograph["alt"] == "Photograph. In a person's words: a mug"
    assert "evidence of “cup” as heat" in evidence["alt"]
    assert "attention of “cup” as heat" in attention["alt"]
    assert not parsed.of_class("broad")  # it is higher than wide


def test_plots_come_before_the_tables_of_their_section(html):
    for name in ("results", "pointing", "calibration", "beams"):
        section = re.search(rf'<section id="{name}">.*?</section>', html, re.DOTALL)[0]
        assert section.index('<figure class="chart">') < section.index("<table>")


def test_only_a_result_that_was_compared_with_people_speaks_of_them():
    against = full()["against"]
    as_people = against | {"name": "People: each reference against the others"}
    told = "people are compared with this result scored in the same way"
    assert told in page(minimal(against=as_people)).words
    assert told not in page(minimal(against=against)).words


# In a browser ------------------------------------------------------------------------------------


def is_hot(shown, *places):
    """Whether the heat at each (column, row) of the grid has the hottest colour, or the coldest."""
    code = """(canvas, places) => places.map(([x, y]) => [...canvas.getContext("2d").getImageData(
        x * canvas.width / 7, y * canvas.height / 7, 1, 1).data])"""
    pixels = np.array(shown.locator("canvas.on").last.evaluate(code, places))
    assert np.allclose(pixels[:, 3], 255 * STRENGTH, atol=1)
    ends = np.array([list(bytes.fromhex(COLOURS[end][1:])) for end in (0, -1)])
    distances = np.abs(pixels[:, None, :3] - ends).max(axis=2)
    assert (distances.min(axis=1) < 40).all()
    return distances.argmin(axis=1).astype(bool).tolist()


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize("width", [1280, 390])
def test_in_a_browser_all_tables_are_visible_and_words_show_their_maps(tmp_path, html, width):
    path = tmp_path / "report.html"
    path.write_text(html, encoding="utf-8")
    with chromium() as browser:
        shown = browser.new_page(viewport={"width": width, "height": 900})
        errors = []
        shown.on("pageerror", lambda error: errors.append(error))
        shown.goto(path.as_uri())
        tables = shown.locator("table").all()
        assert len(tables) == len(Page(html).all("table"))
        assert all(table.is_visible() for table in tables)
        assert shown.evaluate("document.documentElement.scrollWidth") <= width

        top = shown.locator("#gallery .scale:not(.idle) .top")
        word = shown.locator("button.word", has_text="dog").first
        word.click()
        assert word.get_attribute("aria-pressed") == "true"
        left, middle = (0.5, 0.5), (3.5, 2.5)  # where its evidence and its attention are
        assert is_hot(shown, left, middle) == [True, False]
        assert top.last.inner_text() == "50 % of its support"
        shown.get_by_label("attention", exact=True).check()
        assert is_hot(shown, left, middle) == [False, True]
        assert top.last.inner_text() == "100 % of the attention"
        shown.get_by_label("evidence", exact=True).check()
        other = shown.locator("article").nth(2).locator("button.word").last
        word.click()
        other.click()  # a photograph without evidence shows its attention
        assert is_hot(shown, left, middle) == [False, True]
        shown.locator("input[type=search]").fill("nothing has this word")
        assert "0 of 3 shown" in shown.locator("#count").inner_text()
        assert errors == []
