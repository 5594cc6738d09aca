"""The number of threads follows the processors that a process may use, in containers too."""

import os

import pytest

from captioning.inference import threads
from captioning.inference.threads import available_threads


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine of eight processors, whose control groups are files that a test writes."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(threads, "_CGROUPS", tmp_path / "groups")
    monkeypatch.setattr(threads, "_OWN", tmp_path / "own")

    def write(own, **limits):
        (tmp_path / "own").write_text(own)
        for path, text in limits.items():
            file = tmp_path / "groups" / path.replace("__", "/").replace("DOT", ".")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    return write


def test_all_processors_are_used_where_nothing_limits_them(machine):
    assert available_threads() == 8
    machine("0::/\n", cpuDOTmax="max 100000\n")
    assert available_threads() == 8


def test_only_processors_that_the_process_may_run_on_count(machine, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5}, raising=False)
    assert available_threads() == 2


def test_a_system_without_affinity_has_its_processors(machine, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert available_threads() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_threads() == 1


@pytest.mark.parametrize(
    ("quota", "expected"), [("200000 100000", 2), ("50000 100000", 1), ("150000 50000", 3)]
)
def test_a_share_of_time_in_version_2_is_a_number_of_processors(machine, quota, expected):
    machine("0::/\n", cpuDOTmax=quota)
    assert available_threads() == expected


def test_the_least_of_the_groups_above_counts(machine):
    limits = {"a__bDOTslice__cpuDOTmax": "max 100000", "a__cpuDOTmax": "300000 100000"}
    machine("0::/a/b.slice\n", **limits, cpuDOTmax="500000 100000")
    assert available_threads() == 3


def test_a_group_of_the_host_that_is_not_there_leaves_the_root(machine):
    machine("0::/docker/1234\n", cpuDOTmax="400000 100000")
    assert available_threads() == 4


@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("250000", 2)])
def test_a_share_of_time_in_version_1_counts_too(machine, quota, expected):
    own = "12:memory:/x\n4:cpu,cpuacct:/x\n"
    limits = {"cpu__x__cpuDOTcfs_quota_us": quota, "cpu__x__cpuDOTcfs_period_us": "100000"}
    machine(own, **limits)
    assert available_threads() == expected


@pytest.mark.parametrize(
    ("value", "expected"), [("3", 3), ("2,1", 2), ("99", 8), ("0", 8), ("many", 8), ("", 8)]
)
def test_people_may_ask_for_fewer(machine, monkeypatch, value, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert available_threads() == expected


@pytest.mark.parametrize("text", ["", "nonsense", "0::", "0::/\n\n::", "\x00"])
def test_files_that_cannot_be_understood_limit_nothing(machine, text):
    machine(text, cpuDOTmax="max")
    assert available_threads() == 8
