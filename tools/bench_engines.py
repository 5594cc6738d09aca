"""What make bench times of the engines: against a bare ResNet-50, a peer, and one another.

The aims, on two cores: one photograph end to end takes at most 0.85 of a bare ResNet-50 in float32,
0.45 in bfloat16, and 0.35 in int8 (0.5 on processors with AVX2 alone); a folder is captioned in at
most 1.18 of the time of its parts alone, and at least three times as fast as a peer's way.
"""

import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.models import resnet50

from captioning.data.caption_files import Photograph
from captioning.data.images import load_image
from captioning.errors import CaptioningError, MissingPackageError, SettingError
from captioning.inference.captioner import Caption, Captioner
from captioning.inference.decode import beam_search
from captioning.inference.engine_config import PRECISIONS
from captioning.inference.engines import OFFERED
from captioning.inference.read_ahead import READERS
from captioning.network.checkpoint import SHIPPED_MODEL, Checkpoint
from captioning.network.saved_network import build_network
from tools.peer import Peer
from tools.timing import QUICK_PAIRS, Ratio, Work, compare

LARGE = (4032, 3024)  # pixels: 12 megapixels, as phones take them
LIGHT = ("openvino", "onnx")  # engines that caption without PyTorch
GRAIN = 0.1  # of noise in a large photograph, so that its file has the megabytes of a phone's
DIFFERENT = 12  # large photographs; a folder has copies of them
FOLDER = 48  # large photographs in a folder
CALL = 32  # small photographs captioned in one call
PEER = 16  # small photographs captioned by a peer: it takes its time
SINGLY = 30  # pairs of the encoder, and of the search
BATCH = 16  # photographs: what ``Captioner.stream`` captions at a time
ON_GPU = 200  # photographs captioned on a GPU, this many at a time:
GPU_BATCH = 64
AGREEING = 0.95  # the least share of a peer's captions that are ours: rounding may change a word


class Bare:
    """torchvision's ResNet-50, as a careful user would run it."""

    def __init__(self) -> None:
        self.network = resnet50(weights=None).eval().to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Classify images (B, 3, H, W)."""
        logits: torch.Tensor = self.network(images)
        return logits


def jpeg(image: Image.Image, size: tuple[int, int], grain: float = 0.0) -> bytes:
    """Resize the image and save it as a JPEG, with this share of noise."""
    file = io.BytesIO()
    resized = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    if grain:
        resized = Image.blend(resized, Image.effect_noise(size, 64).convert("RGB"), grain)
    resized.save(file, "JPEG", quality=85)
    return file.getvalue()


def fill_with_large(folder: Path, photographs: Sequence[Photograph], count: int = FOLDER) -> None:
    """Write ``count`` JPEGs of 12 megapixels, of some photographs in turn."""
    files = []
    for photograph in photographs[: min(DIFFERENT, count)]:
        with Image.open(photograph.path) as image:
            files.append(jpeg(image, LARGE, GRAIN))
    for number, content in zip(range(count), cycle(files), strict=False):
        (folder / f"{number:04}.jpg").write_bytes(content)


@contextmanager
def large_photographs(photographs: Sequence[Photograph]) -> Iterator[list[Path]]:
    """The files of such a folder, while it is there."""
    with tempfile.TemporaryDirectory() as folder:
        fill_with_large(Path(folder), photographs)
        yield sorted(Path(folder).iterdir())


def load_offered(
    engines: Sequence[str] = tuple(OFFERED), precisions: Sequence[str] = PRECISIONS
) -> Iterator[tuple[str, Captioner]]:
    """The model in these engines and precisions, where they are offered.

    Says which of them this machine lacks, and why.
    """
    for engine in engines:
        for precision in precisions:
            if precision not in OFFERED[engine]:
                continue
            name = f"{engine} {precision}"
            try:
                captioner = Captioner.load(engine=engine, precision=precision)
            except (SettingError, MissingPackageError) as error:
                print(f"skipped: {name}: {error}", flush=True)
                continue
            yield name, captioner


def bench_engines(photographs: Sequence[Photograph]) -> list[Ratio]:
    """One photograph at a time by every engine and precision: as a whole, and its halves alone."""
    bare = Bare()
    paths = [photograph.path for photograph in photographs[:QUICK_PAIRS]]
    return [
        ratio
        for name, captioner in load_offered()
        for ratio in bench_engine(name, captioner, paths, bare)
    ]


def bench_gpu(photographs: Sequence[Photograph]) -> list[Ratio]:
    """A folder's photographs on a GPU against the processor; nothing where there is none."""
    if not torch.cuda.is_available():
        print("skipped: GPU: there is none here", flush=True)
        return []
    paths = [photograph.path for photograph in photographs[:ON_GPU]]

    def caption(captioner: Captioner, size: int) -> Work:
        return lambda: list(captioner.stream(paths, batch_size=size, readers=READERS))

    on_processor = caption(Captioner.load(), BATCH)
    card, ratios = torch.cuda.get_device_name(), []
    for precision in OFFERED["torch"]:
        on_gpu = Captioner.load(device="cuda", engine="torch", precision=precision)
        name = f"{len(paths)} photographs by {card} in {precision} / by the processor"
        ratios.append(compare(name, caption(on_gpu, GPU_BATCH), on_processor))
    return ratios


