"""Names and captions that are something in HTML, Markdown or LaTeX are text on the page."""

import dataclasses
import json

import pytest

from captioning.app.wording import escape_markdown
from captioning.data.images import printable
from captioning.network.saved_network import save_checkpoint
from tools.attacks.visitors import ODD, good_file
from tools.browser import CHROMIUM, chromium, open_app, serving, upload, wait_until_idle

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
# Without what a browser itself changes in the name of a file, what looks like nothing, and what
# Streamlit draws as an arrow.
NAMES = [name for name in ODD if not set(name) & set('/\n\t\0\u200b\\"') and len(name) < 100]
NAMES.remove("a -> b")
# What a vocabulary may hold: tags are refused when the model is read.
WORDS = ["`b`", "_b_", "$x^2$", ":red[r]", ":material/delete:", "**b**", "[l](http://e.x)", "&lt;"]


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def address():
    with serving() as (address, _):
        yield address


def file(name, content=b"no photograph"):
    return {"name": name, "mimeType": "image/jpeg", "buffer": content}


def nothing_ran(page):
    assert page.title() != "ran"
    for tag in (
        "[href*='/evil']",
        "[src*='/evil']",
        "[href*='example.com']",
        "[onerror]",
        ".katex",
    ):
        assert page.locator(f"[data-testid=stMain] {tag}").count() == 0, tag


def test_odd_names_of_bad_files_are_text_in_the_message(browser, address):
    page = open_app(browser, address)
    upload(page, *(file(f"{name}.jpg") for name in NAMES))
    page.get_by_role("alert").first.wait_for()
    wait_until_idle(page)
    shown = page.get_by_role("alert").first.inner_text().replace("\N{WORD JOINER}", "")
    for name in NAMES:
        assert f"{printable(name)}.jpg is not an image" in shown, name
    nothing_ran(page)
    page.context.close()


def test_odd_names_of_photographs_are_text_everywhere(browser, address):
    page = open_app(browser, address)
    for index, name in enumerate(NAMES[::3]):
        upload(page, file(f"{name}.jpg", good_file(24 * index).content))
        page.get_by_text("Copy and keep").wait_for()
        wait_until_idle(page)
    nothing_ran(page)
    page.get_by_text("One of them, word by word").wait_for()
    with page.expect_download() as download:
        page.get_by_text("All details as JSON").click()
    details = json.loads(download.value.path().read_text(encoding="utf-8"))
    assert details["file"] == f"{NAMES[0]}.jpg"
    page.context.close()


def test_odd_words_of_captions_are_text_everywhere(browser, checkpoint, tmp_path):
    special, plain = checkpoint.vocabulary.words[:4], checkpoint.vocabulary.words[4:]
    odd = (f"{WORDS[index % len(WORDS)]}{index}" for index in range(len(plain)))
    strange = dataclasses.replace(checkpoint.vocabulary, words=(*special, *odd))
    save_checkpoint(dataclasses.replace(checkpoint, vocabulary=strange), tmp_path / "odd.pth")
    with serving(CAPTIONING_MODEL=str(tmp_path / "odd.pth")) as (address, _):
        page = open_app(browser, address)
        upload(page, file("a.jpg", good_file(0).content))
        page.get_by_text("Copy and keep").wait_for()
        wait_until_idle(page)
        headline = page.locator("h2").first.inner_text()
        assert any(word in headline for word in WORDS), headline
        assert escape_markdown(headline) != headline
        assert page.locator("h2 b, h2 strong, h2 a, h2 .katex").count() == 0
        nothing_ran(page)
        page.context.close()
