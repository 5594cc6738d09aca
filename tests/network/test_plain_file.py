"""What torch.save wrote is read as torch.load reads it, and nothing else is."""

import contextlib
import io
import os
import pickle
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.network.checkpoint import SHIPPED_MODEL, Checkpoint, CheckpointError
from captioning.network.plain_file import ChangedFileError, NoArray, PlainFileError, read_plain

ROOT = Path(__file__).resolve().parents[2]
KINDS = (
    *(torch.float16, torch.float32, torch.float64, torch.complex64, torch.bool),
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "plain.pth"


@pytest.fixture(scope="module")
def shared_path(tmp_path_factory):
    """One path for all the examples of a property."""
    return tmp_path_factory.mktemp("property") / "plain.pth"


def same(read, expected):
    """Whether what was read is what torch reads, tensors as arrays of the same type."""
    if isinstance(expected, torch.Tensor):
        array = expected.numpy()
        kinds = (read.dtype, read.shape) == (array.dtype, array.shape)
        return kinds and read.tobytes() == array.tobytes()  # NaN too
    if isinstance(expected, dict):
        return list(read) == list(expected) and all(same(read[n], expected[n]) for n in read)
    if isinstance(expected, list | tuple):
        pairs = zip(read, expected, strict=True)
        return type(read) is type(expected) and all(same(*pair) for pair in pairs)
    return type(read) is type(expected) and repr(read) == repr(expected)


def assert_as_torch(path):
    read = read_plain(path)
    assert same(read, torch.load(path, weights_only=True))
    return read


def refused(path):
    """The reason; reading takes no more memory than a few files of this size."""
    size = os.path.getsize(path)
    tracemalloc.start()
    with pytest.raises(PlainFileError) as caught:
        read_plain(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50 * size + 1_000_000
    return str(caught.value)


# What is read ------------------------------------------------------------------------------------


@st.composite
def tensors(draw):
    """Tensors of any type and layout: slices, steps, transposed, repeated, of no numbers."""
    kind = draw(st.sampled_from(KINDS))
    shape = draw(st.lists(st.integers(0, 5), max_size=4))
    tensor = torch.randint(-9, 9, shape, generator=torch.manual_seed(len(shape))).to(kind)
    for dimension in range(tensor.ndim):
        size = tensor.shape[dimension]
        start, step = draw(st.integers(0, size)), draw(st.integers(1, 3))
        index = [slice(None)] * tensor.ndim
        index[dimension] = slice(start if draw(st.booleans()) else 0, None, step)
        tensor = tensor[tuple(index)]
    if draw(st.booleans()):
        tensor = tensor.permute(draw(st.permutations(range(tensor.ndim))))
    if draw(st.booleans()):
        tensor = tensor.unsqueeze(0).expand(3, *tensor.shape)
    return tensor


SCALARS = st.one_of(
    *(st.none(), st.booleans(), st.floats(), st.text(max_size=300)),
    *(st.integers(), st.sampled_from([255, 256, 65535, 65536, -1, 2**31, -(2**31), 10**400])),
)
KEYS = st.one_of(st.text(max_size=5), st.integers(), st.booleans(), st.none())
CONTENT = st.recursive(
    st.one_of(SCALARS, tensors()),
    lambda inside: st.one_of(
        st.lists(inside, max_size=4),
        st.lists(inside, max_size=5).map(tuple),
        st.dictionaries(KEYS, inside, max_size=4),
        st.dictionaries(KEYS, inside, max_size=4).map(OrderedDict),
        inside.map(lambda value: [value, value]),
    ),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None, database=None)
@given(CONTENT)
def test_any_content_is_read_as_torch_reads_it(shared_path, content):
    torch.save(content, shared_path)
    assert_as_torch(shared_path)


def test_long_lists_and_tables_are_read(path):
    """The pickle writes them in parts."""
    words = [f"word {number}" for number in range(70_000)]
    torch.save({"words": words, "ids": {word: n for n, word in enumerate(words)}}, path)
    assert_as_torch(path)


def test_the_model_that_ships_is_read_whole():
    assert_as_torch(SHIPPED_MODEL)


def test_views_of_one_storage_share_its_memory(path):
    whole = torch.arange(12.0).view(3, 4)
    torch.save([whole, whole[1], whole.t()[2:]], path)
    whole, row, turned = assert_as_torch(path)
    whole[1, 2] = 100
    assert row[2] == turned[0, 1] == 100
    assert np.shares_memory(whole, row)


def test_the_arrays_are_the_only_copy_of_the_file(path):
    torch.save([torch.zeros(2**20), torch.zeros(2**20)], path)
    tracemalloc.start()
    content = read_plain(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < sum(array.nbytes for array in content) + 500_000


def test_the_folder_in_the_archive_may_have_any_name(tmp_path):
    for name in ("other.pth", "two.dots.pt", "café"):
        torch.save({"a": torch.arange(3)}, tmp_path / name)
        assert_as_torch(tmp_path / name)
    stream = io.BytesIO()
    torch.save({"a": torch.arange(3)}, stream)  # whose folder is "archive"
    (tmp_path / "stream").write_bytes(stream.getvalue())
    assert_as_torch(tmp_path / "stream")


def test_a_file_of_a_machine_of_the_other_byte_order_is_read(path):
    values = np.array([1, 2, -300], np.int16)
    torch.save(torch.from_numpy(values), path)
    rewrite(path, {"data/0": values.byteswap().tobytes(), "byteorder": b"big"})
    assert_as_torch(path)
    read = read_plain(path)
    assert read.tolist() == [1, 2, -300]
    assert read.dtype.isnative


def test_attributes_of_a_state_dict_are_left_out(path):
    torch.save(torch.nn.Linear(3, 2).state_dict(), path)
    assert list(assert_as_torch(path)) == ["weight", "bias"]


def test_a_list_that_holds_itself_is_read(path):
    content = [1]
    content.append(content)
    torch.save(content, path)
    read = read_plain(path)
    assert read[1] is read


def test_a_byte_that_is_no_truth_counts_as_true(path):
    torch.save(torch.tensor([True, False, True]), path)
    rewrite(path, {"data/0": b"\x07\x00\x01"})
    assert read_plain(path).tobytes() == b"\x01\x00\x01"


def test_tensors_that_numpy_has_no_array_for_are_marked(path):
    torch.save([torch.eye(3).to_sparse(), torch.zeros(2, device="meta"), torch.Size([2, 3])], path)
    sparse, meta, size = read_plain(path)
    assert isinstance(sparse, NoArray)
    assert isinstance(meta, NoArray)
    assert size == (2, 3)


# Hostile files -----------------------------------------------------------------------------------


def rewrite(path, changes, **options):
    """Write the records of a file again, some with another content, None for none."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    folder = next(iter(records)).partition("/")[0]
    records |= {f"{folder}/{name}": content for name, content in changes.items()}
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in records.items():
            if content is not None:
                archive.writestr(name, content)


def write(path, program, storages=()):
    """A file of this pickle and these storages."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", program)
        for key, content in enumerate(storages):
            archive.writestr(f"archive/data/{key}", content)
    return path


def name(text):
    return b"c" + text.replace(" ", "\n").encode() + b"\n"


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value):
    return pickle.dumps(value, protocol=2)[2:-1]


def storage(count, kind="FloatStorage", key="0"):
    return (
        b"(" + text("storage") + name(f"torch {kind}") + text(key) + text("cpu") + number(count)
    ) + b"tQ"


def tensor(count=4, start=0, shape=(4,), strides=(1,), kind="FloatStorage"):
    """The program that makes a tensor."""
    arguments = storage(count, kind) + number(start) + number(shape) + number(strides)
    hooks = name("collections OrderedDict") + b")R"
    return name("torch._utils _rebuild_tensor_v2") + b"(" + arguments + b"\x89" + hooks + b"tR"


START, STOP = b"\x80\x02", b"."
FOUR = np.arange(4, dtype=np.float32).tobytes()


def test_the_programs_of_these_tests_are_those_of_torch(path):
    write(path, START + tensor() + STOP, [FOUR])
    assert read_plain(path).tolist() == [0, 1, 2, 3]
    write(path, START + tensor(shape=(2, 2), strides=(1, 2)) + STOP, [FOUR])
    assert read_plain(path).tolist() == [[0, 2], [1, 3]]
    write(path, START + tensor(shape=(3, 2), strides=(0, 3)) + STOP, [FOUR])
    assert read_plain(path).tolist() == [[0, 3]] * 3


class Runs:
    """An object that creates a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def test_code_is_not_run(path):
    mark = path.with_name("mark")
    torch.save({"innocent": 1, "guilty": Runs(mark)}, path)
    assert refused(path) == f"it names '{os.mkdir.__module__} mkdir'"
    assert not mark.exists()
    with zipfile.ZipFile(path) as archive:
        pickle.loads(archive.read("plain/data.pkl"))
    assert mark.exists()  # so the code does run where nothing prevents it


NAMES = (
    *("os system", "posix system", "builtins eval", "__builtin__ eval", "builtins getattr"),
    *("torch load", "torch.hub load", "torch._utils _rebuild_parameter", "torch.storage _load"),
    *("torch BFloat16Storage", "numpy ndarray", "_codecs encode", "collections Counter"),
    *("captioning.network.plain_file _array", "collections OrderedDict.fromkeys"),
)


@pytest.mark.parametrize("unknown", NAMES)
def test_any_other_name_is_refused(path, unknown):
    for arguments in (b")R", b"(" + text("echo") + b"tR", b""):
        write(path, START + name(unknown) + arguments + STOP)
        assert refused(path) == f"it names {unknown!r}"


@pytest.mark.parametrize(
    "program",
    [
        tensor(shape=(5,)),
        tensor(start=1),
        tensor(start=-1),
        tensor(start=2**70),
        tensor(shape=(-1,)),
        tensor(shape=(4,), strides=(-1,), start=3),
        tensor(shape=(4,), strides=(2,)),
        tensor(shape=(2, 3), strides=(2, 1)),
        tensor(shape=(2**40,), strides=(1,)),
        tensor(shape=(2**62, 2**62), strides=(0, 0)),
        tensor(shape=(0, 2**70), strides=(1, 1)),
        tensor(shape=(2, 2), strides=(1,)),
        tensor(shape=(1,) * 100, strides=(1,) * 100),
        tensor(shape=(4.0,)),
        tensor(shape=(True,)),
        tensor(shape=4),
        tensor(shape=[4]),
        tensor(start="0"),
        tensor(count=5, shape=(5,)),
        tensor(count=3, shape=(3,)),
        tensor(count=-4),
        tensor(count=2**62),
        tensor(count=4.0),
        tensor(kind="HalfStorage"),
        tensor(kind="_utils"),
        tensor() + tensor(count=8, kind="HalfStorage", shape=(8,)) + b"\x86",
        storage(4, key="1"),
        storage(4, key="../data.pkl"),
        text("storage") + b"Q",
        tensor()[:-1] + b"Q",
    ],
)
def test_a_tensor_outside_its_storage_is_refused(path, program):
    write(path, START + program + STOP, [FOUR])
    refused(path)


@pytest.mark.parametrize(
    "program",
    [
        b"",
        START,
        STOP,
        START + STOP,
        b"\x80\x04N.",
        START + b"NN.",
        START + b"t.",
        START + b"(1.",
        START + b"h\x00.",
        START + b"\x85.",
        START + b"N\x86.",
        START + b"]s.",
        START + b"N(Ne.",
        START + b"}(NNNu.",
        START + b"})Ns.",  # a tuple as a key
        START + b"}" + tensor() + b"Ns.",  # an array as a key
        START + b"NNR.",
        START + name("torch FloatStorage") + b")R.",
        START + name("collections OrderedDict") + b"]R.",
        START + name("collections OrderedDict") + b"]\x85R.",
        START + name("torch Size") + b"]\x85R.",
        START + tensor() + b")R.",
        START + tensor() + b"N}" + b"b.",
        START + b"]}b.",
        START + name("collections OrderedDict") + b"}b.",
        START + b"X\xff\xff\xff\xffshort.",
        START + b"X\x02\x00\x00\x00\xff\xff.",
        START + b"\x8a\xff1.",
        START + b"\x8b\x01\x00\x00\x00\x07.",  # a longer whole number
        START + b"\x8e" + b"\xff" * 7 + b"\x00.",  # bytes
        START + b"\x96" + b"\xff" * 7 + b"\x00.",  # a byte array
        START + b"N0.",
        START + b"S'text'\n.",
        START + b"I1\n.",
        START + b"(cos\nsystem\no.",
        START + b"(ios\nsystem\n.",
        START + b"\x82\x01.",
        START + b"}\x81.",
        START + b"\x93.",
        START + b"P1\n.",
        START + b"cos",
    ],
)
def test_any_other_program_is_refused(path, program):
    write(path, program, [FOUR])
    refused(path)


@settings(max_examples=300, deadline=None, database=None)
@given(st.data())
def test_a_changed_program_is_read_or_refused(shared_path, data):
    program = bytearray(START + tensor() + text("a") + b"}q\x01h\x01(K\x01NK\x02Nub\x86" + STOP)
    for _ in range(data.draw(st.integers(1, 4))):
        program[data.draw(st.integers(0, len(program) - 1))] = data.draw(st.integers(0, 255))
    write(shared_path, bytes(program), [FOUR])
    with contextlib.suppress(PlainFileError):
        read_plain(shared_path)


def test_a_memo_of_any_number_takes_no_memory(path):
    """The unpickler of Python's C code makes room for as many objects as the number says."""
    write(path, START + b"Nr\xff\xff\xff\xff.")
    assert read_plain(path) is None


def test_a_deep_nest_is_read_and_forgotten(path):
    write(path, START + b")" + b"\x85" * 300_000 + STOP)
    nest, depth = read_plain(path), 0
    while nest:
        (nest,), depth = nest, depth + 1
    assert depth == 300_000


def test_a_file_that_is_cut_short_is_refused(path):
    torch.save({"a": torch.arange(100)}, path)
    whole = path.read_bytes()
    for kept in range(0, len(whole), 41):
        path.write_bytes(whole[:kept])
        refused(path)


def test_a_changed_byte_of_an_array_is_noticed(path):
    torch.save(torch.full((100,), 7, dtype=torch.int64), path)
    content = bytearray(path.read_bytes())
    content[content.index(struct.pack("<q", 7)) + 1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ChangedFileError):
        read_plain(path)


@pytest.mark.parametrize("record", ["data.pkl", "data/0"])
def test_a_missing_record_is_refused(path, record):
    torch.save(torch.arange(100), path)
    rewrite(path, {record: None})
    refused(path)


def test_a_compressed_record_is_refused_whatever_it_would_grow_to(path):
    torch.save(torch.arange(4), path)
    rewrite(path, {"data/0": bytes(2**26)}, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    refused(path)


def test_a_record_that_says_it_is_larger_than_the_file_is_refused(path):
    torch.save(torch.arange(4), path)
    content = path.read_bytes()
    size, huge = struct.pack("<2L", 32, 32), struct.pack("<2L", 2**31, 2**31)
    assert size in content
    path.write_bytes(content.replace(size, huge))
    refused(path)


def test_records_that_share_their_bytes_are_refused(path):
    """Else a thousand storages of one large record would take its memory a thousand times."""
    write(path, START + b"N.", [bytes(2**20), *[b""] * 200])
    with zipfile.ZipFile(path) as archive:
        first, *rest = (i for i in archive.infolist() if "data/" in i.filename)
        everything = archive.infolist()
        for info in rest:
            info.header_offset, info.CRC = first.header_offset, first.CRC
            info.file_size = info.compress_size = first.file_size
    with zipfile.ZipFile(path, "a") as archive:
        archive.filelist[:] = everything
        archive.writestr("archive/more", b"")  # so that the directory is written again
    with zipfile.ZipFile(path) as archive:
        assert sum(info.file_size for info in archive.infolist()) > 200 * 2**20
    refused(path)


def test_a_file_of_the_old_format_is_refused(path):
    torch.save({"a": torch.arange(3)}, path, _use_new_zipfile_serialization=False)
    refused(path)


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + bytes(18), b"noise" * 99], ids=len)
def test_another_file_is_refused(path, content):
    path.write_bytes(content)
    refused(path)


