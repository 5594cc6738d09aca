"""Model files that were made to do harm, damaged, or made by other programs.

Each is a name and the bytes of a file. Code in them would make a folder, the canary.
"""

import gzip
import io
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from captioning.data.images import ImageConfig
from captioning.data.vocab import SPECIAL_TOKENS
from captioning.network.checkpoint import FORMAT, VERSION
from captioning.network.config import DecodeConfig, ModelConfig
from captioning.network.shapes import weight_shapes

Content = dict[str, Any]
BadFile = tuple[str, bytes]

WORDS = (*SPECIAL_TOKENS, "a", "dog", "runs")
SIZES = ModelConfig(
    len(WORDS), embedding_dim=24, attention_dim=7, decoder_dim=40, dropout=0.5, classes=10
)


def content() -> Content:
    """A complete checkpoint, all of whose weights repeat one number: a file of 100 KB."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "model": asdict(SIZES),
        "images": asdict(ImageConfig(size=64)),
        "vocabulary": list(WORDS),
        "weights": hollow(SIZES),
        "decoding": asdict(DecodeConfig(max_words=5)),
        "provenance": {"encoder": "none", "data": "none", "stages": []},
    }


def hollow(config: ModelConfig) -> dict[str, torch.Tensor]:
    """Weights that take no space: views of one number."""
    number, noun = torch.tensor(0.01, dtype=torch.float16), torch.tensor(4)
    return {
        name: (noun if name.endswith("nouns") else number).expand(shape)
        for name, shape in weight_shapes(config).items()
    }


def saved(value: Any, old: bool = False) -> bytes:
    """What torch.save writes."""
    stream = io.BytesIO()
    torch.save(value, stream, _use_new_zipfile_serialization=not old)
    return stream.getvalue()


def packed(program: bytes, records: Mapping[str, bytes] | None = None) -> bytes:
    """A file like torch.save's around a pickle."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/version", "3\n")
        for name, record in (records or {}).items():
            archive.writestr(f"archive/{name}", record)
    return stream.getvalue()


# Code --------------------------------------------------------------------------------------------


class _Call:
    """Makes a folder when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.canary),)


def programs(canary: Path) -> Iterator[BadFile]:
    """Pickles that make the canary where nothing prevents it, in every way of calling."""
    path = str(canary).encode()
    quoted = b"S'" + path + b"'\n"
    made = b"cos\nmkdir\n(" + quoted + b"tR"
    code = f"__import__('os').mkdir({str(canary)!r})".encode()
    text = b"X" + struct.pack("<I", len(code)) + code
    for protocol in range(6):
        yield f"protocol {protocol}", pickle.dumps(_Call(canary), protocol=protocol)
    yield "REDUCE", made + b"."
    yield "INST", b"(" + quoted + b"ios\nmkdir\n."
    yield "OBJ", b"(cos\nmkdir\n" + quoted + b"o."
    yield "STACK_GLOBAL", b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93(" + quoted + b"tR."
    yield "eval", b"\x80\x02cbuiltins\neval\n(" + text + b"tR."
    yield "exec", b"\x80\x02cbuiltins\nexec\n(" + text + b"tR."
    yield "Python 2's eval", b"c__builtin__\neval\n(" + text + b"tR."
    yield "system", b"cos\nsystem\n(S'mkdir " + path + b"'\ntR."
    yield "posix", b"cposix\nmkdir\n(" + quoted + b"tR."
    yield "Popen", b"csubprocess\ncall\n((S'mkdir'\n" + quoted + b"ltR."
    yield "timeit", b"\x80\x02ctimeit\ntimeit\n(" + text + b"tR."
    yield "BUILD", b"\x80\x02ccollections\nOrderedDict\n)R" + made + b"b."
    yield "NEWOBJ", b"\x80\x02ccollections\nOrderedDict\n" + made + b"0)\x81."
    yield "in a key", b"}(" + made + b"I1\nu."
    yield "in a list", b"](" + made + b"e."
    yield "in a memo", made + b"p1\ng1\n."
    yield "popped", made + b"0N."
    yield "behind a mark", b"(" + made + b"1N."
    frame = made + b"."
    yield "FRAME", b"\x80\x04\x95" + struct.pack("<Q", len(frame)) + frame


def code(canary: Path) -> Iterator[BadFile]:
    """Those pickles wherever a model file has or could have one."""
    start = saved([1], old=True)
    magic = start[: start.index(b".") + 1]
    for name, program in programs(canary):
        yield f"{name}, bare", program
        yield f"{name}, in a zip file", packed(program)
        yield f"{name}, as an address", packed(program[:-1] + b"Q.")
        yield f"{name}, before PyTorch 1.6", magic + b"\x80\x02M\xe9\x03." + program * 3
        yield (
            f"{name}, as TorchScript",
            packed(program, {"constants.pkl": program, "code/__torch__.py": b"import os\n"}),
        )
        yield f"{name}, as tar", _tar({"storages": program, "tensors": program, "pickle": program})
        yield f"{name}, in gzip", gzip.compress(program)
    whole = content()
    for part in ("vocabulary", "weights", "provenance", "figures", "novelty", "format"):
        yield f"code in {part}", saved(whole | {part: _Call(canary)})
        yield f"code in {part}, before PyTorch 1.6", saved(whole | {part: _Call(canary)}, old=True)
    objects = np.array([_Call(canary)], dtype=object)
    for suffix, save in (("npy", np.save), ("npz", np.savez)):
        stream = io.BytesIO()
        save(stream, objects)
        yield f"objects in .{suffix}", stream.getvalue()


def _tar(records: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, record in records.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(record)
            archive.addfile(entry, io.BytesIO(record))
    return stream.getvalue()


# Damage ------------------------------------------------------------------------------------------


def truncated(whole: bytes, count: int) -> Iterator[BadFile]:
    """A file that ends early, at places spread evenly over it."""
    for place in range(count):
        kept = len(whole) * place // count
        yield f"{kept} of {len(whole)} bytes", whole[:kept]


def flipped(whole: bytes, count: int) -> Iterator[BadFile]:
    """A file with one bit turned."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        at, bit = int(rng.integers(len(whole))), int(rng.integers(8))
        yield (
            f"bit {bit} of byte {at}",
            whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :],
        )


