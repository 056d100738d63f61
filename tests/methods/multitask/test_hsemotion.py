"""The references are plain functions on tensors with the authors' names, written from their layouts."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")

from torch.nn import functional as f  # noqa: E402

from mien.errors import OptionError, ShapeError, UnknownNameError, WeightsError  # noqa: E402
from mien.methods.method import METHODS, create  # noqa: E402
from mien.methods.multitask.hsemotion import (  # noqa: E402
    HSEMOTION_LABELS,
    HSEmotion,
    HSEmotionTask,
    affect_loss,
    ccc,
    from_authors,
)
from mien.methods.task import Batch  # noqa: E402

Tensors = dict[str, torch.Tensor]


class Maker:
    """Collects tensors under the authors' names, random but so scaled that signals neither die nor explode."""

    def __init__(self) -> None:
        self.random, self.tensors = torch.Generator().manual_seed(0), {}

    def weight(self, name: str, *shape: int, bias: bool = False) -> None:
        scale = math.sqrt(2 / math.prod(shape[1:]))
        self.tensors[f"{name}.weight"] = torch.randn(shape, generator=self.random) * scale
        if bias:
            self.tensors[f"{name}.bias"] = torch.randn(shape[0], generator=self.random) * 0.1

    def affine(self, name: str, channels: int) -> None:
        self.tensors[f"{name}.weight"] = 0.5 + torch.rand(channels, generator=self.random)
        self.tensors[f"{name}.bias"] = torch.randn(channels, generator=self.random) * 0.3

    def norm(self, name: str, channels: int) -> None:
        self.affine(name, channels)
        self.tensors[f"{name}.running_mean"] = torch.randn(channels, generator=self.random) * 0.3
        self.tensors[f"{name}.running_var"] = 0.5 + torch.rand(channels, generator=self.random)
        self.tensors[f"{name}.num_batches_tracked"] = torch.tensor(1)

    def act(self, name: str, channels: int) -> None:
        self.tensors[f"{name}.weight"] = torch.rand(channels, generator=self.random)


def norm(s: Tensors, name: str, x: torch.Tensor, eps: float = 1e-5) -> torch.Tensor:
    scale = s[f"{name}.weight"] / (s[f"{name}.running_var"] + eps).sqrt()
    shape = (1, -1, *[1] * (x.ndim - 2))
    return (x - s[f"{name}.running_mean"].view(shape)) * scale.view(shape) + s[f"{name}.bias"].view(shape)


def linear(s: Tensors, name: str, x: torch.Tensor) -> torch.Tensor:
    return x @ s[f"{name}.weight"].T + s[f"{name}.bias"]


# EfficientNet-B0: (in, out, kernel, stride, widen) of each block, by (stage, block).

B0 = {(0, 0): (32, 16, 3, 1, 1)}
for stage, (count, kernel, stride, channels_in, channels) in enumerate(
    [
        (2, 3, 2, 16, 24),
        (2, 5, 2, 24, 40),
        (3, 3, 2, 40, 80),
        (3, 5, 1, 80, 112),
        (4, 5, 2, 112, 192),
        (1, 3, 1, 192, 320),
    ],
    1,
):
    for block in range(count):
        B0[stage, block] = (channels if block else channels_in, channels, kernel, 1 if block else stride, 6)


