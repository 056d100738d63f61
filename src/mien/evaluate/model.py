"""Measure an ONNX file under a protocol, as it is run when it analyses: its own crops, its own calibration."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from mien import __version__
from mien.datasets.dataset import DATASETS, Dataset
from mien.datasets.protocol import Protocol, load_protocol
from mien.datasets.samples import Samples
from mien.errors import LabelError
from mien.evaluate import report
from mien.faces.crops import as_rgb, crop_detector, landmarks_of_pictures
from mien.methods.runner import ExpressionRunner
from mien.weights.store import load_weights


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What `measure` found.

    Attributes:
        facts: what was measured on what: protocol, split, hashes, machine, date.
        figures: set name -> figures of `mien.evaluate.report.measure`.
        probabilities, truth: (N, K) and (N,) of the whole split, for plots.
        labels: the protocol's classes.
        threshold: confidence under which an answer is `uncertain`.
    """

    facts: dict[str, Any]
    figures: dict[str, dict[str, Any]]
    probabilities: np.ndarray
    truth: np.ndarray
    labels: tuple[str, ...]
    threshold: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**self.facts, **self.figures}

    def to_markdown(self) -> str:
        """For people."""
        return "\n\n".join(
            report.to_markdown(
                figures, f"{self.facts['protocol']}, {self.facts['split']}, {name}", self.facts
            )
            for name, figures in self.figures.items()
        )


def write_report(found: Evaluation, folder: Path) -> None:
    """Write `report.json`, `report.md` and `report.png` under a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(found.to_dict(), indent=1) + "\n")
    (folder / "report.md").write_text(found.to_markdown() + "\n")
    report.draw(found.probabilities, found.truth, found.labels, found.threshold, folder / "report.png")


def measure(
    model: str | Path,
    protocol: Protocol | str,
    root: str | Path,
    split: str | None = None,
    fold: int = 0,
    check: bool = True,
    dataset: Dataset | None = None,
    quiet: bool = True,
) -> Evaluation:
    """Run a network over one split of a protocol.

    Args:
        model: a shipped network by name, or an ONNX file with a contract.
        protocol: or its name.
        root: folder of the data set.
        split: the protocol's test split where it is left out.
        fold: which fold is tested, where the protocol has folds.
        check: hold the data to the protocol's frozen counts.
        dataset: for a folder of the user's own; else the protocol names one.
        quiet: no progress bar.

    Raises:
        LabelError: the network lacks a class of the protocol.
        DataNotFoundError, DataError: the data are not there or not as frozen.
    """
    protocol = load_protocol(protocol) if isinstance(protocol, str) else protocol
    split = split or protocol.test
    runner = ExpressionRunner(load_weights(model))
    lacking = [name for name in protocol.labels if name not in runner.weights.labels]
    if lacking:
        raise LabelError(
            f"expected a network with the classes of {protocol.name!r} ({', '.join(protocol.labels)}), got one "
            f"with {', '.join(runner.weights.labels)}: {', '.join(lacking)} is missing."
        )
    samples = (dataset or DATASETS[protocol.dataset]).samples(root, protocol, split, fold, check)
    rows = np.flatnonzero(samples.target >= 0)
    crops, found, failures, used = crops_of(samples, rows, runner, quiet)
    scores = runner.probabilities(runner.logits(crops))
    # Classes that the protocol does not have are left out of the answer, whatever their probability.
    probabilities = np.stack([scores[name] for name in protocol.labels], 1)
    probabilities = probabilities / np.maximum(probabilities.sum(1, keepdims=True), 1e-12)
    truth = samples.target[used]
    threshold = float(runner.weights.calibration["threshold"])
    people = None if samples.subjects is None else [samples.subjects[row] for row in used]
    figures = {"all": report.measure(probabilities, truth, protocol.labels, threshold, people)}
    if "duplicate_of_train" in samples.extras:
        own = ~samples.extras["duplicate_of_train"][used].astype(bool)
        some = None if people is None else [person for person, kept in zip(people, own, strict=True) if kept]
        figures["without_duplicates"] = report.measure(
            probabilities[own], truth[own], protocol.labels, threshold, some
        )
    facts = {
        "protocol": protocol.name,
        "split": split,
        "fold": fold if protocol.folds > 1 else None,
        "metric": protocol.metric,
        "model": Path(model).name,
        "model_sha256": runner.weights.sha256,
        "data_sha256": samples.sha256,
        "pixels_sha256": hashlib.sha256(crops.tobytes()).hexdigest(),
        "face_found": round(float(found.mean()), 4),
        "failures": failures,
        "views": 1,
        "mien": __version__,
        "machine": platform.machine(),
        "date": date.today().isoformat(),
    }
    return Evaluation(facts, figures, probabilities, truth, protocol.labels, threshold)


def crops_of(
    samples: Samples, rows: np.ndarray, runner: ExpressionRunner, quiet: bool = True
) -> tuple[np.ndarray, np.ndarray, list[str], np.ndarray]:
    """Aligned crops of some samples as the network wants them.

    Returns:
        uint8 (M, S, S, 3); bool (M,), where a face was found; what could not be read and why; and the rows
        that are left, (M,). A photograph without a face is kept, with the mean places of the points: a
        measurement must not get better by what it leaves out.

    Raises:
        DataError: nothing could be read.
    """
    images, used, failures = samples.readable(rows.tolist(), quiet)
    points, found = landmarks_of_pictures(images, samples.framing, crop_detector(), quiet)
    crops = [runner.crop(as_rgb(image), face[None])[0][0] for image, face in zip(images, points, strict=True)]
    return np.stack(crops), found, failures, np.array(used)
