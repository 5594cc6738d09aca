"""A whole training run: its stages one after the other, the blend, and the best of them."""

from dataclasses import replace

from captioning.data.data_sets import DataSets
from captioning.inference.torch_engine import resolve_device
from captioning.network.checkpoint import SHIPPED_MODEL, Checkpoint
from captioning.training.flags import ALL, TrainingFlags
from captioning.training.language import LanguageStage
from captioning.training.novelty import with_novelty
from captioning.training.reading import read_data
from captioning.training.recipe import BLEND, DECODER, LANGUAGE, STAGES, Recipe
from captioning.training.records import RunFiles, say
from captioning.training.selection import best_of
from captioning.training.stages import Stage
from captioning.training.starts import starting_point


def train(flags: TrainingFlags, recipe: Recipe) -> None:
    """Run the stages that the flags name, and keep the best checkpoint."""
    recipe = recipe.override(flags.settings)
    flags = replace(flags, device=resolve_device(flags.device))
    data = read_data(flags)
    files = RunFiles(flags.run_name)
    files.remove_leftovers()
    checkpoint = replace(starting_point(flags, recipe, data), novelty=None)
    # The result of an earlier stage competes with what is made from it.
    made = [checkpoint] if flags.stages[0] in STAGES[STAGES.index(DECODER) + 1 :] else []
    for name in flags.stages:
        kind = LanguageStage if name == LANGUAGE else Stage
        stage = kind(name, checkpoint, data, recipe, flags)
        if flags.stage != BLEND:  # which takes the results of two stages as they are
            checkpoint = stage.run()
            made += [checkpoint] if name != LANGUAGE else []
    if flags.stage in (ALL, BLEND) and not flags.init:
        made.append(stage.blend())
        made[-1].save(files.checkpoint(BLEND))
    if not made:
        return
    best = _with_novelty(best_of(made, files.best), data, flags)
    best.save(files.best)
    say(f"best: {files.best}, CIDEr-D {best.figures['CIDEr-D']:.2f} on dev")
    if flags.install:
        best.save(SHIPPED_MODEL)
        say(f"installed as {SHIPPED_MODEL}")


def _with_novelty(best: Checkpoint, data: DataSets, flags: TrainingFlags) -> Checkpoint:
    """The best checkpoint, which notices pictures unlike the photographs of all data sets."""
    if best.novelty is not None:  # it is that of an earlier run
        return best
    held_out = [photo for each in data.sets for photo in each.splits.dev]
    return with_novelty(best, data.train, held_out, flags.device)
