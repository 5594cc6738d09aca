"""Captions in photographs: Pillow reads them back; all else is as it was, also after failures."""

import errno
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageSequence, IptcImagePlugin

from captioning.batch import metadata
from captioning.batch.exiftool import ExifTool, ExifToolError
from captioning.batch.metadata import MetadataError, MetadataWriter, write_caption

EXIFTOOL = shutil.which("exiftool")
pytestmark = pytest.mark.skipif(EXIFTOOL is None, reason="exiftool is not installed")

TEXT = "A dog runs."
XMP_ONLY = ("png", "webp", "gif", "avif")
BOTH = ("jpg", "tif", "jp2", "mpo")
DC, RDF = "{http://purl.org/dc/elements/1.1/}", "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
CAPTION, CHARSET = (2, 120), (1, 90)  # of IPTC
UTF8 = b"\x1b%G"
# What changes with every writing, and what exiftool derives from the file.
VOLATILE = (
    *("SourceFile", "System:", "ExifTool:", "File:CurrentIPTCDigest", "IFD0:StripOffsets"),
    *("File:FileType", "RIFF:WebP_Flags"),  # whether a WebP has metadata
)
OURS = ("IPTC:Caption-Abstract", "XMP-dc:Description")
CREATED = (
    *("IPTC:CodedCharacterSet", "IPTC:EnvelopeRecordVersion", "IPTC:ApplicationRecordVersion"),
    "XMP-x:XMPToolkit",
)


def photograph(path, frames=1, seed=0):
    """A small picture of noise, of the kind that its name says."""
    noise = np.random.default_rng(seed).integers(0, 256, (frames, 20, 30, 3), dtype=np.uint8)
    first, *more = [Image.fromarray(pixels) for pixels in noise]
    if frames > 1:
        first.save(path, save_all=True, append_images=more)
    else:
        first.save(path)
    return path


@pytest.fixture
def photo(tmp_path):
    return photograph(tmp_path / "photo.jpg")


@pytest.fixture(scope="module")
def writer():
    with MetadataWriter() as running:
        yield running


def tag(path, *assignments):
    """Let exiftool write tags, in a process of its own."""
    command = [EXIFTOOL, "-config", "", "-q", "-overwrite_original", *assignments, str(path)]
    subprocess.run(command, check=True)


@pytest.fixture(scope="module")
def reader():
    with ExifTool() as running:
        yield running


def tags(reader, path):
    """All that exiftool reads, without what changes of itself."""
    read = json.loads(reader.run("-json", "-G1", "-a", "-b", "-q", "-q", str(path)))[0]
    return {name: value for name, value in read.items() if not name.startswith(VOLATILE)}


def xmp_description(path):
    """The description of XMP, found by Pillow and Python's XML parser: by language."""
    with Image.open(path) as image:
        image.load()
        packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
        packet = packet or getattr(image, "tag_v2", {}).get(700)
    if packet is None:  # of JPEG 2000, in which Pillow does not look
        content = Path(path).read_bytes()
        packet = content[content.index(b"<x:xmpmeta") : content.index(b"</x:xmpmeta>") + 12]
    packet = packet.encode() if isinstance(packet, str) else packet
    tree = ElementTree.fromstring(packet.strip(b"\0").decode().partition("<?xpacket end")[0])
    items = tree.iterfind(f".//{DC}description/{RDF}Alt/{RDF}li")
    return {item.get("{http://www.w3.org/XML/1998/namespace}lang"): item.text for item in items}


def iptc(path):
    """The fields of IPTC as Pillow reads them."""
    with Image.open(path) as image:
        return IptcImagePlugin.getiptcinfo(image) or {}


def frames(path):
    with Image.open(path) as image:
        return [np.asarray(frame.copy()) for frame in ImageSequence.Iterator(image)]


