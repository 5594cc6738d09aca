"""The program exiftool, kept running: it takes a fifth of a second to start."""

import os
import queue
import shutil
import signal
import subprocess
import threading
from contextlib import suppress
from typing import IO, Self

from captioning.errors import CaptioningError

# With a number it is printed even where an argument asks for silence.
_EXECUTE, _END = "-execute1", "{ready1}"
# At the end of its input exiftool waits for more, for ever, so it is told to end by a shell that
# outlives a captioner which is killed; and all end with exiftool. Windows has no such shell.
_FEED = '{ cat; printf "%s\\n" -stay_open False; } 2>/dev/null | { "$@"; kill -KILL 0; }'
_UNTIL_WE_END = ["sh", "-c", _FEED, "sh"] if os.name == "posix" else []


class ExifToolError(CaptioningError):
    """exiftool is missing, does not answer or has ended; the message says what to do."""


class ExifTool:
    """One exiftool process, started with the first command; a context manager that ends it.

    A command that takes more than ``timeout`` seconds ends the process, and the next one starts
    another. For one thread at a time.
    """

    def __init__(self, timeout: float = 60.0, program: str = "exiftool") -> None:
        self._timeout = timeout
        self._program = program
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process; nothing that it writes is lost, since no command is under way."""
        if self._process is not None:
            if hasattr(os, "killpg"):
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
            self._process.wait()
            if self._process.stdin is not None:
                with suppress(OSError):  # what it had not taken in
                    self._process.stdin.close()
            self._process = None

    def run(self, *arguments: str) -> str:
        """What exiftool prints, errors and warnings included.

        Each argument is a line for exiftool, so none may hold a line break. Raises ExifToolError.
        """
        if any("\n" in argument or "\r" in argument for argument in arguments):
            raise ValueError("an argument of exiftool is one line")
        if self._process is None or self._process.poll() is not None:
            self._start()
        try:
            return self._answer(arguments)
        except BaseException:  # Ctrl-C too: the next command must not read this one's answer
            self.close()
            raise

    def require(self) -> str:
        """Where exiftool is; raises ExifToolError where it is missing."""
        found = shutil.which(self._program)
        if found is None:
            raise ExifToolError(
                "exiftool is needed to write captions into photographs and is not installed: "
                "install it (Debian: apt install libimage-exiftool-perl, macOS: brew install "
                "exiftool, others: https://exiftool.org)."
            )
        return found

    def _start(self) -> None:
        found = self.require()
        self.close()
        # Without a configuration of the user's, which may be any program in Perl.
        command = [found, "-config", "", "-stay_open", "True", "-@", "-"]
        command += ["-common_args", "-charset", "utf8", "-charset", "filename=utf8"]
        self._process = subprocess.Popen(
            [*_UNTIL_WE_END, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="surrogateescape",
            env=os.environ | {"LC_ALL": "C"},  # or Perl complains of languages that it lacks
            start_new_session=True,  # to end exiftool and the shell before it as one
        )
        self._lines = queue.SimpleQueue()
        # A thread, because Windows cannot wait for a pipe and a clock at once.
        threading.Thread(
            target=_pass_on, args=(self._process.stdout, self._lines), daemon=True
        ).start()

    def _answer(self, arguments: tuple[str, ...]) -> str:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("\n".join([*arguments, _EXECUTE, ""]))
            self._process.stdin.flush()
        except OSError as error:
            raise _ended() from error
        answer: list[str] = []
        while True:
            try:
                line = self._lines.get(timeout=self._timeout)
            except queue.Empty as error:
                raise ExifToolError(
                    f"exiftool did not answer within {self._timeout:g} seconds: look at the file "
                    "with another program, or leave it out."
                ) from error
            if line is None:
                raise _ended()
            if line.rstrip().endswith(_END):
                return "".join([*answer, line.rstrip().removesuffix(_END)])
            answer.append(line)


def _pass_on(output: IO[str], lines: "queue.SimpleQueue[str | None]") -> None:
    """Put each line in a queue, and None at the end."""
    with output:
        for line in output:
            lines.put(line)
    lines.put(None)


def _ended() -> ExifToolError:
    return ExifToolError("exiftool ended unexpectedly: run it by hand to see why (exiftool -ver).")
