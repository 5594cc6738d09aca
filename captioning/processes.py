"""The processes of one training that ``torchrun`` has started: which this is, what they share.

Without ``torchrun`` there is a single process, in which every function here does the obvious, and
PyTorch is not even imported. All collectives go through gloo, on processors, so that they work
whatever the network is on; gradients have a group of their own, ``gradient_group``. The processes
are those of one machine, with one folder.
"""

import contextlib
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from captioning.errors import CaptioningError, SettingError, needed_for
from captioning.interrupts import INTERRUPTED, ending_at_once

if TYPE_CHECKING:
    from torch import Tensor

Value = TypeVar("Value")

# One process may encode for hours while others wait; torchrun itself notices one that has ended.
_PATIENCE = timedelta(days=1)
# What gloo and NCCL say, in a RuntimeError, of a process that is not there any more.
_LOST = re.compile(r"gloo|connection (was )?(closed|reset|refused)|broken pipe|nccl", re.I)
_TIME_TO_NOTICE = 15  # seconds; half of what torchrun gives the others
_SIGNALS = (signal.SIGINT, signal.SIGTERM)  # Ctrl-C; how torchrun ends the others


class LostProcessError(CaptioningError):
    """Another process of the training has ended; the message says what to do."""

    def __init__(self) -> None:
        super().__init__(
            "a process of the training has ended, most likely for want of memory; the same "
            "command resumes the run from the state that was saved last"
        )


@dataclass
class _Run:
    """What this process knows of the others; ``store`` is what torchrun hosts for all."""

    store: Any
    pids: list[int] = field(default_factory=list)
    gradients: Any = None  # the group of GPUs


_run: _Run | None = None  # of this process: there is one torch.distributed in it


def count() -> int:
    """How many processes there are."""
    return _distributed().get_world_size() if _run else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return _distributed().get_rank() if _run else 0


def is_first() -> bool:
    """Whether this is the process that writes and prints for all."""
    return rank() == 0


def share(items: Sequence[Value]) -> Sequence[Value]:
    """Every so many-th of the items: those that this process works on."""
    return items[rank() :: count()]


def total(values: "Tensor") -> "Tensor":
    """The sum of a tensor over all processes, in each of them; on a processor.

    Raises LostProcessError where a process has ended, as do all functions here that ask others.
    """
    values = values.detach().cpu()
    if _run:
        values = values.clone()
        with _noticing_loss():
            _distributed().all_reduce(values)
    return values


def gather(value: Value) -> list[Value]:
    """What each process gives, by rank, in each of them."""
    values = [value] * count()
    if _run:
        with _noticing_loss():
            _distributed().all_gather_object(values, value)
    return values


def interleave(own: Sequence[Value]) -> list[Value]:
    """What all processes have made of their ``share`` of some items, in the order of the items."""
    parts = gather(own)
    longest = max(map(len, parts))
    return [part[index] for index in range(longest) for part in parts if index < len(part)]


def broadcast(value: Value) -> Value:
    """What the first process gives, in each of them."""
    values = [value]
    if _run:
        with _noticing_loss():
            _distributed().broadcast_object_list(values)
    return values[0]


def any_of(flag: bool) -> bool:
    """Whether it is so in any process."""
    if not _run:
        return flag
    import torch

    return bool(total(torch.tensor(float(flag))))


def wait() -> None:
    """Wait until all processes are here."""
    if _run:
        with _noticing_loss():
            _distributed().barrier()


@contextmanager
def first_alone() -> Iterator[None]:
    """Within it is the first process alone, then the others: they find what it has cached."""
    if not is_first():
        wait()
    yield
    if is_first():
        wait()


@contextmanager
def first_speaks() -> Iterator[None]:
    """Within it the other processes print nothing."""
    if is_first():
        yield
        return
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


def device_of(device: str) -> str:
    """The device of this process, where ``device`` is the one that a single process would take.

    Each takes a GPU of its own. Raises SettingError where there are fewer.
    """
    if not _run or not device.startswith("cuda"):
        return device
    import torch

    here, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    wanted = int(os.environ["LOCAL_WORLD_SIZE"])
    if device != "cuda":
        raise SettingError(
            f"--device {device} is a single GPU, and each of {wanted} processes needs its own; "
            "give --device cuda"
        )
    if there < wanted:
        raise SettingError(
            f"there are fewer GPUs ({there}) than processes ({wanted}); give --nproc-per-node "
            f"{there}, or --device cpu"
        )
    torch.cuda.set_device(here)
    return f"cuda:{here}"


def gradient_group(device: str) -> Any:
    """The group that adds up gradients on a ``device``, "cpu" or "cuda"; all must ask for it."""
    assert _run
    if device != "cuda":
        return _distributed().group.WORLD
    if _run.gradients is None:
        _run.gradients = _distributed().new_group(backend="nccl", timeout=_PATIENCE)
    return _run.gradients


