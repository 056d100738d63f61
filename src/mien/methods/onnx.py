"""Turn a trained network into an ONNX file's graph. Needs torch and onnx (extra `train`)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mien.methods.task import Task


class _Logits(nn.Module):
    """The task's answer as a module, so that whatever a method does when it answers is in the graph."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task, self.network = task, task.network

    def forward(self, faces: Tensor) -> Tensor:
        return self.task.logits(faces)


def to_onnx(task: Task, example: Tensor) -> Any:
    """An `onnx.ModelProto` from normalised faces (B, C, H, W) with a free batch to logits (B, K).

    Args:
        task: its network is put into evaluation mode.
        example: faces of the size that the graph is for, B at least 2.
    """
    import onnx

    task.network.eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        torch.onnx.export(
            _Logits(task).eval(),
            (example,),
            str(path),
            input_names=["faces"],
            output_names=["logits"],
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},),
            external_data=False,
            verbose=False,
        )
        return onnx.load(path)
