"""Checkpoints and resume files whose content is of other versions, or cannot be, or grows."""

import pickle
import struct
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import torch

from captioning.data.vocab import SPECIAL_TOKENS
from captioning.network.checkpoint import FORMAT, VERSION
from captioning.network.config import ModelConfig
from captioning.network.shapes import weight_shapes
from tools.attacks.bad_models import (
    SIZES,
    WORDS,
    BadFile,
    Content,
    content,
    hollow,
    packed,
    saved,
)


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
