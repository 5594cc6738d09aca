"""Which checkpoint of a run is the best."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from captioning.network.checkpoint import Checkpoint
from captioning.network.config import DecodeConfig
from captioning.training.provenance import measured_on
from captioning.training.records import say


def by_cider_then_loss(figures: Mapping[str, float]) -> tuple[float, float]:
    """The rank of figures: CIDEr-D, then the loss, for on few photographs CIDEr-D may be equal."""
    return figures["CIDEr-D"], -figures["loss"]


def best_of(made: Sequence[Checkpoint], known: Path) -> Checkpoint:
    """The best of the checkpoints ``made``, and of ``known`` if later stages made it from the last.

    Only figures of the same search on the same data as the last one's are comparable: the search
    alone is worth two points of CIDEr-D. Prints a line for each checkpoint that does not count.
    """
    last = made[-1]
    candidates = [(name_of(checkpoint), checkpoint) for checkpoint in made]
    if known.exists():
        before = Checkpoint.load(known)
        continues = before.stages[: len(last.stages)] == last.stages
        if continues or before.decoding != last.decoding:  # the latter only to say so
            candidates.append((str(known), before))
    comparable = []
    for name, checkpoint in candidates:
        if reason := why_not_comparable(checkpoint, last):
            say(f"{name} does not count for the best checkpoint: {reason}")
        else:
            comparable.append(checkpoint)
    return max(comparable, key=lambda checkpoint: by_cider_then_loss(checkpoint.figures))


def why_not_comparable(checkpoint: Checkpoint, last: Checkpoint) -> str:
    """Why a checkpoint's figures cannot be compared with those of ``last``; "" if they can."""
    needed = [checkpoint.figures.get(name) for name in ("CIDEr-D", "loss")]
    if not all(isinstance(figure, int | float) for figure in needed):
        return "it has no CIDEr-D and loss"
    if checkpoint.decoding != last.decoding:
        return f"it was scored with {describe_search(checkpoint.decoding)}"
    if measured_on(checkpoint) != measured_on(last):
        return f"it was scored on other data ({measured_on(checkpoint)})"
    return ""


def describe_search(decoding: DecodeConfig) -> str:
    """The settings of a search in a few words."""
    return (
        f"beam {decoding.beam}, length penalty {decoding.length_penalty:g}, repetition penalty "
        f"{decoding.repetition_penalty:g} and at most {decoding.max_words} words"
    )


def name_of(checkpoint: Checkpoint) -> str:
    """The last stage of a checkpoint."""
    return str(checkpoint.stages[-1]["stage"]) if checkpoint.stages else "the model before it"
