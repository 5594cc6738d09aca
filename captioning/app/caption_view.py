"""One caption: its words explained, the other captions, what can be saved."""

import threading
from collections.abc import Sequence
from pathlib import Path

import streamlit as st
from PIL import Image
from streamlit.runtime import get_instance
from streamlit.runtime.scriptrunner import add_script_run_ctx, get_script_run_ctx
from streamlit.runtime.scriptrunner_utils.script_run_context import ScriptRunContext

from captioning.app.map_view import PHOTO_SIDE, Explained, show_words
from captioning.app.sidebar import Display
from captioning.app.turns import PICTURES
from captioning.app.wording import caption_text, caption_warning, escape_markdown, one_in
from captioning.data.images import ImageConfig, read_photo
from captioning.evaluation.calibration import Calibration
from captioning.inference.captioner import Alternative, Caption
from captioning.inference.export import as_html, as_json

PNG = "image/png"


def show_headline(caption: Caption, text: str, calibration: Calibration | None) -> None:
    """The caption, and a warning where it should not be trusted."""
    st.header(escape_markdown(text), anchor=False)
    warning = caption_warning(caption, calibration)
    if warning is not None:
        st.warning(warning, icon=":material/help:")


def show_details(
    content: bytes, explained: Explained, images: ImageConfig, display: Display
) -> None:
    """Everything about one photograph's caption."""
    caption = explained.caption
    with PICTURES.turn():
        photo = read_photo(content, images, near=PHOTO_SIDE)
    show_words(photo, explained, display.overlay_strength)
    show_alternatives(caption, display.sentences)
    show_exports(photo, caption, caption_text(caption, display.sentences))


def show_alternatives(caption: Caption, sentences: bool) -> None:
    """The other captions that the search ended with; with a beam of 1 there are none."""
    if not caption.alternatives:
        return
    st.subheader("Other captions it considered", anchor=False)
    st.markdown(numbered(caption.alternatives, sentences))
    st.caption(
        "In brackets, how probable the model finds exactly these words; for the caption at the top "
        f"it is {one_in(caption.probability)}. Longer captions are less probable, which the length "
        "penalty makes up for."
    )


def numbered(alternatives: Sequence[Alternative], sentences: bool) -> str:
    """Captions with their probabilities, as a numbered list in Markdown."""
    texts = (escape_markdown(caption_text(each, sentences)) for each in alternatives)
    lines = (
        f"1. {text} ({one_in(each.probability)})"
        for text, each in zip(texts, alternatives, strict=True)
    )
    return "\n".join(lines)


def show_exports(photo: Image.Image, caption: Caption, text: str) -> None:
    """What can be copied, and what can be downloaded."""
    st.subheader("Copy and keep", anchor=False)
    st.code(text, language=None, wrap_lines=True)
    st.code(as_html(caption.source, text), language="html", wrap_lines=True)
    stem = Path(caption.source).stem
    with st.container(horizontal=True):
        st.download_button(
            "All details as JSON",
            as_json(caption) + "\n",
            f"{stem}.json",
            "application/json",
            on_click="ignore",
            icon=":material/download:",
        )
        if caption.words:
            show_picture_download(photo, caption)


def show_picture_download(photo: Image.Image, caption: Caption) -> None:
    """The button that saves the maps of all words as one picture."""
    name, context = f"{Path(caption.source).stem}_maps.png", get_script_run_ctx()

    def draw() -> bytes:
        """Called only when the button is clicked."""
        content = maps_png(photo, caption)
        keep_for_download(content, name, context)
        return content

    st.download_button(
        "Attention as PNG" if caption.evidence is None else "Evidence and attention as PNG",
        draw,
        name,
        PNG,
        on_click="ignore",
        icon=":material/download:",
    )


def keep_for_download(content: bytes, name: str, context: ScriptRunContext | None) -> None:
    """Keep a picture while this visitor's page is as it is.

    Streamlit keeps what was made on demand until the pages of any two visitors were drawn, which
    with many visitors is before the browser has fetched it. Once more, and as part of the page,
    it is the same file, and stays.
    """

    def keep() -> None:
        manager = get_instance().media_file_mgr
        manager.add(content, PNG, "maps", file_name=name, is_for_static_download=True)

    if context is not None:  # there is none in Streamlit's test harness
        thread = threading.Thread(target=keep)
        add_script_run_ctx(thread, context)
        thread.start()
        thread.join()


def maps_png(photo: Image.Image, caption: Caption) -> bytes:
    """The picture of what each word rests on, if that is known, and where the model looked."""
    # The page need not wait for the import of matplotlib.
    from captioning.plots import as_png, maps_figure

    return as_png(maps_figure(photo, caption.words, caption.attention, caption.evidence))
