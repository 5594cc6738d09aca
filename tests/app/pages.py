"""The caption page as a visitor uses it, run by Streamlit's test harness."""

import io
from pathlib import Path

import numpy as np
from PIL import Image
from streamlit.testing.v1 import AppTest

APP = Path(__file__).resolve().parents[2] / "streamlit_app.py"
SECONDS = 60  # ample, for a machine that does other things too


def photograph(kind="JPEG", width=120, height=80, seed=0):
    """The bytes of an image file with random coloured blots."""
    blots = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(blots).resize((width, height)).save(file, kind)
    return file.getvalue()


def page():
    """The first page, freshly opened."""
    return AppTest.from_file(APP, default_timeout=SECONDS).run()


def upload(page, *files):
    """The page after files, each a name and bytes, were uploaded."""
    page.file_uploader[0].set_value([(*file, "application/octet-stream") for file in files])
    return page.run()


def images(page):
    """The images on the page, as the browser receives them."""
    return [image for element in page.get("image") for image in element.proto.imgs]


def result_images(page):
    """The images of the result: all but those of the examples."""
    return [image for image in images(page) if not image.alt.startswith("Example")]


def small_maps(page):
    """The small maps, one for each word: the only images with a caption beneath."""
    return [image for image in result_images(page) if image.caption]


def large_maps(page):
    """The two maps of the chosen word: what it rests on, and where the model looked."""
    return [image for image in result_images(page) if "as heat over the photograph" in image.alt]


def texts(page):
    """All text on the page outside its images and widgets."""
    elements = (*page.title, *page.header, *page.markdown, *page.caption, *page.code)
    return "\n".join(element.value for element in elements)


def setting(page, kind, label):
    """The widget of a kind with this label."""
    (widget,) = [widget for widget in getattr(page, kind) if widget.label == label]
    return widget
