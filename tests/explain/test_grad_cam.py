from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")

from torch import Tensor, nn  # noqa: E402

from mien.errors import OptionError, ShapeError, UnknownNameError  # noqa: E402
from mien.explain.cam import grad_cam, heat_maps  # noqa: E402
from mien.methods.method import create  # noqa: E402
from mien.methods.task import Task  # noqa: E402


class Pooled(nn.Module):
    """A convolution, global average, a linear layer: its Grad-CAM can be written down by hand."""

    explain_layer = "conv"

    def __init__(self, in_place: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.act = nn.ReLU(inplace=in_place)
        self.unused = nn.Conv2d(3, 4, 3)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        self.unused(x)
        return self.head(self.dropout(self.act(self.conv(x)).mean((2, 3))))


class Linear(Pooled):
    """Without the ReLU, the weights of equation 1 are the head's own, over the pixels of the map."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x).mean((2, 3)))


class Named(Pooled):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"expression": super().forward(x)}


def pictures(count: int = 3) -> Tensor:
    return torch.randn(count, 3, 16, 12, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def network() -> Pooled:
    torch.manual_seed(0)
    return Pooled().eval()


def stretched(maps: Tensor) -> Tensor:
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low)


def test_a_map_of_a_linear_network_is_the_one_written_by_hand() -> None:
    torch.manual_seed(1)
    network, images, classes = Linear().eval(), pictures(), torch.tensor([4, 0, 2])
    with torch.no_grad():
        features = network.conv(images)
        by_hand = torch.einsum("bk,bkhw->bhw", network.head.weight[classes] / (8 * 6), features).clamp(min=0)
        wanted = nn.functional.interpolate(
            stretched(by_hand)[:, None], (16, 12), mode="bilinear", align_corners=False
        )[:, 0]
    found = grad_cam(Task(network), images, classes)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_the_gradient_is_that_of_finite_differences(network: Pooled) -> None:
    """Raising one channel everywhere by a little changes the logit by that channel's weight."""
    network, images, step = network.double(), pictures(1).double(), 1e-6

    def logit(channel: int, by: float) -> Tensor:
        features = network.conv(images)
        features[:, channel] += by
        return network.head(network.act(features).mean((2, 3)))[0, 2]

    with torch.no_grad():
        weights = torch.stack([(logit(c, step) - logit(c, -step)) / (2 * step) for c in range(4)])
        by_hand = torch.einsum("k,bkhw->bhw", weights, network.conv(images)).clamp(min=0)
        wanted = nn.functional.interpolate(stretched(by_hand)[:, None], (16, 12), mode="bilinear")[:, 0]
    found = grad_cam(Task(network), images, torch.tensor([2]))
    torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-5)


def test_maps_are_between_0_and_1_and_as_large_as_the_picture(network: Pooled) -> None:
    for category in range(5):
        maps = grad_cam(Task(network), pictures(), torch.full((3,), category))
        assert maps.shape == (3, 16, 12)
        assert maps.dtype == torch.float32
        assert maps.min() >= 0
        assert maps.max() <= 1
    assert maps.max() > 0.5


def test_the_most_probable_class_is_explained_where_none_is_given(network: Pooled) -> None:
    best = network(pictures()).argmax(1)
    maps = grad_cam(Task(network), pictures())
    assert torch.equal(maps, grad_cam(Task(network), pictures(), best))
    assert not torch.equal(maps, grad_cam(Task(network), pictures(), (best + 1) % 5))


def test_a_batch_equals_its_singles(network: Pooled) -> None:
    classes = torch.tensor([1, 2, 3])
    together = grad_cam(Task(network), pictures(), classes)
    alone = [
        grad_cam(Task(network), image[None], category[None])
        for image, category in zip(pictures(), classes, strict=True)
    ]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_nothing_for_a_class_is_a_map_of_zeros() -> None:
    features = torch.rand(2, 4, 5, 5)
    maps = heat_maps(features, -torch.ones(2, 4, 5, 5), (10, 10))
    assert torch.equal(maps, torch.zeros(2, 10, 10))


