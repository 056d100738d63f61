from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")

from mien.errors import OptionError, ShapeError, WeightsError  # noqa: E402
from mien.methods.static.vtff import (  # noqa: E402
    VTFF,
    ResNet18,
    SelectiveFusion,
    grey_levels,
    local_binary_patterns,
    start_trunks,
    vtff_base,
    vtff_large,
)
from mien.types.media import IMAGENET_MEAN, IMAGENET_STD  # noqa: E402

MEAN_4D, STD_4D = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))


def small(**options) -> VTFF:
    torch.manual_seed(0)
    return VTFF(depth=1, width=16, **{"size": 64, **options}).eval()


def normalised(pixels: np.ndarray) -> torch.Tensor:
    """uint8 (B, H, W, 3) to what the network takes."""
    return (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - MEAN_4D) / STD_4D


def slow_patterns(grey: np.ndarray) -> np.ndarray:
    """The definition, pixel by pixel: bits clockwise from the top left, highest first, 1 where >= centre."""
    height, width = grey.shape
    code = np.zeros((height, width), int)
    around = [(-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1)]
    for row in range(height):
        for column in range(width):
            bits = ""
            for down, right in around:
                r = min(max(row + down, 0), height - 1)
                c = min(max(column + right, 0), width - 1)
                bits += "1" if grey[r, c] >= grey[row, column] else "0"
            code[row, column] = int(bits, 2)
    return code


@pytest.mark.parametrize("levels", [3, 256])
def test_patterns_follow_the_definition(levels: int) -> None:
    """Few levels make many equal neighbours, where the >= rule counts."""
    grey = np.random.default_rng(levels).integers(0, levels, (2, 13, 9))
    found = local_binary_patterns(torch.from_numpy(grey).float()[:, None])
    assert np.array_equal(found[:, 0].numpy(), np.stack([slow_patterns(one) for one in grey]))


def test_patterns_of_a_constant_image_are_255_up_to_the_border() -> None:
    assert (local_binary_patterns(torch.full((1, 1, 8, 8), 77.0)) == 255).all()


def test_patterns_ignore_brightness_and_see_place() -> None:
    grey = torch.randint(0, 200, (1, 1, 16, 16), generator=torch.Generator().manual_seed(0)).float()
    assert torch.equal(local_binary_patterns(grey), local_binary_patterns(grey + 50))
    assert not torch.equal(local_binary_patterns(grey), local_binary_patterns(grey.flip(3)))


def test_grey_is_the_8_bit_luma_of_the_pixels_and_takes_rounding_noise() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 40, 40, 3), np.uint8)
    pixels[0, 0] = np.repeat(np.arange(40, dtype=np.uint8)[:, None], 3, 1)  # grey stays itself
    red, green, blue = pixels.astype(int).transpose(3, 0, 1, 2)
    expected = (299 * red + 587 * green + 114 * blue + 500) // 1000
    images = normalised(pixels)
    for moved in (images, images + 1e-4, images - 1e-4):
        assert np.array_equal(grey_levels(moved, MEAN_4D, STD_4D)[:, 0].numpy(), expected)
    assert np.array_equal(expected[0, 0], np.arange(40))


