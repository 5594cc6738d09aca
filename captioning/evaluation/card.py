"""The model card: what a checkpoint is, from its provenance and its scores."""

from collections.abc import Mapping, Sequence
from typing import Any

from captioning.errors import CaptioningError
from captioning.network.checkpoint import Checkpoint

# The figures of a result, in the order in which they are shown.
FIGURES = (
    "BLEU-1",
    "BLEU-2",
    "BLEU-3",
    "BLEU-4",
    "ROUGE-L",
    "CIDEr-D",
    "caption F1",
    "loss",
    "perplexity",
    "accuracy",
    "accuracy top-5",
    "F1 macro",
    "F1 weighted",
)

_TEMPLATE = """\
# Model card: {name}

This file is written by `make results`; do not edit it.

A photograph goes in; a sentence comes out, together with where the model looked for each word.
Encoder: ResNet-50 with frozen batch norm, a grid of 7 x 7 locations with 2,048 channels. Decoder:
an LSTM of width {decoder_dim} with additive attention, after Xu et al., "Show, Attend and Tell"
(ICML 2015). {parameters:.1f} million weights, stored as float16; vocabulary of {words:,} words.

## Figures

{images:,} photographs of the Flickr8k {split} split, none of them trained on; beam {beam}, length
penalty {length_penalty}. BLEU, ROUGE-L and CIDEr-D by the coco-caption definitions, of freely
decoded captions against all references, x100. Accuracy and F1 are of the next word when the words
before it are given (%); loss is in nats a token.

| {header} |
|{rule}|
| {values} |
| {intervals} |

The second row holds 95 % bootstrap intervals over the photographs.

Made by `{command}`, of the file with SHA-256 `{sha256}`; all figures are in results.json.

## Data

- Trained on {training_images:,} photographs with five captions each, of Flickr8k (M. Hodosh,
  P. Young, J. Hockenmaier, "Framing Image Description as a Ranking Task", JAIR 47, 2013):
  {data}.
- The best epoch was chosen by CIDEr-D on the development split.
- The photographs belong to their Flickr authors and were released for research; none is in this
  repository. The code is under the MIT licence, and so are the weights as far as they are ours to
  license; whoever uses them commercially should judge for themselves what the terms of the
  photographs mean for a model trained on them.

## Initial weights of the encoder

{encoder}.

## Training

{stages}

## Limits

- It was trained on some six thousand photographs of people and dogs, mostly out of doors. Other
  things get the nearest words it has: a cup of coffee may be called a dog, a chart a man in a
  shirt.
- It reads no text, counts poorly, confuses colours and sports, and says nothing of what it does not
  know: it always answers, and a fluent sentence is no sign of a right one.
- The photograph is squeezed into 224 x 224 pixels, so small things and extreme shapes are lost.
- The maps show where the attention was, on a coarse grid; they are no proof of why a word was said.
- English only; captions of 1 to 30 words.

## Biases

- The captions are those of crowd workers of 2010 to 2013 and carry their habits: people are named
  by sex, age and sometimes skin or origin as a stranger guessed them. "Man" is said more often than
  "woman", also where neither can be seen.
- The photographs come from a few Flickr groups, and show mostly North American and European life.
- Do not use it to identify, sort or judge people, nor where a wrong description does harm. As alt
  text its captions are drafts to be read by a person.
"""


def model_card(checkpoint: Checkpoint, result: Mapping[str, Any]) -> str:
    """Write the card of a checkpoint in Markdown; ``result`` is what ``bleu_scorer.py`` wrote."""
    shown = [name for name in FIGURES if name in result["metrics"]]
    weights = checkpoint.weights.values()
    return _TEMPLATE.format(
        name=result["model"],
        decoder_dim=checkpoint.model.decoder_dim,
        parameters=sum(weight.numel() for weight in weights) / 1e6,
        words=len(checkpoint.vocabulary),
        images=result["images"],
        split={"dev": "development"}.get(result["split"], result["split"]),
        beam=result["beam"],
        length_penalty=result["length penalty"],
        header=" | ".join(shown),
        rule="---|" * (len(shown) - 1) + "---",
        values=" | ".join(f"{result['metrics'][name]:.2f}" for name in shown),
        intervals=" | ".join(_interval(result["intervals"].get(name)) for name in shown),
        command=result["command"],
        sha256=result["sha256"],
        training_images=len(checkpoint.training_images),
        data=checkpoint.provenance["data"],
        encoder=checkpoint.provenance["encoder"],
        stages="\n".join(_stage(stage) for stage in checkpoint.provenance["stages"]),
    )


def _interval(ends: Sequence[float] | None) -> str:
    return "-" if ends is None else f"{ends[0]:.2f} to {ends[1]:.2f}"


def _stage(stage: Mapping[str, Any]) -> str:
    """One stage of training: its command and settings."""
    settings = ", ".join(f"{name} {value}" for name, value in stage["config"].items())
    return f"- {stage['stage']}: `{stage['command']}`\n  ({settings}; torch {stage['torch']})"


README_BEGIN = "<!-- figures: written by make results -->"
README_END = "<!-- end of figures -->"
_README_ROWS = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr-D", "METEOR")


def with_results(readme: str, result: Mapping[str, Any]) -> str:
    """The README with the figures of ``result`` between its marks.

    Raises ValueError when the marks are gone.
    """
    before, begin, rest = readme.partition(README_BEGIN)
    _, end, after = rest.partition(README_END)
    if not begin or not end:
        raise CaptioningError(
            f"README.md lacks the marks {README_BEGIN} and {README_END}; put them back"
        )
    return f"{before}{begin}\n{_readme_section(result)}\n{end}{after}"


def _readme_section(result: Mapping[str, Any]) -> str:
    metrics, intervals = result["metrics"], result["intervals"]
    shown = [name for name in _README_ROWS if name in metrics]
    cells = [
        f"{metrics[name]:.1f} ({intervals[name][0]:.1f} to {intervals[name][1]:.1f})"
        for name in shown
    ]
    low, high = result["attention"]["interval"]
    split = {"dev": "development"}.get(result["split"], result["split"])
    return f"""
{result["images"]:,} photographs of the {split} split, beam {result["beam"]}; in brackets the 95 %
interval over photographs:

| {" | ".join(shown)} |
|{"---|" * len(shown)}
| {" | ".join(cells)} |

Taking away the places that a word looked at costs it {result["attention"]["faithfulness"]:.2f}
nats more ({low:.2f} to {high:.2f}) than taking away others. {metrics["new captions"]:.0f} % of the
captions are in no training caption, {metrics["most frequent caption"]:.1f} % of the photographs
get the most frequent one, and {metrics["CHAIR-s"]:.0f} % of the captions name an object that none
of the five references names.

Made by `{result["command"]}`; all figures are in [results.json](model/results.json).
"""
