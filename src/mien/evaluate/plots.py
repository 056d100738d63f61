"""The picture of a measurement, as PNG. Needs matplotlib (extra `train`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mien.files import whole
from mien.metrics.calibration import expected_calibration_error, reliability_table
from mien.metrics.checks import expect_probabilities
from mien.metrics.classification import confusion
from mien.metrics.selective import area_under_risk_coverage, risk_coverage, selected

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEW = 5
"""A bin with fewer samples is drawn faint: its accuracy says little."""
SETTLED = 0.05
"""Coverage from which the height of the risk curve sets the panel's scale."""
BLUE, PALE, ORANGE = "#0072b2", "#56b4e9", "#d55e00"
"""Of Okabe and Ito's palette, told apart by colour-blind readers."""


def draw(
    probabilities: np.ndarray,
    truth: np.ndarray,
    labels: Sequence[str],
    threshold: float | None,
    path: str | Path,
) -> None:
    """Confusion, reliability and risk-coverage side by side.

    Args:
        probabilities: (N, K), rows sum to 1.
        truth: (N,) class indices.
        labels: K names.
        threshold: confidence from which an answer counts as certain, marked in the third panel; `None` for
            no mark.
        path: where the PNG goes.

    Raises:
        ShapeError: logits, or lengths that do not fit.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    probabilities = expect_probabilities(probabilities)
    confidence, predicted = probabilities.max(1), probabilities.argmax(1)
    counts, correct = confusion(truth, predicted, len(labels)), predicted == np.asarray(truth)
    height = max(4.6, 1.2 + 0.45 * len(labels))
    figure = Figure(figsize=(height + 10.4, height), layout="constrained")
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3, width_ratios=(height, 4.6, 4.6))
    _confusion(left, counts, labels)
    _reliability(middle, confidence, correct)
    _risk_coverage(right, confidence, correct, threshold)
    with whole(path) as file:
        figure.savefig(file, format="png", dpi=110)


def _confusion(axes: Axes, counts: np.ndarray, labels: Sequence[str]) -> None:
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(counts.shape):
        if counts[row, column]:
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(
                column, row, str(counts[row, column]), ha="center", va="center", fontsize=8, color=colour
            )
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(
        range(len(labels)), [f"{name} ({total})" for name, total in zip(labels, counts.sum(1), strict=True)]
    )
    axes.set(title="Confusion: samples, shade by row", xlabel="predicted", ylabel="true")


def _reliability(axes: Axes, confidence: np.ndarray, correct: np.ndarray) -> None:
    table = reliability_table(confidence, correct)
    width = table.edges[1] - table.edges[0]
    for start, samples, share in zip(table.edges, table.samples, table.accuracy, strict=False):
        if samples:
            axes.bar(
                start + width / 2, share, width=0.9 * width, color=PALE, alpha=0.3 if samples < FEW else 1
            )
    axes.plot([0, 1], [0, 1], color="black", linewidth=1, linestyle="--")
    faint = bool(((table.samples > 0) & (table.samples < FEW)).any())
    axes.set(xlabel=f"confidence (faint: under {FEW} samples)" if faint else "confidence", ylabel="accuracy")
    error = expected_calibration_error(confidence, correct)
    axes.set(title=f"Reliability: ECE {error:.3f}", xlim=(0, 1), ylim=(0, 1))


def _risk_coverage(axes: Axes, confidence: np.ndarray, correct: np.ndarray, threshold: float | None) -> None:
    coverage, risk = risk_coverage(confidence, correct)
    axes.plot(coverage, risk, color=BLUE)
    # One error among the very surest would press all the rest flat.
    top = min(1.15 * max(float(risk[coverage >= SETTLED].max()), 0.01), 1.05)
    if threshold is not None:
        kept = selected(confidence, correct, threshold).coverage
        axes.axvline(kept, color=ORANGE, linestyle="--")
        side = "right" if kept > 0.5 else "left"
        axes.text(kept, 0.94 * top, f" certain: {kept:.0%} ", color=ORANGE, ha=side)
    area = area_under_risk_coverage(confidence, correct)
    axes.set(title=f"Risk and coverage: AURC {area:.3f}", xlabel="share answered, surest first")
    axes.set(ylabel="share of errors", xlim=(0, 1), ylim=(0, top))