def test_the_second_trunk_sees_the_patterns_normalised() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (1, 64, 64, 3), np.uint8)
    found = small().patterns(normalised(pixels)) * STD_4D + MEAN_4D
    red, green, blue = pixels[0].astype(int).transpose(2, 0, 1)
    expected = slow_patterns((299 * red + 587 * green + 114 * blue + 500) // 1000)
    for channel in found[0]:
        np.testing.assert_allclose(channel.numpy(), expected, atol=1e-3)


def test_the_published_counts() -> None:
    trunk = sum(weight.numel() for weight in ResNet18().parameters())
    assert trunk == 11_176_512
    block = 4 * 768 * 768 + 4 * 768 + 2 * 768 * 3072 + 3072 + 768 + 4 * 768
    for build, depth, published in ((vtff_base, 4, 51.8e6), (vtff_large, 8, 80.1e6)):
        network = build()
        counted = sum(weight.numel() for weight in network.parameters())
        fusion = sum(weight.numel() for weight in network.fusion.parameters())
        words = 512 * 768 + 768 + 50 * 768 + 768 + 2 * 768 + 768 * 8 + 8
        assert counted == 2 * trunk + depth * block + fusion + words
        assert counted == pytest.approx(published, rel=0.005)


@pytest.mark.parametrize(("gate", "top"), [("sum_sigmoid", 1.0), ("paper", 2.0)])
def test_the_gate_has_a_weight_for_each_channel_and_place(gate: str, top: float) -> None:
    torch.manual_seed(0)
    fusion = SelectiveFusion(512, gate).eval()
    patterns, rgb = torch.randn(2, 512, 7, 7), torch.randn(2, 512, 7, 7)
    with torch.no_grad():
        weights = fusion.weights(patterns, rgb)
        assert weights.shape == (2, 512, 7, 7)
        assert weights.min() > 0
        assert weights.max() < top
        assert (weights[:, :1] - weights[:, 1:2]).abs().max() > 1e-4
        assert (weights[..., 0] - weights[..., 1]).abs().max() > 1e-4


@pytest.mark.parametrize("gate", ["sum_sigmoid", "paper"])
def test_equal_maps_stay_what_they_are(gate: str) -> None:
    fusion, same = SelectiveFusion(64, gate).eval(), torch.randn(2, 64, 3, 3)
    with torch.no_grad():
        torch.testing.assert_close(fusion(same, same), same)


def test_by_default_the_fused_map_lies_between_the_two() -> None:
    fusion, patterns, rgb = SelectiveFusion(64).eval(), torch.randn(2, 64, 3, 3), torch.randn(2, 64, 3, 3)
    with torch.no_grad():
        fused = fusion(patterns, rgb)
    assert (fused >= torch.minimum(patterns, rgb) - 1e-6).all()
    assert (fused <= torch.maximum(patterns, rgb) + 1e-6).all()


@pytest.mark.parametrize(("size", "words"), [(224, 50), (112, 17), (64, 5)])
def test_words_of_the_encoder(size: int, words: int) -> None:
    network = small(size=size, classes=5)
    faces = torch.zeros(1, 3, size, size)
    with torch.no_grad():
        assert network.words(faces).shape == (1, words, 768)
        assert network.features(faces).shape == (1, 768)
        assert network(faces).shape == (1, 5)


def test_the_answer_depends_on_the_gate_and_on_the_patterns() -> None:
    network, literal = small(), small(gate="paper")
    literal.load_state_dict(network.state_dict())
    faces = normalised(np.random.default_rng(2).integers(0, 256, (1, 64, 64, 3), np.uint8))
    with torch.no_grad():
        assert not torch.allclose(network(faces), literal(faces))
        before = network(faces)
        for weight in network.pattern_trunk.parameters():
            weight.zero_()
        assert not torch.allclose(network(faces), before)


def test_wrong_options_and_sizes_are_refused() -> None:
    with pytest.raises(OptionError, match="expected gate 'sum_sigmoid' or 'paper', got 'max'"):
        small(gate="max")
    for size in (100, 16):
        with pytest.raises(OptionError, match="multiple of 16"):
            small(size=size)
    with pytest.raises(ShapeError, match="expected faces"):
        small()(torch.zeros(1, 3, 96, 96))


def test_both_trunks_start_from_one_file() -> None:
    network, source = small(), ResNet18(16)
    head = network.head.weight.detach().clone()
    start_trunks(
        network, {**source.state_dict(), "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    )
    for trunk in (network.rgb_trunk, network.pattern_trunk):
        assert torch.equal(trunk.layer3[0].conv1.weight, source.layer3[0].conv1.weight)
    assert torch.equal(network.head.weight, head)
    lacking = source.state_dict()
    del lacking["layer4.1.bn2.bias"]
    with pytest.raises(WeightsError, match=r"layer4\.1\.bn2\.bias"):
        start_trunks(network, lacking)
