from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from mien.datasets.ferplus import load  # noqa: E402
from mien.engine.optim import learning_rate, optimiser  # noqa: E402
from mien.engine.recipe import RECIPES  # noqa: E402
from mien.engine.views import network_input  # noqa: E402
from mien.errors import OptionError, ShapeError, WeightsError  # noqa: E402
from mien.methods.method import METHODS  # noqa: E402
from mien.methods.static.fer2013_vgg import (  # noqa: E402
    CROPS,
    WIDTHS,
    Fer2013Vgg,
    TenCropTask,
    from_authors,
    ten_crops,
)
from mien.methods.task import Batch  # noqa: E402


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def network() -> Fer2013Vgg:
    """Random weights with batch statistics of noise, so that signals neither die nor explode."""
    torch.manual_seed(0)
    made = Fer2013Vgg(dropout=0.0).train()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        made(drawn(8, 1, 40, 40))
    return made.eval()


def authors_layers() -> dict[str, tuple[int, ...]]:
    """Weight shape of every layer of the authors' network, by its name there."""
    layers: dict[str, tuple[int, ...]] = {}
    channels = 1
    for stage, width in enumerate(WIDTHS, 1):
        layers[f"conv{stage}a"], layers[f"conv{stage}b"] = (width, channels, 3, 3), (width, width, 3, 3)
        layers[f"bn{stage}a"] = layers[f"bn{stage}b"] = (width,)
        channels = width
    return {**layers, "lin1": (4096, 2048), "lin2": (4096, 4096), "lin3": (7, 4096)}


def authors_state() -> dict[str, Tensor]:
    """A checkpoint's "params" with small random values."""
    random, state = torch.Generator().manual_seed(3), {}
    for name, shape in authors_layers().items():
        fan_in = int(np.prod(shape[1:]))
        state[f"{name}.weight"] = torch.randn(shape, generator=random) / fan_in**0.5 * 1.4
        state[f"{name}.bias"] = torch.rand(shape[:1], generator=random) * 0.1
        if name.startswith("bn"):
            state[f"{name}.weight"] = 0.5 + torch.rand(shape, generator=random)
            state[f"{name}.running_mean"] = torch.rand(shape, generator=random) * 0.1
            state[f"{name}.running_var"] = 0.5 + torch.rand(shape, generator=random)
            state[f"{name}.num_batches_tracked"] = torch.tensor(5)
    return state


