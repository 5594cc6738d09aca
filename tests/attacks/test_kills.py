"""Real processes of the folder command, killed in a small number; trainings: test_resume.py."""

import random
import shutil
import signal

import pytest

from tools.attacks.killing import Killer
from tools.attacks.kills import kill_folder
from tools.attacks.small_folder import SmallFolder


def test_the_folder_command_killed_ends_as_one_left_alone(tmp_path, checkpoint_path):
    mode = "embed" if shutil.which("exiftool") else "sidecar"  # the former has sidecars too
    small = SmallFolder(tmp_path, mode, checkpoint_path, count=8)
    expected = small.finish("alone")
    signals = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
    killer = Killer(2.5, signals, random.Random(3))
    for _ in range(5):  # a quick machine may be done before
        kill_folder(small, expected, killer, 3)
        if killer.kills:
            return
    pytest.fail("the command ended five times before it was killed")


def test_the_check_notices_a_file_that_differs(tmp_path, checkpoint_path):
    small = SmallFolder(tmp_path, "maps", checkpoint_path, count=2)
    expected = small.finish("alone") | {"photos/00.jpg.txt": "a caption that is lost"}
    with pytest.raises(AssertionError, match=r"other files .*00\.jpg\.txt"):
        kill_folder(small, expected, Killer(60.0), 1)
