"""Memory that is freed goes back to the system, where it has the GNU C library."""

import platform
import subprocess
import sys

import pytest

from tests.blocked import ROOT

# Twenty threads in turn hold and free many blocks, and a small one after each, which stays.
HOLD = """
import sys, threading
from captioning.app.memory import return_what_is_freed
if sys.argv[1] == "return":
    assert return_what_is_freed()
kept = []
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
def hold():
    blocks = []
    for _ in range(8):
        blocks.append(b"1" * 16 * 2**20)
        kept.append(b"1" * 5000)
    del blocks
before = resident()
for _ in range(3):
    threads = [threading.Thread(target=hold) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this system has another C library")
def test_threads_keep_nothing_of_what_they_freed():
    grown = {}
    for how in ("keep", "return"):
        command = [sys.executable, "-c", HOLD, how]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        grown[how] = int(done.stdout)
    assert grown["return"] < 40_000_000
    assert grown["keep"] > 2 * grown["return"]
