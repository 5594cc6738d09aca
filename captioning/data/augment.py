"""Random changes to training photographs, so that each one looks different every time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from PIL.Image import Image
from torchvision.transforms.v2 import ColorJitter, RandomResizedCrop

from captioning.data.caption_files import Photograph
from captioning.data.dataset import View
from captioning.data.images import ImageConfig, read_photo, to_array
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


class Augmented:
    """Reads the photograph of an index, changed at random by torch's global generator."""

    def __init__(
        self, photographs: Sequence[Photograph], images: ImageConfig, config: AugmentConfig
    ) -> None:
        self.photographs, self.images, self.config = photographs, images, config
        self.changes: list[Callable[[Image], Image]] = []
        if config.crop < 1:
            self.changes.append(RandomResizedCrop(images.size, (config.crop, 1.0)))
        if config.jitter > 0:
            self.changes.append(ColorJitter(config.jitter, config.jitter, config.jitter))

    def __call__(self, index: int) -> View:
        """Pixels (3, H, W), and whether they are mirrored."""
        photo = read_photo(self.photographs[index].path, self.images, near=self.images.size)
        for change in self.changes:
            photo = change(photo)
        pixels = torch.from_numpy(to_array(photo, self.images))
        mirrored = bool(torch.rand(()) < self.config.flip)
        return View(pixels.flip(-1) if mirrored else pixels, mirrored)
