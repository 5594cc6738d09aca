"""report_mosaics.py: the mosaics of the report."""

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from captioning.evaluation.report import report_html
from captioning.evaluation.report_mosaics import mosaic_of
from tests.evaluation.report_pages import Page, minimal, mosaic


def picture(panel):
    """The pixels of a panel."""
    kind, _, content = panel.source.partition(";base64,")
    assert kind == "data:image/jpeg"
    return Image.open(BytesIO(base64.b64decode(content)))


@pytest.mark.parametrize(("size", "shown"), [((448, 224), (320, 160)), ((224, 448), (160, 320))])
def test_a_mosaic_has_its_picture_evidence_and_attention(size, shown):
    panels = mosaic_of(mosaic(size)).panels
    assert [panel.title for panel in panels] == [
        "Picture",
        "Evidence, up to 39 %",  # 1 - exp(-0.5)
        "Attention, up to 2.0 %",  # 1 / 49
    ]
    for panel in panels:
        assert picture(panel).size == (panel.width, panel.height) == shown
    alone, evidence, attention = (
        np.asarray(picture(panel).convert("HSV").resize((7, 7)), float) for panel in panels
    )
    assert evidence[:, 0, 2].min() > evidence[:, 6, 2].max() + 100  # bright at the left
    assert np.ptp(attention[..., 2]) < 10  # the same everywhere
    assert np.ptp(alone[..., 2]) < 10


@pytest.mark.parametrize(
    ("caption", "word", "expected"),
    [
        ("A dog is next to a man.", "man", ("A dog is next to a ", "man", ".")),
        ("Dogs and a dog.", "dog", ("Dogs and a ", "dog", ".")),
        ("Dogs play.", "dogs", ("", "Dogs", " play.")),
        ("A cat.", "dog", ("A cat.", " (dog)", "")),
    ],
)
def test_the_word_is_marked_in_its_caption(caption, word, expected):
    shown = mosaic_of(mosaic(caption=caption, word=word))
    assert (shown.before, shown.word, shown.after) == expected


def test_a_report_without_measurements_shows_the_mosaics_it_is_given():
    parsed = Page(report_html(minimal(), [], {}, [mosaic()]))
    assert parsed.sections == ["results", "pointing", "metrics", "provenance"]
    assert len(parsed.all("mark")) == 1
    assert len(parsed.all("img")) == 3
