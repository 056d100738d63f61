"""IFDD against the facts of its repository and the counts of the trunk that it is cut from."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mien.errors import OptionError, WeightsError
from mien.methods.dynamic.ifdd import (
    LIFTING_WEIGHT,
    Ifdd,
    IfddTask,
    Mixing,
    Pool,
    Split,
    distances,
    load_kinetics,
    multiscale_blocks,
    sampled,
)
from mien.methods.task import Batch, soft_cross_entropy


@pytest.fixture(scope="module")
def network() -> Ifdd:
    torch.manual_seed(0)
    return Ifdd(7, 16, 8, 0.2).eval()


def test_blocks_as_mvitv2_s_are_as_many_as_torchvisions() -> None:
    """34,537,744 with 400 classes (torchvision's page, from memory)."""
    with torch.device("meta"):
        blocks = multiscale_blocks((1, 2, 11, 2), 96, 0.2)
        stem = nn.Conv3d(3, 96, (3, 7, 7))
    rest = 96 + 2 * 768 + 768 * 400 + 400  # class token, last norm, head
    counted = sum(parameter.numel() for part in (blocks, stem) for parameter in part.parameters())
    assert counted + rest == 34_537_744


def test_heads_strides_and_sides_of_the_ten_blocks() -> None:
    with torch.device("meta"):
        blocks = multiscale_blocks((1, 2, 5, 2), 96, 0.2)
    assert [block.attn.heads for block in blocks] == [1, 2, 2, 4, 4, 4, 4, 4, 8, 8]
    assert [block.stride for block in blocks] == [1, 2, 1, 2, 1, 1, 1, 1, 2, 1]
    assert [block.attn.pool_k.pool.stride[1] for block in blocks] == [8, 4, 4, 2, 2, 2, 2, 2, 1, 1]
    assert [block.attn.q_side for block in blocks] == [56, 28, 28, 14, 14, 14, 14, 14, 7, 7]
    assert [block.norm2.normalized_shape[0] for block in blocks] == [96, 192, 192, *[384] * 5, 768, 768]
    assert blocks[0].drop.rate == 0 and blocks[9].drop.rate == pytest.approx(0.2)


@pytest.mark.parametrize("frames", [16, 32])
def test_the_stem_gives_eight_steps(frames: int) -> None:
    with torch.device("meta"):
        stem = Ifdd(7, frames, 96, 0.2).stem(torch.zeros(1, 3, frames, 224, 224))
    assert stem.shape == (1, 96, 8, 56, 56)


def test_maps_of_two_stages() -> None:
    with torch.device("meta"), torch.no_grad():
        third, fourth = Ifdd(7, 16, 96, 0.2).maps(torch.zeros(1, 3, 16, 224, 224))
    assert third.shape == (1, 384, 8, 14, 14) and fourth.shape == (1, 768, 8, 7, 7)


def test_offsets_are_in_the_units_of_the_finer_side() -> None:
    assert distances(3, 3).tolist() == [[2, 1, 0], [3, 2, 1], [4, 3, 2]]
    assert distances(4, 2).tolist() == [[2, 0], [3, 1], [4, 2], [5, 3]]
    for queries, keys in ((14, 7), (7, 14), (8, 8), (56, 7)):
        table = distances(queries, keys)
        assert table.min() >= 0 and table.max() <= 2 * max(queries, keys) - 2


def test_the_class_token_is_not_pooled() -> None:
    pool = Pool(4, 2)
    pool.norm_act = nn.Sequential()  # type: ignore[assignment]
    x = torch.randn(2, 3, 1 + 8 * 16, 4)
    with torch.no_grad():
        pooled = pool(x, 4)
    assert pooled.shape == (2, 3, 1 + 8 * 4, 4)
    assert torch.equal(pooled[:, :, 0], x[:, :, 0])


def test_steps_are_even_and_odd_without_offsets_and_move_by_under_two() -> None:
    torch.manual_seed(0)
    split, x = Split(16), torch.randn(3, 16, 8, 7, 7)
    nn.init.constant_(split.detail.weight, 1000.0)
    nn.init.zeros_(split.approximate.weight)
    with torch.no_grad():
        even, odd = split.places(x)
        smooth, detail = split(x)
    assert even.tolist() == [[0, 2, 4, 6]] * 3
    assert (odd - torch.tensor([1, 3, 5, 7])).abs().max() <= 2 and (odd > torch.tensor([2, 4, 6, 8])).all()
    assert smooth.shape == detail.shape == (3, 16, 4, 7, 7)


def test_features_are_read_as_the_grid_sampler_reads_them() -> None:
    """Step 2 is read at 8 * 2 / 7 - 1/2 = 1.786, step 0 at the border."""
    random = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 8, 1, 1, generator=random)
    places = torch.tensor([[0.0, 2.0, 4.3, 9.0], [-2.0, 6.5, 7.0, 1.0]])
    grid = torch.stack([2 * places / 7 - 1, torch.zeros_like(places)], -1)[:, None]
    wanted = nn.functional.grid_sample(
        x[..., 0, 0][:, :, None], grid, padding_mode="border", align_corners=False
    )
    torch.testing.assert_close(sampled(x, places)[..., 0, 0], wanted[:, :, 0])
    two = sampled(x, torch.tensor([[2.0]]).expand(2, 1))[:, :, 0, 0, 0]
    at = 16 / 7 - 0.5
    torch.testing.assert_close(two, (2 - at) * x[:, :, 1, 0, 0] + (at - 1) * x[:, :, 2, 0, 0])


