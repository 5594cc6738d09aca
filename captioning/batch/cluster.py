"""A Ray cluster as this command uses it: joined or started, quiet, and never waited for in vain."""

import atexit
import logging
import os
import queue
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any

from captioning.errors import CaptioningError, needed_for
from captioning.inference.threads import available_threads

LOCAL, AUTO = "local", "auto"
# Pictures travel by their names, or some megabytes of them at once.
_STORE_BYTES = 500_000_000
_CONNECT_SECONDS = 5.0
_LEAVE_SECONDS = 20.0
_LOST_SECONDS = 30.0  # without a machine that could caption
STALLED_SECONDS = 600.0  # without a single caption: far more than any block takes
_POLL_SECONDS = 1.0


class ClusterError(CaptioningError):
    """A cluster that cannot be used, or cannot any more; the message says what to do."""


def import_ray() -> Any:
    """The package ray with ray.data; raises MissingPackageError where it is not installed."""
    # It reports to its maker, unasked, unless this is said before a cluster is started.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with needed_for("--ray", "'.[ray]'"):
        import ray
        import ray.data
    return ray


@contextmanager
def joined(address: str, cpus: int | None = None) -> Iterator["Cluster"]:
    """Within it, this process is part of a cluster; afterwards nothing is left of a local one.

    ``address`` is "local" for a cluster of this machine alone, with so many processors, "auto" for
    the one that runs on this machine, or HOST:PORT. Raises ClusterError where there is none.
    """
    ray = import_ray()
    if address not in (LOCAL, AUTO):
        _require_reachable(address)
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if address == LOCAL:
        settings |= {"num_cpus": cpus or available_threads(), "include_dashboard": False}
        settings["object_store_memory"] = _STORE_BYTES
    with _quiet():
        try:
            try:
                ray.init(address=address, **settings)
            except (ConnectionError, RuntimeError, ValueError, OSError, SystemExit) as error:
                raise ClusterError(
                    f"--ray {address}: this cluster cannot be joined ({_first_line(error)}); "
                    "start one with `ray start --head`, or join it with `ray start "
                    "--address=HOST:PORT` on this machine too"
                ) from None
            yield Cluster(ray, address)
        finally:
            _leave(ray)


def _leave(ray: Any) -> None:
    """Leave the cluster; one that does not answer any more is not waited for."""
    leaving = threading.Thread(target=ray.shutdown, name="leaving", daemon=True)
    leaving.start()
    leaving.join(_LEAVE_SECONDS)
    if leaving.is_alive():
        atexit.unregister(ray.shutdown)


def _require_reachable(address: str) -> None:
    """Raise ClusterError where nobody listens: Ray itself would try for minutes."""
    try:
        _connect(address)
    except OSError as error:
        raise ClusterError(
            f"--ray {address}: this cluster cannot be reached ({error.strerror or error}); check "
            "the address and that the cluster runs"
        ) from None


def _connect(address: str) -> None:
    """Raise OSError where nobody listens at HOST:PORT."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()


@contextmanager
def _quiet() -> Iterator[None]:
    """Within it Ray prints nothing: what it has to say is in its own log files.

    Its loggers and warnings are silent. Messages of its daemons come by standard output, on which
    this command prints nothing, and those of its native code by file descriptor 2.
    """
    loggers = [logging.getLogger(name) for name in ("ray", "ray.data")]
    levels = [logger.level for logger in loggers]
    with (
        warnings.catch_warnings(),
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        redirect_stdout(nowhere),
        _standard_error_apart(nowhere.fileno()),
    ):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def _standard_error_apart(nowhere: int) -> Iterator[None]:
    """Within it ``sys.stderr`` is what it was, and file descriptor 2 leads to ``nowhere``."""
    stderr = sys.stderr
    try:
        if stderr.fileno() != 2:
            raise OSError
        copy = os.dup(2)
    except (AttributeError, OSError, ValueError):  # it is no file, or there is none
        yield
        return
    os.dup2(nowhere, 2)
    sys.stderr = open(  # noqa: SIM115 (closed below)
        copy, "w", buffering=1, encoding=stderr.encoding, errors=stderr.errors
    )
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(copy, 2)
        sys.stderr.close()
        sys.stderr = stderr


class Cluster:
    """What this command needs of Ray."""

    def __init__(self, ray: Any, address: str) -> None:
        self.ray, self.address = ray, address
        self.data = ray.data
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        # A block whose process dies twice is left out, and its pictures are tried one by one.
        context.max_errored_blocks = -1
        # One machine that dies while its processes start must not end the work.
        context.max_consecutive_actor_init_deaths = 3
        # About as many photographs as a block of names has.
        context.target_max_block_size = 8 * 1024 * 1024

    def processes(self, cpus: int, gpus: int = 0) -> int:
        """How many processes of so many processors and GPUs the living machines have room for.

        None either where the cluster's head does not answer: Ray would end this process soon.
        """
        try:
            _connect(self.ray.get_runtime_context().gcs_address)
        except OSError:
            return 0
        resources = (n["Resources"] for n in self.ray.nodes() if n["Alive"])
        return sum(
            min(
                int(each.get("CPU", 0)) // cpus,
                int(each.get("GPU", 0)) // gpus if gpus else sys.maxsize,
            )
            for each in resources
        )

    def results(self, dataset: Any, is_possible: Callable[[], bool]) -> Iterator[Any]:
        """The tables that a data set consists of, as they come.

        Raises ClusterError where ``is_possible`` has said no for some time, or nothing has come for
        very long: Ray itself would wait for machines that never come back.
        """
        tables: queue.Queue[Any] = queue.Queue(2)  # more wait in the cluster, not here
        stopped = threading.Event()
        threading.Thread(
            target=_read_tables, args=(dataset, tables, stopped), name="results", daemon=True
        ).start()
        came = possible = time.monotonic()
        try:
            while True:
                try:
                    table = tables.get(timeout=_POLL_SECONDS)
                except queue.Empty:
                    now = time.monotonic()
                    possible = now if is_possible() else possible
                    self.require_hope(now - possible, now - came)
                    continue
                if table is None:
                    return
                if isinstance(table, BaseException):
                    raise table
                came = possible = time.monotonic()
                yield table
        finally:
            stopped.set()

    def failed(self, error: BaseException) -> ClusterError:
        """What to say of an error of Ray's own."""
        lines = str(error).strip().splitlines()  # the last one is of the process that failed
        return ClusterError(
            f"--ray {self.address}: the cluster ended the work ({lines[-1] if lines else error}); "
            "check that this package is installed on every machine, then the same command goes on"
        )

    def require_hope(self, without_machines: float, without_captions: float) -> None:
        """Raise ClusterError where these seconds are too many."""
        if without_machines >= _LOST_SECONDS:
            raise ClusterError(
                f"--ray {self.address}: no machine of the cluster is left that could caption; "
                "start them again, then the same command goes on"
            )
        if without_captions >= STALLED_SECONDS:
            raise ClusterError(
                f"--ray {self.address}: no picture has been captioned in "
                f"{STALLED_SECONDS / 60:g} minutes; check whether the cluster is busy or its "
                "processes have too little memory, then the same command goes on"
            )


def _read_tables(dataset: Any, tables: "queue.Queue[Any]", stopped: threading.Event) -> None:
    """Put the tables of a data set into a queue, and then None, or what was raised."""

    def put(value: Any) -> bool:
        while not stopped.is_set():
            with suppress(queue.Full):
                tables.put(value, timeout=_POLL_SECONDS)
                return True
        return False

    try:
        for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
            if not put(table):
                return
        put(None)
    except BaseException as error:
        put(error)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")
