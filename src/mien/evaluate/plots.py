"""Plots of a measurement, as PNG. Needs matplotlib (extra `train`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mien.labels.expressions import EXPRESSIONS
from mien.metrics.calibration import risk_coverage
from mien.metrics.classification import confusion


def draw_report(probabilities: np.ndarray, truth: np.ndarray, threshold: float, path: Path) -> None:
    """Confusion, reliability and risk-coverage side by side.

    Args:
        probabilities: (N, 8) in mien's order.
        truth: (N,) classes.
        threshold: confidence under which an answer is `uncertain`; marked in the third panel.
        path: where the PNG goes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3)
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == truth
    _confusion(left, confusion(truth, probabilities.argmax(1), len(EXPRESSIONS)))
    _reliability(middle, confidence, correct)
    _risk_coverage(right, confidence, correct, threshold)
    figure.savefig(path, dpi=110)


def _confusion(axes, counts: np.ndarray) -> None:  # type: ignore[no-untyped-def]
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(counts.shape):
        if counts[row, column]:
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, counts[row, column], ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(EXPRESSIONS)), EXPRESSIONS, rotation=45, ha="right")
    axes.set_yticks(range(len(EXPRESSIONS)), EXPRESSIONS)
    axes.set(title="Confusion (pictures)", xlabel="predicted", ylabel="majority of votes")


def _reliability(axes, confidence: np.ndarray, correct: np.ndarray) -> None:  # type: ignore[no-untyped-def]
    edges = np.linspace(0, 1, 11)
    index = np.clip(np.digitize(confidence, edges) - 1, 0, 9)
    filled = [bin_ for bin_ in range(10) if (index == bin_).sum() >= 5]
    axes.bar(
        [edges[bin_] + 0.05 for bin_ in filled],
        [correct[index == bin_].mean() for bin_ in filled],
        width=0.09,
        color="#56b4e9",
    )
    axes.plot([0, 1], [0, 1], color="black", linewidth=1, linestyle="--")
    axes.set(title="Reliability", xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))


def _risk_coverage(  # type: ignore[no-untyped-def]
    axes, confidence: np.ndarray, correct: np.ndarray, threshold: float
) -> None:
    coverage, risk = risk_coverage(confidence, correct)
    axes.plot(coverage, risk, color="#0072b2")
    kept = float((confidence >= threshold).mean())
    axes.axvline(kept, color="#d55e00", linestyle="--")
    axes.text(kept, axes.get_ylim()[1] * 0.9, f" certain: {kept:.0%}", color="#d55e00")
    axes.set(title="Risk and coverage", xlabel="share answered", ylabel="share of errors", xlim=(0, 1))
