"""The reference is written out from the authors' names and order of operations (Talented-Q/POSTER_V2)."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")

from torch.nn import functional as F  # noqa: E402, N812

from mien.errors import ShapeError, WeightsError  # noqa: E402
from mien.methods.static.poster_pp import (  # noqa: E402
    CrossAttention,
    Feed,
    PosterPP,
    by_our_names,
    from_authors,
    load_image_branch,
    load_landmark_branch,
)

QUICK = {"units": (1, 1, 1), "width": 96, "depth": 1}
LANDMARK_LAYER = 512 * 49 + 2 * 512 + 512 * 136 + 2 * 136
"""Parameters of the layer that would give 68 points: 7x7 depthwise, norm, linear, norm."""


def count(module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def noise(*shape: int, seed: int = 0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Names:
    """Shapes by name, as the authors' modules would have them."""

    def __init__(self) -> None:
        self.parameters: dict[str, tuple[int, ...]] = {}
        self.buffers: dict[str, tuple[int, ...]] = {}

    def layer(self, name: str, *shape: int, bias: bool = True) -> None:
        self.parameters[f"{name}.weight"] = shape
        if bias:
            self.parameters[f"{name}.bias"] = shape[:1]

    def batch_norm(self, name: str, channels: int) -> None:
        self.layer(name, channels)
        self.buffers.update({f"{name}.running_mean": (channels,), f"{name}.running_var": (channels,)})
        self.buffers[f"{name}.num_batches_tracked"] = ()

    def conv_block(self, name: str, wide: int, per_group: int, kernel: int, act: bool = True) -> None:
        self.layer(f"{name}.conv", wide, per_group, kernel, kernel, bias=False)
        self.batch_norm(f"{name}.bn", wide)
        if act:
            self.parameters[f"{name}.prelu.weight"] = (wide,)

    def depth_wise(self, name: str, channels_in: int, middle: int, channels_out: int) -> None:
        self.conv_block(f"{name}.conv", middle, channels_in, 1)
        self.conv_block(f"{name}.conv_dw", middle, 1, 3)
        self.conv_block(f"{name}.project", channels_out, middle, 1, act=False)


def landmark_names(names: Names, at: str) -> None:
    names.conv_block(f"{at}conv1", 64, 3, 3)
    names.conv_block(f"{at}conv2_dw", 64, 1, 3)
    for down, stage, units, shape, middle in (
        ("conv_23", "conv_3", 4, (64, 128, 64), 128),
        ("conv_34", "conv_4", 6, (64, 256, 128), 256),
        ("conv_45", "conv_5", 2, (128, 512, 128), 256),
    ):
        names.depth_wise(f"{at}{down}", *shape)
        for unit in range(units):
            names.depth_wise(f"{at}{stage}.model.{unit}", shape[2], middle, shape[2])
    names.conv_block(f"{at}conv_6_sep", 512, 128, 1)
    names.conv_block(f"{at}output_layer.conv_6_dw", 512, 1, 7, act=False)
    names.layer(f"{at}output_layer.linear", 136, 512, bias=False)
    names.batch_norm(f"{at}output_layer.bn", 136)


def image_names(names: Names, at: str) -> None:
    names.layer(f"{at}input_layer.0", 64, 3, 3, 3, bias=False)
    names.batch_norm(f"{at}input_layer.1", 64)
    names.parameters[f"{at}input_layer.2.weight"] = (64,)
    names.batch_norm(f"{at}output_layer.0", 512)
    names.layer(f"{at}output_layer.3", 512, 512 * 49)
    names.batch_norm(f"{at}output_layer.4", 512)
    channels = 64
    for body, (wider, units) in enumerate(((64, 3), (128, 4), (256, 14)), 1):
        for unit in range(units):
            name = f"{at}body{body}.{unit}"
            if channels != wider:
                names.layer(f"{name}.shortcut_layer.0", wider, channels, 1, 1, bias=False)
                names.batch_norm(f"{name}.shortcut_layer.1", wider)
            names.batch_norm(f"{name}.res_layer.0", channels)
            names.layer(f"{name}.res_layer.1", wider, channels, 3, 3, bias=False)
            names.parameters[f"{name}.res_layer.2.weight"] = (wider,)
            names.layer(f"{name}.res_layer.3", wider, wider, 3, 3, bias=False)
            names.batch_norm(f"{name}.res_layer.4", wider)
            channels = wider


