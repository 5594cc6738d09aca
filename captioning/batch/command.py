"""What the command line does with its flags."""

import os
import sys
from pathlib import Path

from captioning.batch.caption_parts import CaptionParts
from captioning.batch.cluster import import_ray
from captioning.batch.cluster_actor import ActorConfig
from captioning.batch.cluster_sources import find_for_cluster
from captioning.batch.flags import Flags
from captioning.batch.folder import FolderConfig, FolderRun
from captioning.batch.outputs import require_output
from captioning.batch.printing import print_captions, say
from captioning.batch.sources import Listing, Sources, find
from captioning.errors import SettingError, needed_for
from captioning.inference.captioner import Captioner
from captioning.inference.engine_config import EngineConfig
from captioning.network.checkpoint import file_hash
from captioning.network.shipped import SHIPPED_MODEL

# Those of ``captioning.plots``, which takes its time to import.
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".svg", ".pdf")
_NAMES = "--output keeps pictures by their names: give names, not a picture"
_HASH_DIGITS = 12  # of the model's hash in a record: enough to tell it from others


def run(flags: Flags) -> bool:
    """Do what the flags say; returns whether every picture could be captioned.

    Raises CaptioningError where nothing can be captioned at all, OSError where an output cannot be
    written.
    """
    if flags.alt_text:
        with needed_for("--alt-text", "turbohtml"):
            from captioning.batch.page import fill_page
        return fill_page(flags.alt_text, flags, _model(flags))
    if flags.ray:
        return _on_a_cluster(flags)
    sources = find(flags.photos, _listing(flags), lambda: sys.stdin.buffer.read())
    for problem in sources.problems:
        say(problem)
    success = not sources.problems
    if sources.pictures or sources.content is not None:
        work = _to_file if flags.output else _to_standard_output
        success &= work(flags, sources)
    if left_out := sources.left_out.describe():
        say(left_out)
    return success


def _listing(flags: Flags) -> Listing:
    outputs = [flags.attention, flags.output]
    if flags.output:
        outputs.append(FolderConfig(flags.output, "").journal)
    paths = frozenset(os.path.abspath(path) for path in outputs if path)
    return Listing(flags.recursive, flags.output is not None, paths)


def _to_standard_output(flags: Flags, sources: Sources) -> bool:
    """Print the captions."""
    pictures, content = sources.pictures, sources.content
    if flags.attention:
        count = len(pictures) + (content is not None)
        if count != 1:
            raise SettingError(f"--attention draws one photograph, not {count}; name only one")
        _require_picture(flags.attention)
        require_output(flags.attention, [*(p.path for p in pictures), _model(flags)])
    captioner = Captioner.load_with(_model(flags), flags.running)
    return print_captions(captioner, pictures, content, flags)


def _to_file(flags: Flags, sources: Sources) -> bool:
    """Write the captions to a file."""
    assert flags.output is not None
    if sources.content is not None:
        raise SettingError(_NAMES)
    model = _model(flags)
    config = FolderConfig(
        output=flags.output,
        model=_model_name(model),
        changed=flags.changed,
        sidecar=flags.sidecar,
        embed=flags.embed,
        beam=flags.beam,
        evidence=flags.evidence,
        maps=flags.maps,
    )
    for path in (config.output, config.journal):
        # Those that were found in folders have suffixes of pictures, which no output has.
        named = (picture.path for picture in sources.pictures if picture.named)
        require_output(path, [*named, model])
    run = FolderRun(config, say)
    summary = run.run(lambda: Captioner.load_with(model, flags.running), sources.pictures)
    say(summary.describe(config.output))
    return not summary.failed and not summary.kept.failed


def _on_a_cluster(flags: Flags) -> bool:
    """Write the captions to a folder, by the processes of a cluster."""
    assert flags.output is not None
    assert flags.ray is not None
    import_ray()
    from captioning.batch.cluster_run import ClusterConfig, ClusterRun

    model = _model(flags)
    # Where the device is left to the program, Ray gives its processes no GPU.
    device, gpus = ("cuda", 1) if flags.device == "cuda" else ("cpu", 0)
    running = EngineConfig(flags.engine, flags.precision, device, flags.actor_cpus or 1)
    actor = ActorConfig(
        flags.model and flags.model.absolute(),
        _model_name(model),
        running,
        flags.beam,
        flags.evidence,
    )
    config = ClusterConfig(
        flags.ray, flags.output, actor, flags.actors, flags.actor_cpus or 1, gpus, flags.changed
    )
    sources = find_for_cluster(
        flags.photos,
        Listing(flags.recursive, True, CaptionParts(flags.output, actor.digest).absolute_paths()),
        lambda: sys.stdin.buffer.read(),
    )
    for problem in sources.problems:
        say(problem)
    if sources.content is not None:
        raise SettingError(_NAMES)
    success = not sources.problems
    if sources.count:
        summary = ClusterRun(config, say).run(sources)
        say(summary.describe(config.output))
        success &= not summary.failed
    for sentence in sources.left_out:
        say(sentence)
    return success


def _require_picture(path: Path) -> None:
    """Raise SettingError for a suffix of no kind of picture, MissingPackageError without plots."""
    if path.suffix.lower() not in PICTURE_SUFFIXES:
        kinds = ", ".join(PICTURE_SUFFIXES)
        raise SettingError(f"{path}: maps are drawn as {kinds}; name such a file")
    import captioning.plots  # noqa: F401  # before the work, not after it


def _model(flags: Flags) -> Path:
    return flags.model or SHIPPED_MODEL


def _model_name(model: Path) -> str:
    """What tells a model from others in a record; raises CheckpointError where there is none."""
    try:
        return file_hash(model)[:_HASH_DIGITS]
    except OSError:
        Captioner.load(model)  # says what is wrong with the file
        raise
