"""What the tests of the report share: a strict reader of pages, results and entries to show."""

from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from captioning.evaluation.mosaics import MosaicExample
from captioning.evaluation.other_sets import Example
from captioning.evaluation.report import report_html
from captioning.evaluation.report_gallery import Entry

VOID = {"meta", "img", "input", "wbr", "br", "link", "hr"}
WORDS = ("a", "man", "'s", "dog")


class Page(HTMLParser):
    """A page read strictly: every element that is opened is closed, in order."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements, self.open, self.text, self.raw = [], [], [], []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"an attribute twice: {attrs}"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        (self.raw if self.open and self.open[-1] in ("script", "style") else self.text).append(data)

    def all(self, tag):
        """The attributes of every element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    def of_class(self, name):
        """The attributes of every element of a class."""
        return [a for _, a in self.elements if name in (a.get("class") or "").split()]

    @property
    def sections(self):
        return [attributes["id"] for attributes in self.all("section")]

    @property
    def words(self):
        """All that can be read, with single spaces."""
        return " ".join(" ".join(self.text).split())


def minimal(**extra):
    """A result with what must be there."""
    return {
        "name": "base_dev",
        "metrics": {"CIDEr-D": 53.149, "BLEU-4": 21.993},
        "images": 1000,
        "split": "dev",
        "command": "python bleu_scorer.py",
    } | extra


def pointing_of(mass, peak):
    """What was measured of one kind of map."""
    metrics = {"mass": mass, "peak": peak, "mass dog": mass + 0.02, "mass person": mass - 0.02}
    metrics |= {"peak dog": peak + 0.03, "peak person": peak - 0.03}
    ends = {name: [value - 0.01, value + 0.01] for name, value in metrics.items()}
    return {"metrics": metrics, "intervals": ends}


def pointing():
    """Where maps point, with evidence better than attention."""
    return {
        "pairs": 60,
        "mosaics": 1240,
        "chance": 0.5,
        "words": {"dog": 251, "person": 232},
        "maps": {
            "evidence": pointing_of(0.864, 0.923),
            "attention": pointing_of(0.581, 0.722),
            "centre": pointing_of(0.499, 0.504),
        },
    }


def novelty():
    """How two kinds of strange pictures were told from photographs."""
    drawings = {"AUROC": 0.9612, "interval": [0.944, 0.975], "called unusual": 0.417}
    posters = {"AUROC": 0.683, "interval": [0.64, 0.73], "called unusual": 0.061}
    return {
        "level": 0.98,
        "ordinary": 1000,
        "ordinary called unusual": 0.021,
        "kinds": {"drawings": {"pictures": 120} | drawings, "posters": {"pictures": 165} | posters},
    }


def mosaic(size=(448, 224), **changes):
    """A mosaic whose word rests on its left side."""
    evidence = np.full((7, 7), -0.1, np.float32)
    evidence[:, :2] = 0.5
    given = MosaicExample(
        picture=Image.new("RGB", size, "green"),
        caption="A dog is next to a man.",
        word="dog",
        kind="dog",
        attention=np.full((7, 7), 1 / 49, np.float32),
        evidence=evidence,
    )
    return given._replace(**changes)


def other_sets():
    """What was measured on another data set, its two manners apart."""
    compared = {
        "this": 25.5,
        "other": 13.2,
        "difference": 12.3,
        "interval": [8.1, 16.5],
        "p": 0.0004,
    }
    default = {
        "name": "everyday",
        "photographs": 243,
        "references per image": "1 to 5",
        "split source": "a split by the hash of each name",
        "metrics": {"CIDEr-D": 25.5, "supported objects": 41.2},
        "intervals": {"CIDEr-D": [20.7, 31.4], "supported objects": [36.4, 46.9]},
        "against": {"metrics": {"CIDEr-D": compared}},
    }
    web = {
        "name": "everyday, web",
        "photographs": 2230,
        "references per image": 1,
        "metrics": {"CIDEr-D": 8.7},
        "intervals": {"CIDEr-D": [7.9, 9.6]},
    }
    return [default, web]


