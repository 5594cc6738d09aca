"""One stage of training, and the blend of the last two."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace

from captioning.data.dataset import Batch, CaptionDataset, batches
from captioning.data.splits import Splits, name_hash
from captioning.errors import CaptioningError
from captioning.evaluation.evaluate import evaluate
from captioning.inference.torch_engine import TorchEngine
from captioning.network.checkpoint import Checkpoint
from captioning.network.model import CaptioningModel
from captioning.network.pretrained import weights_hash
from captioning.training.fit import Run, Task, fit
from captioning.training.flags import TrainingFlags
from captioning.training.provenance import add_stage
from captioning.training.recipe import BLEND, Recipe
from captioning.training.records import Report, RunFiles
from captioning.training.reinforce import SelfCritical
from captioning.training.selection import by_cider_then_loss
from captioning.training.stage_data import StageData
from captioning.training.starts import load_stage
from captioning.training.train import LossFunction, caption_loss, interpolate_weights

SCORING_BATCH = 50  # photographs


class Stage:
    """One stage of training: from one checkpoint to a better one."""

    def __init__(
        self,
        name: str,
        start: Checkpoint,
        splits: Splits,
        recipe: Recipe,
        flags: TrainingFlags,
    ) -> None:
        self.name, self.start, self.splits = name, start, splits
        self.recipe, self.flags = recipe, flags
        self.config = recipe.stages[name].resolve_precision(flags.device)
        self.files = RunFiles(flags.run_name)
        self.network = start.build().to(flags.device)
        self.data = StageData(start, splits, self.config, flags)

    def run(self) -> Checkpoint:
        """Train, and return the best checkpoint."""
        best, resume = self.files.checkpoint(self.name), self.files.resume(self.name)
        if self.flags.restart:
            resume.unlink(missing_ok=True)
        run = Run(
            best=best,
            resume=resume,
            checkpoint=self.checkpoint,
            report=Report(self.files, self.name),
            origin=self.origin(),
            save_every=self.flags.save_every * 60,
        )
        fit(self.network, self.task(), self.config, run)
        return Checkpoint.load(best)

    def task(self) -> Task:
        """The photographs to learn from, and the score on the development photographs."""
        training = self.data.training(self.network, self.recipe.caption_words)
        dev = self.data.dev(self.network)
        size, workers = self.config.batch_size, self.flags.workers

        def training_batches(epoch: int, done: int) -> Iterable[Batch]:
            return batches(training, size, self.config.seed * 1000 + epoch, workers, skip=done)

        return Task(
            batches=training_batches,
            steps=-(-len(training) // size),
            score=lambda network: self.score(network, dev),
            rank=by_cider_then_loss,
            loss_function=self.loss_function(training),
        )

    def score(self, network: CaptioningModel, dev: CaptionDataset) -> Mapping[str, float]:
        """The figures of a network on the development photographs."""
        return evaluate(
            TorchEngine(network),
            self.splits.dev,
            batches(dev, SCORING_BATCH, workers=self.flags.workers),
            self.start.vocabulary,
            self.recipe.decoding,
        ).metrics

    def loss_function(self, training: CaptionDataset) -> LossFunction:
        """Cross-entropy, or the self-critical loss where captions are sampled."""
        if self.config.samples == 0:
            return caption_loss
        return SelfCritical(training.captions, self.recipe.caption_words)

    def origin(self) -> str:
        """A hash of what the stage starts from and is scored by: network, captions, search."""
        parts = (self.splits.train, self.splits.dev)
        captions = [[(photo.name, photo.captions) for photo in part] for part in parts]
        start = (weights_hash(self.start.weights), self.start.model, self.start.images)
        settings = (self.recipe.caption_words, self.recipe.decoding, self.flags.control)
        content = (start, captions, *settings)
        return hashlib.sha256(repr(content).encode()).hexdigest()

    def checkpoint(self, network: CaptioningModel, figures: Mapping[str, float]) -> Checkpoint:
        """What to save of a network that scored ``figures`` on the development photographs."""
        seen = {name_hash(photograph.name) for photograph in self.splits.train}
        trained = replace(
            self.start,
            weights=network.state_dict(),
            training_images=self.start.training_images | seen,
            decoding=self.recipe.decoding,
            figures=figures,
        )
        config = asdict(self.config)
        return add_stage(trained, self.name, config, self.splits.describe(), self.flags)

    def blend(self) -> Checkpoint:
        """A network between the one that the stage starts from and the one that it has made."""
        after = load_stage(self.files, self.name)
        if (after.model, after.vocabulary) != (self.start.model, self.start.vocabulary):
            raise CaptioningError(
                f"{self.files.checkpoint(self.name)}: this network has other sizes or words than "
                f"the one of the stage before; train --stage {self.name} again"
            )
        share, decoding = self.recipe.blend, self.recipe.decoding
        weights = interpolate_weights(self.start.weights, after.weights, share)
        blended = replace(after, weights=weights, decoding=decoding)
        network = blended.build().to(self.flags.device)
        figures = self.score(network, self.data.dev(self.network))
        config = {"share": share, **asdict(decoding)}
        return add_stage(
            replace(blended, figures=figures), BLEND, config, self.splits.describe(), self.flags
        )