def bench_engine(
    name: str, captioner: Captioner, paths: Sequence[Path], bare: Bare
) -> Iterator[Ratio]:
    """One engine and precision against a bare ResNet-50; captions differ in length, so in turn."""
    engine, decoding = captioner.engine, captioner.decoding
    tokens = captioner.vocabulary.tokens()
    pixels = [load_image(path, captioner.images)[None] for path in paths]  # (1, 3, H, W) each
    features = [engine.encode(one) for one in pixels]
    image = torch.from_numpy(pixels[0]).contiguous(memory_format=torch.channels_last)

    def ratio(what: str, work: Callable[[int], object], pairs: int) -> Ratio:
        turn = cycle(range(len(paths)))
        label = f"{name}: {what} / bare ResNet-50"
        return compare(label, lambda: work(next(turn)), lambda: bare(image), pairs)

    one = f"one {captioner.images.size}-pixel JPEG, beam {decoding.beam}"
    yield ratio(one, lambda i: captioner(paths[i]), QUICK_PAIRS)
    yield ratio("its encoder alone", lambda i: engine.encode(pixels[i]), SINGLY)
    yield ratio(
        "its search alone", lambda i: beam_search(engine, features[i], tokens, decoding), SINGLY
    )


def bench_choice(photographs: Sequence[Photograph]) -> list[Ratio]:
    """The engines in float32 against PyTorch: what the order of ``engines.PACKAGES`` goes by."""
    loaded = load_offered(precisions=("float32",))
    captioners = {name.partition(" ")[0]: captioner for name, captioner in loaded}
    theirs = captioners.pop("torch")
    paths = [photograph.path for photograph in photographs[:QUICK_PAIRS]]

    def one(captioner: Captioner) -> Work:
        turn = cycle(paths)
        return lambda: captioner(next(turn))

    def several(captioner: Captioner) -> Work:
        return lambda: list(captioner.stream(paths[:CALL], readers=READERS))

    ratios = []
    for name, ours in captioners.items():
        label = f"one photograph, {name} / torch"
        ratios.append(compare(label, one(ours), one(theirs), QUICK_PAIRS))
        label = f"a folder of {len(paths[:CALL])}, {name} / torch"
        ratios.append(compare(label, several(ours), several(theirs)))
    return ratios


def bench_folder(photographs: Sequence[Photograph]) -> list[Ratio]:
    """A folder of 12-megapixel JPEGs as the command captions it, against its parts alone.

    The parts are timed in the same pairs, one after the other, so that nothing overlaps: all files
    to pixels in one thread, then the encoder and the search with all threads, in the stream's
    batches. Captions per second are at least 85 % of 1 / (JPEG + encoder + decoder), each in
    seconds per photograph, where the ratio is at most 1 / 0.85 = 1.18; below 1, reading overlaps.
    """

    def by(name: str, captioner: Captioner) -> Ratio:
        return compare(
            f"{name}: {len(paths)} 12-megapixel JPEGs / their JPEGs, encoder and decoder alone",
            lambda: list(captioner.stream(paths, readers=READERS)),
            lambda: caption_in_parts(captioner, paths),
        )

    with large_photographs(photographs) as paths:
        return [by(name, captioner) for name, captioner in load_offered(LIGHT, ("float32",))]


def caption_in_parts(captioner: Captioner, paths: Sequence[Path]) -> list[list[int]]:
    """Read all photographs, then encode them all, then search: the captions' word ids."""
    engine, tokens = captioner.engine, captioner.vocabulary.tokens()
    pixels = [load_image(path, captioner.images) for path in paths]
    batches = [pixels[start : start + BATCH] for start in range(0, len(pixels), BATCH)]
    features = [engine.encode(np.stack(batch)) for batch in batches]
    found = [beam_search(engine, each, tokens, captioner.decoding) for each in features]
    return [hypotheses[0].tokens for batch in found for hypotheses in batch]


def bench_peer(photographs: Sequence[Photograph]) -> list[Ratio]:
    """Photographs in one call, against the usual way (``tools.peer``) with the same weights.

    Raises CaptioningError where that does not give our captions.
    """
    captioner = Captioner.load()
    checkpoint = Checkpoint.load(SHIPPED_MODEL)
    network, tokens = build_network(checkpoint), checkpoint.vocabulary.tokens()
    files = [photograph.path.read_bytes() for photograph in photographs[:PEER]]

    def ours() -> list[list[int]]:
        captions = captioner.stream(files, readers=READERS)
        return [
            captioner.vocabulary.encode(one.words) for one in captions if isinstance(one, Caption)
        ]

    ratios = []
    for layout, channels_last in (("default memory layout", False), ("channels-last", True)):
        peer = Peer(network, tokens, checkpoint.decoding, channels_last)

        def theirs(peer: Peer = peer) -> list[list[int]]:
            return [peer(torch.from_numpy(load_image(file, checkpoint.images))) for file in files]

        require_agreement(ours(), theirs())
        ratios.append(compare(f"{len(files)} in one call / a peer, {layout}", ours, theirs))
    return ratios


def require_agreement(ours: Sequence[list[int]], theirs: Sequence[list[int]]) -> None:
    """Print how many captions are the same; raises CaptioningError where too few are."""
    same = sum(a == b for a, b in zip(ours, theirs, strict=True))
    print(f"{same} of {len(ours)} captions of the peer are ours", flush=True)
    if same < AGREEING * len(ours):
        raise CaptioningError(
            f"only {same} of {len(ours)} captions of the peer are ours, so its time means nothing; "
            "see tools/peer.py"
        )
