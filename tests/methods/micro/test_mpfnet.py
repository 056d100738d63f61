from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.datasets.dataset import DATASETS
from mien.datasets.motion_maps import write_maps
from mien.datasets.protocol import load_protocol
from mien.engine.checkpoint import load_checkpoint
from mien.engine.recipe import RECIPES
from mien.engine.train import train
from mien.errors import DataError, OptionError, ShapeError
from mien.methods.method import METHODS, create
from mien.methods.micro.mpfnet import (
    MpfNet,
    MpfNetTask,
    as_vector,
    cosines,
    others_prototypes,
    prototypes,
    triplet_loss,
)
from mien.methods.task import Batch

SIDE = 32


def clips(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 50, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def small(cascade: bool = False, stage: str = "both") -> MpfNet:
    torch.manual_seed(0)
    return MpfNet(3, cascade, stage, width=4)


@pytest.mark.parametrize("name", ["mpfnet_p", "mpfnet_c"])
def test_size_as_counted(name: str) -> None:
    with torch.device("meta"):
        network = create(name)
    assert sum(parameter.numel() for parameter in network.parameters()) == METHODS[name].counts.parameters


def test_widths_of_the_blocks_are_those_of_the_sketch() -> None:
    """64 from the stem; 64 + 64 + 64, 128 + 128 + 192, 256 + 256 + 448; then 256."""
    with torch.device("meta"):
        encoder = create("mpfnet_p").gfe
    inputs = [block.narrow[0].in_channels for block in encoder.blocks]
    outputs = [block.gates.channel[2].out_channels for block in encoder.blocks]
    assert (inputs, outputs) == ([64, 192, 448], [192, 448, 960])
    assert encoder.project.out_channels == 256


def test_prototypes_are_means_of_each_class_and_the_nearest_wins() -> None:
    features = torch.tensor([[1.0, 0], [3, 0], [0, 2], [0, 4]])
    targets = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]])
    means = prototypes(features, targets)
    assert means.tolist() == [[2, 0], [0, 3], [0, 0]]
    near = cosines(torch.tensor([[5.0, 1], [1, 5]]), means[:2])
    assert near.argmax(1).tolist() == [0, 1]
    assert near[0].tolist() == pytest.approx([5 / 26**0.5, 1 / 26**0.5])


def test_nobody_asks_a_prototype_made_of_itself() -> None:
    features = torch.tensor([[1.0, 0], [3, 0], [0, 2]])
    targets = torch.tensor([[1.0, 0], [1, 0], [0, 1]])
    own = others_prototypes(features, targets)
    assert own[0].tolist() == [[3, 0], [0, 2]]
    assert own[1].tolist() == [[1, 0], [0, 2]]
    assert own[2].tolist() == [[2, 0], [0, 0]]


def test_an_episode_of_six_a_class_is_five_shots() -> None:
    """3-way 5-shot with one query a class: 15 items that support, 3 that ask."""
    targets = torch.eye(3).repeat(6, 1)
    met = targets.sum(0) - targets
    assert len(targets) == 15 + 3
    assert met[targets.bool()].tolist() == [5.0] * 18


def test_triplets_by_hand() -> None:
    """Points 0, 1 of a class and 3, 0.5 of another: six of the eight pairs of triplets are short of the margin."""
    features = torch.tensor([[0.0], [1.0], [3.0], [0.5]])
    labels = torch.tensor([0, 0, 1, 1])
    apart = (features - features.T).abs()
    expected = []
    for anchor, positive, others in ((0, 1, (2, 3)), (1, 0, (2, 3)), (2, 3, (0, 1)), (3, 2, (0, 1))):
        expected += [max(0.0, float(apart[anchor, positive] - apart[anchor, one] + 1)) for one in others]
    assert triplet_loss(features, labels).item() == pytest.approx(sum(expected) / 8)


def test_triplets_are_zero_when_others_are_a_margin_further() -> None:
    features = torch.tensor([[0.0], [0.0], [1.0], [1.0]])
    assert triplet_loss(features, torch.tensor([0, 0, 1, 1])).item() == 0
    assert triplet_loss(features, torch.tensor([0, 0, 1, 1]), margin=1.5).item() == pytest.approx(0.5)
    assert triplet_loss(features, torch.full((4,), -1)).item() == 0


def test_without_weight_the_second_encoder_says_nothing() -> None:
    network = small().eval()
    with torch.no_grad():
        images = clips(2)
        whole = network(images)
        network.advanced_weight = 0.0
        general = network(images)
        assert torch.equal(general, cosines(network.vectors(images)[0], network.general_prototypes))
    assert not torch.allclose(whole, general)


def test_the_cascade_sees_what_the_first_encoder_found() -> None:
    network = small(cascade=True).eval()
    with torch.no_grad():
        before = network(clips(2))
        network.gfe.project.weight += 1
        assert not torch.allclose(before, network(clips(2)))
    assert network.afe.stem[0].in_channels == 10


