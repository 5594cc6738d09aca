"""METEOR 1.5, by its authors' program, where the optional package and Java are installed.

Nothing else is called METEOR here: the reimplementations in circulation give other numbers. Java
matches words, stems, synonyms and paraphrases, and gives the counts of each image; the score of the
summed counts is computed here, as the program does, so that it can be resampled.
"""

import importlib.util
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from captioning.evaluation.uncertainty import Array, Statistic

MISSING_PACKAGE = "METEOR is not measured: it needs the package pycocoevalcap, and Java"
MISSING_JAVA = "METEOR is not measured: there is no Java on this machine"

# The program's parameters for English (Denkowski and Lavie 2014, table 1, task "rank").
_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
_WEIGHTS = (1.0, 0.6, 0.8, 0.6)  # of exact, stem, synonym and paraphrase matches
_CHUNKS, _CANDIDATE_MATCHES, _REFERENCE_MATCHES = 20, 21, 22  # columns


def why_not() -> str | None:
    """One sentence on why METEOR cannot be measured here; None where it can."""
    if importlib.util.find_spec("pycocoevalcap") is None:
        return MISSING_PACKAGE
    return MISSING_JAVA if shutil.which("java") is None else None


def meteor(
    candidates: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]
) -> Statistic:
    """METEOR 1.5 of a corpus, x100 (Denkowski and Lavie 2014), of coco-caption's tokens.

    Call it only where ``why_not`` is None. Raises OSError when Java does not answer.
    """
    lines = [
        " ||| ".join(["SCORE", *(" ".join(tokens) for tokens in texts), " ".join(candidate)])
        for candidate, texts in zip(candidates, references, strict=True)
    ]
    rows = np.array([line.split() for line in _ask(lines)], dtype=np.float64)  # (B, 23)
    # As in the program: a caption that equals its reference has one chunk and is not fragmented.
    perfect = (rows[:, 0] == rows[:, _CANDIDATE_MATCHES]) & (
        rows[:, 1] == rows[:, _REFERENCE_MATCHES]
    )
    rows[perfect & (rows[:, _CHUNKS] == 1), _CHUNKS] = 0
    return Statistic(rows, lambda sums: 100 * _score(sums))


def _ask(lines: list[str]) -> list[str]:
    """The counts that the program gives for each line."""
    package = importlib.util.find_spec("pycocoevalcap")
    assert package is not None
    assert package.submodule_search_locations is not None
    folder = Path(package.submodule_search_locations[0]) / "meteor"
    command = ["java", "-Xmx2G", "-jar", "meteor-1.5.jar", "-", "-", "-stdio", "-l", "en", "-norm"]
    done = subprocess.run(
        command, cwd=folder, input="\n".join(lines) + "\n", capture_output=True, encoding="utf-8"
    )
    answers = done.stdout.splitlines()
    if len(answers) != len(lines):
        reason = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise OSError(f"METEOR's program failed: {reason}")
    return answers


def _score(sums: Array) -> Array:
    """Sums of counts (R, 23) to METEOR (R,), 0 to 1."""
    lengths, function_words = sums[:, 0:2], sums[:, 2:4]  # (R, 2): of candidate, of reference
    weighted = _DELTA * (lengths - function_words) + (1 - _DELTA) * function_words
    matched = np.zeros_like(weighted)
    for kind, weight in enumerate(_WEIGHTS):
        start = 4 + 4 * kind
        content, function = sums[:, start : start + 2], sums[:, start + 2 : start + 4]
        matched += weight * (_DELTA * content + (1 - _DELTA) * function)
    precision, recall = _divide(matched, weighted).T
    harmonic = _divide(precision * recall, _ALPHA * precision + (1 - _ALPHA) * recall)
    matches = (sums[:, _CANDIDATE_MATCHES] + sums[:, _REFERENCE_MATCHES]) / 2
    fragments = _divide(sums[:, _CHUNKS], matches)
    score: Array = harmonic * (1 - _GAMMA * fragments**_BETA)
    return score


def _divide(numerator: Array, denominator: Array) -> Array:
    zero = np.zeros_like(numerator)
    return np.divide(numerator, denominator, out=zero, where=denominator != 0)
