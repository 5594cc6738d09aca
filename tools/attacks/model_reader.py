"""Reads model files that it is given by name, one a line, and says of each what came of it.

Nothing else is imported before, so that what reading one takes can be told, and PyTorch where it
should not be needed.
"""

import contextlib
import hashlib
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import IO, Any


def _read_all(kind: str, lines: IO[str]) -> None:
    read = {"checkpoint": _checkpoint, "encoder": _encoder, "resume": _resume, "ranges": _ranges}
    if kind in ("encoder", "resume"):
        import torch  # noqa: F401 (so that no answer is of importing it)
    for line in lines:
        before = _start_to_measure()
        started, error, content = time.perf_counter(), None, ""
        try:
            content = read[kind](Path(line.rstrip("\n")))
        except Exception as caught:
            error = caught
        seconds = time.perf_counter() - started
        answer = _answer(error, seconds, _memory("VmHWM") - before) | {"content": content}
        print(json.dumps(answer), flush=True)


def _answer(error: Exception | None, seconds: float, memory: int) -> dict[str, Any]:
    from captioning.errors import CaptioningError

    return {
        "error": type(error).__name__ if error else "",
        "is_ours": isinstance(error, CaptioningError),
        "message": str(error) if error else "",
        "seconds": seconds,
        "memory": memory,
        "has_torch": "torch" in sys.modules,
    }


def _start_to_measure() -> int:
    """Forget the most memory that this process has held; returns what it holds now, in bytes."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _memory("VmRSS")


def _memory(name: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = [line for line in status.splitlines() if line.startswith(f"{name}:")]
    return int(line.split()[1]) * 1024


def _checkpoint(path: Path) -> str:
    from captioning.network.checkpoint import Checkpoint

    checkpoint = Checkpoint.load(path)
    digest = hashlib.sha256()
    for name, weight in sorted(checkpoint.weights.items()):
        digest.update(f"{name} {weight.dtype} {weight.shape}".encode() + weight.tobytes())
    digest.update(repr(replace(checkpoint, weights={})).encode())
    return digest.hexdigest()


def _encoder(path: Path) -> str:
    from captioning.network.pretrained import pretrained_encoder

    return pretrained_encoder(path).source


def _resume(path: Path) -> str:
    import torch

    from captioning.training.resume import ResumeFile, Stateful

    layer = torch.nn.Linear(3, 2)
    parts: dict[str, Stateful] = {
        "network": layer,
        "optimizer": torch.optim.AdamW(layer.parameters()),
    }
    return repr(ResumeFile(path, parts, {"origin": "this"}, every=0.0).restore())


def _ranges(path: Path) -> str:
    from captioning.inference.engines import ranges_of
    from captioning.network.checkpoint import Checkpoint

    return repr(ranges_of(path, Checkpoint.load(path)))


if __name__ == "__main__":
    _read_all(sys.argv[1], sys.stdin)
