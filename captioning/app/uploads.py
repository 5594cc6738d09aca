"""Three ways to give the caption page photographs: files, the camera, examples."""

import streamlit as st
from streamlit.runtime.uploaded_file_manager import DeletedFile

from captioning.app.examples import Example, examples
from captioning.app.session import MAX_PHOTOS, Session, Upload
from captioning.data.images import IMAGE_SUFFIXES, READABLE, read_photo
from captioning.pictures import as_jpeg, thumbnail

EXAMPLE_SIDE = 150  # pixels, the longer one


def session() -> Session:
    """This visitor's session, which ends with the visit."""
    if "session" not in st.session_state:
        st.session_state.session = Session()
    stored: Session = st.session_state.session
    return stored


def take_files() -> None:
    """The files changed: some were uploaded or removed."""
    # After a long absence the browser may name files that are no longer here.
    files = [file for file in st.session_state.files or [] if not isinstance(file, DeletedFile)]
    session().uploads = [Upload(file.name, file.getvalue()) for file in files]


def take_photo() -> None:
    """The camera took a photograph, or the visitor discarded it."""
    photo = st.session_state.camera
    here = photo is not None and not isinstance(photo, DeletedFile)
    session().uploads = [Upload("camera.jpg", photo.getvalue())] if here else []


def take_example(example: Example) -> None:
    """The visitor chose an example."""
    session().uploads = [Upload(example.path.name, example.path.read_bytes())]


def show_uploaders() -> None:
    """A tab for each way; the photographs that came last are captioned."""
    files, camera, free = st.tabs(["Your photographs", "Camera", "Examples"])
    with files:
        st.file_uploader(
            f"{READABLE}; up to 50 MB each, {MAX_PHOTOS} at a time",
            type=sorted(IMAGE_SUFFIXES),
            accept_multiple_files=True,
            key="files",
            on_change=take_files,
        )
        st.caption("They stay in this machine's memory while the page is open, and nowhere else.")
    with camera:
        if st.toggle("Switch the camera on", help="Your browser will ask for permission."):
            st.camera_input("Take a picture", key="camera", on_change=take_photo)
    with free:
        show_examples()


def show_examples() -> None:
    """Photographs that are free to use, with their credits."""
    with st.container(horizontal=True):
        for example in examples():
            with st.container(width=EXAMPLE_SIDE):
                st.image(example_picture(example), alt=f"Example: {example.title}")
                st.button(example.title, on_click=take_example, args=[example], width="stretch")
                st.caption(example.credit)


@st.cache_data(show_spinner=False)
def example_picture(example: Example) -> bytes:
    """A small picture of an example, made once and not whenever the page is drawn."""
    return as_jpeg(thumbnail(read_photo(example.path, near=EXAMPLE_SIDE), EXAMPLE_SIDE))
