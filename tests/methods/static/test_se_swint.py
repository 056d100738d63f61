from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")

from mien.errors import OptionError, ShapeError, WeightsError  # noqa: E402
from mien.methods.static.se_swint import (  # noqa: E402
    FORBIDDEN,
    WINDOW,
    PatchMerging,
    SeSwinT,
    SqueezeExcitation,
    SwinBlock,
    join_windows,
    load_swin,
    relative_index,
    split_windows,
    window_mask,
)

SMALL = {"size": 64, "dim": 32, "depths": (1, 2, 1, 1)}


def count(module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def noise(*shape: int, seed: int = 0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def dense_attention(block: SwinBlock, x):
    """Attention among all tokens of a map at once: two may meet where the paper's plain definition of
    shifted windows puts them into one cell of the grid. No padding, no rolling, no mask table.
    """
    side, shift, attn = block.side, block.shift, block.attn
    place = torch.cartesian_prod(torch.arange(side), torch.arange(side))
    cell = torch.div(place - shift, block.window, rounding_mode="floor")
    meet = (cell[:, None] == cell[None]).all(-1)
    offset = (place[:, None] - place[None]).clamp(1 - WINDOW, WINDOW - 1) + WINDOW - 1
    bias = attn.bias_table[offset[..., 0] * (2 * WINDOW - 1) + offset[..., 1]]
    batch, channels = x.shape[0], x.shape[-1]
    query, key, value = attn.qkv(x.reshape(batch, side * side, channels)).chunk(3, -1)
    mixed = []
    for head, columns in enumerate(torch.arange(channels).chunk(attn.heads)):
        scores = torch.einsum("bnc,bmc->bnm", query[..., columns], key[..., columns]) / len(columns) ** 0.5
        scores = (scores + bias[..., head]).masked_fill(~meet, float("-inf"))
        mixed.append(scores.softmax(-1) @ value[..., columns])
    return attn.proj(torch.cat(mixed, -1)).reshape(batch, side, side, channels)


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("side", [4, 7, 9, 14, 16, 28])
def test_window_attention_is_dense_attention_within_the_cells(side: int, shifted: bool) -> None:
    """Also where the map is padded (9, 16): padding is then seen by nobody."""
    torch.manual_seed(side)
    block = SwinBlock(64, side, shifted, 0.0).double()
    torch.nn.init.normal_(block.attn.bias_table)
    torch.nn.init.normal_(block.attn.qkv.weight, std=0.3)
    x = noise(2, side, side, 64).double()
    with torch.no_grad():
        torch.testing.assert_close(block.attend(x), dense_attention(block, x), rtol=1e-9, atol=1e-9)


def test_a_map_that_fits_its_windows_needs_no_mask_and_no_padding() -> None:
    assert window_mask(14, 7, 0) is None
    assert window_mask(4, 4, 0) is None
    assert window_mask(14, 7, 3) is not None
    assert window_mask(16, 7, 0) is not None
    block = SwinBlock(32, 14, False, 0.0)
    assert block.mask is None
    x = noise(1, 14, 14, 32)
    with torch.no_grad():
        plain = join_windows(block.attn(split_windows(x, 7), None), 14, 7)
        assert torch.equal(block.attend(x), plain)


def test_the_shift_is_half_a_window_and_none_where_one_window_covers_the_map() -> None:
    assert SwinBlock(32, 14, True, 0.0).shift == 3
    for side in (7, 4, 2):
        small = SwinBlock(32, side, True, 0.0)
        assert (small.shift, small.window, small.mask) == (0, side, None)


def test_a_forbidden_share_is_exactly_zero() -> None:
    scores = torch.tensor([30.0, -30.0 + FORBIDDEN])
    assert scores.softmax(0)[1] == 0
    assert scores.half().softmax(0)[1] == 0
    mask = window_mask(9, 7, 3)
    assert mask.shape == (4, 1, 49, 49)
    assert set(mask.unique().tolist()) == {0.0, FORBIDDEN}


def test_windows_split_and_join() -> None:
    x = torch.arange(2 * 14 * 14 * 3).reshape(2, 14, 14, 3).float()
    windows = split_windows(x, 7)
    assert windows.shape == (2, 4, 49, 3)
    assert torch.equal(windows[1, 2, 8], x[1, 8, 1])
    assert torch.equal(join_windows(windows, 14, 7), x)


def test_the_relative_index_depends_on_the_offset_only_and_a_smaller_window_agrees() -> None:
    index = relative_index(7)
    assert index.shape == (49, 49)
    assert index.unique().numel() == 13 * 13
    assert index.diagonal().unique().tolist() == [84]
    small = relative_index(4)
    # Token (1, 2) seen from (3, 0), in both windows.
    assert small[1 * 4 + 2, 3 * 4 + 0] == index[1 * 7 + 2, 3 * 7 + 0] == (-2 + 6) * 13 + (2 + 6)


def test_merging_halves_an_even_map_and_pads_an_odd_one() -> None:
    torch.manual_seed(0)
    even, odd = PatchMerging(8, 6), PatchMerging(8, 7)
    odd.load_state_dict(even.state_dict())
    x = noise(2, 7, 7, 8)
    with torch.no_grad():
        assert even(x[:, :6, :6]).shape == (2, 3, 3, 16)
        merged = odd(x)
        assert merged.shape == (2, 4, 4, 16)
        # Where no zero is needed the two are the same to the bit.
        assert torch.equal(merged[:, :3, :3], even(x[:, :6, :6]))
        corner = torch.cat([x[:, 6, 6], torch.zeros(2, 24)], -1)
        torch.testing.assert_close(merged[:, 3, 3], odd.reduction(odd.norm(corner)))


def test_logits_of_the_papers_network() -> None:
    torch.manual_seed(0)
    network = SeSwinT().eval()
    with torch.no_grad():
        x = network.patch_norm(network.patch(noise(2, 3, 224, 224)).permute(0, 2, 3, 1))
        shapes = []
        for stage, blocks in enumerate(network.stages):
            x = blocks(network.merges[stage - 1](x) if stage else x)
            shapes.append(tuple(x.shape[1:]))
        assert shapes == [(56, 56, 96), (28, 28, 192), (14, 14, 384), (7, 7, 768)]
        gate = network.excitations[0].gate(x.permute(0, 3, 1, 2))
        assert gate.shape == (2, 768, 1, 1)
        assert gate.min() > 0
        assert gate.max() < 1
        assert network(noise(2, 3, 224, 224)).shape == (2, 8)


def test_a_gate_of_zero_weights_halves() -> None:
    torch.manual_seed(0)
    gate = SqueezeExcitation(96, 16)
    torch.nn.init.zeros_(gate.excite.weight)
    torch.nn.init.zeros_(gate.excite.bias)
    x = noise(2, 96, 5, 5)
    with torch.no_grad():
        assert torch.equal(gate.gate(x), torch.full((2, 96, 1, 1), 0.5))
        assert torch.equal(gate(x), x / 2)


def test_the_gate_is_the_papers_formula() -> None:
    gate = SqueezeExcitation(4, 2).double()
    x = noise(1, 4, 3, 3).double()
    with torch.no_grad():
        hidden = (gate.squeeze.weight @ x[0].mean((1, 2)) + gate.squeeze.bias).clamp(min=0)
        logit = gate.excite.weight @ hidden + gate.excite.bias
        torch.testing.assert_close(gate.gate(x).flatten(), 1 / (1 + torch.exp(-logit)))


def test_counts_of_swin_t_and_of_the_gate() -> None:
    plain = SeSwinT(classes=1000, se=False)
    assert count(plain) == 28_288_354
    trunk = count(plain) - count(plain.head) - count(plain.norm)
    assert trunk == 27_517_818
    assert trunk == pytest.approx(27.5e6, rel=0.01)
    gate = SqueezeExcitation(768, 16)
    assert gate.squeeze.weight.numel() + gate.excite.weight.numel() == 73_728
    assert count(gate) < 0.003 * trunk
    wide = SqueezeExcitation(768, 4)
    assert wide.squeeze.weight.numel() + wide.excite.weight.numel() == 294_912
    assert count(SeSwinT()) == trunk + count(plain.norm) + count(gate) + 768 * 8 + 8


@pytest.mark.parametrize(
    ("position", "widths"),
    [("after_stages", [32, 64, 128, 256]), ("final_map", [256]), ("pooled_vector", [256])],
)
def test_each_place_of_the_gate(position: str, widths: list[int]) -> None:
    torch.manual_seed(0)
    network = SeSwinT(**SMALL, se_position=position).eval()
    assert [gate.excite.out_features for gate in network.excitations] == widths
    x = noise(2, 3, 64, 64)
    with torch.no_grad():
        before = network(x)
        for gate in network.excitations:
            torch.nn.init.normal_(gate.excite.bias, std=3.0)
        assert (network(x) - before).abs().max() > 1e-3, "the gate is in the path"
        plain = SeSwinT(**SMALL, se=False).eval()
        assert not list(plain.excitations)
        plain.load_state_dict({k: v for k, v in network.state_dict().items() if "excitations" not in k})
        for gate in network.excitations:
            torch.nn.init.constant_(gate.excite.bias, 50.0)
        torch.testing.assert_close(network(x), plain(x), rtol=1e-4, atol=1e-5)


def test_the_smaller_input_takes_the_same_weights() -> None:
    torch.manual_seed(0)
    large, small = SeSwinT(dim=32), SeSwinT(size=112, dim=32)
    small.load_state_dict(large.state_dict(), strict=True)
    sides = [stage[0].side for stage in small.stages]
    assert sides == [28, 14, 7, 4]
    with torch.no_grad():
        assert small.eval()(noise(2, 3, 112, 112)).shape == (2, 8)


@pytest.mark.parametrize("size", [32, 48, 64, 96, 100, 128])
def test_other_sizes(size: int) -> None:
    torch.manual_seed(0)
    network = SeSwinT(**{**SMALL, "size": size}).eval()
    with torch.no_grad():
        logits = network(noise(2, 3, size, size))
    assert logits.shape == (2, 8)
    assert torch.isfinite(logits).all()


def test_options_that_cannot_be_are_refused() -> None:
    for options, text in (
        ({"size": 30}, "expected size to be a multiple of 4"),
        ({"size": 28}, "from 32 on"),
        ({"se_position": "before"}, "after_stages, final_map, pooled_vector, got 'before'"),
        ({"dim": 48}, "multiple of 32, got 48"),
        ({"se_ratio": 0}, "expected se_ratio from 1 to 96"),
    ):
        with pytest.raises(OptionError, match=text):
            SeSwinT(**options)
    with pytest.raises(ShapeError, match="64"):
        SeSwinT(**SMALL)(torch.zeros(1, 3, 112, 112))


def test_stochastic_depth_grows_with_the_block() -> None:
    rates = [block.drop.rate for stage in SeSwinT(drop_path=0.2).stages for block in stage]
    assert rates == pytest.approx([0.2 * i / 11 for i in range(12)])


def microsoft_names(classes: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a Swin-T in microsoft/Swin-Transformer, models/swin_transformer.py."""
    shapes: dict[str, tuple[int, ...]] = {}

    def affine(name: str, *shape: int) -> None:
        shapes.update({f"{name}.weight": shape, f"{name}.bias": shape[:1]})

    affine("patch_embed.proj", 96, 3, 4, 4)
    affine("patch_embed.norm", 96)
    for layer, (depth, dim) in enumerate(zip((2, 2, 6, 2), (96, 192, 384, 768), strict=True)):
        for index in range(depth):
            block = f"layers.{layer}.blocks.{index}"
            affine(f"{block}.norm1", dim)
            shapes[f"{block}.attn.relative_position_bias_table"] = (169, dim // 32)
            shapes[f"{block}.attn.relative_position_index"] = (49, 49)
            affine(f"{block}.attn.qkv", 3 * dim, dim)
            affine(f"{block}.attn.proj", dim, dim)
            affine(f"{block}.norm2", dim)
            affine(f"{block}.mlp.fc1", 4 * dim, dim)
            affine(f"{block}.mlp.fc2", dim, 4 * dim)
            if index % 2 and layer < 3:
                side = (56, 28, 14)[layer] // 7
                shapes[f"{block}.attn_mask"] = (side * side, 49, 49)
        if layer < 3:
            affine(f"layers.{layer}.downsample.norm", 4 * dim)
            shapes[f"layers.{layer}.downsample.reduction.weight"] = (2 * dim, 4 * dim)
    affine("norm", 768)
    affine("head", classes, 768)
    return shapes


def test_a_swin_t_by_its_authors_names_loads_and_the_gate_stays() -> None:
    network = SeSwinT(size=112)
    kept = {name: value.clone() for name, value in network.state_dict().items()}
    theirs = {
        name: noise(*shape, seed=seed) for seed, (name, shape) in enumerate(microsoft_names(1000).items())
    }
    load_swin(network, theirs)
    ours = network.state_dict()
    for name, value in kept.items():
        assert torch.equal(ours[name], value) == name.startswith(("head", "excitations")), name
    assert torch.equal(network.merges[1].reduction.weight, theirs["layers.1.downsample.reduction.weight"])
    block = network.stages[2][5]
    assert torch.equal(block.mlp[2].bias, theirs["layers.2.blocks.5.mlp.fc2.bias"])
    table = theirs["layers.2.blocks.5.attn.relative_position_bias_table"]
    assert torch.equal(block.attn.bias_table, table)


def test_a_swin_t_that_is_not_whole_is_refused() -> None:
    whole = {name: torch.zeros(shape) for name, shape in microsoft_names(8).items()}
    for broken in (
        {name: value for name, value in whole.items() if name != "layers.0.blocks.1.norm1.bias"},
        {**whole, "layers.4.extra": torch.zeros(1)},
        {**whole, "norm.weight": torch.zeros(3)},
    ):
        with pytest.raises(WeightsError, match="names of microsoft/Swin-Transformer"):
            load_swin(SeSwinT(), broken)
