"""What torch.save wrote before PyTorch 1.6, looked at before torch.load reads it.

Such a file is five pickles, one after the other, and then raw arrays. torch.load runs no code in
them (``weights_only``), but an operation of one byte can take 80 bytes of memory and a microsecond,
and the number of operations has no limit: so they are counted first, without being run.
"""

import os
import pickletools

from captioning.network.plain_file import PlainFileError

OLD_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # its first pickle: a number
_PICKLES = 5  # that number, the version, sizes of numbers, the content, the names of its arrays
_MOST_OPERATIONS = 200_000  # a state dict of a ResNet-50 has ten thousand


def require_short(path: str | os.PathLike[str]) -> None:
    """Raise PlainFileError where the pickles of a file are no pickles, or have no end."""
    left = _MOST_OPERATIONS
    with open(path, "rb") as file:
        for _ in range(_PICKLES):
            try:
                for _ in pickletools.genops(file):
                    left -= 1
                    if left < 0:
                        raise PlainFileError("it is of more operations than any state dict")
            except PlainFileError:
                raise
            except Exception as error:  # as bytes at random fail
                raise PlainFileError(f"{type(error).__name__}: {error}") from None
