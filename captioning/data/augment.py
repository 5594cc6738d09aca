"""Random changes to training photographs, so that each one looks different every time."""

from collections.abc import Callable, Sequence

import torch
from PIL.Image import Image
from torchvision.transforms.v2 import ColorJitter, RandomResizedCrop

from captioning.data.augment_config import AugmentConfig
from captioning.data.caption_files import Photograph
from captioning.data.dataset import View
from captioning.data.images import ImageConfig, read_photo, to_array


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
