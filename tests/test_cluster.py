"""Captioning on real Ray clusters, whose machines, processes and command are killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet

from captioning.__main__ import main
from tests.batch.slow_actors import SEEN
from tests.batch.stand_in_s3 import stand_in

ROOT = Path(__file__).resolve().parent.parent
COUNT = 120
SMALL = 100_000_000  # bytes for Ray's objects

pytestmark = pytest.mark.cluster


@pytest.fixture
def photos(tmp_path):
    """Pictures of noise in a folder, beside an empty one for what processes have seen."""
    folder = tmp_path / "photos"
    folder.mkdir()
    (tmp_path / SEEN).mkdir()
    for number in range(COUNT):
        noise = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((64, 64)).save(folder / f"{number:03}.png")
    return folder


@pytest.fixture
def cluster(monkeypatch):
    """Two raylets with a processor each; the first one has the head."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # for the processes that its machines start
    from ray.cluster_utils import Cluster

    # The agents of a dashboard are none of the command's business, and take a second each.
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "object_store_memory": SMALL, "include_dashboard": False},
    )
    cluster.second = cluster.add_node(num_cpus=1, object_store_memory=SMALL)
    session = cluster.head_node.get_session_dir_path()
    yield cluster
    cluster.shutdown()
    assert processes_of(session) == []


