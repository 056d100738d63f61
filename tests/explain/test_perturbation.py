from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")

from torch import Tensor, nn  # noqa: E402

from mien.errors import OptionError, ShapeError  # noqa: E402
from mien.explain.faithfulness import curves  # noqa: E402
from mien.explain.integrated_gradients import attributions, integrated_gradients  # noqa: E402
from mien.explain.maps import onnx_logits, without_content  # noqa: E402
from mien.explain.perturbation import log_odds, occlusion, rise, soft_masks  # noqa: E402
from mien.methods.runner import ExpressionRunner  # noqa: E402
from mien.methods.task import Task, UnitsTask  # noqa: E402


def one_pixel(images: Tensor) -> Tensor:
    """Only pixel (5, 9) speaks, for class 1."""
    value = 3 * images[:, 0, 5, 9]
    return torch.stack([-value, value], 1)


class Linear(nn.Module):
    """Logits that are a weighted sum of all inputs: what each adds is known."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 16 * 12, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1))


class Bent(Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.tanh()) ** 2


def pictures(count: int = 2) -> Tensor:
    images = torch.randn(count, 3, 16, 12, generator=torch.Generator().manual_seed(0))
    images[:, 0, 5, 9] = 2.0
    return images


@pytest.mark.parametrize("baseline", ["mean", "blur"])
def test_occlusion_finds_the_one_pixel_that_speaks(baseline: str) -> None:
    maps = occlusion(one_pixel, pictures(), torch.tensor([1, 1]), patch=3, stride=1, baseline=baseline)
    for heat in maps:
        assert np.unravel_index(int(heat.argmax()), heat.shape) == (5, 9)
        away = heat.clone()
        away[3:8, 7:12] = 0
        assert float(away.max()) == 0  # no square that covers these covers the pixel
    against = occlusion(one_pixel, pictures(), torch.tensor([0, 0]), patch=3, stride=1, baseline=baseline)
    assert float(against.max()) == 0


def test_each_pixel_is_covered_whatever_the_stride() -> None:
    everything = occlusion(lambda x: torch.stack([x.mean((1, 2, 3)), -x.mean((1, 2, 3))], 1),
                           torch.arange(192.0).view(1, 1, 16, 12) / 192, torch.tensor([0]), patch=5, stride=4)  # fmt: skip
    assert everything.shape == (1, 16, 12)
    assert torch.isfinite(everything).all()
    assert float(everything[0, -1, -1]) > 0.5


def test_rise_finds_the_one_pixel_that_speaks() -> None:
    heat = rise(one_pixel, pictures(1), torch.tensor([1]), masks=800, cells=6)[0]
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    assert abs(row - 5) <= 2
    assert abs(column - 9) <= 2


def test_rise_is_the_mean_of_its_masks_by_hand() -> None:
    images = pictures(1)
    masks = soft_masks(20, 4, 0.5, (16, 12), torch.Generator().manual_seed(3))
    behind = images * masks + without_content(images) * (1 - masks)
    scores = 6 * behind[:, 0, 5, 9]  # the log-odds of two logits, -3 and 3 times that pixel
    by_hand = torch.einsum("m,mhw->hw", scores, masks[:, 0]) / masks[:, 0].sum(0)
    by_hand = (by_hand - by_hand.min()) / (by_hand.max() - by_hand.min())
    found = rise(one_pixel, images, torch.tensor([1]), masks=20, cells=4, seed=3, batch_size=7)[0]
    torch.testing.assert_close(found, by_hand, rtol=1e-4, atol=1e-5)


def test_log_odds_move_where_the_probability_does_not() -> None:
    sure = torch.tensor([[60.0, 0, 1], [50.0, 0, 1]])
    assert torch.equal(sure.softmax(1)[:, 0], torch.ones(2))
    odds = log_odds(sure, torch.tensor([0, 0]))
    assert float(odds[0] - odds[1]) == pytest.approx(10)
    some = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    classes = torch.tensor([0, 4, 2, 2])
    wanted = some.softmax(1).gather(1, classes[:, None])[:, 0].logit()
    torch.testing.assert_close(log_odds(some, classes), wanted)


def test_a_unit_is_held_against_itself_and_not_against_other_units() -> None:
    """Unit 0 reads the upper left pixel alone, unit 1 the lower right one: unit 0's map knows nothing of the other."""

    class Two(nn.Module):
        def forward(self, faces: Tensor) -> Tensor:
            return torch.stack([faces[:, 0, 0, 0], faces[:, 0, -1, -1]], 1)

    images = torch.zeros(1, 1, 16, 16)
    images[0, 0, 0, 0], images[0, 0, -1, -1] = 1, -9
    task, unit = UnitsTask(Two().eval()), torch.tensor([0])
    (heat,) = occlusion(task, images, unit, patch=4, stride=4)
    assert float(heat[0, 0]) > 0 and float(heat[8:, 8:].max()) == 0
    gone, come = curves(task, images, heat[None], unit, steps=4)
    assert float(gone[0, 0]) == float(come[0, -1]) == pytest.approx(1 / (1 + np.exp(-1)))
    assert float(log_odds(torch.tensor([[2.0, 5.0]]), unit, each=True)) == 2


