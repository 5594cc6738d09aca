"""No output goes over an input, or over anything but a file."""

import os
from pathlib import Path

import pytest

from captioning.batch.outputs import require_output
from captioning.errors import SettingError
from captioning.files import WriteError


def test_an_input_is_refused_by_any_of_its_names(tmp_path):
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"x")
    os.symlink(photo, tmp_path / "link.jpg")
    os.link(photo, tmp_path / "hard.jpg")
    for name in ("photo.jpg", "link.jpg", "hard.jpg", "../" + tmp_path.name + "/photo.jpg"):
        with pytest.raises(SettingError, match="one of the files to be read"):
            require_output(tmp_path / name, [photo])
    with pytest.raises(SettingError, match="one of the files to be read"):
        require_output(tmp_path / "missing.jpg", [tmp_path / "missing.jpg"])
    require_output(tmp_path / "other.jpg", [photo])


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(WriteError, match="not an ordinary file"):
            require_output(path, [])


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(WriteError, match="cannot be written"):
        require_output(tmp_path / "notes.txt" / "new" / "maps.png", [])
    require_output(tmp_path / "new" / "folder" / "maps.png", [])
    assert not (tmp_path / "new").exists()