def test_a_file_that_may_not_be_read_is_the_systems_error(unreadable):
    with pytest.raises(PermissionError):
        read_plain(unreadable)


def test_a_file_that_cannot_be_opened_is_the_systems_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_plain(tmp_path / "none.pth")
    with pytest.raises(IsADirectoryError):
        read_plain(tmp_path)


# A checkpoint ------------------------------------------------------------------------------------


def test_a_checkpoint_with_a_changed_byte_says_so(checkpoint_path, path):
    content = bytearray(checkpoint_path.read_bytes())
    content[len(content) // 2] ^= 1  # of a weight
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="its bytes are others than those that were written"):
        Checkpoint.load(path)


@pytest.mark.parametrize("size", [10**6, 10**9, 10**18, 10**30])
def test_absurd_sizes_are_refused_without_memory(checkpoint_path, path, size):
    """Also where the weights say that they have these shapes, which takes no bytes."""
    content = torch.load(checkpoint_path, weights_only=True)
    content["model"]["decoder_dim"] = size
    torch.save(content, path)
    tracemalloc.start()
    with pytest.raises(CheckpointError, match="damaged"):
        Checkpoint.load(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < path.stat().st_size + 5_000_000


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from captioning.network.checkpoint import SHIPPED_MODEL, Checkpoint
checkpoint = Checkpoint.load(SHIPPED_MODEL)
print(len(checkpoint.vocabulary), checkpoint.weights["decoder.vocabulary.bias"].dtype)
"""


def test_the_model_that_ships_loads_without_pytorch():
    command = [sys.executable, "-c", WITHOUT_TORCH]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    words = len(torch.load(SHIPPED_MODEL, weights_only=True)["vocabulary"])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [str(words), "float16"]
