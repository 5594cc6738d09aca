"""Photographs as phones take them: make photographs

The development photographs, which are 224 pixels wide, are enlarged to 12 megapixels, rotated or
mirrored with the EXIF orientation that undoes it, and compressed again. Prints what the shipped
model's captions score on the originals and on these.
"""

import io
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from captioning.data.caption_files import Photograph, read_captions
from captioning.data.splits import split_photographs
from captioning.errors import CaptioningError
from captioning.evaluation.corpus import Corpus, caption_statistics
from captioning.evaluation.uncertainty import Comparison, compare
from captioning.inference.captioner import Caption, Captioner, Failure

MEGAPIXELS = 12
QUALITY = 80  # of JPEG, about what phones use
BLOCK = 16  # pixels
ORIENTATION = 0x0112  # the EXIF tag
# What each EXIF orientation tells a viewer to undo.
TRANSPOSES = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def as_phone_photo(path: Path, orientation: int, megapixels: float = MEGAPIXELS) -> bytes:
    """The photograph as a large JPEG, stored with an EXIF ``orientation`` from 1 to 8."""
    with Image.open(path) as image:
        scale = math.sqrt(megapixels * 1e6 / (image.width * image.height))
        # Whole JPEG blocks, as cameras write them.
        width, height = (BLOCK * round(side * scale / BLOCK) for side in image.size)
        large = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    if (transpose := TRANSPOSES[orientation]) is not None:
        large = large.transpose(transpose)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    file = io.BytesIO()
    large.save(file, "JPEG", quality=QUALITY, exif=exif)
    return file.getvalue()


def as_phone_photos(photographs: Sequence[Photograph]) -> Iterator[bytes]:
    """Each photograph as a phone photo, with the eight orientations in turn."""
    for index, photograph in enumerate(photographs):
        yield as_phone_photo(photograph.path, index % len(TRANSPOSES) + 1)


def differences(
    captions: Sequence[str], others: Sequence[str], photographs: Sequence[Photograph]
) -> dict[str, Comparison]:
    """BLEU-4 and CIDEr-D of the first captions against the second, photograph by photograph."""
    references = [photograph.captions for photograph in photographs]
    scored = [caption_statistics(Corpus.of(c, references)).statistics for c in (captions, others)]
    first, second = ({name: own[name] for name in ("BLEU-4", "CIDEr-D")} for own in scored)
    return compare(first, second)


def texts(captions: Iterable[Caption | Failure]) -> list[str]:
    """The captions' texts; raises CaptioningError for a photograph that cannot be read."""
    read = []
    for caption in captions:
        if isinstance(caption, Failure):
            raise CaptioningError(caption.reason)
        read.append(caption.text)
    return read


def measure() -> None:
    """Caption and score both."""
    data = Path("flickr8k/Flickr8k_Subset")
    dev = split_photographs(read_captions(data / "captions.txt", data / "Images").photographs).dev
    captioner = Captioner.load()
    small = texts(captioner.stream(photo.path for photo in dev))
    large = texts(tqdm(captioner.stream(as_phone_photos(dev)), total=len(dev), disable=None))
    for name, result in differences(large, small, dev).items():
        print(
            f"{name}: {result.this:.2f} at {MEGAPIXELS} megapixels, "
            f"{result.other:.2f} as they are; "
            f"difference {result.difference:+.2f} ({result.interval.low:+.2f} to "
            f"{result.interval.high:+.2f})"
        )
    same = sum(a == b for a, b in zip(small, large, strict=True))
    print(f"{same} of {len(dev)} captions are the same")


def main() -> int:
    """Measure; returns the exit status."""
    try:
        measure()
    except (CaptioningError, OSError) as error:
        print(f"tools.photographs: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
