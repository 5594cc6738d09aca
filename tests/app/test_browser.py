"""The app in a real browser, at the width of a laptop and of a phone, in light and dark."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
from PIL import Image

from captioning.app.examples import examples
from captioning.data.caption_files import read_captions
from captioning.evaluation.objects import ObjectWords
from captioning.inference.captioner import Captioner
from tools.browser import (
    CHROMIUM,
    chromium,
    expand_window,
    open_app,
    serving,
    upload,
    wait_until_idle,
)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
VIEWS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
VISITORS = 10
# As /proc/net writes them.
LISTENING, LOOPBACK = "0A", ("0100007F", "00000000000000000000000001000000")
BROKEN = {"name": "broken.jpg", "mimeType": "image/jpeg", "buffer": b"no photograph"}


@pytest.fixture(scope="module")
def captioner():
    """The model that ships: what the app opens with."""
    return Captioner.load()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The running app: its address, its process, and its folder for temporary files."""
    folder = tmp_path_factory.mktemp("temporary")
    with serving(TMPDIR=str(folder)) as (address, process):
        yield address, process, folder


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture(params=VIEWS, ids=lambda view: f"{view[0]}-{view[1]}")
def page(request, browser, server):
    """The app, freshly open_app, in one of the four views."""
    page = open_app(browser, server[0], *request.param)
    yield page
    page.context.close()


def photograph(seed):
    """A file for the browser to upload: a part of an example, another one for each seed."""
    with Image.open(examples()[seed % 4].path) as image:
        left = 10 * seed
        part = image.convert("RGB").crop((left, 0, left + 250, 250))
    file = io.BytesIO()
    part.save(file, "JPEG")
    return {"name": f"photo{seed}.jpg", "mimeType": "image/jpeg", "buffer": file.getvalue()}


def headline(page):
    """The caption at the top, once all that follows from it is on the page too."""
    page.locator("h2").first.wait_for()
    page.get_by_text("Copy and keep").wait_for()
    wait_until_idle(page)
    return page.locator("h2").first.inner_text()


def large_map(page, kind):
    """The large map of a kind: evidence or attention."""
    return page.get_by_alt_text(f"{kind} for “").and_(
        page.get_by_alt_text("as heat over the photograph")
    )


def test_a_photograph_is_captioned_and_a_word_shows_what_it_rests_on(page, captioner):
    file = photograph(0)
    upload(page, file)
    caption = captioner(file["buffer"])
    assert headline(page) == caption.sentence
    buttons = page.get_by_role("radio")
    assert buttons.count() == len(caption.words)
    for kind in ("Evidence", "Attention"):
        assert f"“{caption.words[-1]}”" not in large_map(page, kind).get_attribute("alt")
    buttons.nth(len(caption.words) - 1).click()
    for kind in ("Evidence", "Attention"):
        page.get_by_alt_text(f"{kind} for “{caption.words[-1]}” as heat").wait_for()


def test_the_first_object_word_is_chosen_already(page, captioner):
    file = photograph(0)
    upload(page, file)
    headline(page)
    words = captioner(file["buffer"]).words
    first = next(word for word in words if ObjectWords.load().named([word]))
    assert words[0] != first
    assert page.get_by_role("radio", checked=True).inner_text().strip("\N{WORD JOINER}") == first


def wait_for_images(page):
    """Wait until all images have their sizes."""
    page.wait_for_function("[...document.images].every(image => image.complete)")


def test_the_evidence_is_beside_the_attention_or_above_it_on_a_phone(page):
    upload(page, photograph(0))
    headline(page)
    wait_for_images(page)
    evidence, attention = (
        large_map(page, kind).bounding_box() for kind in ("Evidence", "Attention")
    )
    if page.viewport_size["width"] < 640:
        assert evidence["y"] + evidence["height"] < attention["y"]
        assert evidence["x"] == attention["x"]
    else:
        assert evidence["x"] + evidence["width"] < attention["x"]
        assert evidence["y"] == attention["y"]


def test_each_scale_stands_between_its_labels(page):
    upload(page, photograph(0))
    headline(page)
    wait_for_images(page)
    units = ("% of its support", "% of the attention")
    for index, unit in enumerate(units):
        scale = page.get_by_alt_text("Scale of the colours").nth(index).bounding_box()
        zero = page.get_by_text("0%", exact=True).nth(index).bounding_box()
        top = page.get_by_text(re.compile(rf"^\d+{unit}$")).first.bounding_box()
        assert zero["x"] + zero["width"] <= scale["x"] < scale["x"] + scale["width"] <= top["x"]
        middle = scale["y"] + scale["height"] / 2
        for label in (zero, top):
            assert label["y"] < middle < label["y"] + label["height"]


def test_nothing_overflows_and_axe_finds_no_accessibility_violation(page):
    from axe_playwright_python.sync_playwright import Axe

    upload(page, photograph(0), photograph(1))
    page.get_by_text("Copy and keep").wait_for()
    wait_until_idle(page)
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    for image in page.locator("[data-testid=stImage] img").all():
        assert image.get_attribute("alt")
    expand_window(page)
    report = Axe().run(page, context="[data-testid=stMain]", options={"runOnly": ["wcag2aa"]})
    assert report.violations_count == 0, report.generate_report()