def test_time_comes_first_in_the_channels() -> None:
    """Channel 5 t + c is channel c of step t."""
    network = small()
    images = torch.arange(50.0).view(1, 50, 1, 1).expand(1, 50, SIDE, SIDE)
    assert network.steps(images)[0, :, 3, 0, 0].tolist() == [15, 16, 17, 18, 19]


def test_parts_of_a_map_are_averaged() -> None:
    maps = torch.zeros(1, 1, 1, 8, 8)
    maps[..., 2:4, 6:] = 4.0
    assert as_vector(maps)[0].nonzero().flatten().tolist() == [1 * 4 + 3]
    assert as_vector(maps).max() == 4


@pytest.mark.parametrize("cascade", [False, True])
@pytest.mark.parametrize("stage", ["gfe", "afe", "both"])
def test_a_stage_trains_its_own_encoders(cascade: bool, stage: str) -> None:
    network = small(cascade, stage).train()
    images = 0.05 * clips(6)  # near one another, or no triplet is short of the margin
    MpfNetTask(network).loss(Batch(images, torch.eye(3).repeat(2, 1))).backward()
    moved = {
        name: any(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in part.parameters())
        for name, part in (("gfe", network.gfe), ("afe", network.afe))
    }
    assert moved == {"gfe": stage != "afe", "afe": stage != "gfe"}


def test_stored_prototypes_follow_while_it_trains_and_rest_while_it_answers() -> None:
    network = small()
    task, batch = MpfNetTask(network), Batch(clips(6), torch.eye(3).repeat(2, 1))
    network.eval()
    before = network.general_prototypes.clone()
    task.loss(batch)
    assert torch.equal(before, network.general_prototypes)
    network.train()
    task.loss(batch)
    assert not torch.allclose(before, network.general_prototypes)
    network.eval()
    with torch.no_grad():
        vectors = network.vectors(batch.images)
        network.remember(vectors, batch.targets)
        torch.testing.assert_close(network.general_prototypes, prototypes(vectors[0], batch.targets))


def test_a_class_alone_in_its_batch_teaches_nothing_and_breaks_nothing() -> None:
    network = small().train()
    loss = MpfNetTask(network).loss(Batch(clips(3), torch.eye(3)))
    assert loss.item() == 0
    loss.backward()


def test_bad_input_and_options_are_refused() -> None:
    network = small()
    with pytest.raises(ShapeError, match="multiples of 16"):
        network(torch.zeros(1, 50, 40, 40))
    with pytest.raises(ShapeError, match=r"expected faces \(B, 50, H, W\)"):
        network(torch.zeros(1, 3, 32, 32))
    with pytest.raises(OptionError, match="expected a stage of gfe, afe, both, got 'all'"):
        MpfNet(stage="all")


@pytest.fixture
def ten_steps(tmp_path: Path) -> Path:
    """Drawn motion of ten steps, two clips a class of each of six people; the class is the loudest of three channels."""
    random = np.random.default_rng(0)
    labels = np.tile(np.arange(3), 12)
    maps = random.integers(100, 156, (36, 16, 16, 50), np.uint8)
    for one, label in zip(maps, labels, strict=True):
        one[..., label::5] = random.integers(0, 256, one[..., label::5].shape)
    people = [f"s{row // 6}" for row in range(36)]
    names = [f"clip{row}" for row in range(36)]
    write_maps(tmp_path / "maps" / "maps.npz", "maps", maps, labels, ["smic"] * 36, people, names)
    return tmp_path / "maps"


def test_the_three_stages_train_one_after_the_other(ten_steps: Path, tmp_path: Path) -> None:
    protocol = dataclasses.replace(load_protocol("megc2019_maps_3"), folds=6, splits={}, select_share=0.2)
    start = "fresh"
    for name in ("mpfnet_gfe_megc2019", "mpfnet_afe_megc2019", "mpfnet_p_megc2019"):
        recipe = RECIPES[name]
        recipe = dataclasses.replace(
            recipe, epochs=1, batch_size=12, size_px=16, start=start, options={**recipe.options, "width": 4}
        )
        run = train(recipe, ten_steps, tmp_path / name, protocol=protocol, check=False, quiet=True)
        tensors, facts = load_checkpoint(run / "best")
        if start != "fresh":
            assert facts["start"]["taken"] > 20 and not [
                one for one in facts["start"]["fresh"] if "fe." in one
            ]
        assert any(name.startswith("gfe.") for name in tensors)
        start = str(run)


def test_motion_of_one_step_is_not_taken_for_ten(tmp_path: Path) -> None:
    DATASETS["megc2019_maps"].look_alike(tmp_path, per_class=1)
    recipe = dataclasses.replace(
        RECIPES["mpfnet_gfe_megc2019"], size_px=32, options={"stage": "gfe", "width": 4}
    )
    with pytest.raises(DataError, match=r"expected motion pictures of 50 channels \(MOTION10\), got 3"):
        train(recipe, tmp_path, tmp_path / "run", check=False, quiet=True)
