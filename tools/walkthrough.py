"""The pictures of docs/walkthrough.md, drawn with the package's own code: make walkthrough"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from captioning.app.examples import examples
from captioning.data.augment import Augmented
from captioning.data.augment_config import AugmentConfig
from captioning.data.caption_files import Photograph
from captioning.data.images import ImageConfig, read_photo
from captioning.data.vocab import TOKENS
from captioning.evaluation.metrics import BleuStatistics, CiderD, bleu_of_sums, bleu_rows
from captioning.evaluation.uncertainty import intervals, mean
from captioning.inference.captioner import Captioner
from captioning.inference.decode import beam_search
from captioning.inference.engine import Continuations, Floats, Ids, likeliest
from captioning.network.config import DecodeConfig
from captioning.plots import maps_figure, save_figure
from captioning.training.train import learning_rate_factor
from main import RECIPE

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "walkthrough"
ACCENT, DARK, PALE = "#0072B2", "0.25", "0.7"  # Okabe and Ito's blue, and greys
IMAGES = ImageConfig()

WORDS = ("<pad>", "<start>", "<end>", "<unk>", "a", "the", "dog", "cat", "bird")
PROBABILITIES = {  # of the next word after each, the same as in the snippet of inference/decode.py
    "<start>": {"the": 0.6, "a": 0.4},
    "the": {"dog": 0.4, "cat": 0.3, "bird": 0.3},
    "a": {"dog": 0.9, "cat": 0.1},
    "dog": {"<end>": 1.0},
    "cat": {"<end>": 1.0},
    "bird": {"<end>": 1.0},
}


class Toy:
    """An engine with a table of how likely each word is after each other one."""

    def encode(self, images: Floats) -> Floats:
        """Photographs make no difference to it."""
        return images

    def mean(self, features: Floats) -> Floats:
        """The same, without locations."""
        return features[:, 0]

    def start(self, features: Floats) -> None:
        """No state is needed: the last word decides."""

    def step(self, tokens: Ids, state: None, count: int, end: int) -> tuple[Continuations, None]:
        """What may follow tokens (N,), and alphas (N, 1)."""
        probabilities = np.full((len(tokens), len(WORDS)), 1e-30, dtype=np.float32)
        for row, token in enumerate(tokens.tolist()):
            for word, probability in PROBABILITIES.get(WORDS[token], {}).items():
                probabilities[row, WORDS.index(word)] = probability
        alphas = np.ones((len(tokens), 1), dtype=np.float32)
        return likeliest(np.log(probabilities), alphas, count, end), None

    def reorder(self, state: None, index: Ids) -> None:
        """Nothing to move."""

    def keep(self, state: None, images: Ids) -> None:
        """Nothing to drop."""


def panel(width: float = 7.0, height: float = 3.2) -> tuple[Figure, Axes]:
    """A figure with one panel, without the top and right spines."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def learning_rate() -> Figure:
    """The learning rate over a stage of training, for three lengths of warmup."""
    figure, axes = panel()
    total, full = 1000, 1e-3
    shares = {0.05: (ACCENT, "-"), 0.2: (DARK, "--"), 0.0: (PALE, ":")}
    for warmup, (colour, dash) in shares.items():
        rates = [full * learning_rate_factor(step, total, warmup) for step in range(total)]
        label = f"warmup {warmup:g}" + (" (the default)" if warmup == 0.05 else "")
        axes.plot(range(total), rates, color=colour, linestyle=dash, linewidth=2, label=label)
    axes.set(xlabel="step (of 1,000)", ylabel="learning rate", xlim=(0, total), ylim=(0, None))
    axes.ticklabel_format(axis="y", scilimits=(-3, -3), useMathText=True)
    axes.legend(frameon=False)
    return figure