def test_seeds_decide_the_masks() -> None:
    first, second, third = (rise(one_pixel, pictures(1), masks=10, cells=4, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_masks_are_soft_and_kept_in_share() -> None:
    masks = soft_masks(400, 7, 0.3, (32, 24), torch.Generator().manual_seed(0))
    assert masks.shape == (400, 1, 32, 24)
    assert float(masks.min()) == 0
    assert float(masks.max()) <= 1
    assert float(masks.mean()) == pytest.approx(0.3, abs=0.02)
    assert float(masks.mean((0, 1)).max() - masks.mean((0, 1)).min()) < 0.15


def test_integrated_gradients_of_a_linear_network_are_weight_times_change() -> None:
    torch.manual_seed(0)
    network, images, classes = Linear(), pictures(), torch.tensor([4, 1])
    found = attributions(Task(network), images, classes, steps=3, baseline=torch.zeros_like(images))
    by_hand = network.head.weight[classes].view(2, 3, 16, 12) * images
    torch.testing.assert_close(found, by_hand.detach())


@pytest.mark.parametrize("baseline", ["mean", "blur"])
def test_integrated_gradients_add_up_to_the_difference_of_the_logits(baseline: str) -> None:
    """Completeness, proposition 1 of the paper."""
    torch.manual_seed(0)
    task, images, classes = Task(Bent()), pictures(), torch.tensor([4, 1])
    found = attributions(task, images, classes, steps=200, baseline=baseline)
    with torch.no_grad():
        change = task.logits(images) - task.logits(without_content(images, baseline))
    torch.testing.assert_close(
        found.sum((1, 2, 3)), change.gather(1, classes[:, None])[:, 0], rtol=1e-3, atol=1e-4
    )
    with torch.no_grad():
        assert integrated_gradients(task, images, classes).shape == (2, 16, 12)


def test_an_onnx_file_is_explained(runner: ExpressionRunner) -> None:
    logits = onnx_logits(runner)
    size = runner.preprocess.size_px
    faces = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    assert logits(faces).shape == (1, 8)
    first = occlusion(logits, faces, patch=32, stride=32)
    assert first.shape == (1, size, size)
    assert float(first.max()) > 0
    assert torch.equal(first, occlusion(logits, faces, patch=32, stride=32))
    assert rise(logits, faces, masks=4, cells=3).shape == (1, size, size)


def test_the_blurred_baseline_keeps_an_even_picture_and_the_mean_flattens() -> None:
    even = torch.full((1, 1, 9, 7), 2.5)
    torch.testing.assert_close(without_content(even, "blur"), even)
    flat = without_content(pictures(), "mean")
    assert float(flat.std((2, 3)).max()) < 1e-5
    assert float(without_content(pictures(), "blur").std()) < float(pictures().std()) / 2


def test_what_cannot_be_done_is_said() -> None:
    with pytest.raises(OptionError, match="baseline to be one of mean, blur, got 'black'"):
        occlusion(one_pixel, pictures(), baseline="black")
    with pytest.raises(OptionError, match="patch from 1 to 12"):
        occlusion(one_pixel, pictures(), patch=13)
    with pytest.raises(OptionError, match="kept between 0 and 1"):
        rise(one_pixel, pictures(), kept=1.0)
    with pytest.raises(OptionError, match="at least 1 step"):
        attributions(Task(Linear()), pictures(), steps=0)
    with pytest.raises(ShapeError, match="a class from 0 to 1 for each of 2 pictures"):
        rise(one_pixel, pictures(), torch.tensor([0, 2]))
