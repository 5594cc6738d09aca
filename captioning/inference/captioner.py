"""From photographs to captions: load a model, and call it on a photograph."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from captioning.data.images import (
    ImageConfig,
    ImageError,
    Source,
    describe,
    is_path,
    load_image,
    read_with_remark,
    source_name,
    to_array,
)
from captioning.data.vocab import Vocabulary, detokenize
from captioning.errors import SettingError
from captioning.inference.decode import Hypothesis, beam_search
from captioning.inference.engine import Engine, Features
from captioning.inference.engine_config import AUTO, EngineConfig
from captioning.inference.engines import choose, make_engine
from captioning.inference.evidence import evidence_maps, require_occlusion
from captioning.inference.read_ahead import read_ahead
from captioning.network.checkpoint import SHIPPED_MODEL, Checkpoint, CheckpointError
from captioning.network.config import DecodeConfig
from captioning.network.novelty import UNUSUAL, NoveltyDetector

MapKind = Literal["attention", "evidence"]

UNUSUAL_WARNING = (
    "This picture is unlike the photographs that the model was trained on, so do not trust its "
    "caption."
)


@dataclass(frozen=True)
class Alternative:
    """Another caption that the search found, ranked below the best one.

    ``probability`` is the whole caption's, its end included; ``score`` as in ``Caption``.
    """

    text: str
    score: float
    probability: float

    @property
    def sentence(self) -> str:
        """The caption with a capital letter and a full stop."""
        return as_sentence(self.text)


@dataclass(frozen=True, eq=False)
class Caption:
    """The caption of one photograph, with the maps of its words.

    ``text`` is English without a capital or a full stop (``sentence`` has both); ``words`` are
    its T tokens. ``attention`` (T, h, w) has one map per word, which sums to 1 and covers the
    upright photograph from its top left. ``evidence`` (T, h, w), None unless it was asked for, has
    what each word rests on: how much more support, in nats, the word loses when a place is hidden
    than when a typical one is (see ``inference.evidence``). ``probabilities`` (T,) has the
    probability of each word given those before it. ``probability`` is the whole caption's, its end
    included, and ``confidence`` the geometric mean over its words and its end, whose calibration is
    measured.
    ``score`` is what the search ranked by: the natural log-probability of the caption, less the
    penalty of repeated words, divided by its length to the power of the length penalty.
    ``novelty`` is how unlike the training photographs the picture is: the share, from 0 to 1, of
    ordinary held-out photographs that are less so; None where the model cannot tell. ``remark`` is
    what people should know of the photograph's file, in a sentence, for example that it ends early.
    ``source`` is the real name of the file, which may not be fit to print (see
    ``images.printable``), or "the image".
    """

    source: str
    text: str
    words: tuple[str, ...]
    attention: NDArray[np.float32]
    probabilities: tuple[float, ...]
    probability: float
    confidence: float
    score: float
    alternatives: tuple[Alternative, ...]
    evidence: NDArray[np.float32] | None = None
    novelty: float | None = None
    remark: str | None = None

    @property
    def is_unusual(self) -> bool:
        """Whether the picture is so unlike the training photographs that a caption means little."""
        return self.novelty is not None and self.novelty >= UNUSUAL

    @property
    def warning(self) -> str | None:
        """What to tell people of an unusual picture or a damaged file, in a sentence for each.

        None where there is nothing to tell.
        """
        parts = [self.remark, UNUSUAL_WARNING if self.is_unusual else None]
        return " ".join(part for part in parts if part) or None

    @property
    def sentence(self) -> str:
        """The caption with a capital letter and a full stop."""
        return as_sentence(self.text)

    def maps(self, of: MapKind = "attention") -> NDArray[np.float32]:
        """The maps (T, h, w) of a kind; raises SettingError for evidence that was not asked for."""
        if of == "attention":
            return self.attention
        if self.evidence is None:
            raise SettingError("this caption has no evidence; caption with evidence=True")
        return self.evidence

    def peak(self, word: int, of: MapKind = "attention") -> tuple[float, float]:
        """Where a word's map is greatest: x and y of the middle of that cell of the grid.

        As fractions of the photograph's width and height: (0, 0) is the top left, (1, 1) the bottom
        right. Raises IndexError for a word that the caption does not have, and SettingError for
        evidence that was not asked for.
        """
        maps = self.maps(of)
        height, width = maps.shape[1:]
        row, column = divmod(int(maps[word].argmax()), width)
        return (column + 0.5) / width, (row + 0.5) / height


@dataclass(frozen=True)
class Failure:
    """A photograph that could not be captioned.

    ``reason`` is one sentence that names it, fit to print; ``source`` is its real name.
    """

    source: str
    reason: str


def as_sentence(text: str) -> str:
    """Give a caption a capital letter, and a full stop unless it ends with ! or ?."""
    text = text.strip().removesuffix(".").rstrip()
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith(("!", "?")) else ".")


def _probability(hypothesis: Hypothesis) -> float:
    """The probability of a whole caption, its end included."""
    return float(np.exp(hypothesis.log_probabilities.sum()))


class Captioner:
    """A trained model, ready to caption. It keeps no state between calls: threads may share it."""

    def __init__(
        self,
        engine: Engine,
        images: ImageConfig,
        vocabulary: Vocabulary,
        decoding: DecodeConfig,
        novelty: NoveltyDetector | None = None,
    ) -> None:
        self.engine = engine
        self.images = images
        self.vocabulary = vocabulary
        self.decoding = decoding
        self.novelty = novelty

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] = SHIPPED_MODEL,
        device: str = "cpu",
        engine: str = AUTO,
        precision: str = "float32",
        threads: int | None = None,
    ) -> "Captioner":
        """Load a checkpoint; without a path, the model that ships.

        For the other parameters see ``EngineConfig``; left alone, the quickest engine that is
        installed computes in float32 on the processor. Raises CheckpointError when the file is
        missing, damaged or something else, and SettingError for an engine or a device that this
        machine does not have.
        """
        return cls.load_with(path, EngineConfig(engine, precision, device, threads))

    @classmethod
    def load_with(cls, path: str | os.PathLike[str], running: EngineConfig) -> "Captioner":
        """``load`` with what it is given in one piece."""
        choose(running)  # what is wrong with it needs no model to know
        checkpoint = Checkpoint.load(path)
        return cls(
            make_engine(checkpoint, path, running),
            checkpoint.images,
            checkpoint.vocabulary,
            checkpoint.decoding,
            checkpoint.novelty,
        )

    def __call__(
        self,
        photo: Source,
        beam: int | None = None,
        length_penalty: float | None = None,
        evidence: bool = False,
    ) -> Caption:
        """Caption one photograph: a path, a file open for reading bytes or its bytes, a PIL image,
        or uint8 pixels (H, W, 3), (H, W) or (H, W, 4).

        ``beam`` and ``length_penalty`` replace the settings of the model; with ``evidence`` the
        caption also has what each word rests on, which takes about as long as encoding the
        photograph. Raises ImageError for a photograph that cannot be read, or that is too small
        for evidence, and SettingError for settings out of range, or an engine that cannot give
        evidence.
        """
        settings = self._settings(beam, length_penalty, evidence)
        return self._caption([self._load(photo, settings)], settings)[0]

    def stream(
        self,
        photos: Iterable[Source],
        beam: int | None = None,
        length_penalty: float | None = None,
        batch_size: int = 16,
        evidence: bool = False,
        readers: int = 0,
    ) -> Iterator[Caption | Failure]:
        """Caption photographs in order, ``batch_size`` at a time.

        With ``readers``, that many threads read photographs while the network captions others, up
        to two batches ahead; each may take ``images.MEMORY_LIMIT``. The captions are the same.
        ``photos`` may be endless. One that cannot be read becomes a Failure and does not affect
        the others. A single photograph instead of several, settings, a batch size or readers out
        of range, or evidence that the engine cannot give, raise SettingError when the first
        caption is requested.
        """
        _require_several(photos)
        for setting, least, value in (("batch_size", 1, batch_size), ("readers", 0, readers)):
            if value < least:
                raise SettingError(f"{setting} must be at least {least}, not {value}")
        settings = self._settings(beam, length_penalty, evidence)

        def read(photo: Source) -> _Read | Failure:
            try:
                return self._load(photo, settings)
            except ImageError as error:
                return Failure(source_name(photo), str(error))

        results = read_ahead(photos, read, readers, ahead=2 * batch_size)
        with closing(results):
            while batch := list(islice(results, batch_size)):
                captions = iter(
                    self._caption([one for one in batch if isinstance(one, _Read)], settings)
                )
                for one in batch:
                    yield one if isinstance(one, Failure) else next(captions)

    def explain(self, caption: Caption, photo: Source) -> Caption:
        """Add the evidence to a caption that this captioner gave ``photo``, without a search.

        Nothing else of the caption changes. Raises ImageError for a photograph that cannot be read
        or is too small, and SettingError for an engine that cannot give evidence.
        """
        require_occlusion(self.engine)
        pixels = self._load(photo, _Settings(self.decoding, evidence=True)).pixels
        features = self.engine.encode(pixels[None])  # (1, L, C)
        tokens = self.vocabulary.encode(caption.words)
        return replace(caption, evidence=evidence_maps(self.engine, features, [tokens])[0])

    def mean_features(self, photos: Sequence[Source], batch_size: int = 16) -> NDArray[np.float32]:
        """The mean over locations of the features of one photograph or more (B, C).

        Raises ImageError where one cannot be read.
        """
        starts = range(0, len(photos), batch_size)
        batches = (photos[start : start + batch_size] for start in starts)
        pixels = (np.stack([load_image(one, self.images) for one in batch]) for batch in batches)
        return np.concatenate([self.engine.mean(self.engine.encode(each)) for each in pixels])

    def _settings(
        self, beam: int | None, length_penalty: float | None, evidence: bool
    ) -> "_Settings":
        if evidence:
            require_occlusion(self.engine)
        decoding = self.decoding
        if beam is not None:
            decoding = replace(decoding, beam=beam)
        if length_penalty is not None:
            decoding = replace(decoding, length_penalty=length_penalty)
        return _Settings(decoding, evidence)

    def _load(self, photo: Source, settings: "_Settings") -> "_Read":
        picture, remark = read_with_remark(photo, near=self.images.size)
        if settings.evidence and picture.size == (1, 1):
            raise ImageError(
                f"{describe(photo)} is a single pixel, so no part of it can be evidence for a "
                "word: caption it without evidence."
            )
        return _Read(source_name(photo), to_array(picture, self.images), remark)

    def _caption(self, photos: list["_Read"], settings: "_Settings") -> list[Caption]:
        if not photos:
            return []
        pixels = np.stack([photo.pixels for photo in photos])
        features = self.engine.encode(pixels)  # (B, L, C)
        results = beam_search(self.engine, features, self.vocabulary.tokens(), settings.decoding)
        _require_numbers(results)
        captions = [
            replace(self._to_caption(photo.name, found), novelty=novelty, remark=photo.remark)
            for photo, found, novelty in zip(
                photos, results, self._novelties(features), strict=True
            )
        ]
        if not settings.evidence:
            return captions
        maps = evidence_maps(self.engine, features, [best.tokens for best, *_ in results])
        return [replace(one, evidence=of) for one, of in zip(captions, maps, strict=True)]

    def _novelties(self, features: Features) -> list[float] | list[None]:
        """How unlike the training photographs each is, by its features (B, L, C)."""
        if self.novelty is None:
            return [None] * len(features)
        distances = self.novelty.distance(self.engine.mean(features))
        shares: list[float] = self.novelty.percentile(distances).tolist()
        return shares

    def _to_caption(self, source: str, hypotheses: list[Hypothesis]) -> Caption:
        best, *others = hypotheses
        words = self.vocabulary.decode(best.tokens)
        probabilities = np.exp(best.log_probabilities[: len(words)])
        return Caption(
            source=source,
            text=detokenize(words),
            words=tuple(words),
            attention=best.maps(),  # (T, h, w)
            probabilities=tuple(probabilities.tolist()),
            probability=_probability(best),
            confidence=float(np.exp(best.log_probabilities.mean())),
            score=best.score,
            alternatives=tuple(
                Alternative(self._text(other), other.score, _probability(other)) for other in others
            ),
        )

    def _text(self, hypothesis: Hypothesis) -> str:
        return detokenize(self.vocabulary.decode(hypothesis.tokens))


def _require_numbers(results: Sequence[Sequence[Hypothesis]]) -> None:
    """Raise CheckpointError where a network computed no numbers: its weights are far too large."""
    if not all(found and all(one.score == one.score for one in found) for found in results):
        raise CheckpointError(
            "the model computes no numbers (NaN) for this photograph, so its weights are damaged "
            "or of another network; fetch or train it again"
        )


@dataclass(frozen=True)
class _Settings:
    """How to caption one call's photographs."""

    decoding: DecodeConfig
    evidence: bool


class _Read(NamedTuple):
    """A photograph that was read: its name, its pixels (3, H, W), and what to say of its file."""

    name: str
    pixels: NDArray[np.float32]
    remark: str | None


def _require_several(photos: object) -> None:
    """Refuse one photograph where several belong: a path would be taken for its letters."""
    is_one = is_path(photos) or isinstance(photos, bytes | Image.Image) or hasattr(photos, "read")
    if is_one or (isinstance(photos, np.ndarray) and photos.ndim < 4):
        raise SettingError(
            "stream captions several photographs: give a list of them, or call the captioner "
            "itself with the one"
        )
