from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.engine.calibration import calibrate
from mien.engine.checkpoint import load_checkpoint, save_checkpoint
from mien.engine.export import _contract, export
from mien.engine.train import Run
from mien.errors import CheckpointError, WeightsError
from mien.methods.runner import ExpressionRunner
from mien.weights.store import load_weights


@pytest.fixture
def finished(make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose protocol is of a registered data set, as `mien export` names it in the contract."""
    plain = Run.facts
    monkeypatch.setattr(Run, "facts", lambda self: {**plain(self), "dataset": "ferplus"})
    run = make_run(settings=["epochs=1"])
    run.go()
    return run.out


@pytest.mark.slow
def test_the_file_alone_is_enough_to_run_it(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.onnx"
    made = export(finished, out, licence="CC0-1.0")
    weights = load_weights(out)
    assert (weights.labels, weights.licence) == (("neutral", "happy", "sad"), "CC0-1.0")
    assert weights.sha256 == made["sha256"] and weights.preprocess is not None
    assert weights.preprocess.size_px == 32
    assert weights.scores["protocol"] == "drawn" and "fold" not in weights.scores
    assert weights.scores["seed"] == 20261121 and weights.scores["data"]["train"] == "drawn-33-0"
    assert made["max_logit_difference_to_torch"] < 0.05
    scores = ExpressionRunner(weights, 1)
    crops = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    assert scores.probabilities(scores.logits(crops)).values.shape == (3, 3)
    assert not list(tmp_path.glob("*.part"))


def test_the_contract_names_the_fold_that_was_left_out(finished: Path) -> None:
    facts = load_checkpoint(finished / "best")[1]
    assert _contract({**facts, "fold": 2}, "CC0-1.0")["scores"]["fold"] == 2
    older = {name: value for name, value in facts.items() if name != "fold"}
    assert "fold" not in _contract(older, "CC0-1.0")["scores"]


def test_a_run_without_an_epoch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"expected a run with a finished epoch .* Train first"):
        export(tmp_path / "nothing", tmp_path / "model.onnx")


def test_a_network_that_changes_on_export_is_refused(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.engine.export.MOST_DIFFERENCE", -1.0)
    with pytest.raises(WeightsError, match="expected the ONNX file's logits to be torch's"):
        export(finished, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_outputs_that_are_no_numbers_are_refused(finished: Path, tmp_path: Path) -> None:
    tensors, facts = load_checkpoint(finished / "best")
    broken = {**tensors, "head.bias": torch.full_like(tensors["head.bias"], float("nan"))}
    save_checkpoint(finished / "best", broken, facts)
    with pytest.raises(WeightsError, match="got a difference of nan"):
        export(finished, tmp_path / "model.onnx")


def test_weights_of_another_method_are_refused(finished: Path, tmp_path: Path) -> None:
    tensors, facts = load_checkpoint(finished / "best")
    facts["recipe"] = {**facts["recipe"], "method": "gimefive"}
    save_checkpoint(finished / "best", tensors, facts)
    with pytest.raises(CheckpointError, match="got those of another method"):
        export(finished, tmp_path / "model.onnx")


def test_calibration_finds_the_temperature_and_the_threshold() -> None:
    """Logits that are three times too sure for how often they are right."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (6000, 4))
    powers = np.exp(logits)
    truth = np.array([random.choice(4, p=row) for row in powers / powers.sum(1, keepdims=True)])
    found = calibrate(3 * logits, truth, "select")
    assert found["temperature"] == pytest.approx(3.0, rel=0.1)
    assert found["fitted_on"] == "select, 6000 pictures"
    confidence = (powers / powers.sum(1, keepdims=True)).max(1)
    sure = confidence >= found["threshold"]
    assert (logits.argmax(1) == truth)[sure].mean() > 0.93
    assert json.dumps(found)


def test_a_hopeless_network_is_never_certain() -> None:
    random = np.random.default_rng(0)
    assert calibrate(random.normal(0, 1, (300, 4)), random.integers(0, 4, 300), "select")["threshold"] == 0.95
