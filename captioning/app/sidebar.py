"""The sidebar of the caption page: which model, how it searches, how results are shown."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import streamlit as st

from captioning.app.options import Options
from captioning.app.session import Settings
from captioning.evaluation.calibration import Calibration
from captioning.inference.captioner import Captioner
from captioning.inference.engine_config import EngineConfig
from captioning.network.checkpoint import file_hash
from captioning.network.shipped import SHIPPED_MODEL
from captioning.pictures import STRENGTH

MAX_BEAM, MAX_LENGTH_PENALTY = 10, 2.0  # of the sliders, unless the model's setting is higher


class LoadedModel(NamedTuple):
    """A model, the hash of its file, and what was measured of its confidence, if anything."""

    captioner: Captioner
    digest: str
    calibration: Calibration | None


@dataclass(frozen=True)
class Display:
    """How opaque heat over a photograph is, and whether captions are written as sentences."""

    overlay_strength: float
    sentences: bool


def load_chosen_model() -> LoadedModel:
    """The model that the visitor chose.

    Raises CaptioningError where its file cannot be used or the device is not here.
    """
    known = models()
    path: Path = st.sidebar.selectbox(
        "Model",
        known,
        format_func=model_title,
        help="A checkpoint of this project: the one that ships, or the best of a training run.",
    )
    if path not in known:  # the browser may send what it likes
        path = known[0]
    return load(str(path), modified_at(path), Options.from_environment().running)


def models() -> list[Path]:
    """The checkpoints to choose from: the one in the options, the one that ships, those of runs."""
    named = Options.from_environment().model
    runs = sorted(Path("runs").glob("*/best.pth"))
    return list(dict.fromkeys([*([named] if named else []), SHIPPED_MODEL, *runs]))


def model_title(path: Path) -> str:
    """What the list of models calls a checkpoint."""
    if path == SHIPPED_MODEL:
        return "The model that ships"
    return path.name if path.is_absolute() else str(path)


def without_folder(message: str) -> str:
    """A message about a model, without where on this machine the models are."""
    for path in models():
        if path.is_absolute():
            message = message.replace(str(path), path.name)
    return message


def modified_at(path: Path) -> float:
    """When a file was last modified; 0 if it does not exist."""
    return path.stat().st_mtime if path.exists() else 0.0


@st.cache_resource(show_spinner="Loading the model…", max_entries=2)
def load(path: str, modified: float, running: EngineConfig) -> LoadedModel:
    """One model for all visitors; with another modification time it is loaded again."""
    captioner, digest = Captioner.load_with(path, running), file_hash(path)
    calibration = Calibration.read(Path(path).with_name("results.json"), digest)
    return LoadedModel(captioner, digest, calibration)


def choose_search(model: LoadedModel) -> Settings:
    """How to search for a caption; the sliders start at the model's settings."""
    decoding = model.captioner.decoding
    beam = st.sidebar.slider(
        "Beam width",
        min_value=1,
        max_value=max(MAX_BEAM, decoding.beam),
        value=decoding.beam,
        help="How many captions the search keeps at each step; 1 always takes the likeliest word.",
    )
    penalty = st.sidebar.slider(
        "Length penalty",
        min_value=0.0,
        max_value=max(MAX_LENGTH_PENALTY, decoding.length_penalty),
        value=decoding.length_penalty,
        step=0.1,
        help="0 prefers short captions; higher values give longer ones.",
    )
    return Settings(model.digest, beam, penalty)


def choose_display() -> Display:
    """How results are shown."""
    strength = st.sidebar.slider(
        "Overlay strength",
        min_value=0.0,
        max_value=1.0,
        value=STRENGTH,
        step=0.05,
        help="How opaque the colours over the photograph are: 0 shows the photograph alone, "
        "1 the colours alone.",
    )
    sentences = st.sidebar.toggle(
        "Write sentences",
        value=True,
        help="With a capital letter and a full stop; otherwise the caption is bare.",
    )
    return Display(strength, sentences)
