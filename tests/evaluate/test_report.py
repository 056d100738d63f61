"""The report of any classifier: figures against scikit-learn, the page read back, the picture opened."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics as reference

from mien.errors import LabelError, ShapeError
from mien.evaluate.report import draw, measure, to_markdown
from mien.metrics.calibration import expected_calibration_error

SEVEN = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
EIGHT = (*SEVEN, "contempt")
ELEVEN = (
    *("anger", "anxiety", "contempt", "disappointment", "disgust", "fear"),
    *("happiness", "helplessness", "neutral", "sadness", "surprise"),
)


def samples(classes: int, count: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.integers(0, classes, count)
    logits = random.normal(0, 1, (count, classes))
    logits[np.arange(count), truth] += 2
    powers = np.exp(logits)
    return powers / powers.sum(1, keepdims=True), truth


@pytest.mark.parametrize("labels", [SEVEN, EIGHT, ELEVEN], ids=len)
def test_the_figures_are_those_of_scikit_learn(labels: tuple[str, ...]) -> None:
    probabilities, truth = samples(len(labels))
    figures, predicted = measure(probabilities, truth, labels, 0.6), probabilities.argmax(1)
    assert figures["samples"] == 300
    assert figures["accuracy"] == figures["war"]
    expected = {
        "accuracy": reference.accuracy_score(truth, predicted),
        "uar": reference.balanced_accuracy_score(truth, predicted),
        "macro_f1": reference.f1_score(truth, predicted, average="macro"),
        "weighted_f1": reference.f1_score(truth, predicted, average="weighted"),
        "nll": reference.log_loss(truth, probabilities),
        "brier": reference.brier_score_loss(truth, probabilities, scale_by_half=False),
        "ece_15": expected_calibration_error(probabilities.max(1), predicted == truth),
    }
    assert {name: figures[name] for name in expected} == pytest.approx(expected, abs=1e-4)
    table = reference.classification_report(truth, predicted, target_names=labels, output_dict=True)
    for name in labels:
        row = figures["per_class"][name]
        assert row["samples"] == table[name]["support"]
        assert row["recall"] == pytest.approx(table[name]["recall"], abs=1e-4)
        assert row["precision"] == pytest.approx(table[name]["precision"], abs=1e-4)
        assert row["f1"] == pytest.approx(table[name]["f1-score"], abs=1e-4)
    assert figures["confusion"] == reference.confusion_matrix(truth, predicted).tolist()
    for name in ("accuracy", "uar", "macro_f1"):
        low, high = figures[f"{name}_95"]
        assert low < figures[name] < high


def test_the_interval_comes_from_the_draws_it_always_came_from() -> None:
    """So that intervals published earlier stand: whole numbers from numpy's generator, one resample a call."""
    probabilities, truth = samples(7)
    correct, random = probabilities.argmax(1) == truth, np.random.default_rng(0)
    means = [correct[random.integers(0, 300, 300)].mean() for _ in range(1000)]
    expected = np.percentile(means, [2.5, 97.5])
    assert measure(probabilities, truth, SEVEN)["accuracy_95"] == pytest.approx(expected, abs=1e-4)


def test_intervals_are_over_people_where_there_are_people() -> None:
    probabilities, truth = samples(7)
    correct = probabilities.argmax(1) == truth
    people = np.where(correct, "anna", "bea")
    figures = measure(probabilities, truth, SEVEN, subjects=people)
    assert figures["intervals"] == {"over": "subjects", "units": 2, "resamples": 1000}
    assert figures["accuracy_95"] == [0, 1]
    assert measure(probabilities, truth, SEVEN)["intervals"]["units"] == 300


def test_whoever_has_no_name_is_alone() -> None:
    probabilities, truth = samples(7, 6)
    for people in (["a", "a", "", None, "b", ""], [1, 1, None, None, 2, None]):
        assert measure(probabilities, truth, SEVEN, subjects=people)["intervals"]["units"] == 5
    alone = measure(probabilities, truth, SEVEN, subjects=[None] * 6)
    assert alone["accuracy_95"] == measure(probabilities, truth, SEVEN)["accuracy_95"]


def test_one_person_gives_no_interval() -> None:
    probabilities, truth = samples(7)
    figures = measure(probabilities, truth, SEVEN, subjects=["anna"] * 300)
    assert figures["accuracy_95"] == [None, None]
    assert "No interval can be had from 1,000 resamples of 1 subjects" in to_markdown(figures, "x", {})


def test_f1_runs_over_the_classes_of_the_protocol() -> None:
    probabilities, truth = samples(8)
    labels, without = EIGHT, truth != 7
    probabilities, truth = probabilities[without], truth[without]
    f1 = reference.f1_score(truth, probabilities.argmax(1), labels=range(8), average=None, zero_division=0)
    figures = measure(probabilities, truth, labels)
    assert figures["macro_f1"] == pytest.approx(f1.mean(), abs=1e-4)
    figures = measure(probabilities, truth, labels, classes=SEVEN)
    assert figures["macro_f1"] == pytest.approx(f1[:7].mean(), abs=1e-4)


