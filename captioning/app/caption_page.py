"""The first page: put in photographs, read their captions, see where the model looked."""

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

import streamlit as st
from PIL import Image

from captioning.app.examples import Example, examples
from captioning.app.session import MAX_PHOTOS, Session, Settings, Upload
from captioning.data.images import IMAGE_SUFFIXES, read_photo
from captioning.evaluation.calibration import Calibration
from captioning.inference.captioner import Caption, Captioner, Failure
from captioning.inference.export import as_csv, as_html, as_json, distinct_names
from captioning.network.checkpoint import SHIPPED_MODEL, CheckpointError, file_hash
from captioning.pictures import as_jpeg, data_url, overlay, thumbnail
from captioning.plots import as_png, attention_figure

PHOTO_SIDE, MAP_SIDE, ROW_SIDE = 480, 150, 120  # pixels, the longer one
MAX_BEAM = 10
Captioned = tuple[Upload, Caption]


# The model ----------------------------------------------------------------------------------------


@st.cache_resource(show_spinner="Loading the model…", max_entries=2)
def load(path: str, changed: float) -> tuple[Captioner, str, Calibration | None]:
    """One model for all visitors, its hash, and what is known of its confidence.

    ``changed`` is when the file was: a model that is trained anew is loaded anew.
    """
    captioner, digest = Captioner.load(path), file_hash(path)
    return captioner, digest, Calibration.read(Path(path).with_name("results.json"), digest)


def models() -> list[Path]:
    """The checkpoints there are to choose from: the one named first, the one that ships, runs."""
    named = os.environ.get("CAPTIONING_MODEL")
    known = [Path(named)] if named else []
    return list(dict.fromkeys([*known, SHIPPED_MODEL, *sorted(Path("runs").glob("*/best.pth"))]))


def title_of(path: Path) -> str:
    """How the list of models calls a checkpoint."""
    return "The model that ships" if path == SHIPPED_MODEL else str(path)


# Settings -----------------------------------------------------------------------------------------


def choose_model() -> Path:
    """The model's file."""
    path: Path = st.sidebar.selectbox(
        "Model",
        models(),
        format_func=title_of,
        help="A checkpoint of this project: the one that ships, or the best of a training run.",
    )
    return path


def choose_search(captioner: Captioner, digest: str) -> Settings:
    """How to search for a caption."""
    own = captioner.decoding
    beam = st.sidebar.slider(
        "Beam width",
        min_value=1,
        max_value=max(MAX_BEAM, own.beam),
        value=own.beam,
        help="How many captions the search follows at once; 1 takes the likeliest word each time.",
    )
    penalty = st.sidebar.slider(
        "Length penalty",
        min_value=0.0,
        max_value=max(2.0, own.length_penalty),
        value=own.length_penalty,
        step=0.1,
        help="0 prefers short captions; the higher, the longer they get.",
    )
    return Settings(digest, beam, penalty)


def choose_looks() -> tuple[float, bool]:
    """How strongly to darken, and whether captions are sentences."""
    strength = st.sidebar.slider(
        "Overlay strength",
        min_value=0.0,
        max_value=1.0,
        value=0.75,
        step=0.05,
        help="How dark the photograph gets where the model did not look.",
    )
    sentence = st.sidebar.toggle(
        "Write sentences",
        value=True,
        help="With a capital letter and a full stop; without, the caption is bare.",
    )
    return strength, sentence


# Photographs in -----------------------------------------------------------------------------------


def session() -> Session:
    """This visitor's own, which ends with the visit."""
    if "session" not in st.session_state:
        st.session_state.session = Session()
    found: Session = st.session_state.session
    return found


def take_files() -> None:
    """The files that were put in or taken away."""
    files = st.session_state.files or []
    session().uploads = [Upload(file.name, file.getvalue()) for file in files]


def take_photo() -> None:
    """The picture that the camera took, or none."""
    photo = st.session_state.camera
    session().uploads = [Upload("camera.jpg", photo.getvalue())] if photo else []


def take_example(example: Example) -> None:
    """The example that was chosen."""
    session().uploads = [Upload(example.path.name, example.path.read_bytes())]


def put_in() -> None:
    """Three ways to put photographs in; what came last is shown."""
    files, camera, tries = st.tabs(["Your photographs", "Camera", "Examples"])
    with files:
        st.file_uploader(
            "JPEG, PNG, WebP, GIF, TIFF or BMP; up to 50 MB and 100 megapixels each, "
            f"{MAX_PHOTOS} at a time",
            type=sorted(IMAGE_SUFFIXES),
            accept_multiple_files=True,
            key="files",
            on_change=take_files,
        )
        st.caption("They stay in this machine's memory while the page is open, and nowhere else.")
    with camera:
        if st.toggle("Switch the camera on", help="Your browser will ask for your permission."):
            st.camera_input("Take a picture", key="camera", on_change=take_photo)
    with tries:
        show_examples()