def augmented() -> Figure:
    """One photograph, and six random augmentations of it."""
    example = examples()[1]
    photo = Photograph(example.path.name, example.path, ("a cat",))
    change = Augmented([photo], IMAGES, RECIPE.refine.augmentation)
    unchanged = Augmented([photo], IMAGES, AugmentConfig())
    torch.manual_seed(5)
    views = [("original", unchanged(0))] + [("", change(0)) for _ in range(6)]
    figure = Figure(figsize=(10.5, 1.68), layout="constrained")
    for axes, (title, view) in zip(figure.subplots(1, len(views)), views, strict=True):
        axes.imshow(denormalise(view.pixels))
        axes.set_title(title or ("mirrored" if view.mirrored else "not mirrored"), fontsize=10)
        axes.axis("off")
    return figure


def denormalise(pixels: Tensor) -> np.ndarray[Any, Any]:
    """Normalised pixels (3, H, W) to displayable ones (H, W, 3)."""
    mean_, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGES.mean, IMAGES.std))
    visible: np.ndarray[Any, Any] = (pixels * std + mean_).clamp(0, 1).permute(1, 2, 0).numpy()
    return visible


def attention() -> Figure:
    """The maps of the first seven words of the shipped model's caption."""
    captioner, photo = Captioner.load(), examples()[0].path
    caption = captioner(photo, evidence=True)
    assert caption.evidence is not None
    picture, words = read_photo(photo), caption.words[:7]
    return maps_figure(picture, words, caption.attention, caption.evidence, columns=4)


def kept(beam: int, words: int) -> set[tuple[str, ...]]:
    """The prefixes of ``words`` words that a search with this beam width keeps."""
    settings = DecodeConfig(beam=beam, max_words=words)
    (hypotheses,) = beam_search(Toy(), np.zeros((1, 1, 1), dtype=np.float32), TOKENS, settings)
    return {tuple(WORDS[token] for token in each.tokens) for each in hypotheses}


def tree() -> Figure:
    """All captions of the toy engine, and those that greedy search and a beam of 2 keep."""
    figure, axes = panel(8.0, 3.6)
    axes.axis("off")
    (greedy,), two = kept(1, 2), kept(2, 2)
    (best,) = two - {greedy}
    alive = kept(2, 1) | two
    notes = {greedy: "greedy search ends here", best: "a beam of 2 finds this"}
    height = heights()
    for caption, y in height.items():
        line = style(caption, best, alive)
        branch(axes, caption, (height[caption[:-1]], y), line)
        if len(caption) == 2:
            probability = (
                PROBABILITIES["<start>"][caption[0]] * PROBABILITIES[caption[0]][caption[1]]
            )
            weight = "bold" if caption == best else "normal"
            text = f"{probability:.2f}   {notes.get(caption, '')}"
            axes.text(2.5, y, text, color=line["color"], va="center", weight=weight)
    for x, title in {1: "first word", 2: "second word", 2.5: "probability"}.items():
        axes.text(x, 0.8, title, color="0.45", va="center", size=9)
    axes.set(xlim=(-0.3, 3.8), ylim=(min(height.values()) - 0.3, 1.0))
    return figure


def heights() -> dict[tuple[str, ...], float]:
    """The y of each prefix: captions one below the other, a prefix midway between its captions."""
    captions = [
        (first, second) for first in PROBABILITIES["<start>"] for second in PROBABILITIES[first]
    ]
    height: dict[tuple[str, ...], float] = {one: -row for row, one in enumerate(captions)}
    for prefix in [(), *((first,) for first in PROBABILITIES["<start>"])]:
        below = [height[one] for one in captions if one[: len(prefix)] == prefix]
        height[prefix] = sum(below) / len(below)
    return height


def style(
    prefix: tuple[str, ...], best: tuple[str, ...], alive: set[tuple[str, ...]]
) -> dict[str, Any]:
    """Blue on the path to the best caption, dark where a beam of 2 continues, else pale."""
    if prefix == best[: len(prefix)]:
        return {"color": ACCENT, "linewidth": 2.5}
    return {"color": DARK if prefix in alive else PALE, "linewidth": 1.5}