def archives() -> Iterator[BadFile]:
    """Zip files that lie about themselves."""
    whole = saved(content())
    program = zipfile.ZipFile(io.BytesIO(whole)).read("archive/data.pkl")
    yield "empty", _zip({})
    yield "without a pickle", _zip({"archive/version": b"3"})
    yield "of one folder", _zip({"archive/": b""})
    for name in ("../data.pkl", "/data.pkl", "archive/../../data.pkl", "C:\\data.pkl"):
        yield f"record {name}", _zip({name: program})
    yield "a pickle that grows", _zip({"archive/data.pkl": bytes(2**27)}, zipfile.ZIP_DEFLATED)
    bomb = _zip({"archive/data.pkl": bytes(2**24)}, zipfile.ZIP_DEFLATED)
    yield "a size of 100 GB", _with_size(_with_zip64(100 * 2**30), 100 * 2**30)
    yield "a size of 4 GB", _with_size(bomb, 2**32 - 1)
    yield "a record of 4 GB", _with_size(whole, 2**32 - 2)
    yield "encrypted", _with_flags(whole, 1)
    yield "records that overlap", _overlapping(whole)
    yield "with a tail", whole + bytes(1000)
    yield "with a head", bytes(1000) + whole
    yield "two in one", whole + whole
    yield "a comment", whole[:-2] + struct.pack("<H", 60_000) + b"PK\x05\x06" * 15_000


