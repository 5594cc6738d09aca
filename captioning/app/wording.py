"""How the caption page puts captions and probabilities into words."""

import re
from collections.abc import Sequence

from captioning.evaluation.calibration import Calibration
from captioning.inference.captioner import Alternative, Caption


def caption_text(caption: Caption | Alternative, sentence: bool) -> str:
    """The caption as a sentence, or bare."""
    return caption.sentence if sentence else caption.text


def escape_markdown(text: str) -> str:
    """Text with a file's name in it, which Streamlit would otherwise read as Markdown."""
    return re.sub(r"([\\`*_{}\[\]()#+!|$~<>:-])", r"\\\1", text)


def make_distinct(words: Sequence[str]) -> list[str]:
    """The words, made distinct by characters nobody sees: Streamlit tells buttons apart by text."""
    return [word + "\N{WORD JOINER}" * index for index, word in enumerate(words)]


def one_in(probability: float) -> str:
    """A probability as people say it: 1 in 8,400, or 12% where it is not small."""
    count = 1 / max(probability, 1e-30)
    return f"1 in {float(f'{count:.2g}'):,.0f}" if count >= 10 else f"{probability:.0%}"


def is_unsure(caption: Caption, calibration: Calibration | None) -> bool:
    """Whether captions with so little confidence were often wrong; no if that is not known."""
    return calibration is not None and calibration.is_unsure(caption.confidence)


def unsure_warning(calibration: Calibration) -> str:
    """What to tell people of an unsure caption."""
    return (
        "The model is unsure of this caption; check it. When it was measured, captions as "
        f"unsure as this scored {calibration.unsure_score:.0f} {calibration.metric} on average, "
        f"the others {calibration.other_score:.0f}."
    )


def position(caption: Caption, word: int) -> str:
    """Where the attention of a word is strongest."""
    x, y = caption.peak(word)
    return f"{x:.0%} from the left, {y:.0%} from the top"
