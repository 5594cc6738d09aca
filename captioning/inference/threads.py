"""How many threads to compute with: as many as this process may have processors."""

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

_CGROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def available_threads() -> int:
    """The processors that this process may use, at least 1.

    A container may be given fewer than the machine has, by the processors that it may run on or by
    a share of their time; more threads than that would wait for one another. OMP_NUM_THREADS, by
    which people say so to most programs that compute, can lower the number.
    """
    limits = [_processors(), *_asked(os.environ.get("OMP_NUM_THREADS", ""))]
    limits += [max(1, round(share)) for share in _shares(_CGROUPS, _OWN)]
    return max(1, min(limits))


def _processors() -> int:
    """Those that the process may run on, where the system says, else all."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _asked(value: str) -> list[int]:
    """The first of a list such as "4,2": OpenMP has a number for each level of nesting."""
    first = value.partition(",")[0].strip()
    return [int(first)] if first.isdecimal() and int(first) > 0 else []


def _shares(root: Path, own: Path) -> Iterable[float]:
    """How many processors' time the control groups of this process may use, where limited.

    Those of a group hold for all groups below it (cgroups(7)). In a container the group's path may
    be that of the host, which is not there: then the root is the container's own group.
    """
    for line in _lines(own):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:  # version 2
            for folder in _upwards(root, path):
                yield from _share(*_words(folder / "cpu.max"))
        elif "cpu" in controllers.split(","):  # version 1
            for folder in _upwards(root / "cpu", path):
                quota = _words(folder / "cpu.cfs_quota_us")
                yield from _share(*quota, *_words(folder / "cpu.cfs_period_us"))


def _upwards(root: Path, path: str) -> list[Path]:
    """The folder of a group and of those that it is in."""
    inner = PurePosixPath(path.lstrip("/"))
    return [root / part for part in (inner, *inner.parents)]


def _share(quota: str = "", period: str = "", *_: str) -> list[float]:
    """A quota of "max" or -1 is no limit."""
    return [int(quota) / int(period)] if quota.isdecimal() and period.isdecimal() else []


def _words(path: Path) -> list[str]:
    return [word for line in _lines(path) for word in line.split()]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []
