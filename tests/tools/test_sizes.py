"""tools.sizes: what is counted, and that the README has the figures of the last measurement."""

import json
import os

import pytest

from captioning.errors import CaptioningError
from tools import sizes
from tools.marks import marks, with_part
from tools.sizes import RESULT, SET_UPS, allocated, section

BEGIN, END = marks("sizes")
CONTENT = json.loads(RESULT.read_text(encoding="utf-8"))
MEASURED = {"megabytes": 1234, "of these the model": 94, "seconds": 56}


def test_each_file_is_counted_once_by_what_it_takes_on_the_disk(tmp_path):
    (tmp_path / "folder").mkdir()
    empty = allocated(tmp_path)
    (tmp_path / "folder" / "file").write_bytes(b"1" * 100_001)
    os.sync()
    grown = allocated(tmp_path) - empty
    assert 100_001 <= grown < 120_000
    os.link(tmp_path / "folder" / "file", tmp_path / "again")
    (tmp_path / "link").symlink_to(tmp_path / "folder" / "file")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert allocated(tmp_path) - empty < grown + 20_000


def test_the_readme_has_what_was_measured():
    readme = sizes.README.read_text(encoding="utf-8")
    assert with_part(readme, "sizes", section(CONTENT)) == readme
    assert {"empty", "base", "app", "openvino"} <= set(CONTENT["set-ups"]) <= set(SET_UPS)


def test_the_aim_is_named_with_by_how_much_it_was_missed():
    content = CONTENT | {"set-ups": {"base": MEASURED}}
    assert "misses that by 974, and 94 of its 1,234 MB" in " ".join(section(content).split())
    content = CONTENT | {"set-ups": {"base": MEASURED | {"megabytes": 260}}}
    assert "keeps to that, and 94 of its 260 MB" in " ".join(section(content).split())


def test_a_readme_without_marks_is_refused():
    with pytest.raises(CaptioningError, match="put them back"):
        with_part(f"{BEGIN}", "sizes", "")
    assert with_part(f"a{BEGIN}b{END}c", "sizes", "d") == f"a{BEGIN}\n\nd\n\n{END}c"


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """An empty README, and set-ups that cost nothing to measure."""
    monkeypatch.setattr(sizes, "README", tmp_path / "README.md")
    monkeypatch.setattr(sizes, "RESULT", tmp_path / "sizes.json")
    (tmp_path / "README.md").write_text(f"{BEGIN}{END}")
    calls = []
    monkeypatch.setattr(sizes, "measure", lambda name: calls.append(name) or MEASURED)
    return tmp_path, calls


def test_what_is_not_asked_for_keeps_its_figures(desk, capsys):
    folder, calls = desk
    assert sizes.main([]) == 0
    assert calls == list(SET_UPS)
    assert sizes.main(["app"]) == 0
    assert calls == [*SET_UPS, "app"]
    measured = json.loads((folder / "sizes.json").read_text())["set-ups"]
    assert measured == dict.fromkeys(SET_UPS, MEASURED)
    row = "| `pip install '.[app]'` | captions, the app, pictures of maps | 1,234 | 94 | 56 |"
    assert row in (folder / "README.md").read_text()
    assert row in capsys.readouterr().out


def test_a_set_up_that_there_is_not_gets_usage(desk, capsys):
    with pytest.raises(SystemExit, match="2"):
        sizes.main(["small"])
    assert "choose from empty, base" in capsys.readouterr().err
