from __future__ import annotations

import pytest
import torch

from mien.nn.depth import StochasticDepth


@pytest.mark.parametrize("shape", [(20_000, 1, 1), (20_000, 2), (20_000, 1, 2, 1)])
def test_it_keeps_the_mean_and_rests_in_evaluation(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    drop, x = StochasticDepth(0.25), torch.ones(shape)
    kept = drop.train()(x)
    assert kept.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert kept.mean().item() == pytest.approx(1.0, abs=0.02)
    assert torch.equal(kept.flatten(1).amax(1), kept.flatten(1).amin(1)), (
        "a sample keeps all of it or nothing"
    )
    assert torch.equal(drop.eval()(x), x)
    assert torch.equal(StochasticDepth(0.0).train()(x), x)
