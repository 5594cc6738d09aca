"""The model card, from a checkpoint's provenance and its scores."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from captioning.data.images import ImageConfig
from captioning.data.training_record import count_recorded
from captioning.evaluation.catalogue import NEXT_WORD, OBJECTS, REPORTED, metric, names_under
from captioning.evaluation.markdown import in_brackets, items, name_and_facts, paragraph
from captioning.evaluation.summary import (
    OTHER_SETS,
    SEARCH,
    OtherSet,
    novelty_remark,
    novelty_rows,
    occlusion_rows,
    other_sets,
    pointing_rows,
    split_name,
)
from captioning.network.checkpoint import NOT_RECORDED, Checkpoint
from captioning.network.config import ModelConfig

CARD_METRICS = (*REPORTED, "caption F1", *names_under(OBJECTS), *names_under(NEXT_WORD))

_INTRODUCTION = """
It takes a photograph and writes a sentence, with two maps for each word: its evidence, which is how
much support the word loses when a place of the photograph is hidden, and its attention.
Encoder: ResNet-50 with frozen batch norm, a grid of {side} x {side} locations with 2,048 channels.
Decoder: an LSTM of width {width} with additive attention, after Xu et al., "Show, Attend and Tell"
(ICML 2015). {parameters:.1f} million weights, stored as float16; vocabulary of {words:,} words."""

_SCORES = """
The captions were decoded freely and scored against all references; BLEU, ROUGE-L and CIDEr-D follow
the coco-caption definitions. CHAIR-s is the share of captions that name an object that no reference
names, CHAIR-i the share of such objects among all that are named; supported objects is the share of
captions that name an object that a reference names. Loss, perplexity, accuracy and the two averages
of F1 are of the next word, given the true words before it. Intervals are from a bootstrap over the
photographs."""

_POINTING = """
{mosaics} mosaics, each of a photograph with a dog and one with people as one picture: wherever the
caption that the model writes for it says a dog word or a person word, the word's map should lie on
that half. Mass is the share of the map on the correct half, peak how often its greatest value is
there; {chance} is chance. The centre map always looks at the centre. No mosaic was used in
training."""
_OCCLUSION = (
    "On ordinary photographs, the mean rank correlation of a word's map with hiding each location "
    "in turn"
)

# What is true only of models trained on Flickr8k.
_FLICKR8K_DATA = (
    'Flickr8k is by M. Hodosh, P. Young, J. Hockenmaier, "Framing Image Description as a Ranking '
    'Task", JAIR 47, 2013; it has five captions per photograph.',
    "The photographs of Flickr8k belong to their Flickr authors and were released for research; "
    "none is in this repository. The code is under the MIT licence, and so are the weights as far "
    "as they are ours to license; whoever uses them commercially should judge what the terms of "
    "the photographs mean for a model trained on them.",
)
_FLICKR8K_LIMITS = (
    "Flickr8k has some six thousand training photographs, of people and dogs, mostly outdoors. "
    "Other things get the nearest words it has: a cup of coffee may be called a dog, a chart a man "
    "in a shirt.",
    "It reads no text, counts poorly, and confuses colours and sports.",
    "English only.",
)
_FLICKR8K_BIASES = (
    "The captions of Flickr8k are those of crowd workers of 2010 to 2013 and carry their habits: "
    "people are described by sex, age and sometimes skin or origin as a stranger guessed them. "
    '"Man" is said more often than "woman", even where neither can be seen.',
    "The photographs of Flickr8k come from a few Flickr groups, and show mostly North American and "
    "European life.",
)

# What is true of every model.
_LIMITS = (
    "It always answers, even about what it does not know: a fluent sentence is no sign of a "
    "correct one.",
    "The photograph is squeezed into {size} x {size} pixels, so small things and extreme shapes "
    "are lost.",
    "The maps of a word are on a coarse grid. The attention shows where the decoder looked, which "
    "may be nearly the same for every word of a caption. The evidence shows how much support the "
    "word loses when a place is hidden: what the model relied on, which need not be what is there.",
    "Captions have 1 to {max_words} words, all of them from its vocabulary.",
)
_USE = (
    "Do not use it to identify, sort or judge people, nor where a wrong description does harm. As "
    "alt text its captions are drafts to be read by a person."
)
_UNKNOWN_TERMS = (
    "The terms of {which} photographs are not known to this program: add them before you pass the "
    "model on."
)
_RECORDED_BIASES = "Biases: "  # how such paragraphs of the recorded terms begin
_UNKNOWN_BIASES = (
    "The biases of {which} photographs and their captions are not known to this program: add them "
    "before you pass the model on."
)


@dataclass(frozen=True)
class _Origin:
    """What a checkpoint says about how it was made.

    ``data`` describes what it was trained on, oldest first, each only once.
    """

    encoder: str
    data: tuple[str, ...]
    stages: Sequence[Mapping[str, Any]]

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> "_Origin":
        data = [checkpoint.data, *(stage["data"] for stage in checkpoint.stages)]
        known = [each for each in data if each != NOT_RECORDED]
        return cls(checkpoint.encoder_source, tuple(dict.fromkeys(known)), checkpoint.stages)

    @property
    def has_flickr8k(self) -> bool:
        return any("Flickr8k" in each for each in self.data)

    @property
    def unknown(self) -> str:
        """Which of the photographs this program knows nothing about: "", "the", "the other"."""
        parts = [part for each in self.data for part in each.split("; ")]  # of several data sets
        photographs = [part for part in parts if not part.startswith("text: ")]
        if photographs and all("Flickr8k" in part for part in photographs):
            return ""
        return "the other" if self.has_flickr8k else "the"


def model_card(checkpoint: Checkpoint, result: Mapping[str, Any]) -> str:
    """Write the card of a checkpoint in Markdown; ``result`` is what ``bleu_scorer.py`` wrote."""
    origin = _Origin.of(checkpoint)
    sections = {
        f"# Model card: {result['model']}": _introduction(checkpoint),
        "## Scores": _scores(checkpoint, result),
        **_others(result),
        **_maps(result),
        **_novelty(result),
        "## Data": _data(checkpoint, origin),
        "## Initial weights of the encoder": [f"{origin.encoder}."],
        "## Training": ["\n".join(map(_stage, origin.stages)) or "Not recorded."],
        "## Limits": [items(_limits(checkpoint, origin))],
        "## Biases": [items(_biases(checkpoint, origin))],
    }
    parts = [part for heading, parts in sections.items() for part in (heading, *parts)]
    return "\n\n".join(parts) + "\n"


def _introduction(checkpoint: Checkpoint) -> list[str]:
    text = _INTRODUCTION.format(
        side=grid_side(checkpoint.images, checkpoint.model),
        width=checkpoint.model.decoder_dim,
        parameters=sum(weight.size for weight in checkpoint.weights.values()) / 1e6,
        words=len(checkpoint.vocabulary),
    )
    return ["Written by `python bleu_scorer.py --publish`, which overwrites it.", paragraph(text)]


def grid_side(images: ImageConfig, model: ModelConfig) -> int:
    """The number of rows, and of columns, of the encoder's grid.

    ResNet-50 halves the side five times, rounding up; but the original network's pooling, the
    second of them, rounds down.
    """
    halved = -(-images.size // 2)
    quartered = max(1, halved // 2) if model.stride_in_1x1 else -(-halved // 2)
    return -(-quartered // 8)


def _scores(checkpoint: Checkpoint, result: Mapping[str, Any]) -> list[str]:
    photographs = f"{result['images']:,} photographs of the {split_name(result)}"
    if "split source" in result:
        photographs += f" ({result['split source']})"
    if "references per image" in result:
        photographs += f", {result['references per image']} references each"
    if checkpoint.training_images:  # the scorer refuses those that are recorded there
        photographs += ", none of which it was trained on"
    settings = [f"{name} {result[name]}" for name in SEARCH if name in result]
    search = ", ".join([*settings, f"at most {checkpoint.decoding.max_words} words"])
    return [
        paragraph(f"{photographs}; {search}. {_SCORES}"),
        "\n".join(_table(result)),
        f"Made by `{result['command']}`, of the file with SHA-256 `{result['sha256']}`; all "
        "metrics are in results.json.",
    ]


def _table(result: Mapping[str, Any]) -> Iterator[str]:
    yield "| Metric | Value | 95 % interval | Unit |"
    yield "|---|---|---|---|"
    for each in map(metric, CARD_METRICS):
        if each.name in result["metrics"]:
            ends = result["intervals"].get(each.name)
            interval = each.format_interval(ends) if ends else "-"
            value = each.format(result["metrics"][each.name])
            yield f"| {each.name} | {value} | {interval} | {each.unit or '-'} |"


def _others(result: Mapping[str, Any]) -> dict[str, list[str]]:
    """The section on other data sets, where any was scored."""
    sets = other_sets(result)
    if not sets:
        return {}
    return {"## Other data sets": [paragraph(OTHER_SETS), "\n".join(_others_table(sets))]}


def _others_table(sets: Sequence[OtherSet]) -> Iterator[str]:
    """A row for each metric, a column for each data set."""
    yield f"| Metric | {' | '.join(map(name_and_facts, sets))} | Unit |"
    yield f"|---|{'---|' * len(sets)}---|"
    for name in sets[0].cells:
        cells = [in_brackets(each.cells[name]) for each in sets]
        yield f"| {name} | {' | '.join(cells)} | {metric(name).unit or '-'} |"


def _maps(result: Mapping[str, Any]) -> dict[str, list[str]]:
    """The section on where the maps of words point, as far as that was measured."""
    section, rows = result.get("pointing", {}), pointing_rows(result)
    if not rows:
        return {}
    text = _POINTING.format(
        mosaics=f"{section['mosaics']:,}" if "mosaics" in section else "Several",
        chance=f"{section.get('chance', 0.5):.2f}",
    )
    table = "\n".join(_pointing_table(result))
    return {"## What the maps of words show": [paragraph(text), table, *_occlusion(result)]}


def _pointing_table(result: Mapping[str, Any]) -> Iterator[str]:
    yield "| Map | Mass | 95 % interval | Peak | 95 % interval |"
    yield "|---|---|---|---|---|"
    for kind, cells in pointing_rows(result):
        shown = [(cell.value, cell.interval or "-") for cell in (cells["mass"], cells["peak"])]
        yield f"| {kind} | {' | '.join(part for pair in shown for part in pair)} |"


def _occlusion(result: Mapping[str, Any]) -> Iterator[str]:
    """How the maps agree with occlusion, in a sentence."""
    if rows := occlusion_rows(result):
        values = " and ".join(f"{row.value} for {row.name.lower()}" for row in rows)
        yield paragraph(f"{_OCCLUSION} is {values}.")


def _novelty(result: Mapping[str, Any]) -> dict[str, list[str]]:
    """The section on pictures unlike the training photographs, where that was measured."""
    rows = novelty_rows(result)
    if not rows:
        return {}
    lines = [
        "| Kind | Pictures | AUROC | 95 % interval | Called unusual |",
        "|---|---|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    return {"## Strange pictures": [paragraph(novelty_remark(result)), "\n".join(lines)]}


def _data(checkpoint: Checkpoint, origin: _Origin) -> list[str]:
    if count := count_recorded(checkpoint.training_images):
        about = "; then ".join(origin.data) or "which ones is not recorded"
        texts = [f"Trained on {count:,} photographs: {about}."]
    else:
        texts = ["The photographs it was trained on are not recorded."]
    if origin.stages:
        texts.append("The best epoch was chosen by CIDEr-D on the development split.")
    if origin.has_flickr8k:
        texts += _FLICKR8K_DATA
    terms = [text for text in checkpoint.terms if not text.startswith(_RECORDED_BIASES)]
    texts += terms
    if origin.unknown and not terms:
        texts.append(_UNKNOWN_TERMS.format(which=origin.unknown))
    return [items(texts)]


def _limits(checkpoint: Checkpoint, origin: _Origin) -> list[str]:
    known = _FLICKR8K_LIMITS if origin.has_flickr8k else ()
    size, max_words = checkpoint.images.size, checkpoint.decoding.max_words
    return [*known, *(limit.format(size=size, max_words=max_words) for limit in _LIMITS)]


def _biases(checkpoint: Checkpoint, origin: _Origin) -> list[str]:
    texts = [*(_FLICKR8K_BIASES if origin.has_flickr8k else ())]
    begin = _RECORDED_BIASES
    recorded = [text[len(begin) :] for text in checkpoint.terms if text.startswith(begin)]
    if origin.unknown and not recorded:
        texts.append(_UNKNOWN_BIASES.format(which=origin.unknown))
    return [*texts, *recorded, _USE]


def _stage(stage: Mapping[str, Any]) -> str:
    """One stage of training: its command and settings."""
    settings = [f"{name} {value}" for name, value in stage["config"].items()]
    details = "; ".join([*([", ".join(settings)] if settings else []), f"torch {stage['torch']}"])
    return f"- {stage['stage']}: `{stage['command']}`\n  ({details})"
