"""Measure an expression network on FER+ as it is shipped: one model, one view, mien's own crops.

python -m mien.evaluate.expression MODEL --ferplus DIR [--split private_test] [--json FILE] [--plot FILE.png]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from mien.datasets import ferplus
from mien.errors import LabelError
from mien.evaluate.report import draw, measure
from mien.faces.crops import as_rgb, crop_detector, remembered_landmarks
from mien.files import write_whole
from mien.labels.expressions import EXPRESSIONS
from mien.methods.runner import ExpressionRunner
from mien.weights.store import load_weights


def logits_of_ferplus(runner: ExpressionRunner, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, K) of grey crops, and where a face was found, bool (N,)."""
    points, found = remembered_landmarks(images, crop_detector())
    crops = [runner.crop(as_rgb(image), face[None])[0][0] for image, face in zip(images, points, strict=True)]
    return runner.logits(np.stack(crops)), found


def report(
    probabilities: np.ndarray, truth: np.ndarray, threshold: float, classes: tuple[str, ...] = EXPRESSIONS
) -> dict[str, Any]:
    """All figures for one set of pictures: those of `mien.evaluate.report.measure`, which counts `pictures`.

    Args:
        probabilities: (N, 8) in mien's order.
        truth: (N,) classes.
        threshold: confidence under which an answer is `uncertain`.
        classes: those of the protocol, over which the F1 means run; a class that is absent counts as 0.
    """
    figures = measure(probabilities, truth, EXPRESSIONS, threshold, classes=classes)
    per_class = {
        name: {"pictures": row.pop("samples"), **row} for name, row in figures.pop("per_class").items()
    }
    return {"pictures": figures.pop("samples"), **figures, "per_class": per_class}


def evaluate_ferplus(
    model: str | Path, root: str | Path, split: str, plot: Path | None = None
) -> dict[str, Any]:
    """The FER+ majority protocol: eight classes, seven without contempt, with and without duplicates.

    Args:
        model: a shipped network by name, or a path.
        root: folder with the splits.
        split: the split that is measured.
        plot: where to draw confusion, reliability and risk-coverage of the eight classes.

    Raises:
        LabelError: the network has other classes.
    """
    runner = ExpressionRunner(load_weights(model))
    if runner.weights.labels != EXPRESSIONS:
        raise LabelError(f"expected the classes {EXPRESSIONS}, got {runner.weights.labels}")
    data = ferplus.load(root, split)
    logits, found = logits_of_ferplus(runner, data.images)
    probabilities = runner.probabilities(logits).values
    threshold = runner.weights.calibration["threshold"]
    kept = data.majority >= 0
    if plot is not None:
        draw(probabilities[kept], data.majority[kept], EXPRESSIONS, threshold, plot)
    without_contempt = EXPRESSIONS[:-1]
    sets = {
        "majority_8": (kept, EXPRESSIONS),
        "majority_8_without_duplicates": (kept & ~data.duplicate_of_train, EXPRESSIONS),
        "majority_7_without_contempt": (kept & (data.majority < len(without_contempt)), without_contempt),
    }
    return {
        "protocol": f"FER+ majority, {split}, single model, single view, all pictures kept",
        "model_sha256": runner.weights.sha256,
        "data_sha256": data.sha256,
        "face_found": round(float(found[kept].mean()), 4),
        **{
            name: report(probabilities[rows], data.majority[rows], threshold, classes)
            for name, (rows, classes) in sets.items()
        },
    }


def main() -> None:
    """The command in the module's text."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("model")
    arguments.add_argument("--ferplus", required=True)
    arguments.add_argument("--split", default="private_test", choices=ferplus.SPLITS)
    arguments.add_argument("--json", type=Path)
    arguments.add_argument("--plot", type=Path)
    options = arguments.parse_args()
    figures = evaluate_ferplus(options.model, options.ferplus, options.split, options.plot)
    text = json.dumps(figures, indent=1)
    if options.json:
        write_whole(options.json, text + "\n")
    print(text)


if __name__ == "__main__":
    main()
