"""tools.timing: ratios of two pieces of work, and the peak memory of a command."""

import sys
import time

import pytest

from tools.timing import compare, peak_memory


def test_a_ratio_is_the_median_of_pairs_timed_in_turn(capsys):
    turns = []

    def work(name, duration):
        def run():
            turns.append(name)
            time.sleep(duration)

        return run

    ratio = compare("ours / theirs", work("ours", 0.02), work("theirs", 0.01), pairs=5)
    assert turns == ["ours", "theirs"] * 6  # once to warm up
    assert 1.2 < ratio.low <= ratio.ratio <= ratio.high < 3
    assert "ours / theirs" in capsys.readouterr().out


def test_peak_memory_is_that_of_the_command_alone():
    needs = [[sys.executable, "-c", f"x = b'1' * {size} * 10**6"] for size in (1, 201)]
    small, large = map(peak_memory, needs)
    assert 180 < large - small < 220
    assert small < 100


def test_a_command_that_fails_is_said():
    with pytest.raises(ValueError, match="status"):
        peak_memory([sys.executable, "-c", "raise SystemExit(3)"])