def reference(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """The sheet's network in evaluation, written out on plain tensors in double precision."""
    state, x = {name: value.double() for name, value in state.items()}, x.double()
    for stage in "1234":
        for part in "ab":
            conv, norm = f"conv{stage}{part}", f"bn{stage}{part}"
            x = functional.conv2d(x, state[f"{conv}.weight"], state[f"{conv}.bias"], padding=1)
            shift, scale = state[f"{norm}.running_mean"], (state[f"{norm}.running_var"] + 1e-5).sqrt()
            x = (x - shift.view(-1, 1, 1)) / scale.view(-1, 1, 1)
            x = x * state[f"{norm}.weight"].view(-1, 1, 1) + state[f"{norm}.bias"].view(-1, 1, 1)
            x = x.clamp(min=0)
        x = functional.max_pool2d(x, 2)
    x = x.reshape(len(x), 2048)
    for layer in ("lin1", "lin2"):
        x = (x @ state[f"{layer}.weight"].T + state[f"{layer}.bias"]).clamp(min=0)
    return x @ state["lin3.weight"].T + state["lin3.bias"]


def test_parameters_are_29_89_million() -> None:
    """Counted from the layer table, and the published figure beside it."""
    by_hand = sum(int(np.prod(shape)) + shape[0] for shape in authors_layers().values())
    assert sum(weight.numel() for weight in Fer2013Vgg().parameters()) == by_hand
    assert by_hand == pytest.approx(29.89e6, rel=0.01)


def test_maps_are_halved_as_published(network: Fer2013Vgg) -> None:
    x, shapes = drawn(1, 1, 40, 40), []
    with torch.no_grad():
        for stage in network.stages:
            x = stage(x)
            shapes.append(tuple(x.shape[1:]))
    assert shapes == [(64, 20, 20), (128, 10, 10), (256, 5, 5), (512, 2, 2)]


def test_a_crop_gives_plain_logits(network: Fer2013Vgg) -> None:
    with torch.no_grad():
        assert network(drawn(3, 1, 40, 40)).shape == (3, 7)


def test_labels_are_in_fer2013s_order() -> None:
    wanted = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    assert METHODS["fer2013_vgg"].labels == wanted


def test_the_ten_crops_lie_where_they_should() -> None:
    faces = drawn(2, 1, 48, 48)
    crops = ten_crops(faces)
    assert crops.shape == (2, 10, 1, 40, 40)
    places = [(0, 0), (0, 8), (8, 0), (8, 8), (4, 4)]
    for index, (top, left) in enumerate(places):
        assert torch.equal(crops[:, index], faces[:, :, top : top + 40, left : left + 40])
        mirrored = faces.flip(-1)[:, :, top : top + 40, left : left + 40]
        assert torch.equal(crops[:, 5 + index], mirrored)


def test_a_face_gives_the_mean_of_its_ten_crops(network: Fer2013Vgg) -> None:
    faces = drawn(2, 1, 48, 48)
    with torch.no_grad():
        each = torch.stack([network(ten_crops(faces)[:, index]) for index in range(CROPS)])
        torch.testing.assert_close(network(faces), each.mean(0), rtol=1e-4, atol=1e-5)
        assert (each[0] - each[4]).abs().max() > 1e-4


def test_a_mirrored_face_gives_the_same_logits(network: Fer2013Vgg) -> None:
    faces = drawn(2, 1, 48, 48)
    with torch.no_grad():
        plain, mirrored = network(faces), network(faces.flip(-1))
        one_crop = network(faces[..., 4:44, 4:44]), network(faces.flip(-1)[..., 4:44, 4:44])
    torch.testing.assert_close(plain, mirrored, rtol=1e-4, atol=1e-5)
    assert (one_crop[0] - one_crop[1]).abs().max() > 1e-4


@pytest.mark.parametrize(
    "shape", [(1, 1, 44, 44), (1, 1, 64, 64), (1, 1, 40, 48), (1, 3, 48, 48), (1, 3, 40, 40), (1, 48, 48)]
)
def test_other_sizes_are_refused(shape: tuple[int, ...], network: Fer2013Vgg) -> None:
    with pytest.raises(ShapeError, match="expected faces"):
        network(torch.zeros(shape))


def test_training_repeats_the_label_for_each_of_ten_crops(network: Fer2013Vgg) -> None:
    faces, targets = drawn(3, 1, 48, 48), functional.one_hot(torch.tensor([0, 3, 6]), 7).float()
    with torch.no_grad():
        loss = TenCropTask(network).loss(Batch(faces, targets))
        each = [
            functional.cross_entropy(network(ten_crops(faces[row : row + 1])[0]), torch.full((10,), label))
            for row, label in enumerate((0, 3, 6))
        ]
    torch.testing.assert_close(loss, torch.stack(each).mean(), rtol=1e-4, atol=1e-5)


def test_fewer_crops_are_drawn_from_the_ten_without_repeats() -> None:
    """A network that answers with the crop's first pixel shows which crops it was given."""

    class FirstPixel(nn.Module):
        train_crops = 3
        seen: Tensor

        def forward(self, x: Tensor) -> Tensor:
            self.seen = x[:, 0, 0, 0]
            return torch.zeros(len(x), 7)

    network, faces = FirstPixel(), drawn(2, 1, 48, 48)
    possible = ten_crops(faces)[:, :, 0, 0, 0]
    torch.manual_seed(0)
    picked = set()
    for _ in range(20):
        TenCropTask(network).loss(Batch(faces, torch.eye(7)[:2]))
        seen = network.seen.view(2, 3)
        for row in range(2):
            places = [int(torch.nonzero(possible[row] == value)[0]) for value in seen[row]]
            assert len(set(places)) == 3
            picked.update(places)
    assert picked == set(range(10))


@pytest.mark.parametrize("crops", [0, 11])
def test_a_number_of_crops_that_cannot_be_is_refused(crops: int) -> None:
    with pytest.raises(OptionError, match="from 1 to 10"):
        Fer2013Vgg(train_crops=crops)


def test_weights_of_the_authors_layout_give_the_reference_logits() -> None:
    state, crops = authors_state(), drawn(2, 1, 40, 40)
    network = from_authors(state)
    with torch.no_grad():
        found, wanted = network(crops), reference(state, crops)
    assert wanted.std() > 0.1
    torch.testing.assert_close(found.double(), wanted, rtol=1e-3, atol=1e-4)


def test_a_whole_checkpoint_and_a_strange_layer_are_refused() -> None:
    with pytest.raises(WeightsError, match="entry 'params'"):
        from_authors({"logs": torch.zeros(1), "params": torch.zeros(1)})
    with pytest.raises(WeightsError, match=r"got 'conv5a\.weight'"):
        from_authors({"conv5a.weight": torch.zeros(1)})


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_inputs_lie_between_0_and_1_whatever_the_array_was(kind: torch.dtype) -> None:
    """The authors' loader divides once for float arrays; for bytes it would have divided twice."""
    pixels = torch.arange(256).reshape(1, 1, 16, 16).expand(1, 3, 16, 16).to(kind)
    found = network_input(pixels, METHODS["fer2013_vgg"].preprocess)
    assert found.shape == (1, 1, 16, 16)
    torch.testing.assert_close(found.flatten(), torch.arange(256) / 255)


def test_the_recipe_has_the_authors_optimiser_and_plateau_rule() -> None:
    """That the sixth epoch without a rise acts is `tests/engine/test_train.py`."""
    recipe = RECIPES["fer2013_vgg_fer2013"]
    made = optimiser(nn.Linear(2, 2), recipe.optim)
    assert (recipe.schedule.name, recipe.schedule.patience) == ("plateau", 5)
    rates = [learning_rate(recipe.schedule, recipe.optim.lr, 5000, 448, 300, drops) for drops in (0, 1)]
    assert rates == [0.01, pytest.approx(0.0075)]
    assert made.defaults["nesterov"]
    assert made.param_groups[0]["weight_decay"] == 1e-4


@pytest.mark.data
@pytest.mark.parametrize(
    ("split", "pictures"), [("train", 28709), ("public_test", 3589), ("private_test", 3589)]
)
def test_the_splits_are_as_large_as_published(split: str, pictures: int, ferplus_root: Path) -> None:
    assert len(load(ferplus_root, split).images) == pictures
