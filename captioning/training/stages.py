"""One stage of training, and the blend of the last two."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property

from captioning import processes
from captioning.data.caption_files import Photograph
from captioning.data.data_sets import DataSets
from captioning.data.dataset import Batch, CaptionDataset, batches
from captioning.data.photo_changes import Unchanged, digest_of
from captioning.data.training_record import record
from captioning.errors import CaptioningError
from captioning.evaluation.evaluate import evaluate
from captioning.inference.torch_engine import TorchEngine
from captioning.network.checkpoint import Checkpoint
from captioning.network.model import CaptioningModel
from captioning.network.pretrained import weights_hash
from captioning.network.saved_network import arrays_of, build_network, tensors_of, weights_of
from captioning.training.fit import Run, Task, fit
from captioning.training.flags import TrainingFlags
from captioning.training.objective import CaptionLoss
from captioning.training.provenance import add_stage
from captioning.training.recipe import BLEND, Recipe
from captioning.training.records import Report, RunFiles
from captioning.training.reinforce import SelfCritical
from captioning.training.resume import Record
from captioning.training.rewards import UnsupportedObjects
from captioning.training.selection import by_cider_then_loss
from captioning.training.stage_data import StageData
from captioning.training.starts import load_stage
from captioning.training.terms import LossFunction
from captioning.training.train import interpolate_weights, resolve_precision

SCORING_BATCH = 50  # photographs


class Stage:
    """One stage of training: from one checkpoint to a better one."""

    def __init__(
        self,
        name: str,
        start: Checkpoint,
        data: DataSets,
        recipe: Recipe,
        flags: TrainingFlags,
        unchanged: Unchanged,
    ) -> None:
        self.name, self.start, self.sets = name, start, data
        self.recipe, self.flags, self.unchanged = recipe, flags, unchanged
        self.config = resolve_precision(recipe.stages[name], flags.device)
        self.files = RunFiles(flags.run_name)
        self.network = build_network(start).to(flags.device)
        self.data = StageData(start, data, self.config, flags)
        self.others: dict[str, Mapping[str, float]] = {}  # the last epoch's figures by name

    def run(self) -> Checkpoint:
        """Train, and return the best checkpoint."""
        best, resume = self.files.checkpoint(self.name), self.files.resume(self.name)
        if self.flags.restart and processes.is_first():
            resume.unlink(missing_ok=True)
        report = Report(self.files, self.name)
        run = Run(
            best=best,
            resume=resume,
            checkpoint=self.checkpoint,
            report=lambda records: report(self.with_others(records)),
            origin=self.origin(),
            save_every=self.flags.save_every * 60,
        )
        _ = self.seen  # now, and not when the first epoch is to be saved
        fit(self.network, self.task(), self.config, run)
        processes.wait()  # until the first has written it
        return Checkpoint.load(best)

    def task(self) -> Task:
        """The photographs to learn from, and the score on the development photographs."""
        training = self.data.training(self.network, self.recipe.caption_words)
        dev, others = self.data.dev(self.network), self.data.others(self.network)
        size, workers = self.config.batch_size, self.flags.workers

        def training_batches(epoch: int, done: int) -> Iterable[Batch]:
            seed = self.config.seed * 1000 + epoch
            chosen = self.data.photographs_of_epoch(seed)
            return batches(training, size, seed, workers, skip=done, chosen=chosen)

        def score(network: CaptioningModel) -> Mapping[str, float]:
            self.others = {
                each.name: self.score(network, each.photographs, each.dataset) for each in others
            }
            return self.score(network, self.sets.dev, dev)

        return Task(
            batches=training_batches,
            steps=-(-len(self.data.photographs_of_epoch(0)) // size),
            score=score,
            rank=by_cider_then_loss,
            loss_function=self.loss_function(training),
        )

    def score(
        self, network: CaptioningModel, photographs: Sequence[Photograph], dataset: CaptionDataset
    ) -> Mapping[str, float]:
        """The figures of a network on photographs, captioned in the default manner.

        Raises DataError where a photograph is another one than when the training began.
        """
        self.unchanged.require()
        return evaluate(
            TorchEngine(network),
            photographs,
            batches(dataset, SCORING_BATCH, workers=self.flags.workers),
            self.start.vocabulary,
            self.recipe.decoding,
        ).metrics

    def with_others(self, records: list[Record]) -> list[Record]:
        """The records, with the figures of the other data sets in the last one."""
        if self.others:
            records[-1]["others"] = self.others
        return records

    def loss_function(self, training: CaptionDataset) -> LossFunction:
        """Cross-entropy, or the self-critical loss where captions are sampled."""
        caption_loss = CaptionLoss(self.start.vocabulary, training.captions)
        if self.config.samples == 0:
            return caption_loss
        vocabulary = self.start.vocabulary
        return SelfCritical(
            training.captions,
            self.recipe.caption_words,
            caption_loss,
            never=vocabulary.tokens().never,
            unsupported=UnsupportedObjects(vocabulary),
        )

    def origin(self) -> str:
        """A hash of what the stage starts from and is scored by: network, data set, search."""
        parts = (self.sets.train, self.sets.dev)
        captions = [
            [(p.name, digest_of(p.path), p.captions, p.manner) for p in part] for part in parts
        ]
        start = (weights_hash(self.start.weights), self.start.model, self.start.images)
        settings = (self.recipe.caption_words, self.recipe.decoding, self.flags.control)
        content = (start, captions, *settings)
        return hashlib.sha256(repr(content).encode()).hexdigest()

    @cached_property
    def seen(self) -> frozenset[str]:
        """What a checkpoint records of the training photographs."""
        return record(self.sets.train, self.flags.cache)

    def checkpoint(self, network: CaptioningModel, figures: Mapping[str, float]) -> Checkpoint:
        """What to save of a network that scored ``figures`` on the development photographs."""
        trained = replace(
            self.start,
            weights=weights_of(network),
            training_images=self.start.training_images | self.seen,
            decoding=self.recipe.decoding,
            figures=figures,
        )
        config = asdict(self.config)
        return add_stage(trained, self.name, config, self.sets, self.flags)

    def blend(self) -> Checkpoint:
        """A network between the one that the stage starts from and the one that it has made."""
        after = load_stage(self.files, self.name)
        if (after.model, after.vocabulary) != (self.start.model, self.start.vocabulary):
            raise CaptioningError(
                f"{self.files.checkpoint(self.name)}: this network has other sizes or words than "
                f"the one of the stage before; train --stage {self.name} again"
            )
        share, decoding = self.recipe.blend, self.recipe.decoding
        first, second = (tensors_of(each.weights) for each in (self.start, after))
        weights = arrays_of(interpolate_weights(first, second, share))
        blended = replace(after, weights=weights, decoding=decoding)
        network = build_network(blended).to(self.flags.device)
        figures = self.score(network, self.sets.dev, self.data.dev(self.network))
        config = {"share": share, **asdict(decoding)}
        return add_stage(replace(blended, figures=figures), BLEND, config, self.sets, self.flags)