def vit_names(names: Names, classes: int) -> None:
    names.parameters.update({"VIT.cls_token": (1, 1, 768), "VIT.pos_embed": (1, 148, 768)})
    for linear in ("se_block.linear1", "se_block.linear2"):
        names.layer(f"VIT.{linear}", 768, 768)
    names.layer("VIT.patch_embed.proj", 768, 256, 1, 1)
    names.layer("VIT.head.linear", classes, 768)
    names.layer("VIT.eca_block.conv", 1, 1, 5, bias=False)
    names.layer("VIT.CON1", 768, 256, 1, 1, bias=False)
    names.layer("VIT.IRLinear1", 768, 1024)
    names.layer("VIT.IRLinear2", 512, 768)
    for block in ("VIT.blocks.0", "VIT.blocks.1"):
        names.layer(f"{block}.norm1", 768)
        names.layer(f"{block}.conv", 148, 148, 1)
        names.layer(f"{block}.attn.qkv", 3 * 768, 768)
        names.layer(f"{block}.attn.proj", 768, 768)
        names.layer(f"{block}.norm2", 768)
        names.layer(f"{block}.mlp.fc1", 4 * 768, 768)
        names.layer(f"{block}.mlp.fc2", 768, 4 * 768)
    names.layer("VIT.norm", 768)


def all_names(classes: int) -> Names:
    names = Names()
    landmark_names(names, "face_landback.")
    vit_names(names, classes)
    image_names(names, "ir_back.")
    for number, (dim, heads, side) in enumerate(((64, 2, 28), (128, 4, 14), (256, 8, 7)), 1):
        names.parameters[f"attn{number}.relative_position_bias_table"] = ((2 * side - 1) ** 2, heads)
        names.buffers[f"attn{number}.relative_position_index"] = (side * side, side * side)
        names.layer(f"attn{number}.qkv", 2 * dim, dim)
        names.layer(f"attn{number}.proj", dim, dim)
        names.layer(f"window{number}.norm", dim)
        names.layer(f"conv{number}", dim, dim, 3, 3)
        names.parameters.update({f"ffn{number}.gamma1": (dim,), f"ffn{number}.gamma2": (dim,)})
        names.layer(f"ffn{number}.mlp.fc1", 4 * dim, dim)
        names.layer(f"ffn{number}.mlp.fc2", dim, 4 * dim)
        names.layer(f"ffn{number}.norm", dim)
    names.layer("last_face_conv", 256, 512, 3, 3)
    names.layer("embed_q.0", 768, 64, 3, 3)
    names.layer("embed_q.1", 768, 768, 3, 3)
    names.layer("embed_k.0", 768, 128, 3, 3)
    names.layer("embed_v.proj", 768, 256, 1, 1)
    return names


def filled(names: Names):
    """Random tensors that keep signals in size, each different from the others."""
    random, state = torch.Generator().manual_seed(0), {}
    for name, shape in {**names.parameters, **names.buffers}.items():
        value = torch.randn(shape, generator=random)
        if name.endswith("num_batches_tracked"):
            value = torch.tensor(7)
        elif name.endswith("relative_position_index"):
            value = torch.zeros(shape, dtype=torch.long)
        elif name.endswith("running_var"):
            value = 1 + value.abs()
        elif len(shape) > 1 and "position_bias" not in name:
            value = value * (1.5 / max(1, value[0].numel())) ** 0.5
        elif name.endswith("weight"):
            value = 0.5 + 0.2 * value
        state[name] = value
    return state


