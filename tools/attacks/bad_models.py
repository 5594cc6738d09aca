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
