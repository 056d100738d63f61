from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs onnx: pip install 'mien[train]'")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from mien.weights.blockquant import dequantize_tensors, fold_to_float32  # noqa: E402

random = np.random.default_rng(0)


def model_of(nodes: list, constants: dict[str, np.ndarray], inputs: list, outputs: list, opset: int = 21):
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def dequantized(
    quantised: np.ndarray, scale: np.ndarray, zero: np.ndarray | None, **attributes
) -> np.ndarray:
    constants = {"q": quantised, "s": scale} | ({} if zero is None else {"z": zero})
    node = helper.make_node("DequantizeLinear", list(constants), ["w"], **attributes)
    output = helper.make_tensor_value_info("w", TensorProto.FLOAT, list(quantised.shape))
    return dequantize_tensors(model_of([node], constants, [], [output]))["w"]


@pytest.mark.parametrize("with_zero", [True, False])
@pytest.mark.parametrize(("axis", "extent", "block"), [(0, 8, 4), (1, 6, 3), (1, 7, 3), (0, 5, 8)])
def test_blocks_one_by_one(axis: int, extent: int, block: int, with_zero: bool) -> None:
    shape = [3, 3]
    shape[axis] = extent
    blocks = [*shape]
    blocks[axis] = -(-extent // block)
    quantised = random.integers(-128, 128, shape, np.int8)
    scale = random.uniform(0.01, 0.1, blocks).astype(np.float32)
    zero = random.integers(-5, 5, blocks, np.int8) if with_zero else None
    found = dequantized(quantised, scale, zero, axis=axis, block_size=block)
    for place in np.ndindex(*shape):
        of_block = list(place)
        of_block[axis] //= block
        offset = 0 if zero is None else int(zero[tuple(of_block)])
        expected = (int(quantised[place]) - offset) * float(scale[tuple(of_block)])
        assert found[place] == pytest.approx(expected, abs=1e-5)
    assert found.dtype == np.float32


def test_one_scale_for_all_and_one_a_row() -> None:
    quantised = np.array([[1, -2], [3, 4]], np.int8)
    assert dequantized(quantised, np.array(0.5, np.float32), None).tolist() == [[0.5, -1], [1.5, 2]]
    rows = dequantized(quantised, np.array([1, 10], np.float32), np.array([1, 0], np.int8), axis=0)
    assert rows.tolist() == [[0, -3], [30, 40]]
    columns = dequantized(quantised, np.array([1, 10], np.float32), None)
    assert columns.tolist() == [[1, -20], [3, 40]]


def quantised_product():
    """x @ reshape(dequantised blocks), as the files of the OpenCV zoo store it."""
    constants = {
        "q": random.integers(-128, 128, (6, 4), np.int8),
        "s": random.uniform(0.01, 0.1, (3, 4)).astype(np.float32),
        "z": np.zeros((3, 4), np.int8),
        "shape": np.array([4, 6]),
        "bias": random.normal(size=6).astype(np.float32),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0, block_size=2),
        helper.make_node("Reshape", ["w", "shape"], ["w_reshaped"]),
        helper.make_node("MatMul", ["x", "w_reshaped"], ["y"]),
        helper.make_node("Add", ["y", "bias"], ["out"]),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])]
    outputs = [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 6])]
    return model_of(nodes, constants, inputs, outputs)


def test_folding_leaves_plain_floats_that_compute_the_same() -> None:
    from onnx.reference import ReferenceEvaluator

    model = quantised_product()
    before = model.SerializeToString()
    folded = fold_to_float32(model)
    assert model.SerializeToString() == before
    assert [node.op_type for node in folded.graph.node] == ["MatMul", "Add"]
    assert {tensor.name: tensor.data_type for tensor in folded.graph.initializer} == {
        "w_reshaped": TensorProto.FLOAT,
        "bias": TensorProto.FLOAT,
    }
    onnx.checker.check_model(folded)
    x = random.normal(size=(5, 4)).astype(np.float32)
    expected = ReferenceEvaluator(model).run(None, {"x": x})[0]
    assert np.allclose(ReferenceEvaluator(folded).run(None, {"x": x})[0], expected, atol=1e-5)


def test_the_reshape_is_among_the_tensors() -> None:
    tensors = dequantize_tensors(quantised_product())
    assert np.array_equal(tensors["w_reshaped"], tensors["w"].reshape(4, 6))
