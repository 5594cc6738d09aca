"""The photographs that the report shows: the best, median, worst and random ones."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from captioning.data.caption_files import Photograph
from captioning.data.image_names import as_utf8
from captioning.data.images import ImageError, read_photo
from captioning.evaluation.assessment import Assessment
from captioning.evaluation.report_gallery import PHOTO_SIDE, Entry
from captioning.evaluation.scored_system import ScoredSystem
from captioning.inference.captioner import as_sentence
from captioning.pictures import thumbnail

SIZE = 12  # photographs of each group
ORDERED_BY = "CIDEr-D"


def gallery(
    photographs: Sequence[Photograph], images: Path, system: ScoredSystem, assessment: Assessment
) -> list[Entry]:
    """The photographs to show; ``images`` is their folder."""
    entries = []
    for index, groups in _groups(assessment).items():
        photograph, caption = photographs[index], system.system.captions[index]
        entries.append(
            Entry(
                groups=groups,
                name=as_utf8(photograph.name),
                photo=_photo(images / photograph.name),
                caption=as_sentence(caption) if caption else "",
                references=photograph.captions,
                scores={name: float(own[index]) for name, own in assessment.images.items()},
                words=system.words[index] if system.words is not None else (),
                attention=system.attention[index] if system.attention is not None else None,
                evidence=system.evidence[index] if system.evidence is not None else None,
                hallucinated=assessment.hallucinated[index],
            )
        )
    return entries


def _groups(assessment: Assessment) -> dict[int, tuple[str, ...]]:
    """The photographs to show, by their index, each with the groups that it belongs to."""
    groups: dict[int, tuple[str, ...]] = {}
    for group, index in _members(assessment):
        groups[index] = (*groups.get(index, ()), group)
    return groups


def _members(assessment: Assessment) -> Iterator[tuple[str, int]]:
    order = np.argsort(-assessment.images[ORDERED_BY], kind="stable")
    middle = max(0, len(order) // 2 - SIZE // 2)
    members = {
        "best": order[:SIZE],
        "median": order[middle : middle + SIZE],
        "worst": order[::-1][:SIZE],
        "random": np.random.default_rng(0).permutation(len(order))[:SIZE],
    }
    for group, indices in members.items():
        for index in indices.tolist():
            yield group, index


def _photo(path: Path) -> Image.Image | None:
    """The photograph, small and upright; None where it cannot be read."""
    try:
        return thumbnail(read_photo(path, near=PHOTO_SIDE), PHOTO_SIDE)
    except ImageError:
        return None
