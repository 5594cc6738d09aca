"""evaluation_page.py: plots before tables, of new results and of older ones; the report."""

import base64
import json
import re
import subprocess
import sys

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from captioning.app import evaluation_page
from captioning.app.evaluation_page import HEADINGS
from captioning.app.results import read_result
from captioning.evaluation.score_plots import result_figures
from captioning.evaluation.summary import PLOT_TEXTS
from captioning.network.checkpoint import SHIPPED_MODEL
from captioning.plots import as_svg
from tests.evaluation.report_pages import full, minimal
from tools.browser import CHROMIUM, chromium, serving, wait_until_idle

SECONDS = 60  # ample, for a machine that does other things too


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """A folder to work in, with folders for results."""
    monkeypatch.chdir(tmp_path)
    for name in ("metrics", "plots"):
        (tmp_path / "results" / name).mkdir(parents=True)
    return tmp_path / "results"


def opened(choice=0):
    """The page with an evaluation chosen, without the navigation."""
    code = "from captioning.app import evaluation_page\nevaluation_page.main()\n"
    page = AppTest.from_string(code, default_timeout=SECONDS).run()
    if choice:
        page.selectbox[0].select_index(choice).run()
    assert not page.exception
    return page


def images(page):
    """The images on the page, as the browser receives them."""
    return [image for element in page.get("image") for image in element.proto.imgs]


def headings(page):
    return [element.value for element in page.subheader]


def tables(page):
    """The tables' rows, by the heading above each."""
    shown, heading = {}, ""
    for element in page.main.children[2].children[0].children.values():
        heading = element.value if element.type == "subheader" else heading
        if element.type == "table":
            shown[heading] = element.value.to_dict("records")
    return shown


def write(folder, result, name="mine"):
    (folder / "metrics" / f"{name}.json").write_text(json.dumps(result))


def test_the_evaluation_shows_the_shipped_models_scores(folder):
    shown = opened()
    scores = json.loads(SHIPPED_MODEL.with_name("results.json").read_text())
    rows = {row["Metric"]: row for rows in tables(shown).values() for row in rows if "Unit" in row}
    for name in ("BLEU-4", "CIDEr-D", "ROUGE-L"):
        assert rows[name]["Value"] == f"{scores['metrics'][name]:.1f}"
    assert "bleu_scorer.py" in shown.info[0].value  # no gallery here yet
    alts = [image.alt for image in images(shown)]
    assert {PLOT_TEXTS[name].alt for name in ("metrics", "beams", "reliability")} <= set(alts)


def test_the_evaluation_shows_what_was_measured_here(folder):
    scores = {"name": "mine", "metrics": {"BLEU-4": 12.34}, "images": 7, "split": "dev"}
    write(folder, scores | {"command": "python bleu_scorer.py --name mine"})
    (folder / "metrics" / "other.json").write_text("[1]")  # not an evaluation: it is ignored
    (folder / "plots" / "mine.html").write_text("<p>The report</p>")
    shown = opened(1)
    assert not shown.info
    assert [t.value.to_dict("records")[0]["Value"] for t in shown.table] == ["12.3"]
    assert "--name mine" in "\n".join(each.value for each in shown.caption)


def test_plots_come_first_each_with_a_sentence_and_an_alternative_text(folder):
    write(folder, full())
    Image.new("RGB", (20, 10)).save(folder / "plots" / "mine_mosaics.png")
    shown = opened(1)
    assert headings(shown)[: len(HEADINGS)] == list(HEADINGS.values())
    assert [image.alt for image in images(shown)] == [PLOT_TEXTS[name].alt for name in HEADINGS]
    captions = [each.value for each in shown.caption]
    assert captions[1:-1] == [PLOT_TEXTS[name].about for name in HEADINGS]


