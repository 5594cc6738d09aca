"""Where a run will write, checked before its work: it can, and loses nothing that it reads."""

from collections.abc import Iterable
from pathlib import Path

from captioning.data.caption_files import Photograph
from captioning.errors import SettingError
from captioning.files import is_same_file, require_writable
from captioning.training.flags import ALL, TrainingFlags
from captioning.training.recipe import BLEND
from captioning.training.records import RunFiles


def require_outputs(flags: TrainingFlags, installed: Path) -> None:
    """Check that the run can write its files and writes over none that it reads.

    ``installed`` is what ``--install`` replaces. Raises WriteError for a place that cannot be
    written, SettingError where a file that a flag names would be lost.
    """
    written = outputs(flags)
    for flag, path in inputs(flags):
        if any(is_same_file(path, other) for other in written):
            raise SettingError(
                f"{flag} {path}: this run would write over it; copy it to another place and name "
                "that, or choose another --name"
            )
        if flags.install and is_same_file(path, installed):
            raise SettingError(
                f"{flag} {path}: --install would write over it; leave out --install, and copy "
                f"{RunFiles(flags.run_name).best} there when the run has ended"
            )
    for path in (*written, flags.cache / "thumbnails.npy", *([installed] * flags.install)):
        require_writable(path)


def refuse_photographs(photographs: Iterable[Photograph], flags: TrainingFlags) -> None:
    """Raise SettingError where the run would write over a photograph."""
    names = {path.name: path for path in outputs(flags)}
    for photograph in photographs:
        written = names.get(photograph.path.name)
        if written is not None and is_same_file(photograph.path, written):
            raise SettingError(
                f"{photograph.path}: this run would write over this photograph; copy the "
                "photographs to another place, or choose another --name"
            )


def outputs(flags: TrainingFlags) -> list[Path]:
    """The files that the run writes, but for those of the cache."""
    files = RunFiles(flags.run_name)
    paths = [files.best]
    if flags.stage in (ALL, BLEND) and not flags.init:
        paths.append(files.checkpoint(BLEND))
    if flags.stage != BLEND:
        paths += [files.metrics, files.plot]
        for stage in flags.stages:
            paths += [files.checkpoint(stage), files.resume(stage)]
    return paths


def inputs(flags: TrainingFlags) -> list[tuple[str, Path]]:
    """The files that the run reads, with the flags that name them."""
    several = {"--captions": flags.captions, "--text": flags.text}
    single = {
        "--init": flags.init,
        "--encoder-weights": flags.encoder_weights,
        "--default-manner": flags.default_manner,
        "--leave-out": flags.leave_out,
        "--data-terms": flags.data_terms,
    }
    named = [(flag, path) for flag, paths in several.items() for path in paths]
    return named + [(flag, path) for flag, path in single.items() if path is not None]
