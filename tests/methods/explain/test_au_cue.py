from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")

from torch import Tensor, nn  # noqa: E402

from mien.errors import OptionError, ShapeError, UnknownNameError  # noqa: E402
from mien.losses.cue_alignment import attention_of, cosines, cue_alignment  # noqa: E402
from mien.methods.explain.au_cue import au_cue  # noqa: E402
from mien.methods.method import create  # noqa: E402
from mien.methods.task import Batch, Task  # noqa: E402


class Small(nn.Module):
    explain_layer = "conv_b"

    def __init__(self) -> None:
        super().__init__()
        self.conv_a, self.conv_b = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv_b(self.conv_a(x).relu()).relu().mean((2, 3)))


@pytest.fixture
def task() -> Task:
    torch.manual_seed(0)
    return Task(Small())


def batch(**extras: Tensor) -> Batch:
    random = torch.Generator().manual_seed(1)
    return Batch(torch.randn(3, 1, 8, 8, generator=random), torch.eye(3), extras)


CUES = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(2))


def test_the_loss_is_the_tasks_and_the_weighed_mean_over_layers(task: Task) -> None:
    wrapped = au_cue(task, weight=2.5, layers=["conv_a", "conv_b"])
    network, images = task.network, batch().images
    first = network.conv_a(images)
    second = network.conv_b(first.relu())
    by_hand = task.loss(batch()) + 2.5 * (cue_alignment(first, CUES) + cue_alignment(second, CUES)) / 2
    assert wrapped.loss(batch(au_cue=CUES)).item() == pytest.approx(by_hand.item(), rel=1e-5)
    only = au_cue(task, weight=1).loss(batch(au_cue=CUES)) - task.loss(batch())
    assert only.item() == pytest.approx(cue_alignment(second, CUES).item(), rel=1e-4)


def test_a_batch_without_cues_keeps_the_tasks_loss(task: Task) -> None:
    none = torch.full((3, 8, 8), torch.nan)
    for one in (batch(), batch(au_cue=none)):
        assert torch.equal(au_cue(task).loss(one), task.loss(batch()))


def test_it_turns_attention_to_the_cues(task: Task) -> None:
    wrapped, cues = au_cue(task, weight=4), torch.zeros(3, 8, 8)
    cues[:, 5:8, 2:6] = 1
    optimiser = torch.optim.Adam(task.network.parameters(), 1e-2)

    def cosine() -> float:
        with torch.no_grad():
            maps = task.network.conv_b(task.network.conv_a(batch().images).relu())
        return float(cosines(attention_of(maps), cues).mean())

    before = cosine()
    for _ in range(60):
        optimiser.zero_grad()
        wrapped.loss(batch(au_cue=cues)).backward()
        optimiser.step()
    assert cosine() > before + 0.2


def test_the_network_and_its_answers_stay_as_they_are(task: Task) -> None:
    wrapped = au_cue(task)
    assert wrapped.network is task.network
    assert torch.equal(wrapped.logits(batch().images), task.logits(batch().images))
    wrapped.loss(batch(au_cue=CUES))
    assert not any(module._forward_hooks for module in task.network.modules())


def test_what_cannot_be_done_is_said(task: Task) -> None:
    with pytest.raises(OptionError, match="a weight from 0 on"):
        au_cue(task, weight=-1)
    with pytest.raises(OptionError, match="at least one layer"):
        au_cue(task, layers=[])
    with pytest.raises(UnknownNameError, match="Did you mean 'conv_b'"):
        au_cue(task, layers=["conv_c"])
    ten_crops = create("fer2013_vgg", train_crops=2)
    with pytest.raises(ShapeError, match="single crops"):
        au_cue(Task(ten_crops)).loss(Batch(torch.rand(1, 1, 48, 48), torch.eye(7)[:1]))