def branch(
    axes: Axes, prefix: tuple[str, ...], heights: tuple[float, float], line: dict[str, Any]
) -> None:
    """Draw a word, and the line to it from the word before with its probability.

    ``heights`` are the y of the word before and of the word itself.
    """
    x, colour = len(prefix), line["color"]
    parent, y = heights
    if not prefix:
        axes.text(0, y, "<start>", ha="right", va="center", color=DARK)
        return
    before = prefix[-2] if x > 1 else "<start>"
    start = x - 1 + (0.16 if x > 1 else 0.03)  # after the word
    axes.plot((start, x - 0.03), heights, **line)
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    middle = 0.4 * start + 0.6 * x, 0.4 * parent + 0.6 * y
    probability = f"{PROBABILITIES[before][prefix[-1]]:g}"
    axes.text(*middle, probability, color=colour, ha="center", va="center", bbox=box)
    axes.text(x, y, prefix[-1], color=colour, va="center", weight="bold")


def length_penalties() -> Figure:
    """What a caption that is too short or too long loses against a reference of 10 words."""
    figure, axes = panel()
    reference, lengths = 10, range(4, 23)
    axes.plot(lengths, [brevity(n, reference) for n in lengths], color=ACCENT, linewidth=2)
    axes.plot(lengths, [gaussian(n, reference) for n in lengths], color=DARK, ls="--", linewidth=2)
    axes.axvline(reference, color=PALE, linewidth=1, zorder=0)
    axes.text(reference + 0.15, 0.05, "the reference's length", color="0.45")
    axes.text(16.1, 1.02, "BLEU's brevity penalty", color=ACCENT, va="bottom")
    axes.text(17.2, 0.57, "CIDEr-D's length penalty", color=DARK, va="bottom")
    axes.set(xlabel="length of the caption (words)", ylabel="factor on the score", ylim=(0, 1.12))
    axes.set_xticks(range(4, 23, 2))
    return figure


def brevity(length: int, reference: int) -> float:
    """BLEU of a caption whose n-grams all match."""
    totals = (length, length - 1, length - 2, length - 3)
    rows = bleu_rows([BleuStatistics(length, reference, totals, totals)])
    return float(bleu_of_sums(rows)[0, 3])


def gaussian(length: int, reference: int) -> float:
    """CIDEr-D, as a share of 10, of a caption that differs in words of weight 0.

    A word in every image's references has an inverse document frequency of 0.
    """
    filler = ["x"] * 40
    references = [[["dog", *filler[: reference - 1]], filler], [filler]]
    scorer = CiderD(references)
    return scorer.score(["dog", *filler[: length - 1]], 0) / scorer.score(references[0][0], 0)


def sizes_and_intervals() -> Figure:
    """How the bootstrap interval of a mean narrows with the number of photographs."""
    figure, axes = panel()
    scores = np.random.default_rng(0).gamma(1.2, 50, 3000)  # as skewed as CIDEr-D is
    counts = [30, 50, 100, 200, 300, 500, 1000, 2000, 3000]
    statistics = [mean(scores[:count]) for count in counts]
    bands = [intervals({"score": statistic})["score"] for statistic in statistics]
    low, high = zip(*bands, strict=True)
    axes.fill_between(counts, low, high, color=ACCENT, alpha=0.2, linewidth=0)
    means = [statistic.estimate() for statistic in statistics]
    axes.plot(counts, means, color=ACCENT, marker="o", linewidth=2)
    axes.text(33, 62, "95 % interval", color=ACCENT)
    axes.set(xlabel="photographs measured", ylabel="mean of simulated scores", xscale="log")
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    axes.minorticks_off()
    return figure


PICTURES: dict[str, Callable[[], Figure]] = {
    "augmented": augmented,
    "learning_rate": learning_rate,
    "tree": tree,
    "attention": attention,
    "length_penalties": length_penalties,
    "intervals": sizes_and_intervals,
}


def main(names: Sequence[str] = tuple(PICTURES)) -> None:
    """Draw all pictures."""
    for name in names:
        path = FOLDER / f"{name}.png"
        save_figure(PICTURES[name](), path)
        print(f"written to {path}")


if __name__ == "__main__":
    main()