@st.cache_data(show_spinner=False)
def picture_of(example: Example) -> bytes:
    """A small picture of an example, read once and not whenever the page is drawn."""
    return as_jpeg(thumbnail(read_photo(example.path, near=MAP_SIDE), MAP_SIDE))


def show_examples() -> None:
    """Free photographs, with whom to thank."""
    with st.container(horizontal=True):
        for example in examples():
            with st.container(width=MAP_SIDE):
                st.image(picture_of(example), alt=f"Example: {example.title}")
                st.button(example.title, on_click=take_example, args=[example], width="stretch")
                st.caption(example.credit)


# Captions out -------------------------------------------------------------------------------------


def caption_all(
    captioner: Captioner, uploads: Sequence[Upload], settings: Settings
) -> tuple[list[Captioned], list[Failure]]:
    """Caption the photographs, with a bar where there are many."""
    captions, failures = list[Captioned](), list[Failure]()
    bar = st.progress(0.0, "Looking…") if len(uploads) > 1 else None
    results = session().captions(captioner, uploads, settings)
    for count, (upload, result) in enumerate(zip(uploads, results, strict=True), start=1):
        if isinstance(result, Caption):
            captions.append((upload, result))
        else:
            failures.append(result)
        if bar is not None:
            bar.progress(count / len(uploads), f"{count} of {len(uploads)} photographs")
    if bar is not None:
        bar.empty()
    return captions, failures


def verbatim(text: str) -> str:
    """Text that holds a file's name, which Streamlit is not to take for its Markdown."""
    return re.sub(r"([\\`*_{}\[\]()#+!|$~<>:-])", r"\\\1", text)


def written(caption: Caption, sentence: bool) -> str:
    """The caption as the settings want it."""
    return caption.sentence if sentence else caption.text


def show_failures(failures: Sequence[Failure]) -> None:
    """One message for all that could not be read."""
    if failures:
        mark = "- " if len(failures) > 1 else ""
        st.error("\n".join(mark + verbatim(failure.reason) for failure in failures))


def show_table(
    captions: Sequence[Captioned], sentence: bool, calibration: Calibration | None
) -> None:
    """All captions, to be edited, and the file of them."""
    names = distinct_names(caption.source for _, caption in captions)
    rows = [
        {
            "Photograph": thumbnail_of(upload.content),
            "Caption": written(caption, sentence),
            "Unsure": "check it" if doubtful(caption, calibration) else "",
            "File": name,
        }
        for (upload, caption), name in zip(captions, names, strict=True)
    ]
    # Another key for other captions: edits belong to those that were edited.
    key = hashlib.sha256(repr([(r["File"], r["Caption"]) for r in rows]).encode()).hexdigest()
    st.subheader(f"{len(captions)} captions", anchor=False)
    edited = st.data_editor(
        rows,
        key=f"table {key}",
        hide_index=True,
        row_height=72,
        disabled=["Photograph", "Unsure", "File"],
        column_config={
            "Photograph": st.column_config.ImageColumn(width="small"),
            "Caption": st.column_config.TextColumn(width="medium", required=True),
            "Unsure": st.column_config.TextColumn(width="small"),
            "File": st.column_config.TextColumn(width="small"),
        },
        alt="Photographs with their captions",
    )
    st.download_button(
        "Captions as CSV",
        as_csv((row["File"], row["Caption"] or "") for row in edited),
        "captions.csv",
        "text/csv",
        on_click="ignore",
        icon=":material/download:",
    )
    st.markdown(
        "A double click edits a caption. `python main.py --captions captions.csv --images FOLDER` "
        "trains on the file, with the folder that holds the photographs."
    )


@st.cache_data(max_entries=2 * MAX_PHOTOS, show_spinner=False, scope="session")
def thumbnail_of(content: bytes) -> str:
    """A small picture for a cell of the table."""
    return data_url("jpeg", as_jpeg(thumbnail(read_photo(content, near=ROW_SIDE), ROW_SIDE)))


def choose_one(captions: Sequence[Captioned]) -> Captioned:
    """The photograph to look at, of several."""
    if len(captions) == 1:
        return captions[0]
    st.subheader("One of them, word by word", anchor=False)
    place: int = st.selectbox(
        "Photograph",
        range(len(captions)),
        format_func=lambda place: f"{place + 1}. {captions[place][1].source}",
    )
    return captions[place]


def doubtful(caption: Caption, calibration: Calibration | None) -> bool:
    """Whether captions this unsure were often wrong, where that was measured."""
    return calibration is not None and calibration.is_unsure(caption.confidence)


def show_doubt(caption: Caption, calibration: Calibration | None) -> None:
    """Say so where captions this unsure were often wrong."""
    if calibration is not None and doubtful(caption, calibration):
        st.warning(
            "The model is unsure of this caption; check it. When it was measured, captions as "
            f"unsure as this scored {calibration.unsure_score:.0f} {calibration.metric} on "
            f"average, the others {calibration.other_score:.0f}.",
            icon=":material/help:",
        )


