from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mien.errors import WeightsError
from mien.methods.onnx import to_onnx
from mien.methods.task import Task


class Token(nn.Module):
    """A learned token beside the mean colour, expanded to the batch in the wrong way or in the right one."""

    def __init__(self, wrong: bool) -> None:
        super().__init__()
        self.wrong, self.token, self.head = wrong, nn.Parameter(torch.randn(1, 3)), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        count = len(x) if self.wrong else x.shape[0]
        return self.head(torch.cat([self.token.expand(count, -1), x.mean((2, 3))], 1))


@pytest.mark.slow
def test_a_graph_with_a_fixed_batch_is_refused() -> None:
    images = torch.zeros(2, 3, 4, 4)
    free = to_onnx(Task(Token(False)), images).graph.input[0].type.tensor_type.shape.dim[0]
    assert free.dim_param and not free.HasField("dim_value")
    with pytest.raises(
        WeightsError, match="expected a graph with a free batch of Token, got one for batches of 2"
    ):
        to_onnx(Task(Token(True)), images)
