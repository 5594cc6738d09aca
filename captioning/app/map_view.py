"""One caption word by word: what each word rests on, and where the model looked."""

from typing import NamedTuple

import streamlit as st
from PIL import Image

from captioning.app.wording import (
    escape_markdown,
    explain_map,
    make_distinct,
    percent,
    position,
)
from captioning.evaluation.opening_word import opening_word
from captioning.inference.captioner import Caption, MapKind
from captioning.pictures import heat_of, overlay, scale_picture, thumbnail

PHOTO_SIDE, MAP_SIDE = 480, 150  # pixels, the longer one
SCALE_SIZE = (480, 28)  # pixels
TITLES: dict[MapKind, str] = {
    "evidence": "What this word rests on",
    "attention": "Where the model looked",
}
UNITS: dict[MapKind, str] = {"evidence": "of its support", "attention": "of the attention"}
# What the numbers below small maps are.
BELOW: dict[MapKind, str] = {
    "evidence": "what hiding the brightest part does to it",
    "attention": "what the brightest spot got",
}


class Explained(NamedTuple):
    """A caption with its evidence, or with the sentence that says why it has none."""

    caption: Caption
    missing: str = ""


@st.fragment
def show_words(photo: Image.Image, explained: Explained, strength: float) -> None:
    """The maps of the word that is chosen, and small ones of every word."""
    st.subheader("Why these words?", anchor=False)
    caption, missing = explained
    if not caption.words:
        st.info(missing)
        return
    word = choose_word(caption)
    large = thumbnail(photo, PHOTO_SIDE)
    evidence, attention = st.columns(2, gap="medium")
    with evidence:
        st.markdown(f"#### {TITLES['evidence']}", anchors=False)
        if missing:
            st.info(missing)
        else:
            show_map(large, caption, word, "evidence", strength)
    with attention:
        st.markdown(f"#### {TITLES['attention']}", anchors=False)
        show_map(large, caption, word, "attention", strength)
    if not missing:
        st.markdown(
            "**Trust the evidence:** it shows which part of the photograph made a difference to "
            "the word; the attention only shows where the model looked, whether or not that "
            "mattered."
        )
    small = thumbnail(photo, MAP_SIDE)
    show_small_maps(small, caption, "attention" if missing else "evidence", strength)


def choose_word(caption: Caption) -> int:
    """The word whose maps are shown large."""
    word: int = st.segmented_control(
        "Choose a word",
        range(len(caption.words)),
        default=opening_word(caption.words),
        required=True,
        format_func=make_distinct([*map(escape_markdown, caption.words)]).__getitem__,
        key=f"word {caption.source} {caption.text}",
    )
    st.caption(
        f"The model gave “{escape_markdown(caption.words[word])}” a probability of "
        f"{percent(caption.probabilities[word])}, given the words before it."
    )
    return word


def show_map(photo: Image.Image, caption: Caption, word: int, of: MapKind, strength: float) -> None:
    """One map as heat over the photograph, with its scale and what it means."""
    heat = heat_of(of, caption.maps(of)[word])
    st.image(
        overlay(photo, heat, strength),
        alt=f"{of.capitalize()} for “{caption.words[word]}” as heat over the photograph: greatest "
        f"{position(caption, word, of)}.",
    )
    show_scale(heat.top, UNITS[of])
    st.markdown(explain_map(escape_markdown(caption.words[word]), of, heat))


def show_scale(top: float, unit: str) -> None:
    """The colours from 0 to ``top``, both labelled."""
    with st.container(horizontal=True, vertical_alignment="center", wrap=False):
        st.markdown("0%", width="content")
        st.image(
            scale_picture(*SCALE_SIZE),
            width="stretch",
            alt=f"Scale of the colours, from black at 0% to pale yellow at {percent(top)} {unit}",
        )
        st.markdown(f"{percent(top)} {unit}", width="content")


def show_small_maps(photo: Image.Image, caption: Caption, of: MapKind, strength: float) -> None:
    """A kind of map of every word, side by side."""
    st.caption(
        f"The {of} for every word, each on a scale of its own. Beside the word, how probable the "
        f"model found it; below, {BELOW[of]}."
    )
    with st.container(horizontal=True):
        for word, text in enumerate(caption.words):
            heat = heat_of(of, caption.maps(of)[word])
            st.image(
                overlay(photo, heat, strength),
                caption=f"{escape_markdown(text)} · {percent(caption.probabilities[word])}  \n"
                f"{percent(float(heat.values.max()))} {UNITS[of]}",
                alt=f"{of.capitalize()} for “{text}”: greatest {position(caption, word, of)}",
            )
