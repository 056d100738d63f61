"""Turn a trained network into an ONNX file's graph. Needs torch and onnx (extra `train`)."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mien.errors import WeightsError
from mien.methods.task import Task


class _Answer(nn.Module):
    """The task's answer as a module, so that whatever a method does when it answers is in the graph."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task, self.network = task, task.network

    def forward(self, faces: Tensor) -> Tensor:
        return self.task.answer(faces)


def to_onnx(task: Task, example: Tensor) -> Any:
    """An `onnx.ModelProto` from normalised faces (B, C, H, W) with a free batch to the task's answer (B, K).

    A network that has `for_inference`, which gives a copy with the same logits, is exported through it.

    Args:
        task: its network is put into evaluation mode.
        example: faces of the size that the graph is for, B at least 2.

    Raises:
        WeightsError: the graph takes batches of that one size alone.
    """
    import onnx

    network = task.network.eval()
    if hasattr(network, "for_inference"):
        task = type(task)(network.for_inference())  # type: ignore[operator]
    with tempfile.TemporaryDirectory() as folder, _exporter_is_quiet():
        path = Path(folder) / "network.onnx"
        torch.onnx.export(
            _Answer(task).eval(),
            (example,),
            str(path),
            input_names=["faces"],
            output_names=["logits" if task.answers == "expression" else "probabilities"],
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},),
            external_data=False,
            verbose=False,
        )
        model = onnx.load(path)
    batch = model.graph.input[0].type.tensor_type.shape.dim[0]
    if batch.HasField("dim_value"):
        raise WeightsError(
            f"expected a graph with a free batch of {type(task.network).__name__}, got one for batches of "
            f"{batch.dim_value}. Ask for `x.shape[0]` in its `forward`: `len(x)` is a fixed number there."
        )
    return model


@contextmanager
def _exporter_is_quiet() -> Iterator[None]:
    """The exporter speaks of packages that mien does not use and of its own old calls; errors still come."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def last_features(content: bytes) -> bytes:
    """The same network with one output, "features": what goes into its last linear layer, float32 (B, C).

    Args:
        content: an ONNX file that ends in a linear layer, such as the expression network that ships.

    Raises:
        WeightsError: it ends in something else.
    """
    import onnx

    model = onnx.load_from_string(content)
    made = {name: node for node in model.graph.node for name in node.output}
    last = made.get(model.graph.output[0].name)
    if last is None or last.op_type != "Gemm":
        raise WeightsError(
            "expected a network that ends in a linear layer (Gemm), got one that ends in "
            f"{'nothing' if last is None else last.op_type}"
        )
    del model.graph.output[:]
    model.graph.node.append(onnx.helper.make_node("Identity", [last.input[0]], ["features"]))
    model.graph.output.append(onnx.helper.make_tensor_value_info("features", onnx.TensorProto.FLOAT, None))
    return model.SerializeToString()


def store_as_float16(model: Any) -> Any:
    """Keep large float32 constants as float16 behind a Cast, which runtimes fold when they load."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < 256:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name + "_half"))
        casts.append(helper.make_node("Cast", [name + "_half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    model.doc_string = ""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    return model
