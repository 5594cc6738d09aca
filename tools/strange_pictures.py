"""Pictures that are no photographs, made here: screenshots, plots and drawings.

Each is made from a random generator alone, so that a measurement on them can be repeated.
"""

import html
import io
import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.random import Generator
from PIL import Image, ImageDraw

from tools.browser import ROOT, chromium

_WINDOWS = ((1280, 800), (1024, 768), (800, 600), (390, 780), (600, 400))  # pixels
_THEMES = (("#fff", "#222", "#f3f3f0"), ("#1e1e1e", "#ddd", "#2b2b2b"), ("#fdf6e3", "#444", "#eee"))
_FONTS = ("sans-serif", "serif", "monospace")
_LINES = 60  # of a file that a page shows
_SIDE = 512  # pixels of a drawing
_COLOURS = ("#d62728", "#1f77b4", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b", "#e377c2", "#17becf")
Pen = ImageDraw.ImageDraw


def screenshots(count: int, seed: int = 0) -> Iterator[Image.Image]:
    """Pages of this repository in Chromium: code, prose and tables, in windows of several sizes."""
    random = np.random.default_rng(seed)
    pages = itertools.cycle((_code_page, _prose_page, _table_page))
    with chromium() as browser:
        for make, _ in zip(pages, range(count), strict=False):
            width, height = _WINDOWS[random.integers(len(_WINDOWS))]
            page = browser.new_page(viewport={"width": width, "height": height})
            page.set_content(_styled(make(random), random))
            yield Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            page.close()


def _styled(body: str, random: Generator) -> str:
    paper, ink, panel = _THEMES[random.integers(len(_THEMES))]
    font, size = _FONTS[random.integers(len(_FONTS))], random.integers(11, 20)
    style = (
        f"body{{background:{paper};color:{ink};font:{size}px {font};margin:24px}}"
        f"pre,nav{{background:{panel};padding:12px}}nav a{{margin-right:20px}}"
        f"td,th{{border-bottom:1px solid #888;padding:4px 12px;text-align:left}}"
    )
    links = "".join(f"<a href='#'>{name}</a>" for name in ("Caption", "Evaluation", "About"))
    menu = f"<nav>{links}</nav>" if random.random() < 0.5 else ""
    return f"<style>{style}</style>{menu}{body}"


def _code_page(random: Generator) -> str:
    """A listing of a module."""
    path, text = _excerpt(sorted((ROOT / "captioning").rglob("*.py")), random)
    return f"<h3>{path.name}</h3><pre>{html.escape(text)}</pre>"


def _prose_page(random: Generator) -> str:
    """Paragraphs of a document."""
    _, text = _excerpt(sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]), random)
    paragraphs = (f"<p>{html.escape(part)}</p>" for part in text.split("\n\n"))
    return f"<h1>{html.escape(text.split()[0])}</h1>" + "".join(paragraphs)


def _table_page(random: Generator) -> str:
    """A table of numbers."""
    rows, columns = random.integers(4, 25), random.integers(2, 9)
    values = random.normal(50, 20, (rows, columns))
    body = "".join(
        f"<tr><th>Row {index}</th>" + "".join(f"<td>{value:.1f}</td>" for value in row) + "</tr>"
        for index, row in enumerate(values)
    )
    return f"<h2>Results</h2><table>{body}</table>"


def _excerpt(paths: list[Path], random: Generator) -> tuple[Path, str]:
    path = paths[random.integers(len(paths))]
    lines = path.read_text(encoding="utf-8").splitlines()
    start = int(random.integers(max(1, len(lines) - _LINES)))
    return path, "\n".join(lines[start : start + _LINES]) or path.name


def plots(count: int, seed: int = 0) -> Iterator[Image.Image]:
    """Plots of random numbers: lines, bars, points, a histogram, a pie, a matrix."""
    random = np.random.default_rng(seed)
    kinds: tuple[Callable[[Axes, Generator], object], ...] = (
        lambda axes, r: axes.plot(r.normal(size=(40, r.integers(1, 5))).cumsum(axis=0)),
        lambda axes, r: axes.bar(range(8), r.random(8), color=_some(r)),
        lambda axes, r: axes.plot(*r.normal(size=(2, 80)), "o", color=_some(r)),
        lambda axes, r: axes.hist(r.normal(size=300), bins=20, color=_some(r)),
        lambda axes, r: axes.pie(r.random(r.integers(3, 8)) + 0.1),
        lambda axes, r: axes.imshow(r.random((12, 12))),
        lambda axes, r: axes.barh(range(6), r.random(6), color=_some(r)),
    )
    for draw, _ in zip(itertools.cycle(kinds), range(count), strict=False):
        figure = Figure(figsize=(random.uniform(4, 8), random.uniform(3, 6)), layout="constrained")
        axes = figure.add_subplot()
        draw(axes, random)
        axes.set_title(f"Run {random.integers(100)}")
        axes.set_xlabel("Epoch")
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=80)
        yield Image.open(file).convert("RGB")


