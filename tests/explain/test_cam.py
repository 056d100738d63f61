"""The other maps of the family, against what can be written by hand; `test_grad_cam.py` has what they share."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")

from torch import Tensor, nn  # noqa: E402

from mien.errors import OptionError, ShapeError, UnknownNameError  # noqa: E402
from mien.explain.cam import cam, eigen_cam, grad_cam, grad_cam_pp, layer_cam  # noqa: E402
from mien.explain.maps import MAPS, stretched  # noqa: E402
from mien.methods.task import Task  # noqa: E402


class Averaged(nn.Module):
    """Maps, their mean, one linear layer."""

    explain_layer = cam_layer = "act"

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act, self.head = nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.conv(x)).mean((2, 3)))


class Tokens(Averaged):
    """The same, with its maps as tokens behind a class token that is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Identity()
        self.explain_layer = self.cam_layer = "tokens"

    def forward(self, x: Tensor) -> Tensor:
        maps = self.act(self.conv(x))
        self.side = maps.shape[2:]
        words = maps.flatten(2).transpose(1, 2)
        words = self.tokens(torch.cat([torch.zeros_like(words[:, :1]), words], 1))
        return self.head(words[:, 1:].mean(1))

    def explain_maps(self, output: Tensor) -> Tensor:
        return output[:, 1:].transpose(1, 2).unflatten(2, self.side) if output.ndim == 3 else output


def pictures() -> Tensor:
    return torch.randn(3, 3, 16, 12, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def network() -> Averaged:
    torch.manual_seed(0)
    return Averaged().eval()


CLASSES = torch.tensor([4, 0, 2])


def test_cam_is_the_maps_times_the_heads_weights(network: Averaged) -> None:
    with torch.no_grad():
        maps = network.act(network.conv(pictures()))
        by_hand = torch.einsum("bk,bkhw->bhw", network.head.weight[CLASSES], maps)
    torch.testing.assert_close(cam(Task(network), pictures(), CLASSES), stretched(by_hand, (16, 12)))


def test_grad_cam_generalises_cam(network: Averaged) -> None:
    """Section 3.1 of Grad-CAM: where maps are averaged into one linear layer, the two are the same."""
    torch.testing.assert_close(
        cam(Task(network), pictures(), CLASSES), grad_cam(Task(network), pictures(), CLASSES)
    )


def test_layer_cam_with_an_even_gradient_is_cam_of_the_positive_weights(network: Averaged) -> None:
    with torch.no_grad():
        maps = network.act(network.conv(pictures()))
        by_hand = torch.einsum("bk,bkhw->bhw", network.head.weight[CLASSES].clamp(min=0), maps)
    torch.testing.assert_close(layer_cam(Task(network), pictures(), CLASSES), stretched(by_hand, (16, 12)))


def test_grad_cam_pp_is_the_sum_over_places_of_equation_5(network: Averaged) -> None:
    with torch.no_grad():
        maps = network.act(network.conv(pictures())).double()
        slope = (network.head.weight[CLASSES].double() / (8 * 6))[:, :, None, None].expand_as(maps)
        below = 2 * slope**2 + maps.sum((2, 3), keepdim=True) * slope**3
        weights = (slope**2 / below * slope.clamp(min=0)).sum((2, 3), keepdim=True)
        by_hand = stretched((weights * maps).sum(1), (16, 12))
    found = grad_cam_pp(Task(network), pictures(), CLASSES)
    torch.testing.assert_close(found, by_hand, rtol=1e-4, atol=1e-5)


def test_eigen_cam_of_maps_of_rank_one_is_their_pattern(network: Averaged) -> None:
    pattern = torch.rand(8, 6, generator=torch.Generator().manual_seed(1))

    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.tensor([1.0, -2.0, 0.5, 3.0])[:, None, None] * pattern.expand(len(x), 1, 8, 6)

    network.act = Fixed()
    found = eigen_cam(Task(network), pictures())
    torch.testing.assert_close(found[0], stretched(pattern[None], (16, 12))[0], rtol=1e-4, atol=1e-5)
    assert torch.equal(found, eigen_cam(Task(network), pictures(), CLASSES))


@pytest.mark.parametrize("name", ["cam", "grad_cam", "grad_cam_pp", "layer_cam", "eigen_cam"])
def test_tokens_go_back_to_their_places(name: str, network: Averaged) -> None:
    words = Tokens().eval()
    words.load_state_dict(network.state_dict())
    wanted, found = (MAPS[name](Task(one), pictures(), CLASSES) for one in (network, words))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_cam_is_refused_where_the_network_does_not_end_so(network: Averaged) -> None:
    with pytest.raises(ShapeError, match=r"averages one map and applies its linear `head`.*Use 'grad_cam'"):
        cam(Task(network), pictures(), layer="conv")
    bare = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())
    with pytest.raises(OptionError, match="Sequential has no `cam_layer`"):
        cam(Task(bare), pictures())


@pytest.mark.parametrize("name", ["cam", "grad_cam", "eigen_cam", "integrated_gradients"])
def test_a_plain_function_has_no_layers(name: str) -> None:
    with pytest.raises(OptionError, match=f"for the map '{name}'.*Use 'occlusion' or 'rise'"):
        MAPS[name](lambda images: images.mean((2, 3)), pictures())


def test_an_unknown_map_is_named() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'grad_cam'"):
        MAPS["grad_kam"]
