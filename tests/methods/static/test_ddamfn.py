"""The reference is a plain function on tensors with the authors' names, written from their network's layout."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")

from torch.nn import functional as f  # noqa: E402

from mien.errors import LabelError, OptionError, UnknownNameError, WeightsError  # noqa: E402
from mien.methods.method import METHODS  # noqa: E402
from mien.methods.static.ddamfn import (  # noqa: E402
    AFFECTNET_ORDER,
    DDAMFN,
    LABELS,
    DDAMFNTask,
    attention_loss,
    from_authors,
)
from mien.methods.task import Batch  # noqa: E402

UNITS = {
    "features.2": (64, 64, {3: 64, 5: 32, 7: 32}),
    **{f"features.3.model.{i}": (64, 64, {3: 96, 5: 32}) for i in range(9)},
    "features.4": (64, 128, {3: 128, 5: 64, 7: 64}),
    **{f"features.5.model.{i}": (128, 128, {3: 192, 5: 64}) for i in range(16)},
    "features.6": (128, 256, {3: 256, 5: 256, 7: 256, 9: 256}),
    **{f"features.7.model.{i}": (256, 256, {3: 172, 5: 170, 7: 170}) for i in range(6)},
}
"""Authors' module name -> channels in, out, kernels."""


def norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (channels,) for part in parts} | {f"{name}.num_batches_tracked": ()}