@contextmanager
def joined() -> Iterator[None]:
    """Within it the processes that torchrun has started are one run, and speak with one voice.

    Whichever of them first has an error to report reports it; the others exit with the same status
    and without a word, and so they do on Ctrl-C. The first Ctrl-C or SIGTERM raises
    KeyboardInterrupt, later ones nothing. Raises LostProcessError where a process has ended. In a
    single process nothing changes.
    """
    global _run
    if "TORCHELASTIC_RUN_ID" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield
        return
    # Or each process would be told what costs time, and is so on purpose: see ``terms.costs_of``.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    with ending_at_once(), needed_for("training", "'.[train]'"):
        import torch.distributed  # noqa: F401

        _run = _Run(_connect())
    _handle(_stop)
    try:
        with _one_voice():
            _run.pids = gather(os.getpid())
            threading.Thread(target=_watch, daemon=True).start()
            try:
                yield
            except SystemExit:  # of wrong flags, which are wrong in all of them
                wait()
                raise
            wait()
    finally:
        _handle(signal.SIG_IGN)  # it ends now, and says why
        with contextlib.suppress(Exception):
            _run.store.set(f"left {rank()}", "")


def _connect() -> Any:
    """Join the other processes; returns what torchrun hosts for all."""
    from torch.distributed.rendezvous import rendezvous

    with _noticing_loss():
        store, own, size = next(rendezvous("env://", timeout=_PATIENCE))
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        store = _distributed().PrefixStore(f"captioning {attempt}", store)
        _distributed().init_process_group(
            "gloo", store=store, rank=own, world_size=size, timeout=_PATIENCE
        )
    return store


def _watch() -> None:
    """End this process where another has ended, and what it waits for never comes.

    A signal handler of Python must wait for what it interrupts, and NCCL for the other's gradients.
    """
    while not has_lost():
        time.sleep(1)
    time.sleep(_TIME_TO_NOTICE)
    if _has_the_word():
        print(f"main.py: {LostProcessError()}", file=sys.stderr, flush=True)
    os._exit(1)


@contextmanager
def _one_voice() -> Iterator[None]:
    """Within it an error is raised in one process and ends the others without a word."""
    status = 1
    try:
        try:
            yield
        except KeyboardInterrupt:
            if has_lost():
                raise LostProcessError from None
            status = INTERRUPTED
            raise
        except RuntimeError as error:  # that gradients could not be added up, for example
            if not _is_loss(error):
                raise
            raise LostProcessError from error
    except SystemExit:
        raise
    except BaseException:
        if not _has_the_word():
            raise SystemExit(status) from None
        raise


def _has_the_word() -> bool:
    """Whether this process is the first that asks, and is to tell what has happened."""
    assert _run
    try:
        return bool(_run.store.add("told", 1) == 1)
    except Exception:  # torchrun itself has ended
        return is_first()


@contextmanager
def deferring() -> Iterator[threading.Event]:
    """Within it Ctrl-C and SIGTERM only set the event that is yielded, however often they come.

    Raises LostProcessError at once where the reason is that another process has ended.
    """
    requested = threading.Event()

    def note(*_: object) -> None:
        if has_lost():
            raise LostProcessError
        requested.set()

    before = [signal.getsignal(each) for each in _SIGNALS]
    _handle(note)
    try:
        yield requested
    finally:
        for each, handler in zip(_SIGNALS, before, strict=True):
            signal.signal(each, handler)


def has_lost() -> bool:
    """Whether another process has ended without having said so."""
    if not _run or int(os.environ.get("GROUP_WORLD_SIZE", "1")) > 1:  # of other machines
        return False
    gone = [number for number, pid in enumerate(_run.pids) if not _is_there(pid)]
    try:
        return any(not _run.store.check([f"left {number}"]) for number in gone)
    except Exception:
        return bool(gone)


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _is_loss(error: RuntimeError) -> bool:
    """Whether an error says that another process has ended: by its text, for it has no class.

    What is not implemented, by gloo for example, is a defect and keeps its traceback.
    """
    return not isinstance(error, NotImplementedError) and bool(_LOST.search(str(error)))


@contextmanager
def _noticing_loss() -> Iterator[None]:
    """Within it the failure of what all processes do together is a LostProcessError."""
    try:
        yield
    except RuntimeError as error:
        raise LostProcessError from error


def _stop(*_: object) -> None:
    _handle(signal.SIG_IGN)
    raise KeyboardInterrupt


def _handle(handler: Callable[..., object] | signal.Handlers) -> None:
    for each in _SIGNALS:
        signal.signal(each, handler)


def _distributed() -> Any:
    return sys.modules["torch.distributed"]
