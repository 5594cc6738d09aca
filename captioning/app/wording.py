"""How the caption page puts captions, probabilities and maps into words."""

import re
from collections.abc import Sequence

from captioning.evaluation.calibration import Calibration
from captioning.inference.captioner import Alternative, Caption, MapKind
from captioning.pictures import LEAST_EVIDENCE, Heat


def caption_text(caption: Caption | Alternative, sentence: bool) -> str:
    """The caption as a sentence, or bare."""
    return caption.sentence if sentence else caption.text


def escape_markdown(text: str) -> str:
    """Text of others, such as a file's name, which Streamlit would otherwise read as Markdown."""
    # Nothing else keeps addresses from becoming links, and nobody sees this character.
    address = r"(?<=www)(?=\.)|(?<=:)(?=//)|(?<=@)"
    text = re.sub(address, "\N{WORD JOINER}", text, flags=re.IGNORECASE)
    text = re.sub(r"([\\`*_{}\[\]()#+!|$~<>:&-])", r"\\\1", text)
    return re.sub(r"^( *\d+)\.", r"\1\\.", text)  # or it would begin a list


def make_distinct(words: Sequence[str]) -> list[str]:
    """The words, made distinct by characters nobody sees: Streamlit tells buttons apart by text."""
    return [word + "\N{WORD JOINER}" * index for index, word in enumerate(words)]


def one_in(probability: float) -> str:
    """A probability as people say it: 1 in 8,400, or 12% where it is not small."""
    count = 1 / max(probability, 1e-30)
    return f"1 in {float(f'{count:.2g}'):,.0f}" if count >= 10 else f"{probability:.0%}"


def caption_warning(caption: Caption, calibration: Calibration | None) -> str | None:
    """Why a caption should not be trusted: the picture is unusual, or the model unsure; or None.

    What is not known, of an older model, is no reason.
    """
    if caption.warning is not None:
        return caption.warning
    if calibration is not None and calibration.is_unsure(caption.confidence):
        return unsure_warning(calibration)
    return None


def unsure_warning(calibration: Calibration) -> str:
    """What to tell people of an unsure caption."""
    return (
        "The model is unsure of this caption; check it. When it was measured, captions as "
        f"unsure as this scored {calibration.unsure_score:.0f} {calibration.metric} on average, "
        f"the others {calibration.other_score:.0f}."
    )


def percent(share: float) -> str:
    """A share from 0 to 1 as a percentage that does not round what is possible to 0% or 100%."""
    if 0 < share < 0.005:
        return "under 1%"
    return "over 99%" if 0.995 <= share < 1 else f"{share:.0%}"


def position(caption: Caption, word: int, of: MapKind) -> str:
    """Where a map of a word is greatest."""
    x, y = caption.peak(word, of)
    return f"{x:.0%} from the left, {y:.0%} from the top"


def no_evidence(reason: str, name: str) -> str:
    """Why a caption has no evidence, as a sentence in Markdown; ``name`` is the file's."""
    # The advice at the end is for those who call the captioner: the page asks for it by itself.
    reason = reason.removesuffix(".").removesuffix(": caption it without evidence")
    return escape_markdown(reason.replace("the image", name, 1)) + "."


def explain_map(word: str, of: MapKind, heat: Heat) -> str:
    """What a map of a word says, in plain words."""
    return _explain_evidence(word, heat) if of == "evidence" else _explain_attention(word, heat)


def _explain_evidence(word: str, heat: Heat) -> str:
    """How much support the word loses when its most important part is hidden."""
    greatest = float(heat.values.max())
    if greatest >= LEAST_EVIDENCE:
        return (
            f"Evidence: with the brightest part hidden, “{word}” loses {percent(greatest)} of its "
            "support, compared with a typical part hidden."
        )
    return (
        f"Evidence: “{word}” rests on no single part of the photograph. Whichever is hidden, it "
        f"loses at most {max(1, round(100 * greatest))}% of its support, compared with a typical "
        "part hidden: several parts show it, or the words before suggest it."
    )


def _explain_attention(word: str, heat: Heat) -> str:
    """How concentrated the attention was, compared with none."""
    return (
        f"Attention: how the model divided its gaze while it chose “{word}”. The brightest of "
        f"{heat.values.size} spots got {percent(heat.top)}; an even share would be "
        f"{percent(1 / heat.values.size)}."
    )
