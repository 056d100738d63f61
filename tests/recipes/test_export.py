from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="recipes need torch: pip install 'mien[train]'")
pytest.importorskip("onnx", reason="recipes need onnx: pip install 'mien[train]'")

from mien.labels.expressions import EXPRESSIONS  # noqa: E402
from mien.methods.onnx import store_as_float16, to_onnx  # noqa: E402
from mien.methods.runner import ExpressionRunner  # noqa: E402
from mien.methods.static.mobile_expression import MobileExpression  # noqa: E402
from mien.methods.task import Task  # noqa: E402
from mien.recipes import export_expression as export  # noqa: E402
from mien.recipes.expression import ExpressionRecipe, batches, learning_rate, normalise  # noqa: E402
from mien.recipes.expression import Pictures as TrainingPictures  # noqa: E402
from mien.weights.store import read_contract  # noqa: E402


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    made = MobileExpression().train()
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
        if isinstance(module, torch.nn.PReLU):
            torch.nn.init.uniform_(module.weight, -0.5, 1.5)
    with torch.no_grad():
        made(torch.randn(32, 3, 48, 48))
    return made.eval()


def test_the_folded_network_computes_the_same_and_the_first_stays(network) -> None:
    x = torch.randn(3, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before = network(x)
        folded = network.for_inference()
        assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
        assert torch.allclose(folded(x), before, atol=1e-3)
        assert torch.equal(network(x), before)
    assert (before[0] - before[1]).abs().max() > 0.05


@pytest.mark.slow
def test_the_exported_file_computes_the_same_with_its_contract(network) -> None:
    stored = export.contract(48, "mien_face_v1", {"temperature": 1.0, "threshold": 0.5}, {})
    model = store_as_float16(to_onnx(Task(network), torch.zeros(2, 3, 48, 48)))
    weights = read_contract("x", export.with_contract(model, stored))
    assert weights.labels == EXPRESSIONS
    crops = np.random.default_rng(0).integers(0, 256, (7, 48, 48, 3), np.uint8)
    with torch.no_grad():
        expected = network(normalise(torch.from_numpy(crops).permute(0, 3, 1, 2).float())).numpy()
    found = ExpressionRunner(weights, 1).logits(crops)
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()
    assert len(weights.content) < 12 * 1024 * 1024


def test_the_contract_is_plain_json() -> None:
    stored = export.contract(48, "mien_face_v1", {"temperature": 1.0}, {"a": 1})
    assert json.loads(json.dumps(stored)) == stored
    assert tuple(stored["labels"]) == EXPRESSIONS


def test_the_runner_and_the_training_normalise_alike() -> None:
    """Means and deviations of the contract are those of `normalise`."""
    preprocess = export.contract(48, "mien_face_v1", {}, {})["preprocess"]
    x = torch.tensor([0.0, 127.5, 255.0]).view(1, 3, 1, 1)
    expected = [(value - preprocess["mean"][0]) / preprocess["std"][0] for value in (0, 127.5, 255)]
    assert normalise(x).flatten().tolist() == pytest.approx(expected)


def test_the_learning_rate_warms_up_and_falls() -> None:
    recipe = ExpressionRecipe()
    main = 200 * sum(epochs for _, epochs in recipe.stages)
    every_rate = [learning_rate(recipe, step, 200) for step in range(main + 200 * recipe.polish[1])]
    rates, polish = every_rate[:main], every_rate[main:]
    peak = int(np.argmax(rates))
    assert rates[peak] == pytest.approx(recipe.lr)
    assert abs(peak - recipe.warmup_steps) <= 1
    assert np.all(np.diff(rates[:peak]) > 0)
    assert np.all(np.diff(rates[peak + 1 :]) <= 1e-12)
    assert rates[-1] == pytest.approx(recipe.lr * 0.01, rel=0.05)
    assert polish[0] == pytest.approx(recipe.polish_lr)
    assert np.all(np.diff(polish) < 0)
    assert polish[-1] == pytest.approx(recipe.polish_lr * 0.01, rel=0.05)


def training_pictures(count: int, channels: int, target: int) -> TrainingPictures:
    images = torch.full((count, channels, 20, 20), 100, dtype=torch.uint8)
    matrices = torch.tensor([[[20.0, 0, 0], [0, 20, 0]]]).expand(count, 2, 3)
    targets = torch.zeros(count, 8)
    targets[:, target] = 1
    return TrainingPictures(images, matrices, targets)


def test_an_epoch_sees_each_picture_as_often_as_it_should_and_repeats_by_seed() -> None:
    sets = [training_pictures(40, 1, 2), training_pictures(30, 3, 5)]
    repeats = [torch.full((40,), 2.0), torch.full((30,), 0.0)]

    def epoch(seed: int) -> list:
        return list(batches(sets, repeats, 16, 8, torch.Generator().manual_seed(seed)))

    first = epoch(1)
    assert len(first) == 10
    for crops, targets in first:
        assert crops.shape == (8, 3, 16, 16)
        assert targets.argmax(1).tolist() == [2] * 8
        assert crops.min() >= -127.5 / 128
        assert crops.max() <= 127.5 / 128
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, epoch(1), strict=True))
    assert not all(torch.equal(a[0], b[0]) for a, b in zip(first, epoch(2), strict=True))