def b0_state(outputs: int, classifier: str = "classifier") -> Tensors:
    make = Maker()
    make.weight("conv_stem", 32, 3, 3, 3)
    make.norm("bn1", 32)
    for (stage, block), (narrow, wide, kernel, _, widen) in B0.items():
        name, hidden = f"blocks.{stage}.{block}", narrow * widen
        make.weight(f"{name}.conv_dw", hidden, 1, kernel, kernel)
        make.weight(f"{name}.se.conv_reduce", narrow // 4, hidden, 1, 1, bias=True)
        make.weight(f"{name}.se.conv_expand", hidden, narrow // 4, 1, 1, bias=True)
        if widen == 1:
            make.norm(f"{name}.bn1", hidden)
            make.weight(f"{name}.conv_pw", wide, hidden, 1, 1)
            make.norm(f"{name}.bn2", wide)
        else:
            make.weight(f"{name}.conv_pw", hidden, narrow, 1, 1)
            make.weight(f"{name}.conv_pwl", wide, hidden, 1, 1)
            make.norm(f"{name}.bn1", hidden)
            make.norm(f"{name}.bn2", hidden)
            make.norm(f"{name}.bn3", wide)
    make.weight("conv_head", 1280, 320, 1, 1)
    make.norm("bn2", 1280)
    make.weight(classifier, outputs, 1280, bias=True)
    return make.tensors


def b0_reference(s: Tensors, x: torch.Tensor) -> torch.Tensor:
    def same(name: str, x: torch.Tensor, stride: int, groups: int = 1) -> torch.Tensor:
        """TensorFlow's rule: ceil(side / stride) outputs, the odd pixel of padding after."""
        kernel, side = s[f"{name}.weight"].shape[-1], x.shape[-1]
        total = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
        first, last = total // 2, total - total // 2
        return f.conv2d(
            f.pad(x, (first, last, first, last)), s[f"{name}.weight"], stride=stride, groups=groups
        )

    def squeeze(name: str, x: torch.Tensor) -> torch.Tensor:
        y = x.mean((2, 3), keepdim=True)
        y = f.silu(f.conv2d(y, s[f"{name}.conv_reduce.weight"], s[f"{name}.conv_reduce.bias"]))
        return x * f.conv2d(y, s[f"{name}.conv_expand.weight"], s[f"{name}.conv_expand.bias"]).sigmoid()

    x = f.silu(norm(s, "bn1", same("conv_stem", x, 2), 1e-3))
    for (stage, block), (narrow, wide, _, stride, widen) in B0.items():
        name, hidden, y = f"blocks.{stage}.{block}", narrow * widen, x
        if widen == 1:
            y = f.silu(norm(s, f"{name}.bn1", same(f"{name}.conv_dw", y, stride, hidden), 1e-3))
            y = norm(s, f"{name}.bn2", same(f"{name}.conv_pw", squeeze(f"{name}.se", y), 1), 1e-3)
        else:
            y = f.silu(norm(s, f"{name}.bn1", same(f"{name}.conv_pw", y, 1), 1e-3))
            y = f.silu(norm(s, f"{name}.bn2", same(f"{name}.conv_dw", y, stride, hidden), 1e-3))
            y = norm(s, f"{name}.bn3", same(f"{name}.conv_pwl", squeeze(f"{name}.se", y), 1), 1e-3)
        x = x + y if stride == 1 and narrow == wide else y
    return f.silu(norm(s, "bn2", same("conv_head", x, 1), 1e-3)).mean((2, 3))


# MobileViT-S: name -> (in, out, stride) of the bottlenecks, (channels, width, depth) of the transformers.

VIT_BOTTLENECKS = {
    "stages.0.0": (16, 32, 1),
    "stages.1.0": (32, 64, 2),
    "stages.1.1": (64, 64, 1),
    "stages.1.2": (64, 64, 1),
    "stages.2.0": (64, 96, 2),
    "stages.3.0": (96, 128, 2),
    "stages.4.0": (128, 160, 2),
}
VIT_BLOCKS = {"stages.2.1": (96, 144, 2), "stages.3.1": (128, 192, 4), "stages.4.1": (160, 240, 3)}


def mobilevit_state(outputs: int) -> Tensors:
    make = Maker()

    def unit(name: str, *shape: int) -> None:
        make.weight(f"{name}.conv", *shape)
        make.norm(f"{name}.bn", shape[0])

    unit("stem", 16, 3, 3, 3)
    for name, (narrow, wide, _) in VIT_BOTTLENECKS.items():
        unit(f"{name}.conv1_1x1", 4 * narrow, narrow, 1, 1)
        unit(f"{name}.conv2_kxk", 4 * narrow, 1, 3, 3)
        unit(f"{name}.conv3_1x1", wide, 4 * narrow, 1, 1)
    for name, (channels, width, depth) in VIT_BLOCKS.items():
        unit(f"{name}.conv_kxk", channels, channels, 3, 3)
        make.weight(f"{name}.conv_1x1", width, channels, 1, 1)
        for index in range(depth):
            block = f"{name}.transformer.{index}"
            make.affine(f"{block}.norm1", width)
            make.affine(f"{block}.norm2", width)
            make.weight(f"{block}.attn.qkv", 3 * width, width, bias=True)
            make.weight(f"{block}.attn.proj", width, width, bias=True)
            make.weight(f"{block}.mlp.fc1", 2 * width, width, bias=True)
            make.weight(f"{block}.mlp.fc2", width, 2 * width, bias=True)
        make.affine(f"{name}.norm", width)
        unit(f"{name}.conv_proj", channels, width, 1, 1)
        unit(f"{name}.conv_fusion", channels, 2 * channels, 3, 3)
    unit("final_conv", 640, 160, 1, 1)
    make.weight("head.fc", outputs, 640, bias=True)
    return make.tensors


def mobilevit_reference(s: Tensors, x: torch.Tensor) -> torch.Tensor:
    def unit(name: str, x: torch.Tensor, stride: int = 1, groups: int = 1, act: bool = True) -> torch.Tensor:
        weight = s[f"{name}.conv.weight"]
        x = f.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2, groups=groups)
        x = norm(s, f"{name}.bn", x)
        return f.silu(x) if act else x

    def layer_norm(name: str, x: torch.Tensor) -> torch.Tensor:
        return f.layer_norm(x, x.shape[-1:], s[f"{name}.weight"], s[f"{name}.bias"])

    def transformer(name: str, x: torch.Tensor) -> torch.Tensor:
        width = x.shape[-1]
        query, key, value = linear(s, f"{name}.attn.qkv", layer_norm(f"{name}.norm1", x)).split(width, -1)
        heads = []
        for part in range(4):
            columns = slice(part * width // 4, (part + 1) * width // 4)
            scores = query[..., columns] @ key[..., columns].transpose(1, 2) / math.sqrt(width / 4)
            heads.append(scores.softmax(-1) @ value[..., columns])
        x = x + linear(s, f"{name}.attn.proj", torch.cat(heads, -1))
        inner = f.silu(linear(s, f"{name}.mlp.fc1", layer_norm(f"{name}.norm2", x)))
        return x + linear(s, f"{name}.mlp.fc2", inner)

    def vit(name: str, x: torch.Tensor) -> torch.Tensor:
        y = f.conv2d(unit(f"{name}.conv_kxk", x), s[f"{name}.conv_1x1.weight"])
        even = [side + side % 2 for side in y.shape[2:]]
        y = f.interpolate(y, size=even, mode="bilinear", align_corners=False)
        out = torch.zeros_like(y)
        for row in (0, 1):
            for column in (0, 1):
                part = y[:, :, row::2, column::2]
                words = part.flatten(2).transpose(1, 2)
                for index in range(VIT_BLOCKS[name][2]):
                    words = transformer(f"{name}.transformer.{index}", words)
                words = layer_norm(f"{name}.norm", words)
                out[:, :, row::2, column::2] = words.transpose(1, 2).reshape(part.shape)
        out = f.interpolate(out, size=x.shape[2:], mode="bilinear", align_corners=False)
        return unit(f"{name}.conv_fusion", torch.cat([x, unit(f"{name}.conv_proj", out)], 1))

    x = unit("stem", x, 2)
    for name, (narrow, wide, stride) in VIT_BOTTLENECKS.items():
        y = unit(f"{name}.conv2_kxk", unit(f"{name}.conv1_1x1", x), stride, 4 * narrow)
        y = unit(f"{name}.conv3_1x1", y, act=False)
        x = x + y if stride == 1 and narrow == wide else y
        if (after := name[:-1] + "1") in VIT_BLOCKS:
            x = vit(after, x)
    return unit("final_conv", x).mean((2, 3))


# MobileFaceNet: name -> (in, hidden, out, stride) of the depthwise blocks.

MBF = {"layers.2": (128, 128, 128, 2)}
MBF |= {f"layers.3.layers.{i}": (128, 128, 128, 1) for i in range(4)} | {"layers.4": (128, 256, 256, 2)}
MBF |= {f"layers.5.layers.{i}": (256, 256, 256, 1) for i in range(6)} | {"layers.6": (256, 512, 256, 2)}
MBF |= {f"layers.7.layers.{i}": (256, 256, 256, 1) for i in range(2)}


def mbf_state(outputs: int) -> Tensors:
    make = Maker()

    def unit(name: str, *shape: int, act: bool = True) -> None:
        make.weight(f"{name}.layers.0", *shape)
        make.norm(f"{name}.layers.1", shape[0])
        if act:
            make.act(f"{name}.layers.2", shape[0])

    unit("layers.0", 128, 3, 3, 3)
    unit("layers.1", 128, 2, 3, 3)
    for name, (narrow, hidden, wide, _) in MBF.items():
        unit(f"{name}.layers.0", hidden, narrow, 1, 1)
        unit(f"{name}.layers.1", hidden, 1, 3, 3)
        unit(f"{name}.layers.2", wide, hidden, 1, 1, act=False)
    unit("conv_sep", 512, 256, 1, 1)
    unit("features.layers.0", 512, 1, 7, 7, act=False)
    make.weight("features.layers.2", 512, 512)
    make.norm("features.layers.3", 512)
    make.weight("fc", outputs, 512, bias=True)
    return make.tensors


def mbf_reference(s: Tensors, x: torch.Tensor) -> torch.Tensor:
    def unit(name: str, x: torch.Tensor, **options) -> torch.Tensor:
        x = norm(s, f"{name}.layers.1", f.conv2d(x, s[f"{name}.layers.0.weight"], **options))
        slope = s.get(f"{name}.layers.2.weight")
        return x if slope is None else f.prelu(x, slope)

    x = unit("layers.0", x, stride=2, padding=1)
    x = unit("layers.1", x, padding=1, groups=64)
    for name, (_, hidden, _, stride) in MBF.items():
        y = unit(f"{name}.layers.1", unit(f"{name}.layers.0", x), stride=stride, padding=1, groups=hidden)
        y = unit(f"{name}.layers.2", y)
        x = x + y if stride == 1 else y
    x = unit("features.layers.0", unit("conv_sep", x), groups=512).flatten(1)
    return norm(s, "features.layers.3", x @ s["features.layers.2.weight"].T)


AUTHORS = {
    "b0": (b0_state, b0_reference, "classifier", 224),
    "mobilevit": (mobilevit_state, mobilevit_reference, "head.fc", 224),
    "mbf": (mbf_state, mbf_reference, "fc", 112),
}


@pytest.mark.parametrize("trunk", AUTHORS)
def test_the_authors_tensors_give_the_authors_answer(trunk: str) -> None:
    make, reference, last, size = AUTHORS[trunk]
    state = make(10)
    faces = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        network = from_authors(state).double()
        state = {name: value.double() for name, value in state.items()}
        features = reference(state, faces)
        found, output = network.features(faces), network(faces)
    torch.testing.assert_close(found, features)
    scores = features @ state[f"{last}.weight"].T + state[f"{last}.bias"]
    torch.testing.assert_close(output["expression"], scores[:, :8])
    torch.testing.assert_close(output["valence_arousal"], scores[:, 8:])
    # The two faces differ by far more than the tolerance, so agreement says something.
    assert features.std(0).mean() > 1e-3 * features.std()


def test_checkpoints_of_eight_and_seven_classes() -> None:
    for outputs, last in ((8, "classifier"), (7, "classifier.0")):
        state = b0_state(outputs, last)
        network = from_authors(state)
        assert torch.equal(network.head.weight, state[f"{last}.weight"])
        assert network.affect is None
        assert not network.training


def test_another_network_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"conv_stem\.weight"):
        from_authors({"x": torch.zeros(1)})
    with pytest.raises(WeightsError, match="7, 8 or 10 outputs"):
        from_authors(b0_state(9))
    lacking = b0_state(8)
    del lacking["blocks.3.1.se.conv_reduce.bias"]
    with pytest.raises(WeightsError, match=r"trunk\.blocks\.3\.1\.squeeze\.reduce\.bias"):
        from_authors(lacking)


@pytest.mark.parametrize(
    ("trunk", "size", "width", "millions"),
    [("b0", 224, 1280, 4.02), ("mobilevit", 224, 640, 4.94), ("mbf", 112, 512, 2.06)],
)
def test_counts_and_outputs(trunk: str, size: int, width: int, millions: float) -> None:
    network = HSEmotion(trunk, size=size).eval()
    counted = sum(weight.numel() for weight in network.trunk.parameters())
    assert counted == pytest.approx(millions * 1e6, rel=0.01)
    states = sum(value.numel() for name, value in AUTHORS[trunk][0](10).items() if "running" not in name)
    trackers = sum("num_batches_tracked" in name for name in AUTHORS[trunk][0](10))
    assert counted + 10 * (width + 1) == states - trackers
    with torch.no_grad():
        faces = torch.randn(2, 3, size, size)
        output = network(faces)
        assert network.features(faces).shape == (2, width)
    assert output["expression"].shape[1] + output["valence_arousal"].shape[1] == 10
    assert output["expression"].shape == (2, 8)


def test_without_mtl_there_are_only_logits() -> None:
    network = create("hsemotion_b0", size=64, mtl=False).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 8)
    assert not [name for name, _ in network.named_parameters() if name.startswith("affect")]


