"""Photographs as telephones make them: make photographs

The development photographs, which are 224 pixels wide, are enlarged to 12 megapixels, turned on
their side with an EXIF mark that says so, and compressed anew. Prints what the shipped model's
captions score on the originals and on these.
"""

import io
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from captioning.data.caption_files import Photograph, read_captions
from captioning.data.splits import split_photographs
from captioning.evaluation.corpus import Corpus, caption_statistics
from captioning.evaluation.uncertainty import Comparison, compare
from captioning.inference.captioner import Caption, Captioner, Failure

MEGAPIXELS = 12
QUALITY = 80  # about what telephones use
BLOCK = 16  # pixels
ORIENTATION = 0x0112  # of EXIF
# What a camera does to the pixels that a viewer is told to undo, by the mark's value.
TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def from_a_telephone(path: Path, turn: int, megapixels: float = MEGAPIXELS) -> bytes:
    """The photograph as a large JPEG whose pixels lie as ``turn``, 1 to 8, has them."""
    with Image.open(path) as image:
        scale = math.sqrt(megapixels * 1e6 / (image.width * image.height))
        # As cameras do, in whole blocks of JPEG.
        width, height = (BLOCK * round(side * scale / BLOCK) for side in image.size)
        large = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    if (transpose := TURNS[turn]) is not None:
        large = large.transpose(transpose)
    exif = Image.Exif()
    exif[ORIENTATION] = turn
    file = io.BytesIO()
    large.save(file, "JPEG", quality=QUALITY, exif=exif)
    return file.getvalue()


def large_ones(photographs: Sequence[Photograph]) -> Iterator[bytes]:
    """Each photograph from a telephone, held another way than the one before."""
    for place, photograph in enumerate(photographs):
        yield from_a_telephone(photograph.path, place % len(TURNS) + 1)


def differences(
    captions: Sequence[str], others: Sequence[str], photographs: Sequence[Photograph]
) -> dict[str, Comparison]:
    """BLEU-4 and CIDEr-D of the first captions against the second, photograph by photograph."""
    references = [photograph.captions for photograph in photographs]
    scored = [caption_statistics(Corpus.of(c, references)).statistics for c in (captions, others)]
    first, second = ({name: own[name] for name in ("BLEU-4", "CIDEr-D")} for own in scored)
    return compare(first, second)


def texts(captions: Iterable[Caption | Failure]) -> list[str]:
    """The captions' texts; raises ValueError for a photograph that cannot be read."""
    found = []
    for caption in captions:
        if isinstance(caption, Failure):
            raise ValueError(caption.reason)
        found.append(caption.text)
    return found


def main() -> None:
    """Caption both, score both."""
    data = Path("flickr8k/Flickr8k_Subset")
    dev = split_photographs(read_captions(data / "captions.txt", data / "Images").photographs).dev
    captioner = Captioner.load()
    small = texts(captioner.stream(photo.path for photo in dev))
    large = texts(tqdm(captioner.stream(large_ones(dev)), total=len(dev), disable=None))
    for name, found in differences(large, small, dev).items():
        print(
            f"{name}: {found.this:.2f} at {MEGAPIXELS} megapixels, {found.other:.2f} as they are; "
            f"difference {found.difference:+.2f} ({found.interval.low:+.2f} to "
            f"{found.interval.high:+.2f})"
        )
    same = sum(a == b for a, b in zip(small, large, strict=True))
    print(f"{same} of {len(dev)} captions are the same")


if __name__ == "__main__":
    main()
