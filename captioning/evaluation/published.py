"""What the authors of other systems report on the official Flickr8k test split."""

from typing import NamedTuple


class Published(NamedTuple):
    """A published system and its ``values``: those of ``catalogue.REPORTED``, None if missing."""

    system: str
    values: tuple[float | None, ...]


PUBLISHED = (
    Published("Google NIC (2014)", (63, 41, 27, None, None, None, None)),
    Published("Show, Attend and Tell, soft (2015)", (67, 44.8, 29.9, 19.5, 18.9, None, None)),
    Published("Show, Attend and Tell, hard (2015)", (67, 45.7, 31.4, 21.3, 20.3, None, None)),
    Published("danieljl/keras-image-captioning", (61.8, 40.8, 27.8, 19.0, 21.5, None, 41.5)),
    Published(
        "sulabhkatiyar/show_tell (VGG16, beam 3)", (60.8, 42.4, 29.0, 19.8, 19.1, 44.7, 47.8)
    ),
    Published(
        "sulabhkatiyar/Spatial_Att (ResNet152 fine-tuned, beam 5)",
        (66.9, 48.7, 34.0, 23.2, 20.9, 48.3, 56.5),
    ),
    Published(
        "sulabhkatiyar/Adaptive_Att (ResNet152 fine-tuned, beam 5)",
        (65.9, 48.0, 33.9, 23.5, 20.7, 47.6, 58.9),
    ),
    Published(
        "Cornell CS4782 reproduction (frozen ResNet)", (65.7, 41.4, 27.1, 16.5, 17.9, None, None)
    ),
)
