"""Every engine gives the captions of PyTorch, and the one that is asked for runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from captioning.app.examples import examples
from captioning.errors import MissingPackageError, SettingError
from captioning.inference import engines
from captioning.inference.captioner import Captioner
from captioning.inference.engine_config import ENGINES, PRECISIONS, EngineConfig
from captioning.inference.engines import (
    OFFERED,
    PACKAGES,
    choose,
    has_gpu,
    make_runtime,
    ranges_path,
)
from captioning.inference.ranges import RangesError
from captioning.network.shipped import SHIPPED_MODEL

ROOT = Path(__file__).resolve().parents[2]
PHOTOGRAPHS = [example.path for example in examples()]
LIGHT = ("onnx", "openvino")


@pytest.fixture(scope="module")
def expected():
    """The captions of PyTorch."""
    return list(Captioner.load(engine="torch").stream(PHOTOGRAPHS, evidence=True))


@pytest.fixture(scope="module", params=LIGHT)
def light(request):
    """The shipped model on an engine without PyTorch."""
    return Captioner.load(engine=request.param)


def test_captions_and_all_that_is_known_of_them_are_those_of_torch(light, expected):
    for ours, theirs in zip(light.stream(PHOTOGRAPHS, evidence=True), expected, strict=True):
        assert (ours.words, ours.warning) == (theirs.words, theirs.warning)
        others = [[other.text for other in one.alternatives] for one in (ours, theirs)]
        assert others[0] == others[1]
        logs = [np.log(one.probabilities) for one in (ours, theirs)]
        np.testing.assert_allclose(*logs, atol=1e-3, rtol=0)
        assert ours.score == pytest.approx(theirs.score, abs=1e-3)
        assert ours.novelty == pytest.approx(theirs.novelty, abs=1e-3)
        np.testing.assert_allclose(ours.attention, theirs.attention, atol=1e-3)
        np.testing.assert_allclose(ours.evidence, theirs.evidence, atol=5e-3)


@pytest.mark.parametrize("beam", [1, 3, 40])
def test_other_widths_of_the_search_agree_too(light, expected, beam):
    ours = light(PHOTOGRAPHS[1], beam=beam)
    theirs = Captioner.load(engine="torch")(PHOTOGRAPHS[1], beam=beam)
    assert ours.words == theirs.words
    assert len(ours.alternatives) == beam - 1
    assert ours.score == pytest.approx(theirs.score, abs=1e-3)


# Lower precisions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("engine", "precision"),
    [(name, one) for name, those in OFFERED.items() for one in those if one != "float32"],
)
def test_a_lower_precision_is_near_and_not_the_same(engine, precision, expected):
    if engine in LIGHT and precision not in make_runtime(engine, 1).precisions:
        with pytest.raises(SettingError, match=f"has no {precision} on this processor"):
            Captioner.load(engine=engine, precision=precision)
        return
    captioner = Captioner.load(engine=engine, precision=precision)
    ours = captioner(PHOTOGRAPHS[1])
    assert ours.words == expected[1].words
    difference = np.abs(ours.attention - expected[1].attention).max()
    assert 0 < difference < 0.2


def test_int8_needs_the_ranges_of_its_own_checkpoint(tmp_path):
    model = tmp_path / "model.pth"
    model.write_bytes(SHIPPED_MODEL.read_bytes())
    config = EngineConfig("onnx", "int8")
    with pytest.raises(RangesError, match="no measured ranges"):
        Captioner.load_with(model, config)
    shipped = json.loads(ranges_path(SHIPPED_MODEL).read_text())
    ranges_path(model).write_text(json.dumps(shipped))
    assert Captioner.load_with(model, config)(PHOTOGRAPHS[1]).words
    ranges_path(model).write_text(json.dumps(shipped | {"checkpoint": "0" * 64}))
    with pytest.raises(RangesError, match="belong to another model"):
        Captioner.load_with(model, config)


# Records what a program does to others: connections, and processes that it starts.
WATCHED = """
import sys
done = []
names = ("socket.connect", "socket.getaddrinfo", "os.fork", "os.posix_spawn", "subprocess.Popen")
sys.addaudithook(lambda name, arguments: done.append(name) if name in names else None)
from captioning.inference.captioner import Captioner
captioner = Captioner.load(engine=sys.argv[1])
print(bool(captioner(sys.argv[2], evidence=True).text), done)
"""


@pytest.mark.parametrize("engine", LIGHT)
def test_an_engine_reports_to_nobody(engine, tmp_path):
    words = [sys.executable, "-c", WATCHED, engine, str(PHOTOGRAPHS[1])]
    environment = os.environ | {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.stdout == "True []\n", done.stderr
    assert list(tmp_path.iterdir()) == []


# Which engine runs -------------------------------------------------------------------------------


@pytest.fixture
def installed(monkeypatch):
    """Says which engines are installed, on a machine without a GPU."""

    def install(*names):
        monkeypatch.setattr(engines, "is_installed", lambda engine: engine in names)

    monkeypatch.setattr(engines, "has_gpu", lambda: False)
    return install


@pytest.mark.parametrize(
    ("names", "precision", "expected"),
    [
        (("onnx", "openvino", "torch"), "float32", "openvino"),
        (("onnx", "torch"), "float32", "onnx"),
        (("torch",), "float32", "torch"),
        (("onnx", "torch"), "bfloat16", "torch"),
        (("onnx", "torch"), "int8", "onnx"),
    ],
)
def test_auto_is_the_quickest_that_can_do_it(installed, names, precision, expected):
    installed(*names)
    assert choose(EngineConfig(precision=precision)) == expected


def test_the_tables_of_engines_agree():
    assert set(ENGINES) == {"auto", *PACKAGES}
    assert OFFERED.keys() == PACKAGES.keys()
    assert all("float32" in those and set(those) <= set(PRECISIONS) for those in OFFERED.values())


def test_an_engine_that_is_named_is_not_replaced(installed):
    installed("onnx")
    assert choose(EngineConfig("onnx")) == "onnx"
    for name in ("openvino", "torch"):
        with pytest.raises(MissingPackageError, match=f"engine {name} needs .*: pip install"):
            choose(EngineConfig(name))
    with pytest.raises(MissingPackageError, match="engine openvino needs openvino"):
        choose(EngineConfig(precision="bfloat16"))
    installed()
    with pytest.raises(MissingPackageError, match="engine onnx needs onnxruntime"):
        choose(EngineConfig())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"engine": "steam"}, "no engine steam; choose auto, onnx, openvino or torch"),
        ({"precision": "int4"}, "no precision int4; choose float32, bfloat16 or int8"),
        ({"engine": "onnx", "device": "cuda"}, "for device cuda choose torch"),
        ({"threads": 0}, "threads must be at least 1"),
    ],
)
def test_what_there_is_not_is_refused(values, message):
    with pytest.raises(SettingError, match=message):
        EngineConfig(**values)


def test_a_precision_that_an_engine_lacks_names_those_that_have_it(installed):
    installed("torch", "onnx", "openvino")
    with pytest.raises(SettingError, match="torch has no int8, which openvino and onnx have"):
        choose(EngineConfig("torch", "int8"))


def test_no_gpu_is_looked_for_with_torch_where_no_driver_is(monkeypatch):
    monkeypatch.setattr(engines, "_loads", lambda driver: False)
    monkeypatch.setitem(sys.modules, "captioning.inference.torch_engine", None)
    assert not has_gpu()