# What is written ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*XMP_ONLY, *BOTH])
def test_another_program_reads_the_caption_and_the_same_pixels(tmp_path, writer, kind):
    path = photograph(tmp_path / f"photo.{kind}", frames=1 if kind in ("jpg", "jp2") else 2)
    before = frames(path)
    text = "A café: “two dogs” & <a man>"
    assert writer.write(path, text)
    assert xmp_description(path) == {"x-default": text}
    if kind in ("jpg", "tif", "mpo"):
        assert iptc(path)[CAPTION] == text.encode()
        assert iptc(path)[CHARSET] == UTF8
    assert all(np.array_equal(*pair) for pair in zip(before, frames(path), strict=True))
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("kind", ["jpg", "png", "tif", "webp"])
@settings(
    deadline=None,
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    text=st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=60)
    .map(lambda text: " ".join(text.split()))
    .filter(bool),
    others=st.sets(
        st.sampled_from(
            [
                "-EXIF:Artist=A. Person",
                "-EXIF:ImageDescription=SONY DSC",
                "-EXIF:Orientation#=6",
                "-EXIF:GPSLatitude=48.1",
                "-IPTC:By-line=José",
                "-IPTC:Keywords=beach",
                "-XMP-dc:Title=Our house",
                "-XMP-dc:Subject=sand",
                "-XMP-xmp:Rating=4",
                "-Comment=by hand",
            ]
        )
    ),
)
def test_nothing_but_the_caption_changes(tmp_path, writer, reader, kind, text, others):
    path = photograph(tmp_path / f"photo.{kind}")
    if others:
        reader.run("-q", "-q", "-m", "-overwrite_original", *sorted(others), str(path))
    before = tags(reader, path)
    assert writer.write(path, text)
    after = tags(reader, path)
    assert xmp_description(path) == {"x-default": text}
    if kind in ("jpg", "tif"):
        assert iptc(path)[CAPTION].decode() == text
    assert {name for name in after if name not in before} <= {*OURS, *CREATED}
    assert {name: after[name] for name in before} == before


def test_iptc_in_latin_1_stays_readable_beside_a_caption_that_is_not(photo):
    tag(photo, "-charset", "iptc=latin1", "-IPTC:By-line=José", "-IPTC:City=Zürich")
    assert CHARSET not in iptc(photo)
    assert write_caption(photo, "写真")
    fields = iptc(photo)
    assert fields[CHARSET] == UTF8
    assert fields[CAPTION].decode() == "写真"
    assert (fields[2, 80].decode(), fields[2, 90].decode()) == ("José", "Zürich")


def test_iptc_in_latin_1_is_not_touched_for_a_caption_in_ascii(photo):
    tag(photo, "-charset", "iptc=latin1", "-IPTC:By-line=José")
    assert write_caption(photo, TEXT)
    assert iptc(photo)[2, 80] == "José".encode("latin-1")
    assert CHARSET not in iptc(photo)
    assert iptc(photo)[CAPTION] == TEXT.encode()


@pytest.mark.parametrize("text", ["-execute", "#[CSTR]x", "a\nb\r\n-delete_original!", "<x", "-"])
def test_a_caption_is_never_an_option(photo, writer, text):
    assert writer.write(photo, text)
    assert xmp_description(photo) == {"x-default": " ".join(text.split())}


# What is there already ------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["-IPTC:Caption-Abstract", "-XMP-dc:Description"])
def test_an_existing_caption_is_kept_unless_asked(photo, field):
    tag(photo, f"{field}=By a person")
    before = photo.read_bytes()
    assert not write_caption(photo, TEXT)
    assert photo.read_bytes() == before
    assert write_caption(photo, TEXT, overwrite=True)
    assert xmp_description(photo) == {"x-default": TEXT}
    assert iptc(photo)[CAPTION] == TEXT.encode()


def test_a_description_in_another_language_is_a_caption_too(photo):
    tag(photo, "-XMP-dc:Description-de=Ein Hund")
    assert not write_caption(photo, TEXT)
    assert write_caption(photo, TEXT, overwrite=True)
    assert xmp_description(photo)["x-default"] == TEXT


def test_what_cameras_write_is_no_caption(photo):
    tag(photo, "-EXIF:ImageDescription=OLYMPUS DIGITAL CAMERA", "-IPTC:Caption-Abstract=  ")
    assert write_caption(photo, TEXT)


def test_writing_twice_changes_nothing_more(photo):
    assert write_caption(photo, TEXT)
    before = photo.read_bytes()
    assert write_caption(photo, TEXT)
    assert photo.read_bytes() == before


# The file -------------------------------------------------------------------------------------


def test_time_and_permissions_stay(photo):
    photo.chmod(0o640)
    os.utime(photo, ns=(10**18, 10**18 + 7))
    if os.geteuid() == 0:
        os.chown(photo, 1234, 2345)
    before = photo.stat()
    assert write_caption(photo, TEXT)
    after = photo.stat()
    assert stat.S_IMODE(after.st_mode) == 0o640
    assert after.st_mtime_ns == before.st_mtime_ns
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)


