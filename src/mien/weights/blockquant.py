"""Turn block-quantised ONNX weights back into float32 tensors.

The `int8bq` files of the OpenCV model zoo store each convolution as int8 blocks behind a
`DequantizeLinear` with a `block_size` attribute. ONNX Runtime 1.31 refuses the quantised biases and
OpenCV 5 refuses one of the files, so mien folds them once into plain float32, which any runtime reads.

Needs the package `onnx` (extra `train`).
"""

from __future__ import annotations

from typing import Any

import numpy as np


def dequantize_tensors(model: Any) -> dict[str, np.ndarray]:
    """Every constant of an ONNX model by name, with block-quantised ones folded to float32.

    Args:
        model: an `onnx.ModelProto`.

    Returns:
        name -> array, for initialisers, outputs of `DequantizeLinear`, and the `Reshape` behind those.
    """
    from onnx import numpy_helper

    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in values:
            values[node.output[0]] = _dequantize(node, values)
    for node in model.graph.node:
        if node.op_type == "Reshape" and all(name in values for name in node.input):
            values[node.output[0]] = values[node.input[0]].reshape(values[node.input[1]])
    return values


def _dequantize(node: Any, values: dict[str, np.ndarray]) -> np.ndarray:
    """One DequantizeLinear node, (q - zero_point) * scale, with scales per tensor, axis or block."""
    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    axis, block = attributes.get("axis", 1), attributes.get("block_size", 0)
    quantised = values[node.input[0]].astype(np.float32)
    scale = values[node.input[1]].astype(np.float32)
    has_zero = len(node.input) > 2 and node.input[2]
    zero = values[node.input[2]].astype(np.float32) if has_zero else np.zeros_like(scale)
    if block:
        inside = tuple(slice(0, extent) for extent in quantised.shape)
        scale, zero = (np.repeat(part, block, axis)[inside] for part in (scale, zero))
    elif scale.ndim == 1:
        shape = [1] * quantised.ndim
        shape[axis] = -1
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    return (quantised - zero) * scale


def fold_to_float32(model: Any) -> Any:
    """A copy of an ONNX model in which all folded constants are float32 initialisers.

    Args:
        model: an `onnx.ModelProto` with block-quantised weights.

    Returns:
        a new `onnx.ModelProto` that computes the same and has no `DequantizeLinear` node.
    """
    import onnx
    from onnx import numpy_helper

    values = dequantize_tensors(model)
    folded = onnx.ModelProto()
    folded.CopyFrom(model)
    graph = folded.graph
    nodes = [node for node in graph.node if not all(name in values for name in node.output)]
    used = {name for node in nodes for name in node.input if name in values}
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(values[name], name) for name in sorted(used))
    inputs = [value for value in graph.input if value.name not in values]
    del graph.input[:]
    graph.input.extend(inputs)
    return folded
