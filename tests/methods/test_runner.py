from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mien.errors import ShapeError
from mien.methods.runner import ExpressionRunner
from mien.transforms.align import template_points
from mien.weights.store import load_weights


@pytest.fixture(scope="module")
def crops(runner: ExpressionRunner) -> np.ndarray:
    size = runner.preprocess.size_px
    return np.random.default_rng(3).integers(0, 256, (5, size, size, 3), np.uint8)


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values.astype(np.float64))
    return powers / powers.sum(1, keepdims=True)


def calibrated(**calibration) -> ExpressionRunner:
    weights = load_weights("expression")
    return ExpressionRunner(replace(weights, calibration={"threshold": 0.5, **calibration}), threads=1)


def test_logits_are_one_row_a_crop_in_the_contracts_order(
    runner: ExpressionRunner, crops: np.ndarray
) -> None:
    logits = runner.logits(crops)
    assert logits.shape == (5, len(runner.weights.labels))
    assert logits.dtype == np.float32
    assert runner.probabilities(logits).names == runner.weights.labels


def test_a_batch_equals_single_crops(runner: ExpressionRunner, crops: np.ndarray) -> None:
    together = runner.logits(crops)
    for crop, logits in zip(crops, together, strict=True):
        assert runner.logits(crop[None])[0] == pytest.approx(logits, abs=2e-3)


def test_more_crops_than_one_batch_are_all_answered_in_order(crops: np.ndarray) -> None:
    small = ExpressionRunner(load_weights("expression"), threads=1)
    whole = small.logits(crops)
    small.batch_size = 2
    assert small.logits(crops) == pytest.approx(whole, abs=2e-3)


def test_channel_order_bgr_flips(runner: ExpressionRunner, crops: np.ndarray) -> None:
    weights = load_weights("expression")
    flipped = ExpressionRunner(
        replace(weights, preprocess=replace(weights.preprocess, channel_order="BGR")), threads=1
    )
    assert flipped.logits(np.ascontiguousarray(crops[..., ::-1])) == pytest.approx(
        runner.logits(crops), abs=1e-4
    )
    assert np.abs(flipped.logits(crops) - runner.logits(crops)).max() > 0.05


@pytest.mark.parametrize("shape", [(2, 10, 10, 3), (48, 48, 3), (1, 3, 48, 48), (1, 48, 48, 1)])
def test_wrong_shapes_are_refused(shape: tuple[int, ...], runner: ExpressionRunner) -> None:
    with pytest.raises(ShapeError, match="expected aligned crops, uint8"):
        runner.logits(np.zeros(shape, np.uint8))


def test_floats_are_refused(runner: ExpressionRunner, crops: np.ndarray) -> None:
    with pytest.raises(ShapeError, match="got float32"):
        runner.logits(crops.astype(np.float32))


def test_no_crops(runner: ExpressionRunner) -> None:
    size = runner.preprocess.size_px
    logits = runner.logits(np.zeros((0, size, size, 3), np.uint8))
    assert logits.shape == (0, len(runner.weights.labels))
    assert len(runner.probabilities(logits)) == 0
    crops, inside = runner.crop(np.zeros((9, 9, 3), np.uint8), np.zeros((0, 5, 2)))
    assert crops.shape == (0, size, size, 3)
    assert inside.shape == (0,)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_temperature_divides_the_logits(temperature: float) -> None:
    logits = np.random.default_rng(0).normal(0, 3, (6, 8)).astype(np.float32)
    scores = calibrated(temperature=temperature).probabilities(logits)
    assert scores.values == pytest.approx(softmax(logits / temperature), abs=1e-6)
    assert scores.values.sum(1) == pytest.approx(np.ones(6), abs=1e-6)
    assert scores.values.dtype == np.float32


def test_a_bias_is_added_after_the_temperature() -> None:
    logits = np.random.default_rng(1).normal(0, 2, (4, 8)).astype(np.float32)
    bias = [0.5, -1, 0, 0, 2, 0, 0, -0.5]
    scores = calibrated(temperature=2.0, bias=bias).probabilities(logits)
    assert scores.values == pytest.approx(softmax(logits / 2 + np.array(bias)), abs=1e-6)


def test_large_logits_do_not_overflow() -> None:
    logits = np.zeros((1, 8), np.float32)
    logits[0, 3] = 5000
    assert calibrated(temperature=0.5).probabilities(logits).top == ("sad",)


def test_uncertain_is_under_the_threshold() -> None:
    runner = calibrated(temperature=1.0, threshold=0.5)
    logits = np.zeros((2, 8), np.float32)
    logits[1, 0] = 5
    assert runner.uncertain(runner.probabilities(logits)).tolist() == [True, False]


def test_crop_puts_the_points_on_the_template(runner: ExpressionRunner) -> None:
    size = runner.preprocess.size_px
    image = np.zeros((400, 400, 3), np.uint8)
    face = template_points(runner.preprocess.template) * 200 + [100, 80]
    x, y = face[1].astype(int)
    image[y - 6 : y + 6, x - 6 : x + 6] = 255
    crops, inside = runner.crop(image, face[None])
    row, column = (
        (np.indices((size, size)) + 0.5).reshape(2, -1)
        @ crops[0, ..., 0].reshape(-1)
        / crops[0, ..., 0].sum()
    )
    assert np.abs(np.array([column, row]) - template_points(runner.preprocess.template)[1] * size).max() < 1
    assert inside.tolist() == [1.0]
