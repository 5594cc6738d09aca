"""Several captions: a table to edit, and the file that it is saved as."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import streamlit as st

from captioning.app.session import MAX_PHOTOS, Upload
from captioning.app.turns import PICTURES
from captioning.app.wording import caption_text, caption_warning
from captioning.data.images import read_photo
from captioning.evaluation.calibration import Calibration
from captioning.inference.captioner import Caption
from captioning.inference.export import as_csv, distinct_names
from captioning.pictures import as_jpeg, data_url, thumbnail

THUMBNAIL_SIDE, ROW_HEIGHT = 120, 72  # pixels; a screen may have more of them than the page counts
TRAINING_COMMAND = (
    "python main.py --init model/image_captioning_model.pth --captions captions.csv --images FOLDER"
)


class Captioned(NamedTuple):
    """A photograph with its caption."""

    upload: Upload
    caption: Caption


def show_table(
    captioned: Sequence[Captioned], sentences: bool, calibration: Calibration | None
) -> None:
    """All captions, to be edited and downloaded."""
    rows = table_rows(captioned, sentences, calibration)
    st.subheader(f"{len(rows)} captions", anchor=False)
    edited = edit(rows)
    st.download_button(
        "Captions as CSV",
        as_csv((row["File"], row["Caption"] or "") for row in edited),
        "captions.csv",
        "text/csv",
        on_click="ignore",
        icon=":material/download:",
    )
    st.markdown(
        "Double-click a caption to edit it. To train the model further on your captions, put the "
        f"photographs into FOLDER: `{TRAINING_COMMAND}`"
    )


def table_rows(
    captioned: Sequence[Captioned], sentences: bool, calibration: Calibration | None
) -> list[dict[str, str]]:
    """One row per photograph, by column."""
    names = distinct_names(caption.source for _, caption in captioned)
    return [
        {
            "Photograph": cell(upload.content),
            "Caption": caption_text(caption, sentences),
            "Unsure": "check it" if caption_warning(caption, calibration) else "",
            "File": name,
        }
        for (upload, caption), name in zip(captioned, names, strict=True)
    ]


def cell(content: bytes) -> str:
    """A small picture, made when it is this visitor's turn."""
    with PICTURES.turn():
        return thumbnail_of(content)


@st.cache_data(max_entries=2 * MAX_PHOTOS, show_spinner=False, scope="session")
def thumbnail_of(content: bytes) -> str:
    """A small picture for a cell of the table."""
    photo = read_photo(content, near=THUMBNAIL_SIDE)
    return data_url("jpeg", as_jpeg(thumbnail(photo, THUMBNAIL_SIDE)))


def edit(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Show the table; returns its rows as the visitor has edited them."""
    # Edits belong to these captions: others get a table with another key.
    key = hashlib.sha256(repr([(r["File"], r["Caption"]) for r in rows]).encode()).hexdigest()
    edited: list[dict[str, str]] = st.data_editor(
        rows,
        key=f"table {key}",
        hide_index=True,
        row_height=ROW_HEIGHT,
        disabled=["Photograph", "Unsure", "File"],
        column_config={
            "Photograph": st.column_config.ImageColumn(width="small"),
            "Caption": st.column_config.TextColumn(width="medium", required=True),
            "Unsure": st.column_config.TextColumn(width="small"),
            "File": st.column_config.TextColumn(width="small"),
        },
        alt="Photographs with their captions",
    )
    return edited
