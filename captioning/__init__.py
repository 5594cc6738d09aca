"""Caption photographs, and see what each word rests on.

>>> from captioning import Captioner
>>> captioner = Captioner.load("model/image_captioning_model.pth")
>>> captioner("photo.jpg").text  # doctest: +SKIP
"""

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from captioning.inference.captioner import Caption, Captioner, Failure

__all__ = ["Caption", "Captioner", "Failure"]

# Where it keeps its fonts is of no interest to whoever captions; other warnings are exceptions.
if (_matplotlib := logging.getLogger("matplotlib")).level == logging.NOTSET:
    _matplotlib.setLevel(logging.ERROR)


def __getattr__(name: str) -> Any:
    """Import what is offered when it is first used: it needs PyTorch, most modules do not."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from captioning.inference import captioner

    return getattr(captioner, name)
