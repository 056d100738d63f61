from __future__ import annotations

import copy

import pytest
import torch

from mien.errors import OptionError, ShapeError
from mien.methods.method import METHODS, create
from mien.methods.micro.htnet import CENTRES, SIZE, WINDOW, HtNet, four_regions


@pytest.fixture(scope="module")
def narrow() -> HtNet:
    torch.manual_seed(0)
    network = create("htnet_narrow").eval()
    assert isinstance(network, HtNet)
    return network


def pictures(count: int) -> torch.Tensor:
    return 255 * torch.rand(count, 3, 28, 28, generator=torch.Generator().manual_seed(0))


def test_the_published_number_of_parameters() -> None:
    """139,582,982: counted on the authors' network. On the meta device nothing is allocated."""
    with torch.device("meta"):
        network = create("htnet")
    assert sum(parameter.numel() for parameter in network.parameters()) == 139_582_982
    assert METHODS["htnet"].counts.parameters == 139_582_982
    assert [level.blocks[0].attention.qkv.weight.shape[0] // 3 for level in network.levels] == [
        255,
        510,
        1020,
    ]
    assert [len(level.blocks) for level in network.levels] == [2, 2, 10]


def test_maps_halve_and_channels_double(narrow: HtNet) -> None:
    with torch.no_grad():
        shapes = [tuple(one.shape) for one in narrow.maps(pictures(2))]
    assert shapes == [(2, 32, 4, 4), (2, 64, 2, 2), (2, 128, 1, 1)]
    with torch.device("meta"):
        full = create("htnet")
        shapes = [tuple(one.shape) for one in full.maps(torch.zeros(1, 3, 28, 28, device="meta"))]
    assert shapes == [(1, 256, 4, 4), (1, 512, 2, 2), (1, 1024, 1, 1)]


def test_window_centres_are_clamped_so_that_windows_fit() -> None:
    """By hand: rows 2..15 and 14..27 for 9.5 and 21.4; columns 4..17 and 3..16; below, 3..16 and 13..26, 14..27."""
    ramp = torch.arange(28.0)
    maps = torch.stack([ramp[:, None].expand(28, 28), ramp.expand(28, 28)])[None]
    tiled = four_regions(maps)
    assert tiled.shape == maps.shape
    corners = [(0, 0), (0, 14), (14, 0), (14, 14)]
    assert [tiled[0, :, row, column].tolist() for row, column in corners] == [
        [2, 4],
        [14, 3],
        [3, 14],
        [13, 14],
    ]
    assert torch.equal(four_regions(maps, [(-5, 40)] * 4)[0, :, :WINDOW, :WINDOW], maps[0, :, :14, 14:])
    assert len(CENTRES) == 4


def test_each_block_holds_one_token_so_that_queries_and_keys_do_nothing(narrow: HtNet) -> None:
    images = pictures(2)
    other = copy.deepcopy(narrow)
    for level in other.levels:
        for block in level.blocks:
            inner = block.attention.qkv.weight.shape[0] // 3
            torch.nn.init.normal_(block.attention.qkv.weight[: 2 * inner])
    with torch.no_grad():
        torch.testing.assert_close(other(images), narrow(images))


def test_before_the_first_convolution_places_do_not_mix(narrow: HtNet) -> None:
    """A change in one patch changes that place alone at the first level, and everything at the last."""
    images = pictures(1)
    changed = images.clone()
    changed[:, :, :7, :7] = 0
    tiled = copy.deepcopy(narrow)
    tiled.tiled = True
    with torch.no_grad():
        before, after = tiled.maps(images), tiled.maps(changed)
    differs = (before[0] != after[0]).any(1)[0]
    assert differs[0, 0] and differs.sum() == 1
    assert (before[2] != after[2]).any()


def test_shuffled_regions_give_shuffled_maps_until_the_convolutions(narrow: HtNet) -> None:
    tiled = copy.deepcopy(narrow)
    tiled.tiled = True
    images = four_regions(pictures(1))
    turned = torch.cat([images[:, :, SIZE // 2 :], images[:, :, : SIZE // 2]], 2)
    with torch.no_grad():
        first, second = tiled.maps(images), tiled.maps(turned)
        assert not torch.allclose(tiled(images), tiled(turned))
    torch.testing.assert_close(torch.cat([first[0][:, :, 2:], first[0][:, :, :2]], 2), second[0])


def test_larger_blocks_do_attend() -> None:
    """With two parts a side, four tokens share a block: queries and keys then matter."""
    torch.manual_seed(0)
    network = HtNet(width=24)
    network.levels[0].divisions = 2
    images = pictures(1)
    with torch.no_grad():
        network.levels[0].place = torch.nn.Parameter(torch.zeros(2, 2))
        before = network.maps(images)[0]
        inner = network.levels[0].blocks[0].attention.qkv.weight.shape[0] // 3
        network.levels[0].blocks[0].attention.qkv.weight[: 2 * inner] *= 3
        assert not torch.allclose(before, network.maps(images)[0])


def test_bad_input_and_options_are_refused(narrow: HtNet) -> None:
    with pytest.raises(ShapeError, match=r"expected faces \(B, 3, 28, 28\), got \(1, 3, 32, 32\)"):
        narrow(torch.zeros(1, 3, 32, 32))
    with pytest.raises(OptionError, match="expected a width of at least a channel a head"):
        HtNet(width=2)
