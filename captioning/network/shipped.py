"""Where the model that ships is. Nothing here needs PyTorch: help texts name the file."""

from pathlib import Path

# An installed package has the model in its folder ``shipped``, a checkout in ``model``.
_PACKAGE = Path(__file__).resolve().parents[1]
_INSTALLED, _CHECKOUT = _PACKAGE / "shipped", _PACKAGE.parent / "model"
SHIPPED_MODEL = (_INSTALLED if _INSTALLED.is_dir() else _CHECKOUT) / "image_captioning_model.pth"
