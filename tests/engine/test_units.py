"""Several labels at once, through the same loop: it learns, selects, goes on, exports and is measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mien.datasets.protocol import Protocol
from mien.datasets.samples import Samples
from mien.engine import cut_outs as module
from mien.engine.checkpoint import load_checkpoint, load_start
from mien.engine.export import export
from mien.engine.journal import read_log
from mien.engine.pictures import Pictures, prepare
from mien.engine.recipe import Recipe, override
from mien.engine.selection import of_units
from mien.engine.train import Run
from mien.engine.views import batches, unit_weights
from mien.errors import CheckpointError, DataError, OptionError, WeightsError
from mien.methods.method import create
from mien.methods.runner import ExpressionRunner, UnitsRunner
from mien.methods.task import Batch, UnitsTask, binary_cross_entropy
from mien.transforms.align import template_to_image
from mien.weights.store import load_weights, read_contract

LABELS = ("AU1", "AU12", "AU25")
NAN = float("nan")


def drawn(count: int, seed: int) -> Pictures:
    """Grey 32 px pictures: each unit brightens its third of the picture; each tenth label is not known."""
    random = np.random.default_rng(seed)
    units = random.integers(0, 2, (count, 3)).astype(np.float32)
    images = random.integers(0, 60, (count, 1, 32, 32)).astype(np.uint8)
    for row, column in np.argwhere(units):
        images[row, :, column * 10 : column * 10 + 12] += 90
    units.reshape(-1)[::10] = np.nan
    matrices = np.tile(np.array([[32.0, 0, 0], [0, 32.0, 0]], np.float32), (count, 1, 1))
    return Pictures(
        images=torch.from_numpy(images),
        matrices=torch.from_numpy(matrices),
        targets=torch.zeros(count, 3),
        truth=torch.full((count,), -1),
        ids=tuple(str(index) for index in range(count)),
        sha256=f"units-{count}-{seed}",
        extras={"action_units": torch.from_numpy(units)},
        task="action_units",
    )


@pytest.fixture(scope="module")
def protocol() -> Protocol:
    return Protocol(
        name="drawn", dataset="bp4d", labels=LABELS, train="train", select="select", test="test",
        metric="mean_f1", folds=1, aggregation="single", subjects_disjoint=False, splits={}, source="drawn",
        task="action_units",
    )  # fmt: skip


@pytest.fixture
def make(protocol: Protocol, tmp_path: Path) -> Callable[..., Run]:
    recipe = Recipe("drawn", "mobile_units", "drawn", size_px=32, epochs=2, batch_size=8)

    def run(name: str = "run", *settings: str, method: str = "mobile_units") -> Run:
        still = ["views.mirror=false", "views.rotate_rad=0", "schedule.warmup_epochs=0", *settings]
        return Run(
            override(replace(recipe, method=method), still),
            protocol,
            drawn(41, 0),
            drawn(12, 1),
            tmp_path / name,
        )

    return run


def test_it_learns_selects_and_goes_on(make: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = make("whole", "epochs=3")
    whole.go()
    log = read_log(whole.out)
    assert log[-1]["loss"] < 0.8 * log[0]["loss"] and log[0]["metric"] == "mean_f1"
    _, facts = load_checkpoint(whole.out / "best")
    assert facts["task"] == "action_units" and facts["labels"] == list(LABELS)
    assert facts["calibration"]["threshold"] == 0.5
    assert facts["select_score"] == pytest.approx(max(line["select_score"] for line in log), abs=1e-4)
    half = make("half", "epochs=1")
    half.go()
    again = make("half", "epochs=3")
    again.go()
    assert again.state["epoch"] == 3


def test_expressions_and_units_are_not_mixed_up(make: Callable[..., Run]) -> None:
    with pytest.raises(OptionError, match=r"expected a method for 'action_units'.* got 'mobile_expression'"):
        make(method="mobile_expression")
    for setting in ("views.mixup=0.2", "targets.smoothing=0.1", "targets.balanced=true"):
        with pytest.raises(OptionError, match=f"expected no {setting.split('=')[0]} for action units"):
            make("run", setting)


def test_pictures_without_a_known_unit_do_not_teach(make: Callable[..., Run]) -> None:
    run = make()
    units = torch.full((41, 3), NAN)
    units[:9, 1] = 1
    some = replace(run.pictures, extras={"action_units": units})
    assert int(some.teaching.sum()) == 9
    seen = [batch.extras["action_units"] for batch in batches(some, run.recipe, run.preprocess, 0)]
    assert len(seen) == 1 and torch.isfinite(seen[0]).any(1).all()
    nothing = replace(some, extras={"action_units": torch.full((41, 3), NAN)})
    with pytest.raises(DataError, match="to learn from, got none of 41"):
        Run(run.recipe, run.protocol, nothing, run.held_out, run.out)


def test_the_selection_is_the_mean_f1_of_known_labels(protocol: Protocol) -> None:
    truth = torch.tensor([[1.0, 0, 0], [1, NAN, 0], [0, 1, 0]])
    found = of_units(torch.tensor([[0.9, 0.2, 0.1], [0.4, 0.9, 0.1], [0.1, 0.6, 0.1]]), truth, protocol)
    assert found.score == pytest.approx((2 / 3 + 1) / 2)  # the third unit is neither there nor found
    assert found.nll == pytest.approx(-np.log([0.9, 0.4, 0.9, 0.8, 0.6, 0.9, 0.9, 0.9]).mean(), abs=1e-5)
    assert of_units(torch.zeros(1, 3), torch.zeros(1, 3), protocol).score == 0


def test_rare_units_weigh_more() -> None:
    units = torch.tensor([[1.0, 1, 0], [1, 0, 0], [1, NAN, 0], [1, 0, 0]])
    weights = unit_weights(units)  # rates 1, 1/3, 0: inverses 1 and 3, scaled to a mean of 1
    torch.testing.assert_close(weights, torch.tensor([0.5, 1.5, 0.0]))


def test_unknown_labels_teach_nothing() -> None:
    logits = torch.zeros(2, 2, requires_grad=True)
    truth = torch.tensor([[1.0, NAN], [NAN, NAN]])
    binary_cross_entropy(logits, truth).backward()
    assert logits.grad.tolist() == [[-0.5, 0.0], [0.0, 0.0]]
    task = UnitsTask(torch.nn.Linear(2, 3))
    unknown = torch.tensor([[-1, 1, 0]])  # a data set's own codes do as well
    with_codes = task.loss(Batch(torch.ones(1, 2), torch.zeros(1, 3), {"action_units": unknown}))
    without = task.loss(
        Batch(torch.ones(1, 2), torch.zeros(1, 3), {"action_units": torch.tensor([[NAN, 1, 0]])})
    )
    assert with_codes.item() == without.item() > 0


def test_a_run_starts_from_another_run(make: Callable[..., Run], tmp_path: Path) -> None:
    first = make("first", "epochs=1")
    first.go()
    second = make("second", f"start={tmp_path / 'first'}")
    stored, _ = load_checkpoint(tmp_path / "first" / "best")
    assert torch.equal(second.network.head.weight, stored["head.weight"])
    assert second.facts()["start"]["fresh"] == [] and "start" not in first.facts()
    with pytest.raises(CheckpointError, match="expected start 'fresh', 'shipped', the folder of a run"):
        make("third", "start=nowhere")
    other = create("mobile_units", 4)  # other units: all but the last layer
    found = load_start(other, tmp_path / "first")
    assert found["fresh"] == found["unused"] == ["head.bias", "head.weight"]
    assert torch.equal(other.state_dict()["trunk.0.conv.weight"], stored["trunk.0.conv.weight"])
    save_file({**stored, "trunk.0.conv.weight": torch.zeros(1, 3)}, tmp_path / "odd.safetensors")
    with pytest.raises(CheckpointError, match=r"trunk\.0\.conv\.weight of shape \(1, 3\), not"):
        load_start(other, tmp_path / "odd.safetensors")


def test_an_older_checkpoint_without_a_later_field_is_gone_on_with(make: Callable[..., Run]) -> None:
    make("old", "epochs=1").go()
    path = make("old", "epochs=1").out / "last" / "state.json"
    facts = json.loads(path.read_text())
    del facts["recipe"]["optim"]["layer_decay"]
    path.write_text(json.dumps(facts))
    longer = make("old", "epochs=2")
    longer.go()
    assert longer.state["epoch"] == 2


@pytest.mark.slow
def test_the_file_says_its_units_and_gives_probabilities(make: Callable[..., Run], tmp_path: Path) -> None:
    run = make("run", "epochs=1")
    run.go()
    made = export(run.out, tmp_path / "units.onnx", "CC0-1.0")
    weights = load_weights(tmp_path / "units.onnx")
    assert (
        weights.task == "action_units"
        and weights.labels == LABELS
        and made["calibration"]["threshold"] == 0.5
    )
    import onnx

    stored = {entry.key: entry.value for entry in onnx.load(tmp_path / "units.onnx").metadata_props}
    contract = json.loads(stored["mien.contract"])
    assert contract["units"] == [1, 12, 25] and contract["scale"] == "probability"
    found = UnitsRunner(weights, 1).units(np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8))
    assert found.units == (1, 12, 25) and found.scale == "probability" and found.values.shape == (3, 3)
    with pytest.raises(WeightsError, match="expected a network for expressions"):
        ExpressionRunner(weights)
    with pytest.raises(WeightsError, match="expected a network for action units"):
        UnitsRunner(read_contract("expression", load_weights("expression").content))


def photographs(count: int) -> Samples:
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (60, 80, 3)).astype(np.uint8) for _ in range(count)]

    def read(index: int) -> np.ndarray:
        if index == 2:
            raise DataError("photo 2 is damaged")
        return images[index]

    ids = tuple(f"photo {index}" for index in range(count))
    return Samples(
        ids, LABELS, np.full(count, -1), read, "photo", "x", None, tuple("abcab"[:count]),
        {"action_units": np.eye(3, dtype=np.float32)[np.arange(count) % 3]}, "action_units",
    )  # fmt: skip


@pytest.mark.parametrize("limit", [4 * 2**30, 0], ids=["memory", "file"])
def test_photographs_are_cut_out_one_by_one(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same cut-outs in memory and in a file; what is damaged or shows no face is named and left out."""
    points = np.array([[30, 20], [50, 20], [40, 30], [32, 40], [48, 40]], np.float32)
    seen = iter([True, True, False, True])
    monkeypatch.setattr(module, "crop_detector", lambda: None)
    monkeypatch.setattr(module, "points_of", lambda image, framing, detector: (points, next(seen)))
    monkeypatch.setattr(module, "IN_MEMORY", limit)
    found = prepare(photographs(5), "mien_face_v1", 32)
    assert found.images.shape == (3, 3, 48, 48) and found.ids == ("photo 0", "photo 1", "photo 4")
    assert found.failures == ("photo 2 is damaged", "photo 3: no face found")
    assert found.extras["identity"].tolist() == [0, 1, 1] and found.task == "action_units"
    assert torch.equal(found.extras["action_units"], torch.eye(3)[torch.tensor([0, 1, 1])])
    alone, _ = module.cut_out([photographs(5).read(4)], template_to_image("mien_face_v1", points)[None], 32)
    assert np.array_equal(found.images[2].permute(1, 2, 0).numpy(), alone[0])
