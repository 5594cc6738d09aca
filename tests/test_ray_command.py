"""The command on a cluster of this machine: what it writes and says, and what it refuses."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet

from captioning.batch import cluster
from captioning.batch.cluster import Cluster, ClusterError
from tests.blocked import start

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for number in range(20):
        noise = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        inside = "sub/" if number % 4 == 0 else ""
        Image.fromarray(noise).resize((64, 64)).save(folder / f"{inside}{number:02}.png")
    (folder / "cut.png").write_bytes((folder / "01.png").read_bytes()[:100])
    return folder


def test_a_folder_becomes_parts_that_a_second_run_goes_on_with(
    photos, tmp_path, checkpoint_path, captioner
):
    output = tmp_path / "out"

    def run(*more):
        words = [sys.executable, "-m", "captioning", photos, "--output", output, "--ray", "local"]
        done = subprocess.run(
            [*map(str, words), "--model", str(checkpoint_path), *more],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.stdout == ""
        return done.returncode, done.stderr.splitlines()

    status, err = run()
    assert status == 2
    assert err[0].startswith(f"{photos}/cut.png")
    assert err[1:] == [
        f"{output}: 15 captioned, 1 failed",
        "left out: 1 sub-folder (--recursive reads them)",
    ]
    rows = {row["file"]: row for row in parquet.read_table(output).to_pylist()}
    assert rows.pop("cut.png")["error"] == err[0]
    assert {name: row["caption"] for name, row in rows.items()} == {
        name: captioner(photos / name).text for name in sorted(rows)
    }
    (photos / "cut.png").unlink()
    # Without anything to do, no cluster is started.
    began = time.monotonic()
    left = "left out: 1 sub-folder (--recursive reads them)"
    assert run() == (0, [f"{output}: 0 captioned, 15 captioned before", left])
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--ray", "local"], "--ray writes a folder: give --output FOLDER too"),
        (["--ray", "nonsense", "--output", "o"], "--ray takes local, auto or HOST:PORT, not nons"),
        (["--ray", "ray://a:1", "--output", "o"], "--ray takes local, auto or HOST:PORT"),
        (["--ray", "", "--output", "o"], "--ray takes local, auto or HOST:PORT"),
        (["--actors", "2", "--output", "o.csv"], "are of a cluster: give --ray ADDRESS too"),
        (["--ray", "local", "--output", "o", "--actors", "0"], "are at least 1"),
        (["--ray", "local", "--output", "o", "--sidecar"], "--ray writes a folder of Parquet"),
        (["--ray", "local", "--output", "o", "--embed"], "leave --json, --maps, --attention"),
        (["--ray", "local", "--output", "o", "--maps"], "--ray writes a folder of Parquet files"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(
    cli, photos, tmp_path, monkeypatch, arguments, reason
):
    monkeypatch.chdir(tmp_path)
    status, out, err = cli(photos, *arguments)
    assert (status, out) == (2, [])
    assert reason in err[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


def test_a_cluster_that_cannot_be_reached_is_one_sentence_within_seconds(cli, photos, tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # it does not listen
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        began = time.monotonic()
        status, out, err = cli(photos, "--output", tmp_path / "out", "--ray", address)
    assert time.monotonic() - began < 20
    assert (status, out, len(err)) == (2, [], 1)
    assert err[0].startswith(f"--ray {address}: this cluster cannot be reached (")


def test_a_folder_that_does_not_exist_is_an_error_row_and_a_pattern_a_sentence(
    cli, tmp_path, monkeypatch
):
    status, _, err = cli(tmp_path / "no*", "--output", tmp_path / "out", "--ray", "local")
    assert (status, len(err)) == (2, 1)
    assert "no file matches this pattern" in err[0]
    assert not (tmp_path / "out").exists()


def test_without_ray_a_sentence_says_what_to_install(photos, tmp_path):
    done = start(
        ["ray"], tmp_path, "captioning", photos, "--output", tmp_path / "out", "--ray", "local"
    )
    assert done.returncode == 2
    assert done.stderr == "--ray needs Ray, which is not installed: pip install '.[ray]'\n"


def test_the_command_line_imports_no_ray(tmp_path):
    code = "import captioning.batch.command, captioning.batch.cluster_run, sys\n"
    code += "assert 'ray' not in sys.modules and 'pyarrow' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_ray_does_not_report_to_its_maker():
    """Asked of Ray itself, in a process that has read nothing else."""
    code = (
        "from captioning.batch.cluster import import_ray; import_ray()\n"
        "from ray._common.usage import usage_lib\n"
        "assert not usage_lib.usage_stats_enabled()"
    )
    environment = {name: v for name, v in os.environ.items() if name != "RAY_USAGE_STATS_ENABLED"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


# Waiting for what does not come -------------------------------------------------------------------


class Forever:
    """A data set of which nothing ever comes."""

    def iter_batches(self, **_):
        time.sleep(3600)
        yield


@pytest.fixture
def waiting(monkeypatch):
    """A cluster without Ray."""
    monkeypatch.setattr(cluster, "_POLL_SECONDS", 0.02)
    waiting = object.__new__(Cluster)
    waiting.address = "head:6379"
    return waiting


def test_a_cluster_whose_machines_are_all_lost_is_given_up(waiting, monkeypatch):
    monkeypatch.setattr(cluster, "_LOST_SECONDS", 0.1)
    with pytest.raises(ClusterError, match="no machine of the cluster is left"):
        list(waiting.results(Forever(), lambda: False))


def test_a_cluster_that_captions_nothing_is_given_up(waiting, monkeypatch):
    monkeypatch.setattr(cluster, "STALLED_SECONDS", 0.1)
    with pytest.raises(ClusterError, match="no picture has been captioned in "):
        list(waiting.results(Forever(), lambda: True))


def test_what_comes_and_what_is_raised_come_in_their_order(waiting):
    class Some:
        def iter_batches(self, **_):
            yield from "abc"
            raise OSError("no more")

    seen = []

    def read():
        for one in waiting.results(Some(), lambda: True):
            seen.append(one)

    with pytest.raises(OSError, match="no more"):
        read()
    assert seen == ["a", "b", "c"]


def test_loading_is_not_needed_where_the_model_is_missing(cli, photos, tmp_path):
    status, _, err = cli(
        photos, "--output", tmp_path / "out", "--ray", "local", model=tmp_path / "typo.pth"
    )
    assert (status, len(err)) == (2, 1)
    assert "typo.pth: there is no such" in err[0]
