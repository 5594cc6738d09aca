"""No run writes over what it reads, and places that cannot be written show before the work."""

import os
import subprocess
from pathlib import Path

import pytest

import main
from captioning.data.caption_files import Photograph
from captioning.errors import CaptioningError, SettingError
from captioning.files import WriteError
from captioning.training.outputs import inputs, outputs, refuse_photographs, require_outputs

INSTALLED = Path("model/shipped.pth")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def flags(*words):
    return main.parse_arguments(["--name", "mine", *map(str, words)])


def check(*words):
    require_outputs(flags(*words), INSTALLED)


def write(path):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("precious")
    return path


WRITTEN = [
    *("runs/mine/best.pth", "runs/mine/blend.pth", "runs/mine/decoder.pth"),
    *("runs/mine/decoder.resume.pth", "results/metrics/mine.jsonl", "results/plots/mine.png"),
]
READ = ["--captions", "--text", "--encoder-weights", "--default-manner", "--leave-out"]
READ += ["--data-terms"]


@pytest.mark.parametrize("flag", READ)
@pytest.mark.parametrize("path", WRITTEN)
def test_no_input_is_written_over(flag, path):
    write(path)
    images = ["--images", "."] if flag == "--captions" else []
    with pytest.raises(SettingError, match=f"^{flag} {path}: this run would write over it; copy"):
        check(flag, path, *images)
    assert Path(path).read_text() == "precious"


def test_every_flag_that_names_a_file_to_read_is_known():
    """By the parser: a flag of a file that is only read has the metavar FILE."""
    named = {a.option_strings[0] for a in main.build_parser()._actions if a.metavar == "FILE"}
    given = flags(
        *(word for flag in sorted(named - {"--init", "--captions"}) for word in (flag, "a.txt"))
    )
    assert {flag for flag, _ in inputs(given)} == named - {"--init"}


@pytest.mark.parametrize("link", ["symbolic", "hard", "folder", "roundabout"])
def test_an_input_is_known_by_whatever_path(folder, link):
    best = write("runs/mine/best.pth")
    path = folder / "start.pth"
    if link == "symbolic":
        path.symlink_to(best)
    elif link == "hard":
        os.link(best, path)
    elif link == "folder":
        (folder / "other").symlink_to(folder / "runs" / "mine")
        path = folder / "other" / "best.pth"
    else:
        path = Path("runs/../runs/./mine/best.pth")
    with pytest.raises(SettingError, match="would write over it"):
        check("--init", path)


def test_a_model_is_not_replaced_by_what_was_made_from_it():
    write(INSTALLED)
    with pytest.raises(SettingError) as error:
        check("--init", INSTALLED, "--install")
    assert str(error.value) == (
        f"--init {INSTALLED}: --install would write over it; leave out --install, and copy "
        "runs/mine/best.pth there when the run has ended"
    )
    check("--init", INSTALLED)
    check("--install")
    write("runs/other/best.pth")
    check("--init", "runs/other/best.pth", "--install")
    assert INSTALLED.read_text() == "precious"


def test_what_a_stage_does_not_write_may_be_read():
    write("runs/mine/refine.pth")
    check("--stage", "decoder", "--encoder-weights", "runs/mine/refine.pth")
    with pytest.raises(SettingError, match="would write over it"):
        check("--stage", "refine", "--encoder-weights", "runs/mine/refine.pth")


def test_the_blend_writes_no_records():
    written = {str(path) for path in outputs(flags("--stage", "blend"))}
    assert written == {"runs/mine/best.pth", "runs/mine/blend.pth"}


@pytest.mark.parametrize("place", ["runs", "results", "cache", "runs/mine", "results/plots"])
def test_a_file_in_the_place_of_a_folder_shows_before_the_work(place):
    write(place)
    with pytest.raises(WriteError, match=rf"because {place} cannot \(Not a directory\)"):
        check()
    assert Path(place).read_text() == "precious"


def test_a_place_to_install_to_is_checked_where_it_is_used():
    write("model")
    check()
    with pytest.raises(WriteError, match="because model cannot"):
        check("--install")


@pytest.mark.parametrize("kind", ["a named pipe", "a folder", "a device"])
def test_anything_but_an_ordinary_file_in_the_place_of_an_output_is_refused(kind):
    path = Path("results/plots/mine.png")
    path.parent.mkdir(parents=True)
    if kind == "a named pipe":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    else:
        path.symlink_to(os.devnull)
    with pytest.raises(WriteError, match=f"this is {kind} and not an ordinary file"):
        check()


def test_a_read_only_disk_shows_before_the_work(small_disk):
    Path("results").symlink_to(small_disk)
    check()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(CaptioningError, match=r"\(Read-only file system\)"):
        check()


def test_checking_leaves_no_file_and_no_folder(folder):
    check("--install")
    assert os.listdir(folder) == []


def test_photographs_are_not_written_over():
    plot = write("results/plots/mine.png")
    photographs = [Photograph(name, plot.with_name(name), ("a",)) for name in ("x.png", "mine.png")]
    with pytest.raises(SettingError, match=r"mine\.png: this run would write over this photograph"):
        refuse_photographs(photographs, flags())
    refuse_photographs(photographs[:1], flags())
    other = Photograph("mine.png", Path("photos/mine.png"), ("a",))
    refuse_photographs([other], flags())
