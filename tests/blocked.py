"""Programs in processes in which some packages cannot be imported."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Python has None for a module that must not be found.
BLOCK = """
import runpy, sys
sys.modules |= dict.fromkeys(sys.argv[1].split(","))
program, *sys.argv = sys.argv[2], *sys.argv[2:]
"""
RUN = """
run = runpy.run_path if program.endswith(".py") else runpy.run_module
run(program, run_name="__main__")
"""


def start(packages, folder, program, *arguments, code=RUN):
    """Run a file or a module in a folder without these packages, or ``code`` in its place."""
    words = [",".join(packages), program, *arguments]
    return subprocess.run(
        [sys.executable, "-c", BLOCK + code, *map(str, words)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