def _zip(records: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, record in records.items():
            archive.writestr(name, record)
    return stream.getvalue()


def _with_zip64(size: int) -> bytes:
    """A file of one record whose sizes are in the extension for large files."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        info = zipfile.ZipInfo("archive/data.pkl")
        with archive.open(info, "w", force_zip64=True) as record:
            record.write(b"N.")
        info.file_size = info.compress_size = size
    return stream.getvalue()


def _with_size(whole: bytes, size: int) -> bytes:
    """The directory of a zip file says of each record that it has this size."""
    changed, at = bytearray(whole), 0
    while (at := whole.find(b"PK\x01\x02", at)) >= 0:
        struct.pack_into("<I", changed, at + 24, min(size, 2**32 - 1))
        at += 4
    return bytes(changed)


def _with_flags(whole: bytes, flags: int) -> bytes:
    changed = bytearray(whole)
    for start, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        at = 0
        while (at := whole.find(start, at)) >= 0:
            struct.pack_into("<H", changed, at + offset, flags)
            at += 4
    return bytes(changed)


def _overlapping(whole: bytes) -> bytes:
    """Every record of the directory is the first one's bytes."""
    changed, at = bytearray(whole), 0
    while (at := whole.find(b"PK\x01\x02", at)) >= 0:
        struct.pack_into("<I", changed, at + 42, 0)
        at += 4
    return bytes(changed)


# Other programs' and other versions' files --------------------------------------------------------


def foreign() -> Iterator[BadFile]:
    """Files of other projects and kinds."""
    state = {f"layer.{i}.weight": torch.ones(3, 3) for i in range(5)}
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    yield "empty", b""
    yield "a state dict", saved(state)
    yield "a state dict before PyTorch 1.6", saved(state, old=True)
    yield (
        "of another captioner",
        saved(
            {
                "epoch": 9,
                "encoder": state,
                "decoder": state,
                "word_map": {"<pad>": 0},
                "bleu-4": 0.2,
            }
        ),
    )
    yield "of Lightning", saved({"state_dict": state, "hyper_parameters": {}, "callbacks": {}})
    yield "of bfloat16", saved({"a": torch.ones(3, dtype=torch.bfloat16)})
    yield "a list", saved([1, 2])
    yield "a tensor", saved(torch.ones(3))
    yield "safetensors", struct.pack("<Q", len(header)) + header + bytes(4)
    yield "safetensors that claim more", struct.pack("<Q", 2**62) + header
    yield "ONNX", b"\x08\x07\x12\x07pytorch\x1a\x031.9:\x00"
    yield "GGUF", b"GGUF" + struct.pack("<IQQ", 3, 2**60, 2**60)
    yield "HDF5", b"\x89HDF\r\n\x1a\n" + bytes(500)
    yield "joblib", pickle.dumps({"model": np.arange(3)})
    yield "JSON", b'{"model": {}}'
    yield "JPEG", b"\xff\xd8\xff\xe0" + bytes(500)
    yield "Git LFS", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    yield "a web page", b"<!DOCTYPE html><html><body>404: Not found</body></html>"
    yield "noise", np.random.default_rng(1).bytes(100_000)
    yield "zeros", bytes(100_000)


def other_versions() -> Iterator[BadFile]:
    """Checkpoints of versions to come or to have been, and of settings nobody knows."""
    whole = content()
    for version in (-1, 0, VERSION - 1, VERSION + 1, 10**300, "2", None, 2.0, True, [2]):
        yield f"version {str(version)[:9]}", saved(whole | {"version": version})
    yield "format 2", saved(whole | {"format": FORMAT + " 2"})
    yield "an unknown part", saved(whole | {"transformer": {}})
    yield "a million unknown parts", saved(whole | {f"part {i}": 0 for i in range(1_000_000)})
    yield "a part with a long name", saved(whole | {"x" * 1_000_000: 0})
    yield "a part with line breaks", saved(whole | {"x\ny": 0})
    for part in ("model", "images", "decoding"):
        yield f"an unknown setting of {part}", saved(whole | {part: whole[part] | {"heads": 8}})
        for name in whole[part]:
            for value in (
                -1,
                2**70,
                10**600,
                float("nan"),
                float("inf"),
                "x" * 10**6,
                None,
                [0] * 10**5,
            ):
                changed = whole | {part: whole[part] | {name: value}}
                yield f"{part}.{name} = {str(value)[:9]}", saved(changed)


# Content ------------------------------------------------------------------------------------------


def vocabularies() -> Iterator[BadFile]:
    """Vocabularies that cannot be."""
    size = len(WORDS)
    for name, words in (
        ("twice the same", [*WORDS[:-1], "a"]),
        ("no special tokens", [f"w{i}" for i in range(size)]),
        ("special tokens in another order", [*reversed(WORDS)]),
        ("too short", [*WORDS[:-1]]),
        ("too long", [*WORDS, "more"]),
        ("empty", []),
        ("a text", "abcdefg"),
        ("a table", dict.fromkeys(WORDS, 1)),
        ("numbers", [*SPECIAL_TOKENS, 1, 2, 3]),
        ("nothing", [*WORDS[:-1], None]),
        ("an empty word", [*WORDS[:-1], ""]),
        ("a control character", [*WORDS[:-1], "\x1b[2J"]),
        ("a line break", [*WORDS[:-1], "a\nb"]),
        ("a line separator", [*WORDS[:-1], "a\u2028b"]),
        ("half a character", [*WORDS[:-1], "\ud800"]),
        ("writing from right to left", [*WORDS[:-1], "\u202edog"]),
        ("a long word", [*WORDS[:-1], "x" * 1_000_000]),
        ("HTML", [*WORDS[:-1], "<img/src=x/onerror=alert(1)>"]),
        ("a script", [*WORDS[:-1], "<script>alert(1)</script>"]),
        ("lists", [[*WORDS]]),
    ):
        yield name, saved(content() | {"vocabulary": words})


def weights() -> Iterator[BadFile]:
    """Weights of wrong shapes, kinds and numbers, and those that are not in the file."""
    whole = content()
    name = "decoder.gate.weight"
    shape = weight_shapes(SIZES)[name]
    for bad in (float("nan"), float("inf"), float("-inf"), -float("nan")):
        for kind in (torch.float16, torch.float32, torch.float64):
            tensor = torch.zeros(shape, dtype=kind)
            tensor.view(-1)[-1] = bad
            yield f"{bad} in {kind}", saved(_with(whole, name, tensor))
    variances = "encoder.stages.bn1.running_var"
    yield "variances below 0", saved(_with(whole, variances, torch.full((64,), -1.0)))
    for what, value in (
        ("transposed", torch.zeros(shape[::-1])),
        ("a number", 1.0),
        ("a list", [[0.0] * shape[1]] * shape[0]),
        ("missing", None),
        ("complex", torch.zeros(shape, dtype=torch.complex64)),
        ("empty", torch.zeros(0)),
        ("sparse", torch.zeros(shape).to_sparse()),
        ("without numbers", torch.zeros(shape, device="meta")),
        ("a table", {}),
    ):
        yield what, saved(_with(whole, name, value))
    more = whole | {"weights": whole["weights"] | {"decoder.more": torch.ones(1)}}
    yield "one that nobody knows", saved(more)
    yield (
        "nouns beyond the vocabulary",
        saved(_with(whole, "decoder.classifier.nouns", torch.full((10,), 2**40))),
    )
    for sizes in ({"embedding_dim": 2**17}, {"decoder_dim": 2**13}, {"attention_dim": 2**17}):
        config = ModelConfig(**(asdict(SIZES) | sizes))
        changed = {"model": asdict(config), "weights": hollow(config)}
        yield f"{sizes} that are not there", saved(whole | changed)


def _with(whole: Content, name: str, value: Any) -> Content:
    return whole | {"weights": whole["weights"] | {name: value}}


def bombs() -> Iterator[BadFile]:
    """Pickles that take much more memory or time than their bytes."""
    most = 2**22
    for name, code in (("lists", b"]"), ("tables", b"}"), ("nothings", b"N"), ("tuples", b")")):
        yield f"many {name}", packed(b"\x80\x02(" + code * most + b"t.")
    yield "more operations", packed(b"\x80\x02(" + b"N" * (2 * most) + b"t.")
    yield "deep tuples", packed(b"\x80\x02)" + b"\x85" * most + b".")
    yield "deep lists", packed(b"\x80\x02" + b"]" * most + b"a" * (most - 1) + b".")
    laughs = b"\x80\x02]q\x00" + b"".join(
        b"](" + b"h%c" % i * 10 + b"eq%c" % (i + 1) for i in range(100)
    )
    yield "a billion laughs", packed(laughs + b".")
    yield "a memo of any number", packed(b"\x80\x02Nr\xff\xff\xff\xff.")
    yield "a text of 4 GB", packed(b"\x80\x02X\xff\xff\xff\xffx.")
    yield "bytes of any number", packed(b"\x80\x04\x8e" + b"\xff" * 8 + b".")
    yield "a long number", packed(b"\x80\x02\x8b\xff\xff\xff\x7f.")
    wide = b"x" * (2**25) + "\N{GRINNING FACE}".encode()
    yield "a text that grows", packed(b"\x80\x02X" + struct.pack("<I", len(wide)) + wide + b".")
    yield "before PyTorch 1.6", saved([1], old=True)[:15] + b"\x80\x02(" + b"]" * most + b"t."
    nest: Any = []
    for _ in range(100):
        nest = [nest]
    laugh: Any = ["ha"] * 10
    for _ in range(15):
        laugh = [laugh] * 10
    for part in ("provenance", "figures", "vocabulary", "training_images"):
        for what, value in (("deep", nest), ("laughing", laugh)):
            yield f"{what} {part}", saved(content() | {part: value})
            yield f"{what} in {part}", saved(content() | {part: {"data": value, "stages": value}})
    stage = {"stage": "a", "config": {"x": laugh}}
    yield "laughing stages", saved(content() | {"provenance": {"stages": [stage]}})


def tensors() -> Iterator[BadFile]:
    """Tensors that lie about their storage, by hand: torch.save would not write them."""
    for name, storage, start, shape, strides in (
        ("a storage of 2 ** 62", 2**62, 0, (4,), (1,)),
        ("a storage of more than the file", 2**20, 0, (2**20,), (1,)),
        ("a start below 0", 4, -1, (4,), (1,)),
        ("a start beyond", 4, 2**40, (1,), (1,)),
        ("a stride below 0", 4, 3, (4,), (-1,)),
        ("a stride beyond", 4, 0, (4,), (2**40,)),
        ("a shape of 8 GB", 4, 0, (2**31,), (1,)),
        ("a repeated shape of any size", 4, 0, (2**62, 2**62), (0, 0)),
        ("a size below 0", 4, 0, (-4,), (1,)),
        ("many dimensions", 4, 0, (1,) * 200, (1,) * 200),
    ):
        yield (
            name,
            packed(
                b"\x80\x02" + _tensor(storage, start, shape, strides) + b".",
                {"data/0": bytes(16), "byteorder": b"little"},
            ),
        )


def _tensor(count: int, start: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> bytes:
    def plain(value: Any) -> bytes:
        return pickle.dumps(value, protocol=2)[2:-1]

    storage = b"(" + plain("storage") + b"ctorch\nFloatStorage\n" + plain("0") + plain("cpu")
    storage += plain(count) + b"tQ"
    arguments = storage + plain(start) + plain(shape) + plain(strides)
    hooks = b"ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"\x89" + hooks + b"tR"


def resumable() -> Content:
    """The state of a small training after a step, as ``model_reader`` would go on with."""
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return {
        "settings": {"origin": "this"},
        "network": layer.state_dict(),
        "optimizer": optimizer.state_dict(),
        "records": [{"epoch": 1, "train_loss": 1.0, "dev": {}}],
        "losses": [1.0],
        "seconds": 1.0,
    }


def other_runs() -> Iterator[BadFile]:
    """States of other trainings, and of this one with parts that do not fit."""
    whole = resumable()
    for part, value in (
        ("settings", {"origin": "another"}),
        ("settings", None),
        ("network", {"weight": torch.ones(2, 3)}),
        ("network", {"weight": torch.ones(3, 2), "bias": torch.ones(2)}),
        ("network", [1]),
        ("optimizer", {}),
        ("optimizer", _with_state(whole["optimizer"], torch.ones(1).expand(2, 3))),
        ("optimizer", _with_state(whole["optimizer"], torch.ones(1).expand(2**31))),
        ("optimizer", _with_state(whole["optimizer"], torch.ones(3))),
        ("records", [1]),
        ("records", [{"epoch": 1}]),
        ("records", None),
        ("losses", ["x"]),
        ("losses", 7),
        ("seconds", "x"),
        ("seconds", None),
    ):
        yield f"{part}: {str(value)[:40]}", saved(whole | {part: value})
        yield f"{part}: {str(value)[:40]}, before 1.6", saved(whole | {part: value}, old=True)


def _with_state(state: Content, moment: torch.Tensor) -> Content:
    first = state["state"][0] | {"exp_avg": moment}
    return state | {"state": state["state"] | {0: first}}
