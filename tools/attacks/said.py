"""What a program says when it stops: one sentence for people."""

from pathlib import Path


def require_sentence(said: str, program: str = "") -> None:
    """Check that a program ended with a sentence for people, and no traceback."""
    last = said.strip().splitlines()[-1:] or [""]
    assert "Traceback" not in said, f"a traceback: {said[-500:]}"
    assert last[0].removeprefix(program) not in ("", last[0] if program else ""), (
        f"said {last[0]!r}"
    )


class Log:
    """What a process adds to a log."""

    def __init__(self, path: Path) -> None:
        self.path, self.before = path, path.stat().st_size if path.exists() else 0

    def said(self) -> str:
        """All that was added since."""
        return self.path.read_bytes()[self.before :].decode()