def distinguishable(words: Sequence[str]) -> list[str]:
    """The words, alike to the eye but no two the same: buttons are told apart by what they say."""
    return [word + "\N{WORD JOINER}" * place for place, word in enumerate(words)]


def one_in(probability: float) -> str:
    """A small probability as people say it: 1 in 8,400."""
    often = 1 / max(probability, 1e-30)
    return f"1 in {float(f'{often:.2g}'):,.0f}" if often >= 10 else f"{probability:.0%}"


@st.fragment
def show_attention(photo: Image.Image, caption: Caption, strength: float) -> None:
    """The photograph as the model saw it for the chosen word, and small ones for all words."""
    st.subheader("Where the model looked", anchor=False)
    word: int = st.segmented_control(
        "Choose a word",
        range(len(caption.words)),
        default=0,
        required=True,
        format_func=distinguishable(caption.words).__getitem__,
        key=f"word {caption.source} {caption.text}",
    )
    weights, probability = caption.attention[word], caption.probabilities[word]
    large = thumbnail(photo, PHOTO_SIDE)
    x, y = caption.peak(word)
    place = f"Brightest {x:.0%} from the left, {y:.0%} from the top"
    st.image(
        overlay(large, weights, strength),
        caption=f"“{caption.words[word]}”: the model gave this word {probability:.0%}",
        alt=f"The photograph, lit where the model looked for “{caption.words[word]}”. {place}.",
    )
    small = thumbnail(photo, MAP_SIDE)
    with st.container(horizontal=True):
        for index, (text, map_) in enumerate(zip(caption.words, caption.attention, strict=True)):
            x, y = caption.peak(index)
            st.image(
                overlay(small, map_, strength),
                caption=f"{text} · {caption.probabilities[index]:.0%}",
                alt=f"{text}: brightest {x:.0%} from the left, {y:.0%} from the top",
            )


def show_alternatives(caption: Caption, sentence: bool) -> None:
    """What else the search found; a beam of 1 finds nothing else."""
    if not caption.alternatives:
        return
    st.subheader("Other captions it considered", anchor=False)
    texts = [other.sentence if sentence else other.text for other in caption.alternatives]
    chances = [other.probability for other in caption.alternatives]
    lines = [f"1. {text} ({one_in(p)})" for text, p in zip(texts, chances, strict=True)]
    st.markdown("\n".join(lines))
    st.caption(
        "In brackets, how likely the model holds these very words; of the caption at the top it is "
        f"{one_in(caption.probability)}. Longer captions are less likely, which the length penalty "
        "makes up for."
    )


def show_exports(photo: Image.Image, caption: Caption, text: str) -> None:
    """To copy and to keep."""
    st.subheader("Copy and keep", anchor=False)
    st.code(text, language=None, wrap_lines=True)
    st.code(as_html(caption.source, text), language="html", wrap_lines=True)
    stem = Path(caption.source).stem
    with st.container(horizontal=True):
        st.download_button(
            "All figures as JSON",
            as_json(caption) + "\n",
            f"{stem}.json",
            "application/json",
            on_click="ignore",
            icon=":material/download:",
        )
        st.download_button(
            "Attention as PNG",
            # Drawn only when it is asked for.
            lambda: as_png(attention_figure(photo, caption.words, caption.attention)),
            f"{stem}_attention.png",
            "image/png",
            on_click="ignore",
            icon=":material/download:",
        )


def show_one(
    upload: Upload, caption: Caption, captioner: Captioner, strength: float, text: str
) -> None:
    """All about one photograph; its caption and itself first."""
    photo = read_photo(upload.content, captioner.images, near=PHOTO_SIDE)
    show_attention(photo, caption, strength)
    show_alternatives(caption, text == caption.sentence)
    show_exports(photo, caption, text)


def main() -> None:
    """Lay out the page."""
    st.title("What is in the picture?", anchor=False)
    path = choose_model()
    try:
        captioner, digest, calibration = load(str(path), changed_at(path))
    except CheckpointError as error:
        st.error(f"{error}.")
        return
    settings = choose_search(captioner, digest)
    strength, sentence = choose_looks()
    put_in()
    uploads = session().uploads
    if len(uploads) > MAX_PHOTOS:
        st.warning(
            f"The first {MAX_PHOTOS} of {len(uploads)} photographs are captioned; put in the "
            "others after these."
        )
        uploads = uploads[:MAX_PHOTOS]
    if not uploads:
        return
    captions, failures = caption_all(captioner, uploads, settings)
    show_failures(failures)
    if not captions:
        return
    if len(captions) > 1:
        show_table(captions, sentence, calibration)
    upload, caption = choose_one(captions)
    text = written(caption, sentence)
    st.header(text, anchor=False)
    show_doubt(caption, calibration)
    show_one(upload, caption, captioner, strength, text)


def changed_at(path: Path) -> float:
    """When a file was changed; 0 where there is none."""
    return path.stat().st_mtime if path.exists() else 0.0