@pytest.mark.parametrize(("name", "size"), [("b0", 96), ("mobilevit", 96), ("mobilevit", 128), ("mbf", 64)])
def test_other_sizes(name: str, size: int) -> None:
    network = create(f"hsemotion_{name}", size=size, classes=3).eval()
    with torch.no_grad():
        output = network(torch.randn(2, 3, size, size))
        assert output["expression"].shape == (2, 3)
        with pytest.raises(ShapeError, match="expected faces"):
            network(torch.zeros(1, 3, size + 32, size + 32))


def test_wrong_options_are_refused() -> None:
    with pytest.raises(OptionError, match="multiple of 32 from 64 on"):
        HSEmotion("b0", size=112)
    with pytest.raises(OptionError, match="multiple of 16 from 32 on"):
        HSEmotion("mbf", size=100)
    with pytest.raises(UnknownNameError, match="mobilevit"):
        HSEmotion("mobilvit")


def test_labels_are_alphabetical_with_neutral_sixth() -> None:
    assert sorted(HSEMOTION_LABELS) == list(HSEMOTION_LABELS)
    assert HSEMOTION_LABELS[5] == "neutral"
    for name in ("hsemotion_b0", "hsemotion_mobilevit", "hsemotion_mbf"):
        assert METHODS[name].labels == HSEMOTION_LABELS