def test_a_symbolic_link_stays_one(photo, tmp_path):
    link = tmp_path / "link.jpg"
    link.symlink_to("photo.jpg")
    assert write_caption(link, TEXT)
    assert link.is_symlink()
    assert xmp_description(photo) == {"x-default": TEXT}


@pytest.mark.parametrize(
    "name",
    [
        *(b"-dash.jpg", b"-execute", b"new\nline.jpg", b"latin1\xe9.jpg", b"caf\xc3\xa9.jpg"),
        *(b"a: b.jpg", b"@args.jpg", b"%d%f.jpg", b"#hash.jpg", b'quote".jpg', b"back\\slash.jpg"),
        *(b"trailing .jpg ", b"no suffix", b"wrong.png", b"x" * 240 + b".jpg"),
    ],
)
def test_any_file_name(tmp_path, writer, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = Path(os.fsdecode(name))
    photograph(Path("photo.jpg")).rename(path)
    assert writer.write(path, TEXT)
    assert xmp_description(path) == {"x-default": TEXT}
    assert os.listdir() == [os.fsdecode(name)]


def test_many_photographs_start_exiftool_once(tmp_path):
    program = script(tmp_path, f'echo started >> {tmp_path}/log\nexec {EXIFTOOL} "$@"')
    (tmp_path / "photos").mkdir()
    with MetadataWriter(program=program) as writer:
        for index in range(10):
            assert writer.write(photograph(tmp_path / "photos" / f"{index}.jpg"), TEXT)
    assert (tmp_path / "log").read_text().count("started") == 1


# What goes wrong ------------------------------------------------------------------------------


def script(folder, body):
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def untouched(photo):
    """Check that a photograph is as it was, and alone but for the script."""
    content, state = photo.read_bytes(), photo.stat()
    yield photo
    assert photo.read_bytes() == content
    assert photo.stat().st_mtime_ns == state.st_mtime_ns
    assert photo.stat().st_ino == state.st_ino
    assert set(os.listdir(photo.parent)) <= {"photo.jpg", "program"}


def test_a_kind_without_captions_is_refused(tmp_path, writer):
    path = photograph(tmp_path / "photo.bmp")
    before = path.read_bytes()
    with pytest.raises(MetadataError, match=r"photo\.bmp cannot hold a caption: .*BMP"):
        writer.write(path, TEXT)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["photo.bmp"]


@pytest.mark.parametrize("content", [b"", b"no photograph", b"\xff\xd8\xff\xe0 half"])
def test_what_is_no_photograph_is_refused(tmp_path, writer, content):
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(MetadataError, match=r"photo\.jpg"):
        writer.write(path, TEXT)
    assert path.read_bytes() == content


def test_missing_files_and_folders_are_named(tmp_path, writer):
    with pytest.raises(MetadataError, match=r"none\.jpg does not exist"):
        writer.write(tmp_path / "none.jpg", TEXT)
    with pytest.raises(MetadataError, match="not an ordinary file"):
        writer.write(tmp_path, TEXT)


@pytest.mark.parametrize("text", ["", " \n", "\0"])
def test_an_empty_caption_would_delete_one(untouched, writer, text):
    with pytest.raises(MetadataError, match="no caption to write"):
        writer.write(untouched, text)


def test_a_read_only_photograph_is_left_alone(untouched, writer):
    untouched.chmod(0o444)
    with pytest.raises(MetadataError, match="read-only: change its permissions"):
        writer.write(untouched, TEXT)


def test_without_exiftool_it_says_how_to_get_it(untouched):
    with (
        pytest.raises(ExifToolError, match="apt install libimage-exiftool-perl"),
        MetadataWriter(program="no-such-program"),
    ):
        raise AssertionError("it is said before the work")


def test_a_hung_exiftool_is_given_up(untouched):
    program = script(untouched.parent, "exec sleep 60")
    start = time.monotonic()
    with (
        MetadataWriter(timeout=0.3, program=program) as writer,
        pytest.raises(ExifToolError, match=r"did not answer within 0\.3 seconds"),
    ):
        writer.write(untouched, TEXT)
    assert time.monotonic() - start < 10


def test_an_exiftool_that_ends_is_reported_and_started_again(untouched, tmp_path):
    program = script(untouched.parent, "echo out of memory; exit 1")
    with MetadataWriter(program=program) as writer:
        for _ in range(2):
            with pytest.raises(ExifToolError, match="ended unexpectedly"):
                writer.write(untouched, TEXT)


def test_after_a_failure_the_next_photograph_is_written(tmp_path, writer):
    (tmp_path / "bad.jpg").write_bytes(b"no photograph")
    with pytest.raises(MetadataError):
        writer.write(tmp_path / "bad.jpg", TEXT)
    assert writer.write(photograph(tmp_path / "good.jpg"), TEXT)


def test_changed_pixels_are_noticed(untouched, writer, monkeypatch):
    def add(self, copy, *_):
        with Image.open(copy) as image:
            pixels = image.copy()
        pixels.putpixel((3, 2), (0, 255, 0))
        pixels.save(copy, quality=100)

    monkeypatch.setattr(MetadataWriter, "_add", add)
    with pytest.raises(MetadataError, match="pixels would change"):
        writer.write(untouched, TEXT)


@pytest.mark.parametrize("kind", ["tif", "gif", "webp", "mpo", "avif"])
def test_every_frame_is_compared(tmp_path, kind):
    path = photograph(tmp_path / f"photo.{kind}", frames=2)
    assert len(metadata._pixels(path, "photo")) == 2


@pytest.mark.parametrize("frame", [0, 1])
def test_one_pixel_of_one_frame_counts(tmp_path, frame):
    noise = np.random.default_rng(0).integers(0, 256, (2, 200, 30, 3), dtype=np.uint8)
    digests = []
    for _ in range(2):
        first, second = (Image.fromarray(pixels) for pixels in noise)
        first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
        digests.append(metadata._pixels(tmp_path / "a.tif", "a"))
        noise[frame, 199, 29, 0] ^= 1
    assert digests[0][frame] != digests[1][frame]
    assert digests[0][1 - frame] == digests[1][1 - frame]


def test_a_full_disk_is_one_sentence(untouched, writer, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MetadataError, match=r"left as it is \(No space left on device\)"):
        writer.write(untouched, TEXT)


def test_what_another_program_writes_meanwhile_is_not_lost(photo, writer, monkeypatch):
    add = MetadataWriter._add

    def slowly(self, *arguments):
        add(self, *arguments)
        photo.write_bytes(photo.read_bytes() + b"changed")

    monkeypatch.setattr(MetadataWriter, "_add", slowly)
    with pytest.raises(MetadataError, match="changed by another program"):
        writer.write(photo, TEXT)
    assert photo.read_bytes().endswith(b"changed")
    assert os.listdir(photo.parent) == ["photo.jpg"]


def test_an_argument_of_two_lines_is_refused():
    with ExifTool() as program, pytest.raises(ValueError, match="one line"):
        program.run("-ver\n-delete_original!")


def test_an_interrupted_command_leaves_no_answer_for_the_next(monkeypatch):
    with ExifTool() as program:
        program.run("-ver")

        def interrupt(**_):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(program, "_lines", type("Lines", (), {"get": staticmethod(interrupt)})())
            with pytest.raises(KeyboardInterrupt):
                program.run("-ver")
        assert program.run("-ver").strip().replace(".", "").isdigit()


# A captioner that is killed ---------------------------------------------------------------------

KILLED = """
import sys, time
from captioning.batch.exiftool import ExifTool
with ExifTool() as program:
    print(program.run("-ver"), program._process.pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_exiftool_ends_with_a_captioner_that_is_killed(number):
    """By itself it waits for ever for more input."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True, env=environment
    )
    group = int((process.stdout.readline() + process.stdout.readline()).split()[-1])
    assert is_running(group)
    process.send_signal(number)
    process.communicate()
    until = time.monotonic() + 20
    while is_running(group) and time.monotonic() < until:
        time.sleep(0.05)
    assert not is_running(group)


def is_running(group):
    """Whether there is a process of this group."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_caption_that_a_killed_run_has_written_counts_as_written(photo, writer):
    assert writer.write(photo, TEXT)
    before = photo.read_bytes()
    assert writer.write(photo, f"  {TEXT} ")
    assert not writer.write(photo, "Another caption.")
    assert photo.read_bytes() == before