def test_lifting_without_projections_changes_nothing() -> None:
    mixing, x = Mixing(16), torch.randn(2, 6, 16)
    nn.init.zeros_(mixing.proj.weight), nn.init.zeros_(mixing.proj.bias)
    assert not mixing(x).any()


def test_values_are_added_to_what_is_attended_to() -> None:
    torch.manual_seed(0)
    mixing, x = Mixing(16), torch.randn(2, 6, 16)
    plain = Mixing(16, value_residual=False)
    plain.load_state_dict(mixing.state_dict())
    with torch.no_grad():
        values = mixing.qkv(mixing.norm(x))[..., 32:]
        torch.testing.assert_close(mixing(x) - plain(x), values @ mixing.proj.weight.T)


def test_the_loss_holds_the_approximation_to_the_clips_mean(network: Ifdd) -> None:
    class Said(nn.Module):
        def __init__(self, gap: float) -> None:
            super().__init__()
            self.gap = gap

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"expression": torch.zeros(len(x), 7), "lifting": torch.full((len(x), 3, 3), self.gap)}

    batch = Batch(torch.zeros(4, 1), torch.eye(7)[:4])
    plain = soft_cross_entropy(torch.zeros(4, 7), batch.targets)
    for gap, wanted in ((0.0, 0.0), (0.5, 0.125), (2.0, 1.5)):  # smooth L1
        added = IfddTask(Said(gap)).loss(batch) - plain
        assert added.item() == pytest.approx(LIFTING_WEIGHT * wanted, abs=1e-6)


@pytest.mark.slow
def test_the_lifting_term_is_one_map_a_clip(network: Ifdd) -> None:
    trained = Ifdd(7, 16, 8, 0.2).train()
    with torch.no_grad():
        output = trained(torch.randn(1, 3, 16, 224, 224))
    assert output["lifting"].shape == (1, 3, 3) and output["expression"].shape == (1, 7)


def test_weights_of_mvitv2_s_start_the_lower_blocks(network: Ifdd) -> None:
    torch.manual_seed(5)
    taken = {
        name: torch.randn_like(value)
        for name, value in network.state_dict().items()
        if name.startswith(("conv_proj", "pos_encoding", *(f"blocks.{index}." for index in range(8))))
    }
    fresh, head = Ifdd(7, 16, 8, 0.2), None
    head = fresh.head.weight.clone()
    load_kinetics(
        fresh, {**taken, "head.1.weight": torch.zeros(400, 768), "blocks.15.norm1.weight": torch.ones(3)}
    )
    assert all(torch.equal(fresh.state_dict()[name], value) for name, value in taken.items())
    assert torch.equal(fresh.head.weight, head)
    taken.pop("blocks.3.attn.rel_pos_h")
    with pytest.raises(
        WeightsError, match=r"(?s)torchvision's mvit_v2_s.*Missing.*blocks\.3\.attn\.rel_pos_h"
    ):
        load_kinetics(fresh, taken)


def test_another_number_of_frames_is_refused() -> None:
    with pytest.raises(OptionError, match="expected 16 or 32 frames, got 8"):
        Ifdd(7, 8, 8, 0.2)
