"""The same photographs in other batches, threads, processes and engines get the same captions.

In one engine, with one number of threads and one batch size, results are the same bit for bit.
Where one of these is another, sums are rounded otherwise. Then log-probabilities differ by less
than ``ROUNDING``, and words only where the search met a tie: two hypotheses, one of which it had to
drop, whose scores lie closer than ``TIE``.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from captioning.data.caption_files import read_captions
from captioning.data.images import load_image
from captioning.data.splits import split_photographs
from captioning.data.vocab import Tokens
from captioning.inference.captioner import Caption, Captioner
from captioning.inference.engine import Engine, Features
from captioning.inference.engines import PACKAGES, has_gpu, is_installed
from captioning.network.config import DecodeConfig
from tools.attacks.one_visitor import photograph
from tools.attacks.outcome import Outcome

PHOTOGRAPHS = 400
DATA = Path("flickr8k/Flickr8k_Subset")
BATCH = 16
ROUNDING = 1e-3  # nats, of a word's log-probability
TIE = 1e-3  # of a score
IN_A_PROCESS = """
import json, sys
from captioning.inference.captioner import Captioner
from tools.attacks.determinism import exact
model = Captioner.load()
print(json.dumps([exact(one) for one in model.stream(json.load(sys.stdin))]))
"""


class _Line(NamedTuple):
    """A hypothesis of the search over lists."""

    words: tuple[int, ...]
    total: float
    length: int
    ended: bool


def narrowest_gap(
    engine: Engine, features: Features, tokens: Tokens, config: DecodeConfig
) -> float:
    """The smallest difference of scores that decided what the search kept.

    Features (1, L, C) are of one photograph. A search over lists, apart from ``decode``: of each
    step the gap between the worst hypothesis that was kept and the best that was not; at the end
    the gap between the first two.
    """
    state = engine.start(features)
    lines, last = [_Line((), 0.0, 0, False)], np.array([tokens.start])
    gap = float("inf")

    def score(line: _Line) -> float:
        value: float = line.total / line.length**config.length_penalty
        return value

    for position in range(config.max_words + 1):
        count = config.beam + len(tokens.never) + position + 3
        following, state = engine.step(last, state, count, tokens.end)
        found: list[tuple[int, _Line]] = []
        for parent, line in enumerate(lines):
            if line.ended:
                found.append((parent, line))
                continue
            tried, values = following.tokens[parent], following.log_probabilities[parent]
            chances = dict(zip(tried.tolist(), values.tolist(), strict=True))
            chances[tokens.end] = float(following.end[parent])
            found += [
                (parent, _longer(line, token, chance, tokens, config))
                for token, chance in chances.items()
                if _may_follow(token, position, tokens, config)
            ]
        found.sort(key=lambda each: -score(each[1]))
        if len(found) > config.beam:
            gap = min(gap, score(found[config.beam - 1][1]) - score(found[config.beam][1]))
        kept = found[: config.beam]
        lines = [line for _, line in kept]
        if all(line.ended for line in lines):
            break
        state = engine.reorder(state, np.array([parent for parent, _ in kept]))
        last = np.array([line.words[-1] if line.words else tokens.end for line in lines])
    scores = sorted(map(score, lines), reverse=True)
    return min([gap, *(first - second for first, second in pairwise(scores[:2]))])


def _may_follow(token: int, position: int, tokens: Tokens, config: DecodeConfig) -> bool:
    if token == tokens.end:
        return position > 0
    return token not in tokens.never and position < config.max_words


def _longer(line: _Line, token: int, chance: float, tokens: Tokens, config: DecodeConfig) -> _Line:
    ended = token == tokens.end
    free = ended or token in tokens.repeatable
    penalty = 0 if free else config.repetition_penalty * line.words.count(token)
    words = line.words if ended else (*line.words, token)
    return _Line(words, line.total + chance - penalty, line.length + 1, ended)


def exact(caption: object) -> list[object]:
    """All of a caption that must be equal bit for bit, as plain values."""
    assert isinstance(caption, Caption), caption
    floats = [caption.probabilities, caption.attention.ravel().tolist(), caption.score]
    return [caption.text, json.loads(json.dumps(floats)), caption.novelty]


@dataclass
class Comparison:
    """Captions of the same photographs, compared with those of ``captioner`` one by one."""

    captioner: Captioner
    paths: Sequence[Path]
    expected: Sequence[Caption]

    def compare(self, what: str, others: Sequence[object]) -> Outcome:
        """The same words, log-probabilities to ``ROUNDING``, other words only at a tie."""
        outcome = Outcome(what, notes={"other words at a tie": 0})
        assert len(others) == len(self.paths)
        largest = 0.0
        for path, ours, other in zip(self.paths, self.expected, others, strict=True):
            with outcome.attempt(path.name):
                assert isinstance(other, Caption), other
                if ours.words != other.words:
                    gap = self.gap(path)
                    assert gap < TIE, f"{other.text!r} for {ours.text!r}, without a tie: {gap:.1e}"
                    outcome.note("other words at a tie")
                    continue
                logs = np.log(ours.probabilities) - np.log(other.probabilities)
                largest = max(largest, float(np.abs(logs).max()))
                assert largest < ROUNDING, f"log-probabilities differ by {largest:.1e}"
        outcome.slowest = None
        outcome.notes["log-probabilities differ by"] = float(f"{largest:.1e}")
        return outcome

    def compare_exactly(self, what: str, others: Sequence[list[object]]) -> Outcome:
        """Equal bit for bit."""
        outcome = Outcome(what)
        for path, ours, other in zip(self.paths, self.expected, others, strict=True):
            with outcome.attempt(path.name):
                assert exact(ours) == other, "differs"
        outcome.slowest = None
        return outcome

    def gap(self, path: Path) -> float:
        """The narrowest gap of the search for one photograph."""
        pixels = load_image(path, self.captioner.images)[None]  # (1, 3, H, W)
        features = self.captioner.engine.encode(pixels)
        tokens = self.captioner.vocabulary.tokens()
        return narrowest_gap(self.captioner.engine, features, tokens, self.captioner.decoding)


def photographs(folder: Path, count: int) -> list[Path]:
    """Those of the development split where they are, else crops of the examples."""
    if DATA.exists():
        file = read_captions(DATA / "captions.txt", DATA / "Images", skip_bad=True)
        return [each.path for each in split_photographs(file.photographs).dev[:count]]
    paths = [folder / f"{seed}.jpg" for seed in range(count)]
    for seed, path in enumerate(paths):
        path.write_bytes(photograph(seed))
    return paths


def in_a_process(paths: Sequence[Path]) -> list[list[object]]:
    """The captions of a new process, in which hashes of texts are others."""
    done = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS],
        input=json.dumps([str(path) for path in paths]),
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "random", "PYTHONPATH": os.getcwd()},
    )
    captions: list[list[object]] = json.loads(done.stdout)
    return captions


def variants() -> Iterator[tuple[str, Captioner, int, int]]:
    """Other ways to caption in float32: their name, captioner, batch size and readers."""
    yield "2 readers", Captioner.load(), BATCH, 2
    for engine in (name for name in PACKAGES if is_installed(name)):
        for threads in (1, 2, 4):
            captioner = Captioner.load(engine=engine, threads=threads)
            yield f"engine {engine}, threads: {threads}", captioner, BATCH, 0
        for size in (1, 7, 64):
            yield f"engine {engine}, batches of {size}", captioner, size, 0
    if has_gpu():
        for size in (1, 64):
            captioner = Captioner.load(engine="torch", device="cuda")
            yield f"engine torch on a GPU, batches of {size}", captioner, size, 0


def attacks(folder: Path, count: int = PHOTOGRAPHS) -> Iterator[Outcome]:
    """Every variant against the usual way; the same again, and in new processes, bit for bit."""
    usual, paths = Captioner.load(), photographs(folder, count)
    base = [one for one in usual.stream(paths, batch_size=BATCH) if isinstance(one, Caption)]
    comparison = Comparison(usual, paths, base)
    again = [exact(one) for one in usual.stream(paths, batch_size=BATCH)]
    yield comparison.compare_exactly("the same captioner again, bit for bit", again)
    for number in (1, 2):
        what = f"new process {number}, bit for bit"
        yield comparison.compare_exactly(what, in_a_process(paths))
    for name, captioner, size, readers in variants():
        others = list(captioner.stream(paths, batch_size=size, readers=readers))
        yield comparison.compare(name, others)
