"""Measuring an ONNX file under a protocol, on drawn look-alikes: what the figures say is not looked at."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.datasets.dataset import DATASETS
from mien.datasets.protocol import load_protocol
from mien.errors import DataError, LabelError, OptionError
from mien.evaluate.model import measure, refuse_other_fold, write_report
from mien.labels.expressions import EXPRESSIONS
from mien.methods.runner import ExpressionRunner
from mien.weights.store import load_weights


@pytest.fixture(scope="module")
def ferplus_drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ferplus")
    DATASETS["ferplus"].look_alike(root, per_class=2)
    return root


def test_a_shipped_network_is_measured_with_and_without_duplicates(
    ferplus_drawn: Path, tmp_path: Path
) -> None:
    found = measure("expression", "ferplus_majority_8", ferplus_drawn, check=False)
    figures = found.to_dict()
    assert figures["split"] == "private_test" and figures["views"] == 1
    assert figures["all"]["samples"] == len(found.truth) > figures["without_duplicates"]["samples"] > 0
    assert found.labels[0] == "neutral" and np.allclose(found.probabilities.sum(1), 1)
    write_report(found, tmp_path / "report")
    stored = json.loads((tmp_path / "report" / "report.json").read_text())
    assert stored["model_sha256"] == figures["model_sha256"]
    assert "| accuracy |" in (tmp_path / "report" / "report.md").read_text()
    assert (tmp_path / "report" / "report.png").stat().st_size > 10_000
    assert "| failures | none |" in found.to_markdown()
    lost = replace(found, facts={**found.facts, "failures": [f"{n}.png is damaged" for n in range(1200)]})
    page = lost.to_markdown()
    assert "| failures | 1,200. First: 0.png is damaged; 1.png is damaged; 2.png is damaged |" in page


def test_fewer_classes_are_renormalised(ferplus_drawn: Path) -> None:
    found = measure("expression", "ferplus_majority_7", ferplus_drawn, check=False)
    assert found.probabilities.shape[1] == 7 and np.allclose(found.probabilities.sum(1), 1)
    assert found.truth.max() < 7


def test_a_network_without_a_class_of_the_protocol_is_refused(tmp_path: Path) -> None:
    DATASETS["rafdb_compound"].look_alike(tmp_path)
    with pytest.raises(
        LabelError, match=r"expected a network with the classes of 'rafdb_compound' .*is missing"
    ):
        measure("expression", "rafdb_compound", tmp_path, check=False)


def test_a_look_alike_does_not_pass_for_the_data(ferplus_drawn: Path) -> None:
    with pytest.raises(DataError, match="expected 3153 pictures"):
        measure("expression", "ferplus_majority_8", ferplus_drawn)


def test_another_fold_than_the_one_that_was_left_out_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would measure people that the network learned from; a file that does not say its fold is taken."""
    DATASETS["ckplus48"].look_alike(tmp_path, 1)
    plain = load_weights("expression")
    for scores in ({"protocol": "ckplus48_7", "fold": 3}, {}):
        weights = replace(plain, scores=scores)
        monkeypatch.setattr("mien.evaluate.model.load_weights", lambda name, weights=weights: weights)
        assert measure("expression", "ckplus48_7", tmp_path, fold=3, check=False).facts["fold"] == 3
        if not scores:
            assert measure("expression", "ckplus48_7", tmp_path, fold=2, check=False).facts["fold"] == 2
            continue
        with pytest.raises(
            OptionError, match=r"expected fold 3 of 'ckplus48_7'.*got 2, whose people it learned"
        ):
            measure("expression", "ckplus48_7", tmp_path, fold=2, check=False)
        with pytest.raises(OptionError, match="deals out the same people in another way"):
            refuse_other_fold(weights, load_protocol("ckplus48_au"), 3)
        refuse_other_fold(weights, load_protocol("ferplus_majority_8"), 0)


def test_folds_of_two_protocols_that_deal_people_alike_are_one() -> None:
    weights = replace(load_weights("expression"), scores={"protocol": "ckplus_8", "fold": 0})
    refuse_other_fold(weights, load_protocol("ckplus_7"), 0)
    with pytest.raises(OptionError, match="expected fold 0 of 'ckplus_7'"):
        refuse_other_fold(weights, load_protocol("ckplus_7"), 1)


def test_an_answer_that_is_sure_of_another_class_counts_as_the_next() -> None:
    runner = ExpressionRunner(load_weights("expression"), threads=1)
    logits = np.full((1, 8), -400, np.float32)
    logits[0, EXPRESSIONS.index("contempt")], logits[0, EXPRESSIONS.index("sad")] = 400, -300
    seven = [name for name in EXPRESSIONS if name != "contempt"]
    found = runner.probabilities(logits, seven)
    assert found.names == tuple(seven) and found.top == ("sad",) and found.values.sum() == pytest.approx(1)


def test_a_fold_of_fixed_splits_is_refused(ferplus_drawn: Path) -> None:
    with pytest.raises(DataError, match=r"expected no fold, or 0, for 'ferplus_majority_8'.*got 2"):
        measure("expression", "ferplus_majority_8", ferplus_drawn, fold=2, check=False)