def processes_of(text):
    """The command lines of all processes that have a text in them."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended
            continue
        if text in line:
            lines.append(line)
    return lines


def start(tmp_path, checkpoint_path, address, *arguments, program="tests.batch.slow_actors"):
    """Start the command, slowed down, as a process in a group of its own."""
    words = [tmp_path / "photos", "--output", tmp_path / "out", "--ray", address, *arguments]
    return subprocess.Popen(
        [sys.executable, "-m", program, *map(str, words), "--model", checkpoint_path],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def finish(process, seconds=240):
    """Wait for a command; returns its status and the lines of its standard error."""
    out, err = process.communicate(timeout=seconds)
    assert out == ""
    assert "Traceback" not in err, err
    return process.returncode, err.splitlines()


def rows(tmp_path):
    """The rows of all parts, by name; none is there twice."""
    found = parquet.read_table(tmp_path / "out").to_pylist()
    by_name = {row["file"]: row for row in found}
    assert len(by_name) == len(found)
    return by_name


def wait_for(condition, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def seen(tmp_path, node=None):
    """How many pictures processes have begun, on a node."""
    return sum(node in (None, path.read_text()) for path in (tmp_path / SEEN).iterdir())


@pytest.fixture
def alone(photos, tmp_path, checkpoint_path):
    """What the folder command writes in one process, by name."""

    def alone():
        output = tmp_path / "alone.jsonl"
        main([str(photos), "--output", str(output), "--model", str(checkpoint_path)])
        lines = output.read_text(encoding="utf-8").splitlines()
        return {record["file"]: record for record in map(json.loads, lines)}

    return alone


def assert_same(found, expected):
    """The captions of one process, word for word."""
    assert found.keys() == expected.keys()
    for name, row in found.items():
        assert row["error"] is None, row
        assert row["caption"] == expected[name]["caption"]
        assert row["confidence"] == pytest.approx(expected[name]["confidence"], abs=1e-3)
        assert [w["word"] for w in row["words"]] == [w["word"] for w in expected[name]["words"]]


def test_a_machine_that_dies_in_the_middle_loses_and_doubles_nothing(
    cluster, photos, tmp_path, checkpoint_path, alone
):
    process = start(tmp_path, checkpoint_path, cluster.address)
    node = cluster.second.node_id
    wait_for(lambda: seen(tmp_path, node) >= 5, process)
    for info in cluster.second.all_processes["raylet"]:
        info.process.send_signal(signal.SIGKILL)
    assert seen(tmp_path) < COUNT  # it was in the middle
    status, err = finish(process)
    assert (status, err) == (0, [f"{tmp_path / 'out'}: {COUNT} captioned"])
    assert_same(rows(tmp_path), alone())


def test_a_picture_that_kills_its_process_gets_an_error_and_the_rest_their_captions(
    cluster, photos, tmp_path, checkpoint_path, alone
):
    killer = photos / "060-killer.png"
    (photos / "060.png").rename(killer)
    status, err = finish(start(tmp_path, checkpoint_path, cluster.address))
    assert (status, len(err)) == (2, 2)
    found = rows(tmp_path)
    dead = found.pop(killer.name)
    assert dead["caption"] is None
    assert dead["error"] == err[0]
    assert dead["error"].startswith(f"{killer.name} cannot be captioned: the process that read ")
    killer.rename(photos / "060.png")
    expected = alone()
    del expected["060.png"]
    assert_same(found, expected)
    # Another run tries it again, and nothing else.
    (photos / "060.png").rename(killer)
    status, err = finish(start(tmp_path, checkpoint_path, cluster.address, program="captioning"))
    assert (status, err) == (0, [f"{tmp_path / 'out'}: 1 captioned, {COUNT - 1} captioned before"])
    assert rows(tmp_path)[killer.name]["error"] is None


def test_a_command_that_is_killed_goes_on(cluster, photos, tmp_path, checkpoint_path, alone):
    process = start(tmp_path, checkpoint_path, cluster.address)
    wait_for(lambda: seen(tmp_path) >= 40, process)
    process.kill()
    process.communicate()
    status, _ = finish(start(tmp_path, checkpoint_path, cluster.address))
    assert status == 0
    assert_same(rows(tmp_path), alone())


def test_a_cluster_without_its_head_is_given_up(cluster, photos, tmp_path, checkpoint_path):
    process = start(tmp_path, checkpoint_path, cluster.address)
    wait_for(lambda: seen(tmp_path) >= 1, process)
    for info in cluster.head_node.all_processes["gcs_server"]:
        info.process.send_signal(signal.SIGKILL)
    status, err = finish(process, 150)
    assert (status, len(err)) == (2, 1)
    assert "no machine of the cluster is left" in err[0]


def test_ctrl_c_keeps_what_came_and_leaves_no_process(photos, tmp_path, checkpoint_path, alone):
    """To the whole group, as a terminal sends it, the daemons of a local cluster included."""
    process = start(tmp_path, checkpoint_path, "local", "--actors", 2)
    wait_for(lambda: seen(tmp_path) >= 60, process)
    os.killpg(process.pid, signal.SIGINT)
    status, err = finish(process, 60)
    assert (status, err) == (130, [f"stopped; the same command goes on with {tmp_path / 'out'}"])
    kept = rows(tmp_path)
    assert 0 < len(kept) < COUNT
    deadline = time.monotonic() + 20
    while left_over(process.pid) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left_over(process.pid) == []
    status, err = finish(start(tmp_path, checkpoint_path, "local", "--actors", 2))
    summary = f"{COUNT - len(kept)} captioned, {len(kept)} captioned before"
    assert (status, err) == (0, [f"{tmp_path / 'out'}: {summary}"])
    assert_same(rows(tmp_path), alone())


def left_over(number):
    """The processes of the Ray session that a command with this process number has started."""
    return processes_of(f"_{number}/")


def test_parquet_of_bytes_gives_the_captions_of_files(
    cluster, photos, tmp_path, checkpoint_path, alone
):
    import pyarrow

    paths = sorted(photos.iterdir())
    names = [path.name for path in paths]
    table = pyarrow.table({"file_name": names, "image": [path.read_bytes() for path in paths]})
    expected = alone()
    for path in paths:
        path.unlink()
    parquet.write_table(table.slice(0, 50), photos / "a.parquet")
    parquet.write_table(table.slice(50), photos / "b.parquet", row_group_size=16)
    process = start(tmp_path, checkpoint_path, cluster.address, program="captioning")
    status, err = finish(process)
    assert (status, err) == (0, [f"{tmp_path / 'out'}: {COUNT} captioned"])
    assert_same(rows(tmp_path), expected)


def test_what_has_changed_and_what_failed_is_captioned_again(
    cluster, photos, tmp_path, checkpoint_path, alone
):
    whole = (photos / "007.png").read_bytes()
    (photos / "007.png").write_bytes(whole[:100])
    started = start(tmp_path, checkpoint_path, cluster.address, program="captioning")
    status, err = finish(started)
    assert (status, err[-1]) == (2, f"{tmp_path / 'out'}: {COUNT - 1} captioned, 1 failed")
    (photos / "007.png").write_bytes(whole)
    (photos / "008.png").write_bytes(whole)
    again = ("--changed", "--recursive")
    started = start(tmp_path, checkpoint_path, cluster.address, *again, program="captioning")
    status, err = finish(started)
    summary = f"2 captioned, {COUNT - 2} captioned before"
    assert (status, err) == (0, [f"{tmp_path / 'out'}: {summary}"])
    assert_same(rows(tmp_path), alone())


def test_pictures_at_addresses_give_the_captions_of_files(
    cluster, photos, tmp_path, checkpoint_path, alone
):
    with stand_in({f"p/{path.name}": path.read_bytes() for path in photos.iterdir()}) as address:
        words = ["captioning", address("p"), "--output", tmp_path / "out"]
        words += ["--ray", cluster.address, "--model", checkpoint_path]
        done = subprocess.run(
            [sys.executable, "-m", *map(str, words)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert_same(rows(tmp_path), alone())


def test_a_full_disk_of_the_command_keeps_what_was_written(
    photos, tmp_path, checkpoint_path, small_disk
):
    """Of the output, which only the command writes; then there is room, and it goes on."""
    filler = small_disk / "filler"
    filler.write_bytes(bytes(1_040_000))
    words = [photos, "--output", small_disk / "out", "--ray", "local", "--model", checkpoint_path]

    def run():
        return subprocess.run(
            [sys.executable, "-m", "captioning", *map(str, words)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    done = run()
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "part-00000.parquet: it could not be written (No space left on device)" in done.stderr
    filler.unlink()
    done = run()
    assert done.returncode == 0, done.stderr
    assert len(parquet.read_table(small_disk / "out")) == COUNT
