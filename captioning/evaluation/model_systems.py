"""A model as a system to score; also its encoder, which finds the most similar photographs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from captioning.data.caption_files import DataError, Photograph
from captioning.data.dataset import CaptionDataset, Pixels, batches
from captioning.data.features import cached_features
from captioning.data.function_words import FUNCTION_WORDS
from captioning.data.images import ImageConfig
from captioning.data.training_record import recorded_among
from captioning.evaluation.agreement import EvidenceProbe
from captioning.evaluation.assessment import System
from captioning.evaluation.evaluate import BeamSweep, Evaluation, evaluate
from captioning.evaluation.faithfulness import AttentionProbe
from captioning.evaluation.mosaics import MosaicExample, choose_mosaics
from captioning.evaluation.other_sets import caption_groups
from captioning.evaluation.pointing import (
    FEWEST_PAIRS,
    PointingResults,
    caption_mosaics,
    examples,
    judge,
)
from captioning.evaluation.scored_system import ScoredSystem
from captioning.evaluation.scoring_data import ScoringData
from captioning.evaluation.scoring_flags import ScoringFlags
from captioning.inference.captioner import Captioner
from captioning.inference.torch_engine import TorchEngine
from captioning.network.checkpoint import Checkpoint, file_hash
from captioning.network.config import DecodeConfig
from captioning.network.pretrained import encoder_hash
from captioning.network.saved_network import build_network

BATCH = 50  # photographs


@dataclass(frozen=True)
class ModelSystems:
    """Captions the photographs of ``data`` with models, on ``device``.

    ``say`` is called with one line before work that takes a while.
    """

    data: ScoringData
    flags: ScoringFlags
    device: str
    say: Callable[[str], None]

    def from_model(self, path: Path, beams: Sequence[int] = ()) -> ScoredSystem:
        """Captions of a checkpoint, also with other widths ``beams`` of the search."""
        checkpoint, decoding = self.open(path)
        engine = TorchEngine(build_network(checkpoint).to(self.device))
        vocabulary = checkpoint.vocabulary
        probe = AttentionProbe(engine.reference_decoder, vocabulary.encode(FUNCTION_WORDS))
        evidence = EvidenceProbe(engine)
        sweep = BeamSweep(engine, vocabulary, decoding, beams)
        photographs = self.data.photographs
        pixels = Pixels(photographs, checkpoint.images)
        # Every caption is scored whole, however long.
        dataset = CaptionDataset(photographs, vocabulary, pixels, max_words=None)
        self.say(f"captioning {len(photographs):,} photographs with beam {decoding.beam}")
        loader = tqdm(batches(dataset, BATCH), desc="captioning", unit="batch", disable=None)
        evaluation = evaluate(
            engine, photographs, loader, vocabulary, decoding, [probe, evidence, sweep]
        )
        captioner = Captioner(engine, checkpoint.images, vocabulary, decoding)
        pointing, mosaics = self._point(captioner)
        facts = {
            "model": path.name,
            "sha256": file_hash(path),
            "beam": decoding.beam,
            "length penalty": decoding.length_penalty,
            "repetition penalty": decoding.repetition_penalty,
        }
        return ScoredSystem(
            name=path.stem,
            about=f"The model {path.name} with beam {decoding.beam}",
            facts=facts,
            system=_system(evaluation, probe, evidence, pointing),
            words=[tuple(vocabulary.decode(one.tokens)) for one in evaluation.hypotheses],
            attention=[one.maps() for one in evaluation.hypotheses],
            evidence=evidence.maps,
            mosaics=mosaics,
            sweep=sweep.captions,
            groups=caption_groups(captioner, self.data.groups),
            checkpoint=checkpoint,
        )

    def open(self, path: Path) -> tuple[Checkpoint, DecodeConfig]:
        """A checkpoint that may be scored on these photographs, and how to search with it."""
        checkpoint = Checkpoint.load(path)
        if not self.flags.allow_training_images:
            _refuse_training_images(checkpoint, self.data.photographs)
            for group in self.data.groups:
                remedy = "leave that data set out"
                _refuse_training_images(checkpoint, group.photographs, group.name, remedy)
        given = {"beam": self.flags.beam, "length_penalty": self.flags.length_penalty}
        changes: dict[str, Any] = {name: v for name, v in given.items() if v is not None}
        return checkpoint, replace(checkpoint.decoding, **changes)

    def mean_features(self, path: Path) -> Callable[[Sequence[Photograph]], NDArray[np.floating]]:
        """Mean features (M, C) of photographs by the encoder of a checkpoint."""
        checkpoint = Checkpoint.load(path)
        network = build_network(checkpoint).to(self.device)
        engine, digest = TorchEngine(network), encoder_hash(network.encoder)

        def features(photographs: Sequence[Photograph]) -> NDArray[np.floating]:
            return cached_mean_features(
                self.flags.cache, photographs, checkpoint.images, digest, engine.encode
            )

        return features

    def _point(self, captioner: Captioner) -> tuple[PointingResults | None, list[MosaicExample]]:
        """How the maps point on mosaics of the photographs, with examples, if there are enough."""
        mosaics = choose_mosaics(self.data.photographs)
        if len({mosaic.pair for mosaic in mosaics}) < FEWEST_PAIRS:
            return None, []
        shown = tqdm(mosaics, desc="mosaics", unit="mosaic", disable=None)
        captions = list(caption_mosaics(captioner, shown))
        return judge(mosaics, captions), examples(mosaics, captions)


def _system(
    evaluation: Evaluation,
    probe: AttentionProbe,
    evidence: EvidenceProbe,
    pointing: PointingResults | None,
) -> System:
    """What an evaluation tells about the captions."""
    by_word = [one.log_probabilities for one in evaluation.hypotheses]
    return System(
        evaluation.captions,
        scores=np.array([one.score for one in evaluation.hypotheses]),
        log_probabilities=np.array([float(each.sum()) for each in by_word]),
        confidences=np.array([float(np.exp(each.mean())) for each in by_word]),
        forced=evaluation.forced,
        erasure=probe.results(),
        agreement=evidence.results(),
        pointing=pointing,
    )


def _refuse_training_images(
    checkpoint: Checkpoint,
    photographs: Sequence[Photograph],
    group: str = "",
    remedy: str = "choose another --split",
) -> None:
    """Raise DataError when the model was trained on some of these photographs."""
    seen = len(recorded_among(checkpoint.training_images, photographs))
    if seen:
        raise DataError(
            f"{f'{group}: ' * bool(group)}the model was trained on {seen:,} of these "
            f"{len(photographs):,} photographs, so its score would mean nothing; {remedy}, or pass "
            "--allow-training-images"
        )


def cached_mean_features(
    folder: Path,
    photographs: Sequence[Photograph],
    images: ImageConfig,
    weights_hash: str,
    encode: Callable[[Tensor], Tensor],
) -> NDArray[np.floating]:
    """The mean over locations of each photograph's features (M, C), computed once."""

    def mean(pixels: Tensor) -> Tensor:
        return encode(pixels).mean(dim=1)

    return cached_features(folder, photographs, images, f"mean of {weights_hash}", mean)


def versions() -> dict[str, str]:
    """Those of the packages that ran the network."""
    return {"torch": str(torch.__version__), "torchvision": str(torchvision.__version__)}