def gates(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    inner = max(8, channels // 32)
    shapes = {f"{name}.conv1.weight": (inner, channels, 1, 1), f"{name}.conv1.bias": (inner,)}
    for conv in ("conv2", "conv3"):
        shapes |= {f"{name}.{conv}.weight": (channels, inner, 1, 1), f"{name}.{conv}.bias": (channels,)}
    return shapes | norm(f"{name}.bn1", inner)


def authors_shapes(classes: int = 8) -> dict[str, tuple[int, ...]]:
    shapes = {"features.0.conv.weight": (64, 3, 3, 3), "features.1.conv.weight": (64, 1, 3, 3)}
    shapes |= {"features.8.conv.weight": (512, 256, 1, 1), "features.8.prelu.weight": (512,)}
    shapes |= {"features.0.prelu.weight": (64,), "features.1.prelu.weight": (64,)}
    shapes |= norm("features.0.bn", 64) | norm("features.1.bn", 64) | norm("features.8.bn", 512)
    for name, (channels_in, channels_out, kernels) in UNITS.items():
        hidden = sum(kernels.values())
        shapes |= {
            f"{name}.conv.conv.weight": (hidden, channels_in, 1, 1),
            f"{name}.conv.prelu.weight": (hidden,),
        }
        shapes |= norm(f"{name}.conv.bn", hidden) | gates(f"{name}.CA", hidden)
        for index, (kernel, share) in enumerate(kernels.items()):
            shapes[f"{name}.conv_dw.mixed_depthwise_conv.{index}.weight"] = (share, 1, kernel, kernel)
        shapes |= norm(f"{name}.conv_dw.bn", hidden) | {f"{name}.conv_dw.prelu.weight": (hidden,)}
        shapes |= {f"{name}.project.conv.weight": (channels_out, hidden, 1, 1)}
        shapes |= norm(f"{name}.project.bn", channels_out)
    for head in ("cat_head0.CoordAtt", "cat_head1.CoordAtt"):
        for part, kernel in (("Linear_h", (1, 7)), ("Linear_w", (7, 1)), ("Linear", (7, 7))):
            shapes |= {f"{head}.{part}.conv.weight": (512, 1, *kernel)} | norm(f"{head}.{part}.bn", 512)
        shapes |= gates(head, 512)
    shapes |= {"Linear.conv.weight": (512, 1, 7, 7)} | norm("Linear.bn", 512)
    return shapes | {"fc.weight": (classes, 512), "fc.bias": (classes,)} | norm("bn", classes)


def authors_state(classes: int = 8) -> dict[str, torch.Tensor]:
    random, state = torch.Generator().manual_seed(0), {}
    for name, shape in authors_shapes(classes).items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(1)
        elif len(shape) > 1:
            fan = int(torch.tensor(shape[1:]).prod())
            state[name] = torch.randn(shape, generator=random) * (2 / fan) ** 0.5
        elif name.endswith("running_var"):
            state[name] = 0.5 + torch.rand(shape, generator=random)
        else:
            state[name] = torch.rand(shape, generator=random) - (
                0.5 if "mean" in name or "bias" in name else 0
            )
    return state


def apply_norm(s: dict, name: str, x: torch.Tensor) -> torch.Tensor:
    return f.batch_norm(
        x, s[f"{name}.running_mean"], s[f"{name}.running_var"], s[f"{name}.weight"], s[f"{name}.bias"]
    )


def apply_gates(s: dict, name: str, column: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    def inner(x: torch.Tensor) -> torch.Tensor:
        y = apply_norm(s, f"{name}.bn1", f.conv2d(x, s[f"{name}.conv1.weight"], s[f"{name}.conv1.bias"]))
        return y * (y + 3).clamp(0, 6) / 6

    column = torch.sigmoid(f.conv2d(inner(column), s[f"{name}.conv2.weight"], s[f"{name}.conv2.bias"]))
    return column * torch.sigmoid(f.conv2d(inner(row), s[f"{name}.conv3.weight"], s[f"{name}.conv3.bias"]))


def reference(s: dict, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    def unit(name: str, x: torch.Tensor, **options) -> torch.Tensor:
        x = apply_norm(s, f"{name}.bn", f.conv2d(x, s[f"{name}.conv.weight"], **options))
        return f.prelu(x, s[f"{name}.prelu.weight"]) if f"{name}.prelu.weight" in s else x

    x = unit("features.0", x, stride=2, padding=1)
    x = unit("features.1", x, padding=1, groups=64)
    for name, (_, _, kernels) in UNITS.items():
        y, parts, first = unit(f"{name}.conv", x), [], 0
        for index, (kernel, share) in enumerate(kernels.items()):
            weight = s[f"{name}.conv_dw.mixed_depthwise_conv.{index}.weight"]
            stride = 1 if "model" in name else 2
            parts.append(
                f.conv2d(
                    y[:, first : first + share], weight, stride=stride, padding=kernel // 2, groups=share
                )
            )
            first += share
        y = torch.cat(parts, 1)
        y = y * apply_gates(s, f"{name}.CA", y.mean(3, keepdim=True), y.mean(2, keepdim=True))
        y = unit(f"{name}.project", y)
        x = x + y if "model" in name else y
    x = unit("features.8", x)
    maps = []
    for head in ("cat_head0.CoordAtt", "cat_head1.CoordAtt"):
        column = unit(f"{head}.Linear_h", x, groups=512)
        maps.append(apply_gates(s, head, column, unit(f"{head}.Linear_w", x, groups=512)))
    y = unit("Linear", x * torch.maximum(*maps), groups=512).flatten(1)
    return y @ s["fc.weight"].T + s["fc.bias"], maps


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return authors_state()


def test_the_authors_tensors_give_the_authors_answer(state) -> None:
    faces = torch.randn(2, 3, 112, 112, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        output = from_authors(state).double()(faces)
        expected, maps = reference({name: value.double() for name, value in state.items()}, faces)
    ours = [AFFECTNET_ORDER.index(name) for name in LABELS]
    torch.testing.assert_close(output["expression"], expected[:, ours])
    torch.testing.assert_close(output["attention"], torch.stack(maps, 1))
    # The two faces differ by far more than the tolerance, so agreement says something.
    assert expected.std(0).min() > 1e-4


def test_the_count_with_and_without_what_is_never_used() -> None:
    def learned(shapes: dict[str, tuple[int, ...]]) -> int:
        named = {name: shape for name, shape in shapes.items() if name.endswith(("weight", "bias"))}
        return sum(int(torch.tensor(shape).prod()) for shape in named.values())

    counted = sum(weight.numel() for weight in DDAMFN().parameters())
    unused = {
        name: shape
        for name, shape in authors_shapes().items()
        if ".conv_dw.bn" in name
        or ".conv_dw.prelu" in name
        or "CoordAtt.Linear." in name
        or name.startswith("bn.")
    }
    assert counted == learned(authors_shapes()) - learned(unused) == 4_106_512
    assert counted + learned(unused) == pytest.approx(4.188e6, rel=1e-3)
    assert counted == pytest.approx(4.19e6, rel=0.02)


def test_checkpoints_of_seven_classes_and_other_orders(state) -> None:
    seven = authors_state(7)
    network = from_authors(seven)
    sorted_seven = sorted(AFFECTNET_ORDER[:7])
    assert torch.equal(network.head.weight[0], seven["fc.weight"][AFFECTNET_ORDER.index(sorted_seven[0])])
    same = from_authors(state, LABELS)
    assert torch.equal(same.head.weight, state["fc.weight"])
    with pytest.raises(LabelError, match="expected 8 different classes"):
        from_authors(state, ("happy",) * 8)
    with pytest.raises(UnknownNameError, match="no expression label '1'"):
        from_authors(seven, [str(number) for number in range(1, 8)])


def test_another_network_is_refused(state) -> None:
    lacking = {name: value for name, value in state.items() if name != "features.5.model.3.CA.conv2.bias"}
    with pytest.raises(WeightsError, match=r"trunk\.5\.3\.gates\.to_column\.bias"):
        from_authors(lacking)
    with pytest.raises(WeightsError, match="without it"):
        from_authors({"x": torch.zeros(1)})


def test_labels_are_alphabetical_and_those_of_affectnet() -> None:
    assert sorted(LABELS) == list(LABELS)
    assert set(LABELS) == set(AFFECTNET_ORDER)
    assert METHODS["ddamfn"].labels == LABELS


def test_the_attention_loss_is_large_for_equal_heads_and_small_for_different() -> None:
    one, other = torch.zeros(2, 4, 7, 7), torch.ones(2, 4, 7, 7)
    assert attention_loss(torch.stack([one, other], 1)) == pytest.approx(1.0)
    assert attention_loss(torch.stack([one, other * 0.1], 1)) == pytest.approx(100.0)
    equal = attention_loss(torch.stack([other, other], 1))
    assert torch.isfinite(equal)
    assert equal > 1e12
    assert attention_loss(torch.stack([one, other, other * 0.5], 1)) == pytest.approx(3 / (1 + 0.25 + 0.25))
    assert attention_loss(one[:, None]) == 0


def test_the_loss_is_cross_entropy_and_a_tenth_of_it() -> None:
    torch.manual_seed(0)
    network = DDAMFN(size=32).eval()
    faces, classes = torch.randn(3, 3, 32, 32), torch.tensor([0, 4, 7])
    batch = Batch(faces, f.one_hot(classes, 8).float())
    with torch.no_grad():
        output = network(faces)
        apart = f.mse_loss(output["attention"][:, 0], output["attention"][:, 1])
        expected = f.cross_entropy(output["expression"], classes) + 0.1 / apart
        torch.testing.assert_close(DDAMFNTask(network).loss(batch), expected)


@pytest.mark.parametrize(("size", "heads"), [(112, 3), (64, 1)])
def test_other_sizes_and_heads(size: int, heads: int) -> None:
    network = DDAMFN(5, heads, size).eval()
    with torch.no_grad():
        output = network(torch.zeros(2, 3, size, size))
    assert output["attention"].shape == (2, heads, 512, size // 16, size // 16)
    assert 0 < output["attention"].min() <= output["attention"].max() < 1
    assert output["expression"].shape == (2, 5)


def test_wrong_options_are_refused() -> None:
    with pytest.raises(OptionError, match="multiple of 16"):
        DDAMFN(size=100)
    with pytest.raises(OptionError, match="at least 1"):
        DDAMFN(heads=0)
