"""What is written is what the package ``onnx`` reads."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from captioning.inference.onnx_file import Graph

KINDS = ("float32", "float16", "uint8", "int8", "int32", "int64", "bool")
LONG = st.integers(-(2**63), 2**63 - 1)
NAMES = st.text("abcdefgh_éß", min_size=1, max_size=200)


def read(graph):
    return onnx.load_model_from_string(graph.to_bytes())


@given(
    arrays.arrays(st.sampled_from(KINDS).map(np.dtype), arrays.array_shapes(min_dims=0, min_side=0))
)
def test_constants_are_read_as_they_are(array):
    graph = Graph("test")
    name = graph.constant(array)
    (tensor,) = read(graph).graph.initializer
    assert tensor.name == name
    found = onnx.numpy_helper.to_array(tensor)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_weights_of_any_layout_in_memory_are_read_as_they_are():
    matrix = np.arange(12, dtype=np.float32).reshape(3, 4)
    graph = Graph("test")
    graph.weight("float32", (4, 3), lambda: matrix.T)
    (tensor,) = read(graph).graph.initializer
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(tensor), matrix.T)


def test_a_weight_of_another_size_than_was_said_is_a_mistake():
    graph = Graph("test")
    graph.weight("float32", (4, 3), lambda: np.zeros((4, 2), np.float32))
    with pytest.raises(ValueError, match="32 bytes in place of 48"):
        graph.to_bytes()


@given(
    st.dictionaries(
        NAMES.filter(lambda name: name != "outputs"),
        LONG | st.floats(width=32, allow_nan=False) | NAMES | st.lists(LONG, min_size=1),
    )
)
def test_attributes_are_read_as_they_are(attributes):
    graph = Graph("test")
    graph.ops("Kind", "x", "y", outputs=["a", "b"], **attributes)
    (node,) = read(graph).graph.node
    assert (node.op_type, [*node.input], [*node.output]) == ("Kind", ["x", "y"], ["a", "b"])
    found = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    as_text = {n: v.decode() if isinstance(v, bytes) else v for n, v in found.items()}
    assert as_text == attributes


@given(NAMES, st.sampled_from(KINDS), st.lists(st.integers(0, 2**40) | NAMES))
def test_inputs_and_outputs_have_their_types_and_shapes(name, kind, shape):
    graph = Graph(name)
    graph.input("x", kind, shape)
    graph.output("y", kind, shape)
    model = read(graph)
    assert model.graph.name == name
    expected = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    for (value,), known in ((model.graph.input, "x"), (model.graph.output, "y")):
        tensor = value.type.tensor_type
        found = [d.dim_param or d.dim_value for d in tensor.shape.dim]
        assert (value.name, tensor.elem_type, found) == (known, expected, shape)


def test_a_graph_is_valid_and_computes_what_it_says():
    graph = Graph("test")
    x = graph.input("x", "float32", ("B", 4))
    matrix = graph.constant(np.arange(8, dtype=np.float32).reshape(4, 2))
    y = graph.op("Relu", graph.op("MatMul", x, matrix))
    left, right = graph.ops("Split", y, outputs=2, axis=1, num_outputs=2)
    graph.op("Sub", left, right, output="z")
    graph.output("z", "float32", ("B", 1))
    model = read(graph)
    onnx.checker.check_model(model, full_check=True)
    given = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    (found,) = ReferenceEvaluator(model).run(None, {"x": given})
    product = np.maximum(given @ np.arange(8).reshape(4, 2), 0)
    np.testing.assert_allclose(found, product[:, :1] - product[:, 1:], rtol=1e-5)


def test_large_weights_may_be_elsewhere(tmp_path):
    random = np.random.default_rng(1)
    large, small = random.normal(size=(1000, 3)).astype(np.float32), np.float32([[1.0, 2.0, 3.0]])
    graph = Graph("test")
    x = graph.input("x", "float32", ("B", 1000))
    product = graph.op("MatMul", x, graph.weight("float32", large.shape, lambda: large))
    graph.op("Add", product, graph.constant(small), output="y")
    graph.output("y", "float32", ("B", 3))
    content, weights = graph.without_weights()
    assert [weight.nbytes for weight in weights.values()] == [large.nbytes]
    assert len(content) < 500
    for name, weight in weights.items():  # where the model says that they are
        (tmp_path / name).write_bytes(weight.tobytes())
    (tmp_path / "model.onnx").write_bytes(content)
    found, whole = onnx.load(tmp_path / "model.onnx"), read(graph)
    tensors = [
        [numpy_helper.to_array(each) for each in m.graph.initializer] for m in (found, whole)
    ]
    assert all(np.array_equal(*pair) for pair in zip(*tensors, strict=True))
    assert list(found.graph.node) == list(whole.graph.node)
