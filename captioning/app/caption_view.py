"""One caption: where the model looked for each word, the other captions, what can be saved."""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st
from PIL import Image

from captioning.app.sidebar import Display
from captioning.app.wording import (
    caption_text,
    is_unsure,
    make_distinct,
    one_in,
    position,
    unsure_warning,
)
from captioning.data.images import ImageConfig, read_photo
from captioning.evaluation.calibration import Calibration
from captioning.inference.captioner import Alternative, Caption
from captioning.inference.export import as_html, as_json
from captioning.pictures import attention_heat, overlay, thumbnail

PHOTO_SIDE, MAP_SIDE = 480, 150  # pixels, the longer one


def show_headline(caption: Caption, text: str, calibration: Calibration | None) -> None:
    """The caption, and a warning where captions this unsure were often wrong."""
    st.header(text, anchor=False)
    if calibration is not None and is_unsure(caption, calibration):
        st.warning(unsure_warning(calibration), icon=":material/help:")


def show_details(content: bytes, caption: Caption, images: ImageConfig, display: Display) -> None:
    """Everything about one photograph's caption."""
    photo = read_photo(content, images, near=PHOTO_SIDE)
    show_attention(photo, caption, display.overlay_strength)
    show_alternatives(caption, display.sentences)
    show_exports(photo, caption, caption_text(caption, display.sentences))


@st.fragment
def show_attention(photo: Image.Image, caption: Caption, strength: float) -> None:
    """Where the model looked for the word that is chosen, large, and small for every word."""
    st.subheader("Where the model looked", anchor=False)
    word: int = st.segmented_control(
        "Choose a word",
        range(len(caption.words)),
        default=0,
        required=True,
        format_func=make_distinct(caption.words).__getitem__,
        key=f"word {caption.source} {caption.text}",
    )
    text, probability = caption.words[word], caption.probabilities[word]
    st.image(
        overlay(thumbnail(photo, PHOTO_SIDE), attention_heat(caption.attention[word]), strength),
        caption=f"“{text}”: the model gave this word {probability:.0%}",
        alt=f"The photograph, lit where the model looked for “{text}”. "
        f"Brightest {position(caption, word)}.",
    )
    show_small_maps(thumbnail(photo, MAP_SIDE), caption, strength)


def show_small_maps(photo: Image.Image, caption: Caption, strength: float) -> None:
    """The attention of every word, side by side."""
    with st.container(horizontal=True):
        for word, text in enumerate(caption.words):
            st.image(
                overlay(photo, attention_heat(caption.attention[word]), strength),
                caption=f"{text} · {caption.probabilities[word]:.0%}",
                alt=f"{text}: brightest {position(caption, word)}",
            )


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
    lines = (f"1. {caption_text(a, sentences)} ({one_in(a.probability)})" for a in alternatives)
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
        st.download_button(
            "Attention as PNG",
            lambda: attention_png(photo, caption),  # drawn only when the button is clicked
            f"{stem}_attention.png",
            "image/png",
            on_click="ignore",
            icon=":material/download:",
        )


def attention_png(photo: Image.Image, caption: Caption) -> bytes:
    """The picture of where the model looked for each word."""
    # The page need not wait for the import of matplotlib.
    from captioning.plots import as_png, maps_figure

    return as_png(maps_figure(photo, caption.words, caption.attention))
