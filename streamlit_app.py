"""The app: a photograph in, its caption out, and where the model looked for each word.

    streamlit run streamlit_app.py

The environment variable CAPTIONING_MODEL names another checkpoint than the one that ships.
"""

import os

import streamlit as st
from PIL import Image

from captioning import Caption, Captioner
from captioning.captioner import SHIPPED_MODEL, as_sentence
from captioning.checkpoint import CheckpointError
from captioning.images import IMAGE_SUFFIXES, ImageError, read_photo
from captioning.plots import overlay, thumbnail

PHOTO_SIDE, MAP_SIDE = 480, 164  # pixels, the longer one; four maps fill a row
WIDEST_BEAM = 10


@st.cache_resource(show_spinner="Loading the model…")
def load(path: str) -> Captioner:
    """One model for all visitors; a failure is not kept, so a reload of the page tries again."""
    return Captioner.load(path)


def choose_beam(default: int) -> int:
    """The settings, in the sidebar."""
    return st.sidebar.slider(
        "Beam width",
        min_value=1,
        max_value=max(WIDEST_BEAM, default),
        value=default,
        help="How many captions the search follows at once. 1 is the quickest: it takes the "
        "likeliest word each time.",
    )


def show_caption(photo: Image.Image, caption: Caption) -> None:
    """The sentence and the photograph."""
    st.header(caption.sentence, anchor=False)
    st.image(thumbnail(photo, PHOTO_SIDE), alt=f"The photograph. {caption.sentence}")


def show_attention(photo: Image.Image, caption: Caption) -> None:
    """A copy of the photograph for each word, bright where the model looked."""
    st.subheader("Where the model looked, word by word", anchor=False)
    small = thumbnail(photo, MAP_SIDE)
    with st.container(horizontal=True):
        for index, (word, weights) in enumerate(zip(caption.words, caption.attention, strict=True)):
            x, y = caption.peak(index)
            place = f"Brightest {x:.0%} from the left, {y:.0%} from the top"
            st.image(overlay(small, weights), caption=word, alt=place)


def show_alternatives(caption: Caption) -> None:
    """What else the search found; a beam of 1 finds nothing else."""
    if caption.alternatives:
        st.subheader("Other captions", anchor=False)
        found = [f"1. {as_sentence(o.text)} ({o.score:.2f})" for o in caption.alternatives]
        st.markdown("\n".join(found))
        st.caption(
            f"In brackets the score: the nearer to 0, the likelier. The caption at the top has "
            f"{caption.score:.2f}."
        )


def main() -> None:
    """Lay out the page."""
    st.set_page_config(page_title="Image captioning", page_icon="📷")
    st.title("Image captioning", anchor=False)
    st.write("Upload a photograph: the model says what it shows, and where it looked.")
    try:
        captioner = load(os.environ.get("CAPTIONING_MODEL", str(SHIPPED_MODEL)))
    except CheckpointError as error:
        st.error(f"{error}.")
        return
    beam = choose_beam(captioner.decoding.beam)
    upload = st.file_uploader("A photograph", type=sorted(IMAGE_SUFFIXES))
    if upload is None:
        return
    try:
        with st.spinner("Looking at the photograph…"):
            caption = captioner(upload.getvalue(), beam=beam)
            photo = read_photo(upload.getvalue(), captioner.images, near=PHOTO_SIDE)
    except ImageError as error:
        reason = str(error)
        st.error(reason[:1].upper() + reason[1:])
        return
    show_caption(photo, caption)
    show_attention(photo, caption)
    show_alternatives(caption)


if __name__ == "__main__":
    main()
