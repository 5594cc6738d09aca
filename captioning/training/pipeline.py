"""A whole training run: its stages one after the other, the blend, and the best of them."""

from dataclasses import replace

from captioning import processes
from captioning.data.data_sets import DataSets
from captioning.data.photo_changes import Unchanged
from captioning.errors import SettingError
from captioning.files import remove_leftovers
from captioning.inference.torch_engine import resolve_device
from captioning.network.checkpoint import SHIPPED_MODEL, Checkpoint
from captioning.network.saved_network import save_checkpoint
from captioning.training.flags import ALL, TrainingFlags
from captioning.training.language import LanguageStage
from captioning.training.novelty import with_novelty
from captioning.training.outputs import refuse_photographs, require_outputs
from captioning.training.reading import (
    offering_to_skip,
    photographs_of,
    read_data,
    require_readable,
)
from captioning.training.recipe import BLEND, DECODER, LANGUAGE, STAGES, Recipe
from captioning.training.records import RunFiles, say
from captioning.training.selection import best_of
from captioning.training.stages import Stage
from captioning.training.starts import starting_point


def train(flags: TrainingFlags, recipe: Recipe) -> None:
    """Run the stages that the flags name, and keep the best checkpoint.

    What is wrong with the data, or with the places to write to, shows before the work.
    """
    recipe = recipe.override(flags.settings)
    _require_shares(flags, recipe)
    flags = replace(flags, device=processes.device_of(resolve_device(flags.device)))
    require_outputs(flags, SHIPPED_MODEL)
    with offering_to_skip(flags):
        with processes.first_alone():
            data = read_data(flags)
            unchanged = Unchanged(photo.path for photo in photographs_of(data))
            require_readable(data, flags.cache)
        for each in data.sets:
            refuse_photographs((*each.splits.train, *each.splits.held_out), flags)
        if len(data.dev) == 1:
            say(
                "with a single photograph to choose the best epoch with, CIDEr-D is always 0, for "
                "it weighs words by how few photographs have them; the loss decides"
            )
        with RunFiles(flags.run_name).alone():
            _run_stages(flags, recipe, data, unchanged)


def _require_shares(flags: TrainingFlags, recipe: Recipe) -> None:
    """Raise SettingError where a stage has fewer photographs in a step than there are processes."""
    sizes = {name: recipe.stages[name].batch_size for name in flags.stages}
    stage = min(sizes, key=sizes.__getitem__)
    if sizes[stage] < processes.count():
        raise SettingError(
            f"stage {stage}: {processes.count()} processes cannot share the {sizes[stage]} "
            "photographs of a step; give a higher --batch-size, or a lower --nproc-per-node"
        )


def _run_stages(flags: TrainingFlags, recipe: Recipe, data: DataSets, unchanged: Unchanged) -> None:
    files = RunFiles(flags.run_name)
    if processes.is_first():
        files.remove_leftovers()
        if flags.install:
            remove_leftovers(SHIPPED_MODEL, abandoned=True)
    with processes.first_alone():  # which may download the encoder's weights
        checkpoint = replace(starting_point(flags, recipe, data), novelty=None)
    # The result of an earlier stage competes with what is made from it.
    made = [checkpoint] if flags.stages[0] in STAGES[STAGES.index(DECODER) + 1 :] else []
    for name in flags.stages:
        kind = LanguageStage if name == LANGUAGE else Stage
        stage = kind(name, checkpoint, data, recipe, flags, unchanged)
        if flags.stage != BLEND:  # which takes the results of two stages as they are
            checkpoint = stage.run()
            made += [checkpoint] if name != LANGUAGE else []
    if flags.stage in (ALL, BLEND) and not flags.init:
        made.append(stage.blend())
        if processes.is_first():
            save_checkpoint(made[-1], files.checkpoint(BLEND))
    if not made:
        return
    best = best_of(made, files.best)
    processes.wait()  # all have read the best so far
    best = _with_novelty(best, data, flags)
    if processes.is_first():
        _keep(best, files, flags)


def _keep(best: Checkpoint, files: RunFiles, flags: TrainingFlags) -> None:
    """Save the best checkpoint, where it is wanted in place of the model that ships too."""
    save_checkpoint(best, files.best)
    say(f"best: {files.best}, CIDEr-D {best.figures['CIDEr-D']:.2f} on dev")
    if flags.install:
        save_checkpoint(best, SHIPPED_MODEL)
        say(f"installed as {SHIPPED_MODEL}")


def _with_novelty(best: Checkpoint, data: DataSets, flags: TrainingFlags) -> Checkpoint:
    """The best checkpoint, which notices pictures unlike the photographs of all data sets."""
    if best.novelty is not None:  # it is that of an earlier run
        return best
    held_out = [photo for each in data.sets for photo in each.splits.dev]
    return with_novelty(best, data.train, held_out, flags.device)
