from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")

from mien.errors import WeightsError  # noqa: E402
from mien.methods.runner import ExpressionRunner  # noqa: E402
from mien.methods.static.mobile_expression import (  # noqa: E402
    BLOCKS,
    STEM_CHANNELS,
    MobileExpression,
    load_sface_trunk,
    load_shipped,
)
from mien.weights.store import load_weights  # noqa: E402


@pytest.fixture(scope="module")
def network():
    """Random weights, with batch statistics of noise, so that signals neither die nor explode."""
    torch.manual_seed(0)
    made = MobileExpression().train()
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        made(torch.randn(32, 3, 48, 48))
    return made.eval()


def test_the_number_of_parameters(network) -> None:
    """Convolution k*k*in/groups*out; batch norm 2 a channel; PReLU 1 a channel; the head."""

    def unit(weights: int, channels: int) -> int:
        return weights + 3 * channels

    expected, channels = unit(9 * 3 * STEM_CHANNELS, STEM_CHANNELS), STEM_CHANNELS
    for wider, _ in BLOCKS:
        expected += unit(9 * channels, channels) + unit(channels * wider, wider)
        channels = wider
    expected += channels * 8 + 8
    assert sum(weight.numel() for weight in network.parameters()) == expected
    assert 3.1e6 < expected < 3.4e6


def test_the_blocks_are_those_of_mobilenet() -> None:
    assert len(BLOCKS) == 13
    assert BLOCKS[-1][0] == 1024
    assert [stride for _, stride in BLOCKS].count(2) == 4


@pytest.mark.parametrize("size", [32, 48, 64])
def test_shapes(size: int, network) -> None:
    network.eval()
    x = torch.zeros(2, 3, size, size)
    with torch.no_grad():
        assert network(x).shape == (2, 8)
        assert network.features(x).shape == (2, 1024)
        assert network.trunk(x).shape == (2, 1024, size // 16, size // 16)
    assert MobileExpression(classes=7).eval()(x[:1]).shape == (1, 7)


def test_every_parameter_receives_a_gradient() -> None:
    torch.manual_seed(1)
    fresh = MobileExpression(dropout=0.0).train()
    loss = torch.nn.functional.cross_entropy(fresh(torch.randn(4, 3, 48, 48)), torch.tensor([0, 3, 5, 7]))
    loss.backward()
    for name, weight in fresh.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name
        assert weight.grad.abs().max() > 0, name


def test_evaluation_repeats_and_training_drops(network) -> None:
    x = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        network.eval()
        assert torch.equal(network(x), network(x))
        assert torch.equal(network.head(network.features(x)), network(x))
        network.dropout.train()
        assert not torch.equal(network(x), network(x))
    network.eval()


def test_a_batch_equals_single_inputs(network) -> None:
    x = torch.randn(3, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    network.eval()
    with torch.no_grad():
        together, alone = network(x), torch.cat([network(one[None]) for one in x])
    assert torch.allclose(together, alone, atol=1e-4)
    assert (together[0] - together[1]).abs().max() > 0.05


def sface_tensors() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    tensors: dict[str, np.ndarray] = {}
    shapes = [("conv_1", (STEM_CHANNELS, 3, 3, 3))]
    channels = STEM_CHANNELS
    for number, (wider, _) in enumerate(BLOCKS, 2):
        shapes += [(f"conv_{number}_dw", (channels, 1, 3, 3)), (f"conv_{number}", (wider, channels, 1, 1))]
        channels = wider
    for prefix, shape in shapes:
        tensors[f"{prefix}_conv2d_weight"] = random.normal(size=shape).astype(np.float32)
        for part in ("gamma", "beta", "moving_mean", "moving_var"):
            tensors[f"{prefix}_batchnorm_{part}"] = random.uniform(0.5, 1.5, shape[0]).astype(np.float32)
        tensors[f"{prefix}_relu_gamma"] = random.uniform(0, 1, (shape[0], 1, 1)).astype(np.float32)
    return tensors


def test_the_trunk_starts_from_named_tensors_and_the_head_stays() -> None:
    network, tensors = MobileExpression(), sface_tensors()
    head = network.head.weight.detach().clone()
    load_sface_trunk(network, tensors)
    assert torch.equal(network.head.weight, head)
    second_pointwise = network.trunk[4]
    assert np.array_equal(second_pointwise.conv.weight.detach().numpy(), tensors["conv_3_conv2d_weight"])
    depthwise = network.trunk[3]
    assert np.array_equal(depthwise.norm.running_var.numpy(), tensors["conv_3_dw_batchnorm_moving_var"])
    assert np.array_equal(depthwise.act.weight.detach().numpy(), tensors["conv_3_dw_relu_gamma"][:, 0, 0])


def test_a_trunk_with_a_missing_or_misshapen_tensor_is_refused() -> None:
    lacking = sface_tensors()
    del lacking["conv_5_batchnorm_gamma"]
    with pytest.raises(
        WeightsError, match=r"(?s)expected the tensors of SFace's trunk.*Missing key.*8\.norm\.weight"
    ):
        load_sface_trunk(MobileExpression(), lacking)
    wrong = sface_tensors()
    wrong["conv_14_conv2d_weight"] = wrong["conv_14_conv2d_weight"][:512]
    with pytest.raises(WeightsError, match="size mismatch"):
        load_sface_trunk(MobileExpression(), wrong)


def test_the_shipped_network_comes_back_whole() -> None:
    """Its logits are the shipped file's up to float16 storage; without the head it is a start, and the head is kept."""
    weights = load_weights("expression")
    made = MobileExpression().eval()
    before = made.head.weight.clone()
    load_shipped(made, head=False)
    assert torch.equal(made.head.weight, before)
    with pytest.raises(
        WeightsError, match=r"expected a network of 8 classes.*got one of 7\. Pass head=False"
    ):
        load_shipped(MobileExpression(7))
    load_shipped(made)
    crops = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)
    with torch.no_grad():
        found = made((torch.from_numpy(crops).permute(0, 3, 1, 2).float() - 127.5) / 128).numpy()
    np.testing.assert_allclose(found, ExpressionRunner(weights, 1).logits(crops), rtol=1e-3, atol=1e-3)