def test_a_map_that_is_the_same_everywhere_is_zero_and_not_nan() -> None:
    maps = heat_maps(torch.ones(1, 4, 5, 5), torch.ones(1, 4, 5, 5), (10, 10))
    assert torch.equal(maps, torch.zeros(1, 10, 10))


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_very_small_and_very_large_features_stay_in_range(scale: float) -> None:
    features = torch.rand(1, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    maps = heat_maps(features * scale, torch.ones(1, 1, 5, 5), (5, 5))
    torch.testing.assert_close(maps, stretched(features[:, 0]), rtol=1e-4, atol=1e-5)


def test_the_network_is_left_as_it_was(network: Pooled) -> None:
    network.train()
    network.act.eval()
    before = {name: module.training for name, module in network.named_modules()}
    images = pictures()
    first, second = grad_cam(Task(network), images), grad_cam(Task(network), images)
    assert torch.equal(first, second)
    assert {name: module.training for name, module in network.named_modules()} == before
    assert not network.conv._forward_hooks
    assert all(weight.grad is None for weight in network.parameters())
    assert images.grad is None
    assert not images.requires_grad


def test_it_is_left_as_it_was_after_an_error_too(network: Pooled) -> None:
    network.train()
    with pytest.raises(RuntimeError):
        grad_cam(Task(network), torch.zeros(1, 5, 16, 12))
    assert network.training
    assert not network.conv._forward_hooks


def test_frozen_weights_and_switched_off_gradients_do_not_matter(network: Pooled) -> None:
    wanted = grad_cam(Task(network), pictures())
    network.requires_grad_(False)
    with torch.no_grad():
        assert torch.equal(grad_cam(Task(network), pictures()), wanted)
    with torch.inference_mode():
        assert torch.equal(grad_cam(Task(network), pictures()), wanted)


def test_a_relu_that_works_in_place_does_not_change_the_map(network: Pooled) -> None:
    other = Pooled(in_place=True).eval()
    other.load_state_dict(network.state_dict())
    assert torch.equal(grad_cam(Task(other), pictures()), grad_cam(Task(network), pictures()))


def test_a_network_with_named_outputs(network: Pooled) -> None:
    named = Named().eval()
    named.load_state_dict(network.state_dict())
    assert torch.equal(grad_cam(Task(named), pictures()), grad_cam(Task(network), pictures()))


def test_any_layer_can_be_named(network: Pooled) -> None:
    named = grad_cam(Task(network), pictures(), layer="act")
    assert named.shape == (3, 16, 12)
    assert not torch.equal(named, grad_cam(Task(network), pictures()))


def test_layers_that_cannot_be_explained_are_refused(network: Pooled) -> None:
    with pytest.raises(UnknownNameError, match=r"no layer of Pooled 'cnov'\. Did you mean 'conv'"):
        grad_cam(Task(network), pictures(), layer="cnov")
    with pytest.raises(ShapeError, match=r"one map a picture \(3, K, h, w\), got \(3, 5\)"):
        grad_cam(Task(network), pictures(), layer="head")
    with pytest.raises(ShapeError, match="expected a layer that the logits depend on"):
        grad_cam(Task(network), pictures(), layer="unused")
    bare = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())
    with pytest.raises(OptionError, match="Sequential has no `explain_layer`"):
        grad_cam(Task(bare), pictures())


@pytest.mark.parametrize(
    "classes", [torch.tensor([0, 1]), torch.tensor([0, 1, 5]), torch.tensor([-1, 0, 1]), torch.rand(3)]
)
def test_classes_that_do_not_fit_are_refused(classes: Tensor, network: Pooled) -> None:
    with pytest.raises(ShapeError, match="expected a class from 0 to 4 for each of 3 pictures"):
        grad_cam(Task(network), pictures(), classes)


def test_a_network_that_cuts_crops_is_explained_on_single_crops() -> None:
    torch.manual_seed(0)
    task = Task(create("fer2013_vgg").eval())
    with pytest.raises(ShapeError, match="give it single crops"):
        grad_cam(task, torch.rand(2, 1, 48, 48))
    assert grad_cam(task, torch.rand(2, 1, 40, 40)).shape == (2, 40, 40)