@pytest.mark.parametrize("result", [full(), minimal(metrics={"BLEU-4": 33.3})], ids=["all", "few"])
def test_the_plots_are_those_of_the_result(folder, result):
    write(folder, result)
    shown = {image.alt: image.url.partition(";base64,") for image in images(opened(1))}
    figures = result_figures(result)
    assert len(shown) == len(figures) > 0
    for name, figure in figures.items():
        kind, _, content = shown[PLOT_TEXTS[name].alt]
        assert kind == "data:image/svg+xml"
        assert base64.b64decode(content) == as_svg(figure)


def test_mosaics_that_were_not_drawn_here_are_named_in_a_sentence(folder):
    write(folder, full())
    shown = opened(1)
    assert PLOT_TEXTS["mosaics"].alt not in [image.alt for image in images(shown)]
    text = "\n".join(each.value for each in shown.markdown)
    assert "The pictures of the mosaics are not here; `python bleu_scorer.py` draws them." in text


def test_the_tables_have_what_was_measured_of_the_maps(folder):
    write(folder, full())
    shown = tables(opened(1))
    pointing = {(row["Map"], row["Measure"]): row["Value"] for row in shown["Where the maps point"]}
    assert len(pointing) == 18
    assert pointing["Evidence", "mass, all"] == "0.86"
    assert pointing["Attention", "peak, dog words"] == "0.75"
    (evidence, attention) = shown["Rank correlation of a word's map with occlusion"]
    assert (evidence["Value"], attention["Value"]) == ("0.95", "0.10")
    others = shown["Other data sets"]
    assert [row["Value"] for row in others] == ["25.5", "41.2", "8.7", "\N{EN DASH}"]
    assert others[0]["Data set"] == "everyday (243 photographs, 1 to 5 references each)"
    (compared,) = shown["Compared with another system"]
    assert (compared["This"], compared["This one is"]) == ("53.10", "no clear difference")


@pytest.mark.parametrize("missing", sorted(set(full()) - set(minimal())))
def test_an_older_result_without_a_part_is_shown(folder, missing):
    write(folder, {key: value for key, value in full().items() if key != missing})
    shown = opened(1)
    assert ("Lengths" in headings(shown)) == (missing != "lengths")
    assert (HEADINGS["pointing"] in headings(shown)) == (missing != "pointing")
    assert (HEADINGS["mosaics"] in headings(shown)) == (missing != "pointing")


def test_a_result_that_has_only_what_must_be_there_is_shown(folder):
    write(folder, minimal())
    assert headings(opened(1)) == [HEADINGS["metrics"], "Captions against the references"]


def test_the_mosaics_of_a_result_are_beside_its_report(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(minimal()))
    assert read_result(path, "Mine", tmp_path / "mine.html").mosaics is None
    picture = tmp_path / "mine_mosaics.png"
    picture.write_bytes(b"")
    assert read_result(path, "Mine", tmp_path / "mine.html")[2:] == (None, picture)


def test_in_the_dark_theme_a_plot_is_dark(monkeypatch):
    class Theme:
        type = "light"

    monkeypatch.setattr(evaluation_page.st.context.__class__, "theme", Theme)
    plot = '<?xml version="1.0"?>\n<svg width="1"><svg x="2"/></svg>'
    assert evaluation_page.themed(plot) == plot
    Theme.type = "dark"
    dark = evaluation_page.themed(plot)
    assert re.sub(r' style="filter: [^"]+"', "", dark) == plot
    assert dark.count("filter: invert") == 1


def test_the_page_is_imported_without_matplotlib():
    code = "import sys, captioning.app.evaluation_page; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_in_a_browser_every_plot_is_drawn_and_fits_a_phone():
    with serving() as (address, _), chromium() as browser:
        for width in (390, 1280):
            page = browser.new_page(viewport={"width": width, "height": 900})
            page.goto(f"{address}/evaluation")
            page.locator("table").first.wait_for()
            wait_until_idle(page)
            sizes = page.locator("[data-testid=stImage] img").evaluate_all(
                "all => all.map(image => [image.naturalWidth, image.getBoundingClientRect().right])"
            )
            assert len(sizes) >= 3
            assert all(natural > 100 and right <= width for natural, right in sizes)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
