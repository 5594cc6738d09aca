"""Novelty detection: how unlike the training photographs a picture is, by its mean feature.

A captioner always answers, about a drawing or a screenshot too. Here the mean features of the
training photographs get a Gaussian density with k principal components of their own variance and
one variance in all other directions: probabilistic PCA (Tipping and Bishop 1999). The distance is
the Mahalanobis distance under it, as in Lee et al. (2018), so that it includes the residual outside
the components, as in ViM (Wang et al. 2022). Photographs that were held out say what is far. All of
it needs numpy alone.

Dimensions: B or M photographs, C encoder channels, k components, Q quantiles.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from captioning.errors import SettingError

Array: TypeAlias = NDArray[np.float32]

COMPONENTS = 64
QUANTILES = 201  # in steps of half a percent
# One ordinary photograph in 50 is called unusual. With one in 100, half as many drawings were.
UNUSUAL = 0.98
# Of the greatest variance: fewer photographs than channels leave directions without any.
_LEAST_VARIANCE = 1e-6
_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, eq=False)
class NoveltyDetector:
    """A Gaussian density of mean features, and how far ordinary photographs are from its centre.

    ``mean`` (C,) and ``components`` (k, C), of unit length, are of the features' eighth roots;
    ``variances`` (k + 1,) are those along the components, and last that of every other direction;
    ``quantiles`` (Q,) are of the distances of held-out photographs, evenly spaced from the least to
    the greatest. Raises SettingError where shapes or values cannot be so.
    """

    mean: Array
    components: Array
    variances: Array
    quantiles: Array

    def __post_init__(self) -> None:
        k, channels = self.components.shape if self.components.ndim == 2 else (0, 0)
        if channels < 1 or self.mean.shape != (channels,) or self.variances.shape != (k + 1,):
            raise SettingError("mean, components and variances differ in size")
        if self.quantiles.ndim != 1 or len(self.quantiles) < 2:
            raise SettingError("there must be two quantiles or more")
        parts = (self.mean, self.components, self.variances, self.quantiles)
        if not all(np.isfinite(part).all() for part in parts):
            raise SettingError("all values must be finite")
        if not (self.variances > 0).all() or (np.diff(self.quantiles) < 0).any():
            raise SettingError("variances must be above 0, and quantiles must not fall")

    @classmethod
    def fit(
        cls, training: NDArray[np.floating], held_out: NDArray[np.floating]
    ) -> "NoveltyDetector":
        """Fit the density to mean features (M, C), and the quantiles to those held out (K, C).

        Raises SettingError for fewer than two photographs to train on, or none held out.
        """
        if len(training) < 2 or len(held_out) < 1:
            raise SettingError(
                "novelty needs two photographs to train on and one held out; add photographs"
            )
        roots = _eighth_root(training).astype(np.float64)  # (M, C)
        mean = roots.mean(axis=0)
        axes, variances = _principal(roots - mean)
        # Rounded as they are stored, so that the quantiles are of what will be computed.
        density = (_rounded(mean), _rounded(axes), variances)
        distances = _distance(density, held_out)
        quantiles = np.quantile(distances, np.linspace(0, 1, QUANTILES)).astype(np.float32)
        return cls(*density, np.maximum.accumulate(quantiles))

    def distance(self, means: NDArray[np.floating]) -> Array:
        """How far mean features (B, C) are from those of the training photographs: (B,)."""
        return _distance((self.mean, self.components, self.variances), means)

    def percentile(self, distances: NDArray[np.floating]) -> Array:
        """The share, from 0 to 1, of ordinary held-out photographs that are less far: (B,)."""
        shares = np.linspace(0, 1, len(self.quantiles))
        percentiles: Array = np.interp(distances, self.quantiles, shares).astype(np.float32)
        return percentiles

    def distance_at(self, share: float) -> float:
        """The distance that a share, from 0 to 1, of ordinary held-out photographs is below."""
        return float(np.interp(share, np.linspace(0, 1, len(self.quantiles)), self.quantiles))


def _eighth_root(means: NDArray[np.floating]) -> Array:
    """Mean features (B, C), with less of a tail: a few channels do not outweigh all others.

    It is a power of Tukey's ladder; a Gaussian fits the features themselves badly.
    """
    root: Array = np.maximum(means, 0).astype(np.float32)
    for _ in range(3):
        root = np.sqrt(root)
    return root


def _principal(centred: NDArray[np.float64]) -> tuple[NDArray[np.float64], Array]:
    """The first principal components of (M, C), and the variances along and outside them."""
    photographs, channels = centred.shape
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    k = min(COMPONENTS, photographs - 1, channels - 1)
    spectrum = values**2 / photographs  # (min(M, C),)
    outside = spectrum[k:].sum() / (channels - k)
    variances = np.append(spectrum[:k], outside)
    floor = max(_LEAST_VARIANCE * float(variances.max()), _TINY)
    return axes[:k], np.maximum(variances, floor).astype(np.float32)


def _distance(density: tuple[Array, Array, Array], means: NDArray[np.floating]) -> Array:
    mean, components, variances = density
    offsets = _eighth_root(means) - mean  # (B, C)
    along = (offsets @ components.T) ** 2  # (B, k)
    outside = np.maximum((offsets**2).sum(axis=1) - along.sum(axis=1), 0)  # (B,)
    squared = (along / variances[:-1]).sum(axis=1) + outside / variances[-1]
    distance: Array = np.sqrt(squared).astype(np.float32)
    return distance


def _rounded(values: NDArray[np.float64]) -> Array:
    return values.astype(np.float16).astype(np.float32)
