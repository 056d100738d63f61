from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")

from torch import Tensor, nn  # noqa: E402

from mien.errors import ShapeError  # noqa: E402
from mien.explain.faithfulness import (  # noqa: E402
    SURVIVES,
    Faithfulness,
    area,
    curves,
    faithfulness,
    randomised,
    rank_correlations,
    shifted,
)
from mien.methods.task import Task  # noqa: E402


def one_pixel(images: Tensor) -> Tensor:
    value = 3 * images[:, 0, 5, 9]
    return torch.stack([-value, value], 1)


class Small(nn.Module):
    explain_layer = cam_layer = "trunk"

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.places = nn.Parameter(torch.ones(1))
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.trunk(x * self.places).mean((2, 3)))


def picture() -> Tensor:
    image = torch.zeros(1, 1, 16, 12)
    image[0, 0, 5, 9] = 4.0
    return image


def test_deletion_of_the_only_pixel_that_is_used() -> None:
    """With that pixel first the probability falls at once, and comes at once; with it last, at the end."""
    first, last = torch.zeros(1, 16, 12), torch.ones(1, 16, 12)
    first[0, 5, 9], last[0, 5, 9] = 1.0, 0.0
    gone, come = curves(one_pixel, picture(), first, torch.tensor([1]), steps=16, baseline="mean")
    assert gone.shape == come.shape == (1, 17)
    assert float(gone[0, 0]) == pytest.approx(1, abs=1e-4)
    assert float(gone[0, 1:].max()) < 0.6
    assert float(come[0, 0]) < 0.6
    assert float(come[0, 1:].min()) == pytest.approx(1, abs=1e-4)
    gone_late, come_late = curves(one_pixel, picture(), last, torch.tensor([1]), steps=16, baseline="mean")
    assert float(gone_late[0, :-1].min()) == pytest.approx(1, abs=1e-4)
    assert float(come_late[0, :-1].max()) < 0.6
    assert float(area(gone)) < 0.6 < 0.95 < float(area(gone_late))
    assert float(area(come)) > 0.95 > 0.6 > float(area(come_late))


def test_areas() -> None:
    assert float(area(torch.tensor([[1.0, 1.0, 1.0]]))) == 1
    assert float(area(torch.tensor([[1.0, 0.5, 0.0]]))) == 0.5
    assert float(area(torch.tensor([[1.0, 0.0, 0.0]]))) == 0.25


def test_ties_are_drawn_by_the_seed_not_by_place() -> None:
    flat = torch.zeros(1, 16, 12)
    found = [curves(one_pixel, picture(), flat, torch.tensor([1]), seed=seed)[0] for seed in (0, 0, 1, 2, 3)]
    assert torch.equal(found[0], found[1])
    assert any(not torch.equal(found[0], other) for other in found[2:])


def test_maps_of_another_size_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"expected maps \(1, 16, 12\), got \(1, 12, 16\)"):
        curves(one_pixel, picture(), torch.zeros(1, 12, 16))


def test_rank_correlations() -> None:
    maps = torch.rand(3, 6, 5, generator=torch.Generator().manual_seed(0))
    assert rank_correlations(maps, maps**3) == pytest.approx(1)
    assert rank_correlations(maps, -maps) == pytest.approx(-1)
    assert np.isnan(rank_correlations(maps, torch.zeros(3, 6, 5))).all()


def test_rank_correlations_share_ties() -> None:
    scipy = pytest.importorskip("scipy.stats")
    random = torch.Generator().manual_seed(0)
    first, second = (torch.randint(0, 4, (1, 6, 5), generator=random).float() for _ in range(2))
    wanted = scipy.spearmanr(first.flatten(), second.flatten()).statistic
    assert rank_correlations(first, second)[0] == pytest.approx(wanted)


