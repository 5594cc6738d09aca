"""How training photographs are changed at random; ``augment`` does it, with PyTorch."""

from dataclasses import dataclass

from captioning.errors import SettingError


@dataclass(frozen=True)
class AugmentConfig:
    """How photographs are changed.

    ``crop`` is the smallest share of the area that a random resized crop keeps (Szegedy et al.
    2015, section 6), 1 for no crop; ``flip`` the probability that a photograph is mirrored;
    ``jitter`` the greatest relative change of brightness, contrast and saturation.
    """

    crop: float = 1.0
    flip: float = 0.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.crop <= 1:
            raise SettingError(f"crop must be above 0 and at most 1, not {self.crop}")
        for name in ("flip", "jitter"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingError(f"{name} must be in [0, 1], not {getattr(self, name)}")
