"""The first page: upload photographs, read their captions, see what each word rests on."""

from collections.abc import Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from captioning.app.caption_table import Captioned, show_table
from captioning.app.caption_view import show_details, show_headline
from captioning.app.map_view import Explained
from captioning.app.session import MAX_PHOTOS, Settings, Upload
from captioning.app.sidebar import (
    choose_display,
    choose_search,
    load_chosen_model,
    without_folder,
)
from captioning.app.uploads import session, show_uploaders
from captioning.app.wording import caption_text, escape_markdown, no_evidence
from captioning.data.images import ImageError, printable
from captioning.errors import CaptioningError, SettingError
from captioning.inference.captioner import Caption, Captioner, Failure


def main() -> None:
    """Lay out the page."""
    st.title("What is in the picture?", anchor=False)
    try:
        model = load_chosen_model()
    except (CaptioningError, OSError) as error:
        st.error(f"{escape_markdown(without_folder(str(error)))}.")
        return
    settings, display = choose_search(model), choose_display()
    show_uploaders()
    captioned, failures = caption_all(model.captioner, uploads_to_caption(), settings)
    show_failures(failures)
    if not captioned:
        return
    if len(captioned) > 1:
        show_table(captioned, display.sentences, model.calibration)
    chosen = choose_one(captioned)
    text = caption_text(chosen.caption, display.sentences)
    show_headline(chosen.caption, text, model.calibration)
    explained = explain(chosen, model.captioner, settings)  # after the caption is on the page
    show_details(chosen.upload.content, explained, model.captioner.images, display)


def uploads_to_caption() -> Sequence[Upload]:
    """The visitor's photographs, without those that are too many."""
    uploads = session().uploads
    if len(uploads) > MAX_PHOTOS:
        st.warning(
            f"The first {MAX_PHOTOS} of {len(uploads)} photographs are captioned; upload the "
            "others afterwards."
        )
    return uploads[:MAX_PHOTOS]


def caption_all(
    captioner: Captioner, uploads: Sequence[Upload], settings: Settings
) -> tuple[list[Captioned], list[Failure]]:
    """Caption the photographs, with a progress bar if there are several."""
    captioned, failures = list[Captioned](), list[Failure]()
    note = st.empty()
    bar = st.progress(0.0, "Looking…") if len(uploads) > 1 else None
    # To write is also how this visitor's script learns that its visitor has gone.
    results = session().captions(captioner, uploads, settings, lambda: show_queue(note))
    for count, (upload, result) in enumerate(zip(uploads, results, strict=True), start=1):
        if isinstance(result, Caption):
            captioned.append(Captioned(upload, result))
        else:
            failures.append(result)
        if bar is not None:
            bar.progress(count / len(uploads), f"{count} of {len(uploads)} photographs")
    note.empty()
    if bar is not None:
        bar.empty()
    return captioned, failures


def show_queue(note: DeltaGenerator) -> None:
    """Say that others are served at the moment."""
    note.caption("Other visitors' photographs are being captioned; yours follow in turn.")


def show_failures(failures: Sequence[Failure]) -> None:
    """One message that lists every photograph that could not be captioned."""
    if failures:
        mark = "- " if len(failures) > 1 else ""
        reasons = (escape_markdown(failure.reason).lstrip() for failure in failures)
        st.error("\n".join(mark + reason for reason in reasons))


def choose_one(captioned: Sequence[Captioned]) -> Captioned:
    """The photograph whose details are shown."""
    if len(captioned) == 1:
        return captioned[0]
    st.subheader("One of them, word by word", anchor=False)
    index: int = st.selectbox(
        "Photograph",
        range(len(captioned)),
        format_func=lambda index: f"{index + 1}. {captioned[index].caption.source}",
    )
    return captioned[index]


def explain(chosen: Captioned, captioner: Captioner, settings: Settings) -> Explained:
    """The caption with what each of its words rests on, or with why that is not known."""
    caption = chosen.caption
    if not caption.words:
        return Explained(caption, "This caption has no words, so there is nothing to explain.")
    note = st.empty()
    try:
        with st.spinner("Measuring what each word rests on…"):
            explained = session().explained(
                captioner, chosen.upload, caption, settings, lambda: show_queue(note)
            )
    except SettingError:
        return Explained(caption, "This model cannot tell what its words rest on.")
    except ImageError as error:
        return Explained(caption, no_evidence(str(error), printable(caption.source)))
    note.empty()
    return Explained(explained)
