"""No output goes over an input, or over anything but a file."""

import os
from pathlib import Path

import pytest

from captioning.batch.outputs import require_writable
from captioning.errors import SettingError


def test_an_input_is_refused_by_any_of_its_names(tmp_path):
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"x")
    os.symlink(photo, tmp_path / "link.jpg")
    os.link(photo, tmp_path / "hard.jpg")
    for name in ("photo.jpg", "link.jpg", "hard.jpg", "../" + tmp_path.name + "/photo.jpg"):
        with pytest.raises(SettingError, match="one of the files to be read"):
            require_writable(tmp_path / name, [photo])
    with pytest.raises(SettingError, match="one of the files to be read"):
        require_writable(tmp_path / "missing.jpg", [tmp_path / "missing.jpg"])
    require_writable(tmp_path / "other.jpg", [photo])


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(SettingError, match="not an ordinary file"):
            require_writable(path, [])


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(SettingError, match="no folder to write in"):
        require_writable(tmp_path / "notes.txt" / "new" / "maps.png", [])
    require_writable(tmp_path / "new" / "folder" / "maps.png", [])


def test_a_folder_without_the_right_to_write_is_refused(tmp_path, monkeypatch):
    if os.geteuid() == 0:  # to root everything is allowed
        monkeypatch.setattr(os, "access", lambda path, mode: False)
    os.chmod(tmp_path, 0o500)
    with pytest.raises(SettingError, match="nothing may be written there"):
        require_writable(tmp_path / "maps.png", [])