def test_shifts_move_by_pixels_and_repeat_the_border() -> None:
    image = torch.arange(12.0).view(1, 1, 3, 4)
    moved = shifted(image, 1, 2)
    assert torch.equal(moved[0, 0, 1:, 2:], image[0, 0, :-1, :-2])
    assert torch.equal(moved[0, 0, 0], moved[0, 0, 1])
    assert torch.equal(shifted(image[0], 0, 0), image[0])


def test_a_randomised_network_has_other_weights_and_the_old_one_keeps_its_own() -> None:
    torch.manual_seed(0)
    task = Task(Small().eval())
    before = {name: value.clone() for name, value in task.network.state_dict().items()}
    images = torch.randn(8, 1, 16, 12, generator=torch.Generator().manual_seed(1))
    state = torch.random.get_rng_state()
    fresh = randomised(task, images, seed=5)
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in task.network.state_dict().items())
    after = fresh.network.state_dict()
    for name in ("trunk.0.weight", "head.weight", "head.bias", "places", "trunk.1.running_mean"):
        assert not torch.equal(after[name], before[name]), name
    again = randomised(task, images, seed=5).network.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in after.items())
    assert not fresh.network.training
    with torch.no_grad():
        maps = fresh.network.trunk[0](images * fresh.network.places)
    torch.testing.assert_close(fresh.network.trunk[1].running_mean, maps.mean((0, 2, 3)))
    torch.testing.assert_close(fresh.network.trunk[1].running_var, maps.var((0, 2, 3)))


def test_the_table_says_which_map_survives() -> None:
    """The controls ask no network, so their weights are not asked for either."""
    torch.manual_seed(0)
    task = Task(Small().eval())
    images = torch.randn(4, 1, 16, 12, generator=torch.Generator().manual_seed(1))
    table = faithfulness(task, images, options={"rise": {"masks": 8, "cells": 3}}, steps=4, compared=3)
    names = [row.name for row in table.rows]
    assert len(names) == 10
    assert names[-2:] == ["random", "centre"]
    for row in table.rows:
        assert 0 < row.deletion < 1
        assert 0 < row.insertion < 1
        assert -1 <= row.stability <= 1
        assert 0 <= row.flat <= 1
    centre, noise = table.rows[-1], table.rows[-2]
    assert centre.stability > 0.6
    assert abs(noise.stability) < 0.5
    assert np.isnan(centre.randomised)
    for row in table.rows[:-1]:
        for figure in ("deletion", "insertion"):
            low, high = getattr(row, f"{figure}_apart")
            assert low <= getattr(row, figure) - getattr(centre, figure) <= high
    told = table.to_dict()["maps"]
    assert told[-1]["deletion_apart"] is told[-1]["randomised"] is None
    assert told[0]["insertion_apart"] == table.rows[0].insertion_apart
    json.dumps(told, allow_nan=False)
    again = faithfulness(task, images, options={"rise": {"masks": 8, "cells": 3}}, steps=4, compared=3)
    assert again.to_markdown() == table.to_markdown()
    assert "`grad_cam`" in table.to_markdown()
    assert table.to_dict()["compared"] == 3
    assert Faithfulness("x", 0, 0, SURVIVES, 0, 0).survives
    assert not Faithfulness("x", 0, 0, SURVIVES - 0.01, 0, 0).survives


def test_a_map_that_looks_at_the_picture_alone_survives(monkeypatch: pytest.MonkeyPatch) -> None:
    from mien.explain import maps

    def brightness(_task: object, images: Tensor, _classes: object = None) -> Tensor:
        return maps.stretched(images[:, 0], images.shape[-2:])

    monkeypatch.setitem(maps.MAPS._entries, "brightness", brightness)
    images = torch.randn(2, 1, 16, 12, generator=torch.Generator().manual_seed(1))
    row = faithfulness(Task(Small().eval()), images, names=["brightness"], steps=4).rows[0]
    assert row.randomised == pytest.approx(1)
    assert row.survives
    assert (
        "survives random weights"
        in faithfulness(Task(Small().eval()), images, names=["brightness"], steps=4).to_markdown()
    )
