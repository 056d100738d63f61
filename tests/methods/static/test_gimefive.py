from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from mien.errors import WeightsError  # noqa: E402
from mien.explain.cam import grad_cam  # noqa: E402
from mien.methods.method import METHODS, create  # noqa: E402
from mien.methods.static.gimefive import (  # noqa: E402
    BASELINE_HIDDEN,
    BASELINE_WIDTHS,
    HIDDEN,
    WIDTHS,
    GiMeFive,
    from_authors,
)
from mien.methods.task import Task  # noqa: E402

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
"""ImageNet's, on the scale 0 to 1, as they are usually printed."""

LAYOUTS = {"gimefive": (WIDTHS, HIDDEN), "gimefive_baseline": (BASELINE_WIDTHS, BASELINE_HIDDEN)}


def pictures(count: int, grey: bool, seed: int = 0) -> Tensor:
    """Normalised random pictures (B, 3, 64, 64), all channels alike where grey."""
    levels = torch.rand(
        count, 1 if grey else 3, 64, 64, generator=torch.Generator().manual_seed(seed)
    ).expand(-1, 3, -1, -1)
    return (levels - MEAN.view(3, 1, 1)) / STD.view(3, 1, 1)


def authors_state(widths: tuple[int, ...], hidden: tuple[int, int]) -> dict[str, Tensor]:
    """Random weights under the names of the authors' classes."""
    random, state = torch.Generator().manual_seed(5), {}
    shapes: dict[str, tuple[int, ...]] = {}
    for block, (channels, width) in enumerate(zip((3, *widths), widths, strict=False), 1):
        shapes[f"conv{block}"], shapes[f"bn{block}"] = (width, channels, 3, 3), (width,)
    shapes["fc1"], shapes["fc2"] = (hidden[0], widths[-1]), (hidden[1], hidden[0])
    shapes["fc3"] = (6, hidden[1])
    for name, shape in shapes.items():
        fan_in = int(np.prod(shape[1:]))
        state[f"{name}.weight"] = torch.randn(shape, generator=random) / fan_in**0.5 * 1.4
        state[f"{name}.bias"] = torch.rand(shape[:1], generator=random) * 0.1
        if name.startswith("bn"):
            state[f"{name}.weight"] = 0.5 + torch.rand(shape, generator=random)
            state[f"{name}.running_mean"] = torch.rand(shape, generator=random) * 0.1
            state[f"{name}.running_var"] = 0.5 + torch.rand(shape, generator=random)
            state[f"{name}.num_batches_tracked"] = torch.tensor(5)
    return state


def reference(state: dict[str, Tensor], x: Tensor, blocks: int) -> Tensor:
    """The sheet's network in evaluation, written out on plain tensors in double precision."""
    state, x = {name: value.double() for name, value in state.items()}, x.double()
    for block in range(1, blocks + 1):
        x = functional.conv2d(x, state[f"conv{block}.weight"], state[f"conv{block}.bias"], padding=1)
        shift, scale = state[f"bn{block}.running_mean"], (state[f"bn{block}.running_var"] + 1e-5).sqrt()
        x = (x - shift.view(-1, 1, 1)) / scale.view(-1, 1, 1)
        x = x * state[f"bn{block}.weight"].view(-1, 1, 1) + state[f"bn{block}.bias"].view(-1, 1, 1)
        x = functional.max_pool2d(x.clamp(min=0), 2)
    x = x.flatten(2).mean(2)
    for layer in ("fc1", "fc2"):
        x = (x @ state[f"{layer}.weight"].T + state[f"{layer}.bias"]).clamp(min=0)
    return x @ state["fc3.weight"].T + state["fc3.bias"]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return create("gimefive").eval()


@pytest.mark.parametrize(("name", "published"), [("gimefive", 10_478_086), ("gimefive_baseline", 2_606_086)])
def test_parameters_are_exactly_those_of_the_report(name: str, published: int) -> None:
    assert sum(weight.numel() for weight in create(name).parameters()) == published


def test_the_order_is_the_authors_and_there_is_no_neutral() -> None:
    for name in LAYOUTS:
        assert METHODS[name].labels == ("happy", "surprise", "sad", "angry", "disgust", "fear")