def example(**changes):
    """A photograph of another data set, whose word rests on its left side."""
    given = Example(
        picture=Image.new("RGB", (300, 400), "blue"),
        caption="A cup is on a table.",
        word="cup",
        attention=mosaic().attention,
        evidence=mosaic().evidence,
        references=("a cup of coffee", "the table has a mug on it"),
    )
    return given._replace(**changes)


def full():
    """A result with all there may be."""
    metrics = {"CIDEr-D": 53.149, "BLEU-4": 21.993, "loss": 2.7898, "CHAIR-s": 24.61, "odd": 3.14}
    ends = {"CIDEr-D": [50.04, 56.36]}
    of_beam = {
        "metrics": {"CIDEr-D": 51.72, "BLEU-4": 20.83},
        "intervals": {"CIDEr-D": [48.1, 54.9]},
    }
    compared = {
        "this": 53.1,
        "other": 50.2,
        "difference": 2.9,
        "interval": [-0.4, 6.1],
        "p": 0.0312,
    }
    return minimal(
        metrics=metrics,
        intervals=ends,
        system="The model base.pth with beam 3",
        model="base.pth",
        sha256="a5da1969",
        date="2026-11-24",
        beam=3,
        versions={"torch": "2.4.1"},
        notes=["METEOR needs Java."],
        **{"length penalty": 0.7, "references per image": 5, "split source": "the official split"},
        **{
            "four references": {
                "metrics": {"CIDEr-D": 49.4},
                "intervals": {"CIDEr-D": [46.1, 52.8]},
            }
        },
        attention={
            "faithfulness": 0.4123,
            "interval": [0.3612, 0.4713],
            "drop": 0.5317,
            "drop at random places": 0.1194,
            "entropy": 2.9137,
            "greatest entropy": 3.8918,
            "words": 4312,
        },
        calibration={
            "of": "CIDEr-D",
            "rank correlation": 0.4123,
            "interval": [0.36, 0.46],
            "bins": [{"probability": 0.314, "CIDEr-D": 44.7, "interval": [40, 49], "images": 97}],
        },
        beams=[{"beam": 1, **of_beam}],
        pointing=pointing(),
        occlusion={
            "photographs": 200,
            "words": 2100,
            "metrics": {"evidence": 0.953, "attention": 0.104},
            "intervals": {"evidence": [0.941, 0.962]},
        },
        **{"other sets": other_sets()},
        novelty=novelty(),
        lengths={"captions": {"3": 2, "4": 2}, "references": {"2": 1, "4": 9}},
        against={"name": "The nearest photograph", "metrics": {"CIDEr-D": compared}},
    )


def entry(**changes):
    """A photograph of the gallery."""
    attention = np.zeros((len(WORDS), 7, 7), np.float32)
    attention[:, 2, 3] = 1
    given = Entry(
        groups=("best", "random"),
        name="photo.jpg",
        photo=Image.new("RGB", (640, 320), "red"),
        caption="A man's dog.",
        references=("a dog of a man", "a brown dog"),
        scores={"CIDEr-D": 101.26, "BLEU-4": 31.4, "log-probability": -9.876},
        words=WORDS,
        attention=attention,
    )
    return replace(given, **changes)


def evidence():
    """Maps (T, 7, 7) of evidence: each word at the left of the top row loses half."""
    losses = np.full((len(WORDS), 7, 7), -0.2, np.float32)
    losses[:, 0, 0] = np.log(2)
    return losses


def plot():
    """A small plot."""
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([1, 2])
    return figure


def everything():
    """A report with everything, as HTML."""
    keys = ("metrics", "pointing", "scores", "lengths", "reliability", "beams")
    entries = [entry(evidence=evidence()), entry(photo=None, hallucinated=("dog",)), entry()]
    plots = {key: plot() for key in keys}
    mosaics, examples = [mosaic(), mosaic((224, 448))], [example(), example()]
    return report_html(full(), entries, plots, mosaics, examples)


def page(result=None, entries=(), plots=None):
    """The page of a result."""
    return Page(report_html(result or minimal(), entries, plots or {}))
