"""The LSTM on blendshapes against the sums of its layers, and against torch's own LSTM."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from mien.engine.blendshapes import mirrored
from mien.labels.expressions import ORDERS
from mien.methods.dynamic import lstm_blendshapes as module
from mien.methods.dynamic.lstm_blendshapes import THREE, UNITS, SeluLstm, of_three
from mien.methods.method import create
from mien.types.mesh import BLENDSHAPES


def test_layers_are_as_large_as_published() -> None:
    layers = create("lstm_blendshapes").recurrent
    counts = [sum(parameter.numel() for parameter in layer.parameters()) for layer in layers]
    assert counts[:2] == [4 * (34 * (34 + 1) + 34), 4 * (26 * (26 + 34) + 26)] == [4896, 6344]
    assert [layer.recurrent.shape[0] for layer in layers] == list(UNITS) == [34, 26, 30, 30, 30, 30, 30]


def test_the_recurrence_is_an_lstm(monkeypatch: pytest.MonkeyPatch) -> None:
    """With tanh in place of SELU it is torch's LSTM, whose gates stand in the same order."""
    torch.manual_seed(0)
    ours, theirs = SeluLstm(5, 4), nn.LSTM(5, 4, batch_first=True)
    with torch.no_grad():
        ours.bias.normal_()
        theirs.weight_ih_l0.copy_(ours.kernel.T), theirs.weight_hh_l0.copy_(ours.recurrent.T)
        theirs.bias_ih_l0.copy_(ours.bias), theirs.bias_hh_l0.zero_()
    monkeypatch.setattr(module.functional, "selu", torch.tanh)
    x = torch.randn(3, 7, 5)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x)[0])


@pytest.mark.parametrize(
    ("name", "shape"), [("lstm_blendshapes", (52,)), ("lstm_blendshapes_clip", (16, 52))]
)
def test_all_layers_at_once_give_the_same(name: str, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    network = create(name).eval().double()
    for parameter in network.parameters():  # so that no block is as good as another
        nn.init.normal_(parameter, std=0.3)
    values = torch.rand(5, *shape, dtype=torch.float64)
    with torch.no_grad():
        wanted = network(values)
        assert wanted.std() > 0.01
        torch.testing.assert_close(network.for_inference()(values), wanted)


def test_selu_is_its_activation() -> None:
    torch.manual_seed(0)
    layer, x = SeluLstm(3, 2), torch.randn(1, 1, 3)
    with torch.no_grad():
        enter, _, new, leave = (x[:, 0] @ layer.kernel + layer.bias).chunk(4, 1)
        cell = torch.sigmoid(enter) * functional.selu(new)
        torch.testing.assert_close(layer(x)[:, 0], torch.sigmoid(leave) * functional.selu(cell))


def test_three_classes_of_fer2013() -> None:
    numbers = [THREE.index(of_three(name)) for name in ORDERS["fer2013"]]
    assert numbers == [1, 1, 1, 0, 2, 1, 1]  # 3 is happy, 4 is sad
    network = create("lstm_blendshapes").eval()
    with torch.no_grad():
        assert network(torch.rand(2, 52)).softmax(1).sum(1).tolist() == pytest.approx([1, 1])


def test_the_order_of_the_blendshapes_matters() -> None:
    torch.manual_seed(0)
    network, x = create("lstm_blendshapes").eval(), torch.rand(2, 52)
    with torch.no_grad():
        assert not torch.allclose(network(x), network(x.flip(1)), atol=1e-6)


def test_values_are_standardised_by_what_was_seen() -> None:
    network = create("lstm_blendshapes_clip").train()
    random = torch.Generator().manual_seed(0)
    for _ in range(60):
        network.standard(torch.randn(64, 52, generator=random) * 0.05 + 0.3)
    network.eval()
    values = network.standard(torch.randn(5000, 52, generator=random) * 0.05 + 0.3)
    assert values.mean().abs() < 0.05 and values.std() == pytest.approx(1, abs=0.05)


def test_a_mirrored_face_changes_sides() -> None:
    values = torch.arange(52.0)
    turned = mirrored(values)
    assert turned[BLENDSHAPES.index("mouthSmileLeft")] == BLENDSHAPES.index("mouthSmileRight") == 45
    assert turned[BLENDSHAPES.index("jawLeft")] == BLENDSHAPES.index("jawRight")
    assert turned[BLENDSHAPES.index("jawOpen")] == BLENDSHAPES.index("jawOpen")
    assert torch.equal(mirrored(turned), values)
