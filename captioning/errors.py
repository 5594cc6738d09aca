"""What a user can put right."""

from collections.abc import Iterator
from contextlib import contextmanager

_TITLES = {"matplotlib": "Matplotlib", "ray": "Ray", "streamlit": "Streamlit", "torch": "PyTorch"}


class CaptioningError(ValueError):
    """Something that a user can fix: a file, a setting, a data set.

    The message is one sentence that says what is wrong and what to do. Entry points print it and
    exit with a non-zero status; any other exception is a defect of ours and keeps its traceback.
    """


class SettingError(CaptioningError):
    """A flag or a setting that is out of range, or that does not go with another one."""


class MissingPackageError(CaptioningError):
    """A package that is not installed; the message says how to install it."""


@contextmanager
def needed_for(what: str, name: str) -> Iterator[None]:
    """Import what only a part of the program needs, and pip installs by ``name``.

    Raises MissingPackageError where a package is not there.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package == "captioning":
            raise
        raise MissingPackageError(
            f"{what} needs {_TITLES.get(package, package)}, which is not installed: "
            f"pip install {name}"
        ) from None
