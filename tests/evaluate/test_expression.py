from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics as reference

from mien.evaluate.expression import evaluate_ferplus, main, report
from mien.labels.expressions import EXPRESSIONS


def samples(count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(2)
    logits = random.normal(0, 2, (count, 8))
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    truth = np.where(random.random(count) < 0.6, probabilities.argmax(1), random.integers(0, 7, count))
    return probabilities, truth


def test_the_figures_are_those_of_scikit_learn() -> None:
    probabilities, truth = samples()
    figures, predicted = report(probabilities, truth, 0.6), probabilities.argmax(1)
    assert figures["pictures"] == 400
    assert figures["accuracy"] == pytest.approx(reference.accuracy_score(truth, predicted), abs=1e-4)
    f1 = reference.f1_score(truth, predicted, labels=range(8), average=None, zero_division=0)
    assert figures["macro_f1"] == pytest.approx(f1.mean(), abs=1e-4)
    low, high = figures["accuracy_95"]
    assert low < figures["accuracy"] < high
    for index, name in enumerate(EXPRESSIONS):
        assert figures["per_class"][name]["f1"] == pytest.approx(f1[index], abs=1e-4)
    assert figures["per_class"]["contempt"]["recall"] == pytest.approx(
        (predicted == 7)[truth == 7].mean(), abs=1e-4
    )
    assert np.array(figures["confusion"]).sum() == 400


def test_certain_answers_and_risk() -> None:
    probabilities, truth = samples()
    figures = report(probabilities, truth, 0.6)
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == truth
    sure = confidence >= 0.6
    assert figures["certain"]["coverage"] == pytest.approx(sure.mean(), abs=1e-4)
    assert figures["certain"]["accuracy"] == pytest.approx(correct[sure].mean(), abs=1e-4)
    surest = np.argsort(-confidence)[:200]
    assert figures["risk_at_coverage"]["0.5"] == pytest.approx(1 - correct[surest].mean(), abs=1e-4)
    assert figures["risk_at_coverage"]["1.0"] == pytest.approx(1 - figures["accuracy"], abs=1e-4)


@pytest.mark.filterwarnings("error")
def test_the_report_is_json_also_for_absent_classes_and_no_certain_answer() -> None:
    probabilities, truth = samples(40)
    figures = report(probabilities, np.zeros_like(truth), 1.1)
    assert figures["per_class"]["fear"]["recall"] is None
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


def test_the_protocol_runs_on_a_drawn_look_alike(tmp_path: Path, hopper: np.ndarray) -> None:
    face = np.asarray(Image.fromarray(hopper).convert("L").crop((160, 110, 370, 340)).resize((48, 48)))
    votes = np.zeros((6, 10), np.int8)
    votes[[0, 1, 2, 3, 4, 5], [0, 0, 1, 7, 8, 0]] = 10
    np.savez(tmp_path / "private_test.npz", images=np.stack([face] * 6), ferplus_votes=votes)
    np.save(tmp_path / "dup_of_train_private_test.npy", np.array([0]))
    figures = evaluate_ferplus("expression", tmp_path, "private_test")
    assert figures["majority_8"]["pictures"] == 5
    assert figures["majority_8_without_duplicates"]["pictures"] == 4
    assert figures["majority_7_without_contempt"]["pictures"] == 4
    assert figures["face_found"] == 1.0
    assert len(figures["model_sha256"]) == len(figures["data_sha256"]) == 64


def test_the_command_writes_the_figures_and_the_picture(
    tmp_path: Path, hopper: np.ndarray, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    face = np.asarray(Image.fromarray(hopper).convert("L").crop((160, 110, 370, 340)).resize((48, 48)))
    np.savez(
        tmp_path / "private_test.npz",
        images=np.stack([face] * 3),
        ferplus_votes=np.eye(10, dtype=np.int8)[[0, 1, 7]] * 10,
    )
    np.save(tmp_path / "dup_of_train_private_test.npy", np.zeros(0, int))
    arguments = ["--ferplus", tmp_path, "--json", tmp_path / "a.json", "--plot", tmp_path / "a.png"]
    monkeypatch.setattr("sys.argv", ["x", "expression", *map(str, arguments)])
    main()
    printed = json.loads(capsys.readouterr().out)
    assert json.loads((tmp_path / "a.json").read_text()) == printed
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    names = "pictures accuracy accuracy_95 uar macro_f1 ece_15 per_class confusion certain risk_at_coverage"
    for part in ("majority_8", "majority_8_without_duplicates", "majority_7_without_contempt"):
        assert set(names.split()) <= printed[part].keys()
        assert {"pictures", "recall", "f1"} <= printed[part]["per_class"]["happy"].keys()


@pytest.mark.data
@pytest.mark.slow
def test_the_shipped_network_is_good_on_the_public_split(ferplus_root: Path) -> None:
    figures = evaluate_ferplus("expression", ferplus_root, "public_test")
    assert figures["majority_8"]["pictures"] == 3199
    assert figures["majority_8"]["accuracy"] > 0.8
    assert figures["majority_8"]["ece_15"] < 0.08