@pytest.fixture(scope="module")
def authors():
    return filled(all_names(7))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return PosterPP().eval()


class Reference:
    """The authors' forward pass in evaluation mode, written out on their tensors by their names."""

    def __init__(self, tensors) -> None:
        self.t = tensors

    def bn(self, x, at: str):
        mean, var = self.t[f"{at}.running_mean"], self.t[f"{at}.running_var"]
        return F.batch_norm(x, mean, var, self.t[f"{at}.weight"], self.t[f"{at}.bias"])

    def conv(self, x, at: str, stride: int = 1):
        weight = self.t[f"{at}.weight"]
        groups = x.shape[1] // weight.shape[1]
        return F.conv2d(x, weight, self.t.get(f"{at}.bias"), stride, weight.shape[-1] // 2, 1, groups)

    def linear(self, x, at: str):
        return F.linear(x, self.t[f"{at}.weight"], self.t[f"{at}.bias"])

    def ln(self, x, at: str, eps: float):
        return F.layer_norm(x, x.shape[-1:], self.t[f"{at}.weight"], self.t[f"{at}.bias"], eps)

    def mlp(self, x, at: str):
        return self.linear(F.gelu(self.linear(x, f"{at}.fc1")), f"{at}.fc2")

    def block(self, x, at: str, stride: int = 1):
        x = self.bn(self.conv(x, f"{at}.conv", stride), f"{at}.bn")
        return F.prelu(x, self.t[f"{at}.prelu.weight"]) if f"{at}.prelu.weight" in self.t else x

    def depth_wise(self, x, at: str, stride: int = 1):
        x = self.block(x, f"{at}.conv")
        return self.block(self.block(x, f"{at}.conv_dw", stride), f"{at}.project")

    def landmarks(self, x) -> list:
        at, maps = "face_landback", []
        x = self.block(self.block(x, f"{at}.conv1", 2), f"{at}.conv2_dw")
        for down, stage, units in (
            ("conv_23", "conv_3", 4),
            ("conv_34", "conv_4", 6),
            ("conv_45", "conv_5", 2),
        ):
            x = self.depth_wise(x, f"{at}.{down}", 2)
            for unit in range(units):
                x = x + self.depth_wise(x, f"{at}.{stage}.model.{unit}")
            maps.append(x)
        return [*maps[:2], self.block(maps[2], f"{at}.conv_6_sep")]

    def image(self, x) -> list:
        x = self.bn(self.conv(x, "ir_back.input_layer.0"), "ir_back.input_layer.1")
        x, maps = F.prelu(x, self.t["ir_back.input_layer.2.weight"]), []
        for body, units in enumerate((3, 4, 14), 1):
            for unit in range(units):
                at, stride = f"ir_back.body{body}.{unit}", 1 if unit else 2
                if f"{at}.shortcut_layer.0.weight" in self.t:
                    short = self.bn(self.conv(x, f"{at}.shortcut_layer.0", stride), f"{at}.shortcut_layer.1")
                else:
                    short = F.max_pool2d(x, 1, stride)
                y = self.conv(self.bn(x, f"{at}.res_layer.0"), f"{at}.res_layer.1")
                y = self.conv(F.prelu(y, self.t[f"{at}.res_layer.2.weight"]), f"{at}.res_layer.3", stride)
                x = self.bn(y, f"{at}.res_layer.4") + short
            maps.append(x)
        return maps

    def fuse(self, number: int, image, marks):
        """(B, C, 2W, 2W), (B, C, W, W) -> (B, C, W, W); a plain loop over heads, and places by their offset."""
        x = self.conv(image, f"conv{number}", 2).permute(0, 2, 3, 1)
        batch, side, _, dim = x.shape
        x = self.ln(x, f"window{number}.norm", 1e-5).reshape(batch, side * side, dim)
        query = marks.permute(0, 2, 3, 1).reshape(batch, side * side, dim)
        key, value = self.linear(x, f"attn{number}.qkv").chunk(2, -1)
        row, column = torch.arange(side * side) // side, torch.arange(side * side) % side
        places = (row[:, None] - row + side - 1) * (2 * side - 1) + column[:, None] - column + side - 1
        mixed = []
        for head in range(dim // 32):
            part = slice(32 * head, 32 * head + 32)
            scores = 32**-0.5 * query[..., part] @ key[..., part].transpose(1, 2)
            scores = scores + self.t[f"attn{number}.relative_position_bias_table"][places, head]
            mixed.append(scores.softmax(-1) @ value[..., part])
        attended = self.linear(torch.cat(mixed, -1), f"attn{number}.proj")
        x = x + self.t[f"ffn{number}.gamma1"] * attended
        x = x + self.t[f"ffn{number}.gamma2"] * self.mlp(
            self.ln(x, f"ffn{number}.norm", 1e-5), f"ffn{number}.mlp"
        )
        return x.reshape(batch, side, side, dim).permute(0, 3, 1, 2)

    def vit(self, x):
        x = torch.cat([self.t["VIT.cls_token"].repeat(len(x), 1, 1), x], 1) + self.t["VIT.pos_embed"]
        for at in ("VIT.blocks.0", "VIT.blocks.1"):
            query, key, value = self.linear(self.ln(x, f"{at}.norm1", 1e-6), f"{at}.attn.qkv").chunk(3, -1)
            mixed = []
            for head in range(8):
                part = slice(96 * head, 96 * head + 96)
                scores = 96**-0.5 * query[..., part] @ key[..., part].transpose(1, 2)
                mixed.append(scores.softmax(-1) @ value[..., part])
            x = x + self.linear(torch.cat(mixed, -1), f"{at}.attn.proj")
            x = x + self.mlp(self.ln(x, f"{at}.norm2", 1e-6), f"{at}.mlp")
        x = self.ln(x, "VIT.norm", 1e-6)[:, 0]
        gate = self.linear(torch.relu(self.linear(x, "VIT.se_block.linear1")), "VIT.se_block.linear2")
        return self.linear(x * torch.sigmoid(gate), "VIT.head.linear")

    def __call__(self, faces):
        small = F.interpolate(faces, size=112)
        marks, maps = self.landmarks(small), self.image(small)
        marks[2] = self.conv(marks[2], "last_face_conv")
        fine, middle, coarse = (
            self.fuse(number, *pair) for number, pair in enumerate(zip(maps, marks, strict=True), 1)
        )
        fine = self.conv(self.conv(fine, "embed_q.0", 2), "embed_q.1", 2)
        parts = (fine, self.conv(middle, "embed_k.0", 2), self.conv(coarse, "embed_v.proj"))
        return self.vit(torch.cat([part.flatten(2).transpose(1, 2) for part in parts], 1))


def test_the_authors_weights_give_what_their_operations_give(authors) -> None:
    faces = noise(2, 3, 224, 224, seed=3)
    network = from_authors(authors)
    with torch.no_grad():
        expected = Reference(authors)(faces)
        found = network(faces)
    assert expected.std() > 0.05
    assert (expected[0] - expected[1]).abs().max() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_authors_whole_network_and_what_of_it_is_unused() -> None:
    """58,316,594, of which 14,466,637 are never run, were counted on the authors' code. The landmark layer
    is run, but its answer is thrown away.
    """
    names = all_names(7).parameters
    sizes = {name: torch.Size(shape).numel() for name, shape in names.items()}
    unused = {name: size for name, size in sizes.items() if not by_our_names({name: torch.zeros(())})}
    assert sum(sizes.values()) == 58_316_594
    assert sum(unused.values()) == 14_466_637 + LANDMARK_LAYER
    assert not by_our_names({"attn2.relative_position_index": torch.zeros(())})


def test_every_used_tensor_finds_its_place_once(authors, network) -> None:
    assert set(by_our_names(authors)) == set(network.state_dict())
    loaded = from_authors({f"module.{name}": value for name, value in authors.items()})
    assert torch.equal(loaded.fusions[2].attention.key_value.weight, authors["attn3.qkv.weight"])
    depth = loaded.landmarks.stages[1][5].depth
    assert torch.equal(depth.act.weight, authors["face_landback.conv_4.model.5.conv_dw.prelu.weight"])
    assert loaded.landmarks.widen.norm.num_batches_tracked == 7


def test_the_number_of_classes_is_that_of_the_file() -> None:
    assert from_authors(filled(all_names(8))).head.out_features == 8


def test_authors_files_that_are_not_whole_are_refused(authors) -> None:
    lacking = {name: value for name, value in authors.items() if name != "ffn2.gamma1"}
    with pytest.raises(WeightsError, match=r"POSTER V2 by the authors' names[\s\S]*fusions.1.feed.gamma1"):
        from_authors(lacking)
    with pytest.raises(WeightsError, match=r"vit\.extra"):
        from_authors({**authors, "VIT.extra": torch.zeros(1)})
    with pytest.raises(WeightsError, match="size mismatch"):
        from_authors({**authors, "conv1.bias": torch.zeros(3)})
    with pytest.raises(WeightsError, match="head"):
        from_authors({})


def test_the_parts_take_their_own_files() -> None:
    names = Names()
    image_names(names, "")
    image = filled(names)
    names = Names()
    landmark_names(names, "")
    landmarks = filled(names)
    network = PosterPP()
    head = network.head.weight.detach().clone()
    load_image_branch(network, image)
    load_landmark_branch(network, {f"module.{name}": value for name, value in landmarks.items()})
    assert torch.equal(network.image.stages[2][13].residual[3].weight, image["body3.13.res_layer.3.weight"])
    expand = network.landmarks.down[1].expand.conv.weight
    assert torch.equal(expand, landmarks["conv_34.conv.conv.weight"])
    assert torch.equal(network.head.weight, head)
    assert not any(parameter.requires_grad for parameter in network.landmarks.parameters())
    del image["body1.0.res_layer.0.running_mean"], landmarks["conv1.bn.bias"]
    with pytest.raises(WeightsError, match="IR-50"):
        load_image_branch(network, image)
    with pytest.raises(WeightsError, match="MobileFaceNet"):
        load_landmark_branch(network, landmarks)


def test_shapes(network) -> None:
    faces = noise(2, 3, 224, 224)
    small = faces[:, :, ::2, ::2]
    with torch.no_grad():
        assert network(faces).shape == (2, 7)
        shapes = [tuple(m.shape[1:]) for m in network.image(small)]
        assert shapes == [(64, 56, 56), (128, 28, 28), (256, 14, 14)]
        shapes = [tuple(m.shape[1:]) for m in network.landmarks(small)]
        assert shapes == [(64, 28, 28), (128, 14, 14), (512, 7, 7)]
    with pytest.raises(ShapeError, match=r"\(B, 3, 224, 224\)"):
        network(small)


def test_148_tokens_go_through_the_vit(network) -> None:
    seen = []
    handle = network.vit.blocks.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    with torch.no_grad():
        assert network.tokens(noise(1, 3, 224, 224)).shape == (1, 147, 768)
        network(noise(1, 3, 224, 224))
    handle.remove()
    assert seen == [(1, 148, 768)]


def test_counts_beside_the_published_ones(network) -> None:
    """The authors' counter adds up the layers that are run, the landmark layer too, and no bare tensors."""
    bare = sum(
        parameter.numel()
        for module in network.modules()
        for parameter in module.parameters(recurse=False)
        if list(module.children())
    )
    assert bare == 148 * 768 + 768 + 10_318 + 2 * (64 + 128 + 256)
    assert count(network) - bare + LANDMARK_LAYER == 43_724_311
    assert count(network) == pytest.approx(43.85e6, rel=0.005)
    assert count(network) + LANDMARK_LAYER == 58_316_594 - 14_466_637
    assert count(network.landmarks) + LANDMARK_LAYER == 1_007_248


def test_counts_of_the_parts(network) -> None:
    assert [count(f.attention) for f in network.fusions] == pytest.approx([18.5e3, 52.5e3, 199e3], rel=0.01)
    assert [count(f.align) for f in network.fusions] == pytest.approx([37e3, 148e3, 590e3], rel=0.01)
    assert [count(f.feed) for f in network.fusions] == pytest.approx([33e3, 132e3, 527e3], rel=0.02)
    assert [count(e) for e in network.embeds] == pytest.approx([5.75e6, 0.886e6, 0.197e6], rel=0.01)
    assert count(network.image) == pytest.approx(17.6e6, rel=0.01)
    assert count(network.vit) + count(network.head) == pytest.approx(15.54e6, rel=0.01)
    assert count(network.last_landmarks) == pytest.approx(1.18e6, rel=0.01)


def test_position_biases(network) -> None:
    tables = [tuple(fusion.attention.bias_table.shape) for fusion in network.fusions]
    assert tables == [(3025, 2), (729, 4), (169, 8)]
    index = CrossAttention(64, 2, 3).index
    # Token (0, 2) looks at token (1, 0): one up and two to the right of it.
    assert index[2, 3] == (-1 + 2) * 5 + (2 + 2)
    assert index.unique().numel() == 25


def test_with_scales_of_zero_the_feed_is_the_normed_image() -> None:
    torch.manual_seed(0)
    feed, attended, normed = Feed(64, 0.0), noise(2, 9, 64), noise(2, 9, 64, seed=1)
    with torch.no_grad():
        assert not torch.equal(feed(attended, normed), normed)
        feed.gamma1.zero_()
        feed.gamma2.zero_()
        assert torch.equal(feed(attended, normed), normed)


def test_stochastic_depth_of_the_three_scales() -> None:
    assert [fusion.feed.drop.rate for fusion in PosterPP(**QUICK).fusions] == [0.0, 0.125, 0.25]
    torch.manual_seed(0)
    feed, x = Feed(4, 0.25), torch.ones(20_000, 1, 4)
    kept = feed.train().drop(x)
    assert kept.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert kept.mean().item() == pytest.approx(1.0, abs=0.02)
    assert torch.equal(feed.eval().drop(x), x)


def test_the_landmark_branch_never_learns() -> None:
    torch.manual_seed(0)
    network = PosterPP(**QUICK).train()
    assert sum(p.numel() for p in network.landmarks.parameters() if p.requires_grad) == 0
    assert network.image.training
    assert not any(module.training for module in network.landmarks.modules())
    before = copy.deepcopy(network.landmarks.state_dict())
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    F.cross_entropy(network(noise(2, 3, 224, 224)), torch.tensor([0, 1])).backward()
    optimiser.step()
    after = network.landmarks.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert copy.deepcopy(network).train().landmarks.training is False


def test_landmarks_steer_the_attention() -> None:
    """With the scales opened, another landmark branch gives another answer; the image stays the same."""
    torch.manual_seed(0)
    network = PosterPP(**QUICK).eval()
    for fusion in network.fusions:
        torch.nn.init.ones_(fusion.feed.gamma1)
    faces = noise(1, 3, 224, 224)
    with torch.no_grad():
        before = network.tokens(faces)
        for parameter in network.landmarks.parameters():
            parameter.mul_(1.5)
        assert (network.tokens(faces) - before).abs().max() > 1e-3