def test_ccc_by_its_definition() -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=20), random.normal(0.3, 2, size=20)
    expected = 2 * np.cov(x, y, bias=True)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    found = ccc(torch.tensor(x)[:, None].float(), torch.tensor(y)[:, None].float())
    assert found.item() == pytest.approx(expected, abs=1e-6)


def test_half_of_one_minus_ccc_is_0_a_half_and_1() -> None:
    x = torch.tensor([-1.0, 0.5, 1.5, -1.0])[:, None]
    flat = torch.tensor([1.0, 1.0, -1.0, -1.0])[:, None]
    still = torch.tensor([1.0, -1.0, 1.0, -1.0])[:, None]
    assert affect_loss(x, x) == pytest.approx(0.0, abs=1e-6)
    assert affect_loss(flat, still) == pytest.approx(0.5)
    assert affect_loss(x - x.mean(), -(x - x.mean())) == pytest.approx(1.0)
    assert affect_loss(x.repeat(1, 2), torch.cat([x, flat], 1)) == pytest.approx(
        float(affect_loss(x, x) + affect_loss(x, flat))
    )


def test_missing_values_count_for_nothing() -> None:
    torch.manual_seed(0)
    predicted, true = torch.randn(6, 2, requires_grad=True), torch.randn(6, 2)
    holes = true.clone()
    holes[[1, 4], 0] = torch.nan
    kept = [0, 2, 3, 5]
    expected = affect_loss(predicted[kept, :1], true[kept, :1]) + affect_loss(predicted[:, 1:], true[:, 1:])
    loss = affect_loss(predicted, holes)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert torch.isfinite(predicted.grad).all()
    assert (predicted.grad[[1, 4], 0] == 0).all()
    holes[:, 0] = torch.nan
    holes[2, 0] = 0.5
    torch.testing.assert_close(affect_loss(predicted, holes), affect_loss(predicted[:, 1:], true[:, 1:]))
    constant = torch.zeros(6, 2, requires_grad=True)
    affect_loss(constant, torch.zeros(6, 2)).backward()
    assert torch.isfinite(constant.grad).all()


