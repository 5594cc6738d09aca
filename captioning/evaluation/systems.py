"""Where captions come from: a model, a file that another system wrote, or a baseline."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from captioning.data.caption_files import DataError, Photograph
from captioning.data.dataset import CaptionDataset, Pixels, batches
from captioning.data.function_words import FUNCTION_WORDS
from captioning.data.training_record import recorded_among
from captioning.evaluation.agreement import EvidenceProbe
from captioning.evaluation.assessment import System
from captioning.evaluation.baselines import (
    cached_mean_features,
    most_frequent_caption,
    nearest_captions,
)
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
from captioning.evaluation.predictions import match_predictions, read_predictions
from captioning.evaluation.scored_system import ScoredSystem
from captioning.evaluation.scoring_data import ScoringData, ids_of
from captioning.evaluation.scoring_flags import BASELINES, ScoringFlags, is_model
from captioning.inference.captioner import Captioner
from captioning.inference.torch_engine import TorchEngine
from captioning.network.checkpoint import Checkpoint, file_hash
from captioning.network.config import DecodeConfig
from captioning.network.pretrained import encoder_hash
from captioning.network.saved_network import build_network

BATCH = 50  # photographs
BEAMS = range(1, 11)


@dataclass(frozen=True)
class Systems:
    """Captions the photographs of ``data`` with any system.

    ``shipped`` is the model whose encoder finds the nearest photographs, and which is scored where
    no other is named; ``device`` is where to compute; ``say`` is called with one line before work
    that takes a while.
    """

    data: ScoringData
    flags: ScoringFlags
    shipped: Path
    device: str
    say: Callable[[str], None]

    def both(self) -> tuple[ScoredSystem, ScoredSystem | None]:
        """The system to score, and the one to compare it with, if any."""
        against = self.flags.against
        # What is wrong with the second must show before the first is captioned.
        if against is not None and is_model(against):
            self._open(Path(against))
            return self.scored(), self.compared()
        other = self.compared()
        return self.scored(), other

    @property
    def name(self) -> str:
        """The name of the system to score, which its result has."""
        flags = self.flags
        return flags.baseline or (flags.captions or flags.model or self.shipped).stem

    def scored(self) -> ScoredSystem:
        """The system to score."""
        flags = self.flags
        if flags.captions is not None:
            return self.from_file(flags.captions)
        if flags.baseline is not None:
            return self.from_baseline(flags.baseline)
        return self.from_model(flags.model or self.shipped, BEAMS if flags.beams else ())

    def compared(self) -> ScoredSystem | None:
        """The system to compare with, if any: a baseline's name, a checkpoint or a caption file."""
        name = self.flags.against
        if name is None:
            return None
        if name in BASELINES:
            return self.from_baseline(name)
        return self.from_model(Path(name)) if is_model(name) else self.from_file(Path(name))

    def from_file(self, path: Path) -> ScoredSystem:
        """Captions that another system wrote."""
        candidates = read_predictions(path)
        for remark in candidates.remarks:
            self.say(remark)
        data = self.data
        # A table written with the same --limit holds the photographs that are scored, and no more.
        whole = len(candidates) > len(data.photographs)
        photographs = data.part if whole else data.photographs
        names = [photograph.name for photograph in photographs]
        texts = match_predictions(candidates, names, path, ids_of(photographs))
        by_name = dict(zip(names, texts, strict=True))
        texts = [by_name[photograph.name] for photograph in data.photographs]
        facts = {"captions": path.name, "sha256": file_hash(path)}
        return ScoredSystem(path.stem, f"The captions of {path.name}", facts, System(texts))

    def from_baseline(self, name: str) -> ScoredSystem:
        """Captions without a model."""
        if name == "human":
            first = [captions[0] for captions in self.data.references]
            about = "People: each reference against the others, the mean over references"
            return ScoredSystem(name, about, {"baseline": name}, System(first, human=True))
        training = self.data.require_training()
        if name == "frequent":
            text = most_frequent_caption(training)
            about = f"The most frequent training caption for every photograph: “{text}”"
            texts = [text] * len(self.data.photographs)
        else:
            texts = nearest_captions(self.data.photographs, training, self._mean_features())
            about = "The caption of the most similar training photograph"
        return ScoredSystem(name, about, {"baseline": name}, System(texts))

    def _mean_features(self) -> Callable[[Sequence[Photograph]], NDArray[np.floating]]:
        """Mean features by the shipped model's encoder."""
        checkpoint = Checkpoint.load(self.shipped)
        network = build_network(checkpoint).to(self.device)
        engine, digest = TorchEngine(network), encoder_hash(network.encoder)

        def features(photographs: Sequence[Photograph]) -> NDArray[np.floating]:
            return cached_mean_features(
                self.flags.cache, photographs, checkpoint.images, digest, engine.encode
            )

        return features

    def from_model(self, path: Path, beams: Sequence[int] = ()) -> ScoredSystem:
        """Captions of a checkpoint, also with other widths ``beams`` of the search."""
        checkpoint, decoding = self._open(path)
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

    def _point(self, captioner: Captioner) -> tuple[PointingResults | None, list[MosaicExample]]:
        """How the maps point on mosaics of the photographs, with examples, if there are enough."""
        mosaics = choose_mosaics(self.data.photographs)
        if len({mosaic.pair for mosaic in mosaics}) < FEWEST_PAIRS:
            return None, []
        shown = tqdm(mosaics, desc="mosaics", unit="mosaic", disable=None)
        captions = list(caption_mosaics(captioner, shown))
        return judge(mosaics, captions), examples(mosaics, captions)

    def _open(self, path: Path) -> tuple[Checkpoint, DecodeConfig]:
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