@pytest.mark.filterwarnings("error")
def test_it_is_json_and_none_where_nothing_is_defined() -> None:
    figures = measure(np.eye(3)[[0, 1]], np.array([0, 0]), ("a", "b", "c"), 1.5)
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert figures["nll"] is None  # infinite: the second truth was given probability 0
    assert figures["per_class"]["b"]["recall"] is None
    assert figures["per_class"]["c"] == {"samples": 0, "recall": None, "precision": None, "f1": None}
    assert figures["certain"] == {"threshold": 1.5, "coverage": 0.0, "accuracy": None}
    assert measure(np.eye(3), np.arange(3), ("a", "b", "c"))["certain"] is None


def test_the_seed_repeats() -> None:
    probabilities, truth = samples(7)
    assert measure(probabilities, truth, SEVEN, seed=3) == measure(probabilities, truth, SEVEN, seed=3)
    assert (
        measure(probabilities, truth, SEVEN, seed=3)["uar_95"]
        != measure(probabilities, truth, SEVEN, seed=4)["uar_95"]
    )


def test_what_does_not_fit_is_refused() -> None:
    probabilities, truth = samples(7)
    with pytest.raises(ShapeError, match="softmax first"):
        measure(np.log(probabilities), truth, SEVEN)
    with pytest.raises(ShapeError, match="equally long"):
        measure(probabilities, truth[:-1], SEVEN)
    with pytest.raises(ShapeError, match="got -1"):
        measure(probabilities, np.full(300, -1), SEVEN)
    with pytest.raises(LabelError, match="expected 7 different labels"):
        measure(probabilities, truth, SEVEN[:-1])
    with pytest.raises(LabelError, match="expected 7 different labels"):
        measure(probabilities, truth, ("angry",) * 7)
    with pytest.raises(LabelError, match="got contempt"):
        measure(probabilities, truth, SEVEN, classes=("happy", "contempt"))
    with pytest.raises(ShapeError, match="each of 300 samples, got 2"):
        measure(probabilities, truth, SEVEN, subjects=["a", "b"])


def tables_of(page: str) -> list[list[list[str]]]:
    """Cells of every Markdown table, without the line under the head."""
    blocks = [block.splitlines() for block in page.split("\n\n") if block.startswith("|")]
    return [
        [[cell.strip() for cell in line.strip("|").split(" | ")] for line in (block[0], *block[2:])]
        for block in blocks
    ]


def test_the_page_says_what_the_figures_say() -> None:
    probabilities, truth = samples(7)
    figures = measure(probabilities, truth, SEVEN, 0.6)
    page = to_markdown(figures, "Drawn faces", {"protocol": "drawn|here", "seed": 0})
    assert page.startswith("# Drawn faces\n\n")
    assert page.endswith("|\n")
    facts, summary, classes, confusion, risk = tables_of(page)
    assert facts[1:] == [["protocol", "drawn\\|here"], ["seed", "0"]]
    values = dict(row for row in summary[1:])
    assert values["samples"] == "300"
    low, high = figures["accuracy_95"]
    assert values["accuracy"] == f"{figures['accuracy']:.4f} ({low:.4f} to {high:.4f})"
    assert values["ECE (15 bins)"] == f"{figures['ece_15']:.4f}"
    assert [row[0] for row in classes[1:]] == list(SEVEN)
    assert [[int(cell) for cell in row[1:]] for row in confusion[1:]] == figures["confusion"]
    assert risk[0][1:] == list(figures["risk_at_coverage"])
    assert f"certain: {figures['certain']['coverage']:.4f} of the samples" in page
    assert "1,000 resamples of 300 samples" in page


def test_the_page_has_a_dash_for_what_is_undefined_and_leaves_out_what_is_not_there() -> None:
    page = to_markdown(measure(np.eye(3)[[0, 1]], np.array([0, 0]), ("a", "b", "c")), "x", {})
    assert "| c | 0 | - | - | - |" in page
    assert "| NLL | - |" in page
    assert "certain" not in page
    assert "fact" not in page


@pytest.mark.parametrize("labels", [SEVEN, EIGHT, ELEVEN], ids=len)
@pytest.mark.parametrize("threshold", [0.6, None])
def test_the_picture_is_drawn(labels: tuple[str, ...], threshold: float | None, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    probabilities, truth = samples(len(labels))
    draw(probabilities, truth, labels, threshold, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 2 * picture.height > 900
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    # The mark of the threshold is the only thing in that orange.
    orange = np.abs(pixels - (0xD5, 0x5E, 0x00)).max(2) < 8
    assert orange.any() == (threshold is not None)


def test_more_classes_get_a_larger_table(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    heights = []
    for labels in (SEVEN, ELEVEN):
        draw(*samples(len(labels)), labels, None, tmp_path / "a.png")
        with Image.open(tmp_path / "a.png") as picture:
            heights.append(picture.height)
    assert heights[1] > heights[0] + 100


def test_the_picture_of_one_sample_and_of_no_error(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for count in (1, 20):
        draw(np.eye(3)[[1] * count], np.ones(count, int), ("a", "b", "c"), 0.5, tmp_path / f"{count}.png")
        assert (tmp_path / f"{count}.png").stat().st_size > 5000


def test_the_picture_refuses_logits(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    probabilities, truth = samples(7)
    with pytest.raises(ShapeError, match="softmax first"):
        draw(np.log(probabilities), truth, SEVEN, None, tmp_path / "a.png")
    with pytest.raises(ShapeError, match="got"):
        draw(probabilities, truth, SEVEN[:3], None, tmp_path / "a.png")
