"""The command with processes that take their time, say what they have seen, and may die.

python -m tests.batch.slow_actors ARGUMENTS OF THE COMMAND
"""

import os
import signal
import sys
import time
from pathlib import Path

import ray

from captioning.__main__ import main
from captioning.batch.cluster_actor import CaptionActor
from captioning.batch.cluster_run import ClusterRun

KILLER = "killer"  # in the name of a picture whose reader ends its own process
SEEN = "seen"  # beside the folder of the pictures: a file for each that a process began
SECONDS = 0.05  # for each picture


class Killer:
    """A picture whose reader sends SIGKILL to its own process."""

    def read(self):
        os.kill(os.getpid(), signal.SIGKILL)


class SlowActor(CaptionActor):
    """Sleeps at each picture, and notes on which node it was."""

    def stream(self, pictures):
        killers = [p._replace(source=Killer()) if KILLER in p.name else p for p in pictures]
        return super().stream(killers)

    def record(self, picture, result, stamp):
        time.sleep(SECONDS)
        seen = Path(picture.source).parent.parent / SEEN
        (seen / picture.name).write_text(ray.get_runtime_context().get_node_id())
        return super().record(picture, result, stamp)


if __name__ == "__main__":
    from tests.batch import slow_actors  # by its name, as the cluster's processes import it

    ClusterRun.actor = slow_actors.SlowActor
    sys.exit(main())