def test_shapes(network: nn.Module) -> None:
    seen = []
    handle = network.get_submodule(network.explain_layer).register_forward_hook(
        lambda _module, _inputs, output: seen.append(tuple(output.shape))
    )
    with torch.no_grad():
        assert network(pictures(2, grey=True)).shape == (2, 6)
        assert network.features(pictures(2, grey=True)).shape == (2, 1024, 2, 2)
    handle.remove()
    assert seen[0] == (2, 1024, 4, 4)


def test_the_contract_is_imagenets_normalisation() -> None:
    contract = METHODS["gimefive"].preprocess
    assert np.array(contract.mean) / 255 == pytest.approx(MEAN.numpy(), abs=1e-6)
    assert np.array(contract.std) / 255 == pytest.approx(STD.numpy(), abs=1e-6)


def test_colour_is_made_grey_by_luma_and_grey_stays_as_it_is(network: GiMeFive) -> None:
    grey = pictures(2, grey=True)
    torch.testing.assert_close(network.grey(grey), grey, rtol=1e-4, atol=1e-5)
    red = torch.zeros(1, 3, 64, 64)
    red[:, 0] = 1
    made = network.grey((red - MEAN.view(3, 1, 1)) / STD.view(3, 1, 1))
    back = made * STD.view(3, 1, 1) + MEAN.view(3, 1, 1)
    assert back.flatten().tolist() == pytest.approx([0.299] * back.numel(), abs=1e-5)


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_weights_of_the_authors_layout_give_the_reference_logits(name: str) -> None:
    widths, hidden = LAYOUTS[name]
    state, images = authors_state(widths, hidden), pictures(2, grey=True)
    network = from_authors(state)
    assert network.state_dict().keys() == create(name).state_dict().keys()
    with torch.no_grad():
        found, wanted = network(images), reference(state, images, len(widths))
    assert wanted.std() > 0.1
    torch.testing.assert_close(found.double(), wanted, rtol=1e-3, atol=1e-4)


def test_a_strange_layer_is_refused_and_a_missing_one_too() -> None:
    with pytest.raises(WeightsError, match=r"got 'se1\.fc\.0\.weight'"):
        from_authors({"se1.fc.0.weight": torch.zeros(1)})
    lacking = authors_state(WIDTHS, HIDDEN)
    del lacking["bn3.running_var"]
    with pytest.raises(WeightsError, match="Missing key"):
        from_authors(lacking)


def test_evaluation_is_deterministic_and_training_drops(network: nn.Module) -> None:
    images = pictures(2, grey=True)
    with torch.no_grad():
        assert torch.equal(network(images), network(images))
        network.dropout.train()
        assert not torch.equal(network(images), network(images))
    network.eval()


def test_dropout_follows_the_first_four_blocks_only() -> None:
    for name, blocks in (("gimefive", 5), ("gimefive_baseline", 4)):
        network, calls = create(name).eval(), []
        network.block_dropout.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        with torch.no_grad():
            network(pictures(1, grey=True))
        assert len(network.blocks) == blocks
        assert len(calls) == 4


def test_grad_cam_is_at_home_at_the_fifth_convolution(network: nn.Module) -> None:
    assert network.explain_layer == "blocks.4.conv"
    images = pictures(2, grey=True)
    maps = grad_cam(Task(network), images, torch.tensor([0, 5]))
    assert maps.shape == (2, 64, 64)
    assert 0 <= maps.min() < maps.max() <= 1
    assert not torch.equal(maps[0], grad_cam(Task(network), images, torch.tensor([3, 5]))[0])


def test_an_empty_heat_map_is_zero_and_not_nan() -> None:
    torch.manual_seed(0)
    network = create("gimefive").eval()
    nn.init.zeros_(network.head.weight)
    maps = grad_cam(Task(network), pictures(1, grey=True))
    assert torch.equal(maps, torch.zeros(1, 64, 64))


def test_colour_does_not_change_the_answer(network: GiMeFive) -> None:
    colour = pictures(2, grey=False)
    with torch.no_grad():
        torch.testing.assert_close(network(colour), network(network.grey(colour)), rtol=1e-3, atol=1e-5)
        features, of_grey = network.features(colour), network.features(network.grey(colour))
        turned = network.features(colour.flip(1))  # red and blue swapped weigh otherwise
    torch.testing.assert_close(features, of_grey, rtol=1e-3, atol=1e-4)
    assert (features - turned).abs().max() > 1e-2
