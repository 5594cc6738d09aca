"""Where captions come from: a model, a file that another system wrote, or a baseline."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from captioning.errors import needed_for
from captioning.evaluation.assessment import System
from captioning.evaluation.baselines import most_frequent_caption, nearest_captions
from captioning.evaluation.predictions import match_predictions, read_predictions
from captioning.evaluation.scored_system import ScoredSystem
from captioning.evaluation.scoring_data import ScoringData, ids_of
from captioning.evaluation.scoring_flags import BASELINES, ScoringFlags, is_model
from captioning.network.checkpoint import file_hash

if TYPE_CHECKING:
    from captioning.evaluation.model_systems import ModelSystems

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
            self._models.open(Path(against))
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
        return self._models.from_model(flags.model or self.shipped, BEAMS if flags.beams else ())

    def compared(self) -> ScoredSystem | None:
        """The system to compare with, if any: a baseline's name, a checkpoint or a caption file."""
        name = self.flags.against
        if name is None:
            return None
        if name in BASELINES:
            return self.from_baseline(name)
        return self._models.from_model(Path(name)) if is_model(name) else self.from_file(Path(name))

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
            features = self._models.mean_features(self.shipped)
            texts = nearest_captions(self.data.photographs, training, features)
            about = "The caption of the most similar training photograph"
        return ScoredSystem(name, about, {"baseline": name}, System(texts))

    @property
    def _models(self) -> "ModelSystems":
        """What needs the network; raises MissingPackageError where there is no PyTorch."""
        with needed_for("scoring a model", "'.[train]'"):
            from captioning.evaluation.model_systems import ModelSystems
        return ModelSystems(self.data, self.flags, self.device, self.say)
