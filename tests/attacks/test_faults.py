"""The n-th operation on the files of a run fails, n = 1, 2, 3 ...: a sentence, and nothing is lost.

In processes of their own, for the disk that fails is in the C library: see failing_disk.c.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.attacks.failing_disk import compiled
from tools.attacks.small_folder import READERS

ROOT = Path(__file__).resolve().parents[2]
# Each in a process that is forked, because one has one disk.
RUN = """
import errno, json, os, sys, traceback
from pathlib import Path

from captioning.batch.folder import FolderConfig, FolderRun
from captioning.batch.sources import Listing, find
from captioning.errors import CaptioningError
from tests.batch.fakes import FakeCaptioner

place, suffix = Path(sys.argv[1]), sys.argv[2]

def caption():
    photos = find([str(place / "photos")], Listing(recursive=True, relative=True), bytes).pictures
    config = FolderConfig(place / f"out{suffix}", "m1", sidecar=suffix == ".parquet")
    return FolderRun(config, print).run(FakeCaptioner(), photos)

def in_a_child(**fault):
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.environ.update(fault)
    try:
        summary = caption()
    except (CaptioningError, OSError) as error:
        assert str(place) in str(error) and "\\n" not in str(error), error
        os._exit(2)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(3 if summary.kept.failed else 0)

statuses = []
for at in range(1, 60):
    for number in (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT):
        statuses.append(in_a_child(FAIL_AT=str(at), FAIL_WITH=str(number)))
    if statuses[-4:] == [0] * 4:
        break
print(json.dumps([statuses, in_a_child()]))
"""


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_a_folder_is_captioned_whole_after_every_failure(tmp_path, suffix):
    if shutil.which("cc") is None:
        pytest.skip("a disk that fails needs a C compiler")
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    library, place = compiled(tmp_path), tmp_path / "place"
    photos = place / "photos"
    photos.mkdir(parents=True)
    for number in range(5):
        (photos / f"{number}.jpg").write_text(f"ok dog {number}")
    environment = {"LD_PRELOAD": library, "FAIL_UNDER": place, "PYTHONPATH": ROOT}
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(place), suffix],
        env=os.environ | {name: str(value) for name, value in environment.items()},
        capture_output=True,
        text=True,
        check=True,
    )
    statuses, last = json.loads(done.stdout.splitlines()[-1])
    assert done.stderr == ""
    assert last == 0
    assert statuses.count(2) >= 8  # so often it had to stop
    assert 1 not in statuses  # and never with a traceback
    if suffix != ".jsonl":
        assert sorted(READERS[suffix](place / f"out{suffix}")) == [f"{n}.jpg" for n in range(5)]
    journal = place / ("out.jsonl" if suffix == ".jsonl" else f"out{suffix}.journal")
    assert len(journal.read_text().splitlines()) == 5
    left = [path.name for path in place.rglob(".*")]
    assert left == []