def drawings(count: int, seed: int = 0) -> Iterator[Image.Image]:
    """Flat drawings: shapes, a landscape with a house, a box-and-arrow diagram, line art."""
    random = np.random.default_rng(seed)
    kinds = itertools.cycle((_shapes, _landscape, _diagram, _line_art))
    for draw, _ in zip(kinds, range(count), strict=False):
        image = Image.new(
            "RGB", (_SIDE, _SIDE), "white" if random.random() < 0.6 else _some(random)
        )
        draw(ImageDraw.Draw(image), random)
        yield image


def _some(random: Generator) -> str:
    return _COLOURS[random.integers(len(_COLOURS))]


def _shapes(pen: Pen, random: Generator) -> None:
    for _ in range(random.integers(1, 12)):
        x, y, radius = (int(value) for value in random.integers((60, 60, 20), (450, 450, 130)))
        sides = int(random.integers(3, 9))
        if sides == 8:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_some(random))
        else:
            turn = int(random.integers(360))
            pen.regular_polygon((x, y, radius), sides, turn, fill=_some(random))


def _landscape(pen: Pen, random: Generator) -> None:
    horizon, x = int(random.integers(260, 380)), int(random.integers(40, 300))
    pen.rectangle((0, 0, _SIDE, horizon), fill="#8ecae6")
    pen.rectangle((0, horizon, _SIDE, _SIDE), fill="#74a857")
    sun = int(random.integers(40, 440))
    pen.ellipse((sun, 30, sun + 70, 100), fill="#ffd60a")
    pen.rectangle((x, horizon - 90, x + 140, horizon + 40), fill=_some(random), outline="black")
    roof = ((x - 15, horizon - 90), (x + 70, horizon - 170), (x + 155, horizon - 90))
    pen.polygon(roof, fill=_some(random), outline="black")
    pen.rectangle((x + 55, horizon - 25, x + 90, horizon + 40), fill="#5a3e2b")
    for _ in range(random.integers(1, 5)):
        tree = int(random.integers(_SIDE))
        pen.rectangle((tree - 8, horizon - 20, tree + 8, horizon + 50), fill="#5a3e2b")
        pen.ellipse((tree - 40, horizon - 90, tree + 40, horizon - 10), fill="#2d6a4f")


def _diagram(pen: Pen, random: Generator) -> None:
    boxes = [tuple(int(v) for v in random.integers((10, 10), (380, 440))) for _ in range(6)]
    for (x, y), (u, v) in itertools.pairwise(boxes):
        pen.line((x + 60, y + 25, u + 60, v + 25), fill="black", width=3)
    for number, (x, y) in enumerate(boxes, start=1):
        pen.rounded_rectangle((x, y, x + 120, y + 50), 8, _some(random), "black", 2)
        pen.text((x + 30, y + 12), f"Step {number}", "white", font_size=22)


def _line_art(pen: Pen, random: Generator) -> None:
    """A face or a spirograph of thin lines."""
    ink = "black" if random.random() < 0.7 else _some(random)
    if random.random() < 0.5:
        x, y = (int(value) for value in random.integers(180, 320, 2))
        pen.ellipse((x - 130, y - 150, x + 130, y + 150), outline=ink, width=4)
        for side in (-50, 50):
            pen.ellipse((x + side - 16, y - 50, x + side + 16, y - 20), outline=ink, width=4)
        pen.arc((x - 60, y, x + 60, y + 90), 10, 170, fill=ink, width=4)
        pen.line((x, y - 10, x - 12, y + 30, x + 6, y + 34), fill=ink, width=4)
        return
    inner, turns = random.uniform(0.2, 0.9), int(random.integers(3, 17))
    angles = np.linspace(0, 2 * math.pi * 8, 900)
    points = np.exp(1j * angles) + inner * np.exp(-1j * angles * turns / 8)
    pen.line([(256 + 120 * p.real, 256 + 120 * p.imag) for p in points], fill=ink, width=2)
