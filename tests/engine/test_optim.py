from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from mien.engine.optim import Sam, held_statistics, learning_rate, optimiser
from mien.engine.recipe import Optim, Schedule
from mien.errors import TrainingError


def test_sam_on_a_parabola() -> None:
    """f = w^2 / 2 at 1 with rho .05: the gradient is taken at 1.05, so one plain step gives 1 - 1.05 lr."""
    weight = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    base, sam = torch.optim.SGD([weight], lr=0.1), Sam([weight], rho=0.05)
    (0.5 * (weight**2).sum()).backward()
    sam.perturb()
    (0.5 * (weight**2).sum()).backward()
    sam.restore()
    base.step()
    assert weight.item() == pytest.approx(1 - 0.1 * 1.05, abs=1e-12)


def test_adaptive_sam_scales_by_the_weights() -> None:
    """ASAM at w with gradient g moves by rho w^2 g / |w g|; here w 2, g 2: 2 + .05 * 4 * 2 / 4 = 2.1."""
    weight = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    sam = Sam([weight], rho=0.05, adaptive=True)
    (0.5 * (weight**2).sum()).backward()
    sam.perturb()
    assert weight.item() == pytest.approx(2.1, abs=1e-9)
    sam.restore()
    assert weight.item() == 2.0


def test_sam_restores_bit_for_bit() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3))
    before = [parameter.detach().clone() for parameter in network.parameters()]
    sam = Sam(network.parameters(), rho=0.5)
    network(torch.randn(4, 7)).square().mean().backward()
    sam.perturb()
    assert not any(torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True))
    sam.restore()
    assert all(torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True))


def test_sam_moves_by_rho_over_all_parameters() -> None:
    torch.manual_seed(0)
    network = nn.Linear(4, 3)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    sam = Sam(network.parameters(), rho=0.3)
    network(torch.randn(5, 4)).square().mean().backward()
    sam.perturb()
    moved = [new.detach() - old for old, new in zip(before, network.parameters(), strict=True)]
    assert math.sqrt(sum(float(part.square().sum()) for part in moved)) == pytest.approx(0.3, rel=1e-5)


def test_sam_wants_gradients() -> None:
    weight = nn.Parameter(torch.ones(1))
    with pytest.raises(TrainingError, match=r"expected gradients .* Call backward\(\) first"):
        Sam([weight]).perturb()


def test_held_statistics_do_not_learn() -> None:
    norm = nn.BatchNorm1d(3).train()
    inputs = torch.randn(8, 3) * 5 + 2
    with held_statistics(norm):
        inside = norm(inputs)
    assert torch.equal(norm.running_mean, torch.zeros(3)) and norm.num_batches_tracked == 0
    assert norm.momentum == 0.1
    assert torch.allclose(inside, norm(inputs))
    assert not torch.equal(norm.running_mean, torch.zeros(3))


@pytest.mark.parametrize(
    ("schedule", "step", "expected"),
    [
        (Schedule("constant", warmup_epochs=0), 55, 1.0),
        (Schedule("constant", warmup_epochs=1), 4, 0.5),
        (Schedule("cosine", warmup_epochs=0, floor=0), 50, 0.5),
        (Schedule("cosine", warmup_epochs=0, floor=0.01), 100, 0.01),
        (Schedule("step", warmup_epochs=0, gamma=0.1, every=3), 29, 1.0),
        (Schedule("step", warmup_epochs=0, gamma=0.1, every=3), 61, 0.01),
        (Schedule("exponential", warmup_epochs=0, gamma=0.5), 30, 0.125),
    ],
)
def test_learning_rates(schedule: Schedule, step: int, expected: float) -> None:
    assert learning_rate(schedule, 1.0, step, steps_an_epoch=10, epochs=10) == pytest.approx(expected)


def test_a_warm_up_that_is_not_whole_ends_at_the_peak() -> None:
    rates = [learning_rate(Schedule("constant", warmup_epochs=0.25), 1.0, step, 10, 10) for step in range(4)]
    assert rates == pytest.approx([0.4, 0.8, 1.0, 1.0])
    rates = [learning_rate(Schedule("constant", warmup_epochs=0.05), 1.0, step, 10, 10) for step in range(2)]
    assert rates == [1.0, 1.0]


def test_held_statistics_put_any_buffer_back() -> None:
    network = nn.Linear(2, 2)
    network.register_buffer("prototypes", torch.ones(3))
    with held_statistics(network):
        network.prototypes.mul_(0.9)
    assert torch.equal(network.prototypes, torch.ones(3))


def test_plateau_drops_by_gamma() -> None:
    plateau = Schedule("plateau", warmup_epochs=0, gamma=0.75)
    assert learning_rate(plateau, 1.0, 99, 10, 100, drops=2) == pytest.approx(0.5625)


def test_decay_is_for_weights_only() -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    groups = optimiser(network, Optim(weight_decay=0.1)).param_groups
    assert [(len(group["params"]), group["weight_decay"]) for group in groups] == [(1, 0.1), (3, 0.0)]
