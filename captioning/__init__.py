"""Caption photographs, and see what each word rests on.

>>> from captioning import Captioner
>>> captioner = Captioner.load("model/image_captioning_model.pth")
>>> captioner("photo.jpg").text  # doctest: +SKIP
"""

from captioning.inference.captioner import Caption, Captioner, Failure

__all__ = ["Caption", "Captioner", "Failure"]
