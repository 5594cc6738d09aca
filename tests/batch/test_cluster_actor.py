"""The process that captions, without a cluster: its rows, and what it makes of every error."""

import shutil
from dataclasses import replace

import numpy as np
import pyarrow
import pytest
from PIL import Image

from captioning.batch import cluster_actor
from captioning.batch.caption_parts import parts_schema
from captioning.batch.cluster_actor import STOP, ActorConfig, CaptionActor
from captioning.batch.cluster_run import _LEAST_ROWS, _MOST_ROWS, ClusterConfig, ClusterRun
from captioning.batch.cluster_sources import Item
from captioning.batch.folder import Stamp
from captioning.batch.parquet_sources import picture_table
from captioning.inference.captioner import Captioner
from captioning.inference.engine_config import EngineConfig
from captioning.inference.export import as_record
from captioning.network.checkpoint import file_hash
from tests.batch.stand_in_s3 import stand_in


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Five pictures of noise, of which the third is damaged."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(5):
        noise = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((64, 64)).save(folder / f"{number}.png")
    (folder / "2.png").write_bytes((folder / "2.png").read_bytes()[:100])
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def config(checkpoint_path):
    digest = file_hash(checkpoint_path)[:12]
    return ActorConfig(checkpoint_path, digest, EngineConfig(threads=1))


@pytest.fixture(scope="module")
def actor(config):
    return CaptionActor(config)


def by_path(photos):
    names = [path.name for path in photos]
    return picture_table(names, store=[""] * len(names), path=[str(path) for path in photos])


def expected(captioner, photos):
    """What the captioner says itself, None for what it cannot read."""
    results = captioner.stream(photos)
    return [getattr(result, "text", None) for result in results]


def test_rows_are_in_order_and_have_captions_or_errors(actor, photos, captioner):
    table = actor(by_path(photos))
    assert table.schema.names == [*parts_schema().names, STOP]
    rows = table.to_pylist()
    assert [row["file"] for row in rows] == [path.name for path in photos]
    assert [row["caption"] for row in rows] == expected(captioner, photos)
    assert str(photos[2]) in rows[2]["error"]
    assert [row["error"] for row in rows].count(None) == 4
    for row, path in zip(rows, photos, strict=True):
        assert row[STOP] is None
        if row["caption"]:
            record = as_record(captioner(path))
            words = [{k: w[k] for k in ("word", "probability", "x", "y")} for w in row["words"]]
            assert [word["word"] for word in words] == [w["word"] for w in record["words"]]
            assert row["model"] == actor.config.digest
            assert Stamp(row["bytes"], row["modified"]) == Stamp.of(str(path))


def test_bytes_and_addresses_give_the_same_captions(actor, photos, captioner):
    contents = [path.read_bytes() for path in photos]
    names = [path.name for path in photos]
    rows = actor(picture_table(names, contents)).to_pylist()
    assert [row["caption"] for row in rows] == expected(captioner, photos)
    assert rows[2]["error"].startswith("2.png ")
    assert rows[0]["bytes"] is None
    with stand_in({f"p/{n}": content for n, content in zip(names, contents, strict=True)}) as at:
        stores, paths = [at("p")] * 6, [f"bucket/p/{name}" for name in [*names, "gone.png"]]
        rows = actor(picture_table([*names, "gone.png"], store=stores, path=paths)).to_pylist()
    assert [row["caption"] for row in rows[:5]] == expected(captioner, photos)
    assert rows[2]["error"].startswith("2.png ")
    assert rows[5]["error"] == "gone.png does not exist: check the address."
    assert rows[0]["bytes"] == len(contents[0])


def test_a_table_without_rows_gives_one(actor):
    assert len(actor(by_path([]))) == 0


@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device"), MemoryError(), ValueError("a defect\nof ours")],
)
def test_whatever_is_raised_for_a_picture_is_its_error_alone(
    actor, photos, captioner, monkeypatch, error
):
    load = Captioner._load

    def broken(self, photo, settings):
        if str(photo) == str(photos[1]):
            raise error
        return load(self, photo, settings)

    monkeypatch.setattr(Captioner, "_load", broken)
    rows = actor(by_path(photos)).to_pylist()
    monkeypatch.undo()
    found = expected(captioner, photos)
    found[1] = None
    assert [row["caption"] for row in rows] == found
    assert rows[1]["error"].startswith("1.png could not be captioned (")
    assert type(error).__name__ in rows[1]["error"]
    assert "\n" not in rows[1]["error"]


def test_another_model_than_the_commands_stops_the_work(config, photos, tmp_path):
    rows = CaptionActor(replace(config, digest="0" * 12))(by_path(photos)).to_pylist()
    assert len(rows) == 1
    assert f"{config.model}: this is another model" in rows[0][STOP]
    rows = CaptionActor(replace(config, model=tmp_path / "no.pth"))(by_path(photos)).to_pylist()
    assert "no.pth: there is no such" in rows[0][STOP]
    assert rows[0][STOP].startswith("on the machine ")


def test_a_process_uses_its_share_of_threads(config, photos, monkeypatch):
    asked = []
    stream = Captioner.stream

    def spy(self, *arguments, **settings):
        asked.append(settings["readers"])
        return stream(self, *arguments, **settings)

    monkeypatch.setattr(Captioner, "stream", spy)
    actor = CaptionActor(replace(config, running=EngineConfig(threads=3)))
    actor(by_path(photos[:1]))
    assert asked == [3]


def test_evidence_comes_with_the_words(config, photos):
    rows = CaptionActor(replace(config, evidence=True))(by_path(photos[:1])).to_pylist()
    assert all(word["evidence"]["nats"] is not None for word in rows[0]["words"])


def test_the_shipped_model_is_that_of_each_machine(photos, tmp_path, config, monkeypatch):
    """A command on one machine must not name a path that another does not have."""
    copy = shutil.copy(config.model, tmp_path / "copy.pth")
    monkeypatch.setattr(cluster_actor, "SHIPPED_MODEL", copy)
    rows = CaptionActor(replace(config, model=None))(by_path(photos[:1])).to_pylist()
    assert rows[0]["caption"]


# Blocks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("actors", [1, 2, 100])
@pytest.mark.parametrize("count", [1, 15, 16, 17, 200, 5000])
def test_blocks_hold_all_pictures_in_order_and_none_is_large(config, tmp_path, actors, count):
    run = ClusterRun(ClusterConfig("local", tmp_path, config), print)
    run.actors = actors
    blocks = run.blocks([Item(str(number), f"/{number}") for number in range(count)])
    joined = pyarrow.concat_tables(blocks)
    assert joined["name"].to_pylist() == [str(number) for number in range(count)]
    assert joined["path"].to_pylist() == [f"/{number}".encode() for number in range(count)]
    sizes = [len(block) for block in blocks]
    assert max(sizes) <= _MOST_ROWS
    assert min(sizes[:-1], default=_LEAST_ROWS) >= _LEAST_ROWS


def test_millions_of_pictures_are_some_thousand_blocks(config, tmp_path, monkeypatch):
    monkeypatch.setattr("captioning.batch.cluster_run._MOST_BLOCKS", 10)
    run = ClusterRun(ClusterConfig("local", tmp_path, config), print)
    run.actors = 2
    blocks = run.blocks([Item(str(number), "") for number in range(5001)])
    assert len(blocks) == 10