def test_a_broken_file_is_named_and_the_page_stays_usable(page, captioner):
    upload(page, BROKEN)
    error = page.get_by_role("alert")
    error.wait_for()
    assert "broken.jpg is not an image of a kind that can be read" in error.inner_text()
    file = photograph(1)
    upload(page, file)
    assert headline(page)
    assert "broken.jpg" in page.get_by_role("alert").first.inner_text()
    page.get_by_text(captioner(file["buffer"]).sentence).first.wait_for()


def test_captions_are_edited_and_downloaded_as_a_file_that_training_reads(page, tmp_path):
    files = [photograph(seed) for seed in range(2)]
    upload(page, *files, BROKEN)
    table = page.locator("[data-testid=stDataFrame] .dvn-scroller").first
    table.wait_for()
    wait_until_idle(page)
    # The table is drawn on a canvas, so there is no element to select: click at the first caption.
    table.scroll_into_view_if_needed()
    table.dblclick(position={"x": 160, "y": 36 + 36})
    editor = page.locator(".gdg-input")
    editor.fill('A "fine", edited caption.')
    editor.press("Enter")
    wait_until_idle(page)
    with page.expect_download() as download:
        page.get_by_text("Captions as CSV").click()
    path = tmp_path / "captions.csv"
    download.value.save_as(path)
    rows = list(csv.DictReader(path.open(newline="", encoding="utf-8")))
    assert [row["image"] for row in rows] == ["photo0.jpg", "photo1.jpg"]
    assert rows[0]["caption"] == 'A "fine", edited caption.'
    for file in files:
        (tmp_path / file["name"]).write_bytes(file["buffer"])
    assert len(read_captions(path, tmp_path).photographs) == 2


def test_the_picture_and_the_json_can_be_downloaded(browser, server, tmp_path):
    page = open_app(browser, server[0])
    upload(page, photograph(2))
    for label, kind in (("Evidence and attention as PNG", "PNG"), ("All details as JSON", "json")):
        with page.expect_download() as download:
            page.get_by_text(label).click()
        path = tmp_path / kind
        download.value.save_as(path)
        if kind == "PNG":
            assert Image.open(path).format == "PNG"
        else:
            details = json.loads(path.read_text(encoding="utf-8"))
            assert details["file"] == "photo2.jpg"
            assert all("evidence" in word for word in details["words"])
    page.context.close()


def test_the_keyboard_reaches_the_words(browser, server):
    page = open_app(browser, server[0])
    upload(page, photograph(0))
    headline(page)
    page.get_by_role("radio").nth(2).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    wait_until_idle(page)
    chosen = page.locator("[role=radio][aria-checked=true]")
    assert chosen.count() == 1
    assert page.get_by_role("radio").nth(3).get_attribute("aria-checked") == "true"
    page.context.close()


def test_the_camera_takes_a_photograph(browser, server):
    page = open_app(browser, server[0])
    page.get_by_role("tab", name="Camera").click()
    page.get_by_text("Switch the camera on").click()
    # Before the first frame there is nothing to photograph.
    page.wait_for_function("document.querySelector('video')?.readyState >= 2")
    page.get_by_role("button", name="Take Photo").click()
    assert headline(page).endswith(".")
    page.context.close()


def test_uploads_are_still_there_after_a_visit_to_another_page(browser, server):
    page = open_app(browser, server[0])
    upload(page, photograph(0))
    caption = headline(page)
    page.get_by_role("link", name="Evaluation").click()
    page.get_by_text("How well does it do?").wait_for()
    page.get_by_role("link", name="Caption").click()
    page.get_by_text("What is in the picture?").wait_for()
    assert headline(page) == caption
    page.context.close()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["evaluation", "about"])
def test_a_page_can_be_opened_by_its_address(browser, server, name, width):
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    page.goto(f"{server[0]}/{name}")
    page.locator("h1").first.wait_for()
    wait_until_idle(page)
    assert page.get_by_role("link", name="streamlit app").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    context.close()


def test_ten_visitors_at_once_get_the_captions_of_their_photographs(browser, server, captioner):
    files = [photograph(seed) for seed in range(VISITORS)]
    pages = [open_app(browser, server[0]) for _ in files]
    for page, file in zip(pages, files, strict=True):
        upload(page, file)
    captions = [headline(page) for page in pages]
    assert captions == [captioner(file["buffer"]).sentence for file in files]
    assert len(set(captions)) > VISITORS // 2
    for page in pages:
        page.context.close()


def test_nothing_of_an_upload_is_written_to_disk(browser, server):
    address, process, folder = server
    page = open_app(browser, address)
    upload(page, photograph(3))
    headline(page)
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    open_files = [link.readlink() for link in Path(f"/proc/{process.pid}/fd").iterdir()]
    assert [path for path in open_files if re.search(r"\.(jpe?g|png)$", str(path))] == []
    page.context.close()


def test_the_server_listens_to_this_machine_only(server):
    port = int(server[0].rpartition(":")[2])
    assert addresses_at(port) == {"127.0.0.1"}


def addresses_at(port):
    """The addresses where something listens on a port; IPv6's loopback counts as IPv4's."""
    addresses = set()
    for kind in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            address, _, number = local.partition(":")
            if state == LISTENING and int(number, 16) == port:
                addresses.add("127.0.0.1" if address in LOOPBACK else address)
    return addresses