class Fixed(torch.nn.Module):
    """A stand-in network that answers what it was given."""

    def __init__(self, output) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: torch.Tensor):
        return self.output


def test_the_loss_is_smoothed_weighted_cross_entropy_and_both_cccs() -> None:
    torch.manual_seed(0)
    logits, affect, true = torch.randn(5, 8), torch.randn(5, 2), torch.randn(5, 2)
    classes, weights = torch.tensor([0, 3, 3, 7, 5]), torch.rand(8) + 0.5
    targets = f.one_hot(classes, 8).float()
    smoothed = 0.9 * targets + 0.1 / 8
    by_hand = -(smoothed * weights * logits.log_softmax(1)).sum() / (smoothed * weights).sum()
    output = {"expression": logits, "valence_arousal": affect}
    batch = Batch(torch.zeros(5, 3, 8, 8), targets, {"valence_arousal": true}, weights)
    expected = by_hand + ((1 - ccc(affect, true)) / 2).sum()
    torch.testing.assert_close(HSEmotionTask(Fixed(output)).loss(batch), expected)
    torch.testing.assert_close(HSEmotionTask(Fixed(logits)).loss(batch), by_hand)
    plain = Batch(batch.images, targets)
    torch.testing.assert_close(
        HSEmotionTask(Fixed(output)).loss(plain), f.cross_entropy(logits, classes, label_smoothing=0.1)
    )
    torch.testing.assert_close(HSEmotionTask(Fixed(output)).logits(batch.images), logits)


def test_faces_without_a_class_teach_only_affect() -> None:
    logits, affect = torch.randn(4, 8, requires_grad=True), torch.randn(4, 2, requires_grad=True)
    batch = Batch(torch.zeros(4, 3, 8, 8), torch.zeros(4, 8), {"valence_arousal": torch.randn(4, 2)})
    HSEmotionTask(Fixed({"expression": logits, "valence_arousal": affect})).loss(batch).backward()
    assert (logits.grad == 0).all()
    assert (affect.grad != 0).any()
