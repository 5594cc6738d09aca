"""Captions without a model: what a model must beat to be worth anything."""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from captioning.data.caption_files import Photograph
from captioning.data.vocab import tokenize


def most_frequent_caption(training: Sequence[Photograph]) -> str:
    """The caption that occurs most often in the training set, ignoring case and punctuation.

    Of captions that occur equally often, the first in alphabetical order.
    """
    counts = Counter(" ".join(tokens) for photo in training for tokens in photo.references)
    most = max(counts.values())
    return min(caption for caption, count in counts.items() if count == most)


def nearest_captions(
    photographs: Sequence[Photograph],
    training: Sequence[Photograph],
    mean_features: Callable[[Sequence[Photograph]], NDArray[np.floating]],
) -> list[str]:
    """The first caption of the most similar training photograph.

    Similarity is the cosine of mean features, which ``mean_features`` gives (M, C). The nearest
    neighbour of Devlin et al. (2015), "Exploring Nearest Neighbor Approaches for Image
    Captioning", with one neighbour.
    """
    wanted, known = (_unit(mean_features(photos)) for photos in (photographs, training))
    nearest = (wanted @ known.T).argmax(axis=1)  # (M,)
    return [" ".join(tokenize(training[index].captions[0])) for index in nearest]


def _unit(features: NDArray[np.floating]) -> NDArray[np.float32]:
    features = np.asarray(features, dtype=np.float32)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    unit: NDArray[np.float32] = features / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit
