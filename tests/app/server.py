"""Starts the app's command in another folder and asks whether it is healthy."""

import os
import subprocess
import time
import urllib.error
import urllib.request

SECONDS = 60  # ample, for a machine that does other things too


def health(command, port, folder, **environment):
    """The answer of the app's health address, when ``command`` starts it in ``folder``."""
    with subprocess.Popen(command, cwd=folder, env=os.environ | environment) as process:
        try:
            return _answer(f"http://localhost:{port}/_stcore/health", process)
        finally:
            process.kill()


def _answer(address, process):
    deadline = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(address, timeout=5) as reply:
                return reply.read().decode()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    return f"no answer; exit status {process.poll()}"
