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
from mien.datasets.protocol import Protocol, load_protocol, protocol_names
from mien.datasets.samples import Samples, none_readable
from mien.errors import LabelError, OptionError
from mien.evaluate import report
from mien.evaluate.clips import outputs_of_clips
from mien.evaluate.units import measure_units, units_to_markdown
from mien.faces.crops import as_rgb, crop_detector, landmarks_of_pictures, one_small_size, points_of
from mien.files import write_whole
from mien.labels.action_units import unit_numbers
from mien.methods.runner import ExpressionRunner, FaceRunner, UnitsRunner
from mien.weights.store import Weights, load_weights


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What `measure` found.

    Attributes:
        facts: what was measured on what: protocol, split, hashes, machine, date.
        figures: set name -> figures of `mien.evaluate.report.measure`, or of `measure_units`.
        probabilities, truth: (N, K) and (N,) of the whole split, for plots; truth (N, K) of action units.
        labels: the protocol's classes or units.
        threshold: confidence under which an answer is `uncertain`; of action units, from which one is there.
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
        """For people; of what could not be read, the number and the first few."""
        lost = self.facts["failures"]
        facts = {**self.facts, "failures": f"{len(lost):,}. First: {'; '.join(lost[:3])}" if lost else "none"}
        if self.truth.ndim == 2:
            title = f"{self.facts['protocol']}, {self.facts['split']}"
            return units_to_markdown(self.figures, title, facts)
        return "\n\n".join(
            report.to_markdown(figures, f"{self.facts['protocol']}, {self.facts['split']}, {name}", facts)
            for name, figures in self.figures.items()
        )


def write_report(found: Evaluation, folder: Path) -> None:
    """Write `report.json`, `report.md` and, of classes, `report.png` under a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "report.json", json.dumps(found.to_dict(), indent=1) + "\n")
    write_whole(folder / "report.md", found.to_markdown() + "\n")
    if found.truth.ndim == 1:
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
        LabelError: the network lacks a class or unit of the protocol.
        WeightsError: it finds action units and the protocol asks for classes, or the other way round.
        DataNotFoundError, DataError: the data are not there or not as frozen.
        OptionError: it takes clips, and the protocol's samples are single pictures. The other way round, each
            clip counts as its middle frame. Or it was trained for another fold.
    """
    protocol = load_protocol(protocol) if isinstance(protocol, str) else protocol
    split = split or protocol.test
    several = protocol.task == "action_units"
    runner = (UnitsRunner if several else ExpressionRunner)(load_weights(model))
    lacking = [name for name in protocol.labels if name not in runner.weights.labels]
    if lacking:
        raise LabelError(
            f"expected a network with the classes of {protocol.name!r} ({', '.join(protocol.labels)}), got one "
            f"with {', '.join(runner.weights.labels)}: {', '.join(lacking)} is missing."
        )
    refuse_other_fold(runner.weights, protocol, fold)
    samples = (dataset or DATASETS[protocol.dataset]).samples(root, protocol, split, fold, check)
    rows = np.arange(len(samples)) if several else np.flatnonzero(samples.target >= 0)
    if runner.preprocess.frames is None and not runner.preprocess.of_mesh:
        crops, found, failures, used = crops_of(samples, rows, runner, quiet)
        outputs, pixels = runner.outputs(crops), hashlib.sha256(crops.tobytes()).hexdigest()
    else:
        outputs, found, failures, used, pixels = outputs_of_clips(samples, rows, runner, quiet)
    if isinstance(runner, UnitsRunner):
        answers = _of_units(samples, used, runner, outputs, protocol)
    else:
        answers = _of_classes(samples, used, runner, outputs, protocol)
    figures, probabilities, truth = answers
    threshold = float(runner.weights.calibration["threshold"])
    facts = {
        "protocol": protocol.name,
        "split": split,
        "fold": fold if protocol.folds > 1 else None,
        "metric": protocol.metric,
        "model": Path(model).name,
        "model_sha256": runner.weights.sha256,
        "data_sha256": samples.sha256,
        "pixels_sha256": pixels,
        "framing": samples.framing,
        "face_found": round(float(found.mean()), 4),
        "failures": failures,
        "views": 1,
        **({} if samples.clip is None else {"frames": runner.preprocess.frames or "1, the middle one"}),
        "mien": __version__,
        "machine": platform.machine(),
        "date": date.today().isoformat(),
    }
    return Evaluation(facts, figures, probabilities, truth, protocol.labels, threshold)


def refuse_other_fold(weights: Weights, protocol: Protocol, fold: int) -> None:
    """Refuse to measure a network on people that it learned from; a file that does not say its fold is taken.

    Protocols of one data set that deal out its people alike have the same folds. People who are in two data sets are
    not known here.

    Raises:
        OptionError: it was trained for another fold of that protocol, or under one of the same data set that deals
            out the people in another way.
    """
    trained, name = weights.scores.get("fold"), weights.scores.get("protocol")
    if trained is None or name not in protocol_names():
        return
    other = load_protocol(str(name))
    if other.dataset != protocol.dataset or protocol.folds == 1:
        return
    if _deal(other) != _deal(protocol):
        raise OptionError(
            f"expected a network that was trained under {protocol.name!r}, got {weights.name!r}, trained under {other.name!r}, "
            "which deals out the same people in another way: it learned from some who would be tested."
        )
    if trained != fold:
        raise OptionError(
            f"expected fold {trained} of {protocol.name!r}, which {weights.name!r} was trained without, got {fold}, "
            f"whose people it learned from. Take --fold {trained}, or train with --fold {fold}."
        )


def _deal(protocol: Protocol) -> tuple[object, ...]:
    """What decides who is in which fold."""
    return protocol.folds, protocol.fold_salt, protocol.select_share


_Answers = tuple[dict[str, dict[str, Any]], np.ndarray, np.ndarray]
"""Figures by set, probabilities and truth."""


def _of_classes(
    samples: Samples, used: np.ndarray, runner: ExpressionRunner, outputs: np.ndarray, protocol: Protocol
) -> _Answers:
    # Classes that the protocol does not have are left out of the answer, however sure the network is of them.
    probabilities = runner.probabilities(outputs, protocol.labels).values
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
    return figures, probabilities, truth


def _of_units(
    samples: Samples, used: np.ndarray, runner: UnitsRunner, outputs: np.ndarray, protocol: Protocol
) -> _Answers:
    found = runner.named(outputs)
    probabilities = np.stack([found[unit] for unit in unit_numbers(protocol.labels)], 1)
    truth = samples.extras["action_units"][used]
    people = None if samples.subjects is None else [samples.subjects[row] for row in used]
    there = probabilities >= float(runner.weights.calibration["threshold"])
    figures = {"all": measure_units(truth, probabilities, protocol.labels, there, people)}
    return figures, probabilities, truth


def crops_of(
    samples: Samples, rows: np.ndarray, runner: FaceRunner, quiet: bool = True
) -> tuple[np.ndarray, np.ndarray, list[str], np.ndarray]:
    """Aligned crops of some samples as the network wants them.

    Returns:
        uint8 (M, S, S, 3); bool (M,), where a face was found; what could not be read and why; and the rows
        that are left, (M,). A photograph without a face is kept, with the mean places of the points: a
        measurement must not get better by what it leaves out.

    Raises:
        DataError: nothing could be read.
    """
    detector = crop_detector()
    if (
        samples.framing == "crop"
        and (small := samples.alike(one_small_size, rows.tolist(), quiet)) is not None
    ):
        images, used, failures = small
        points, found = landmarks_of_pictures(images, samples.framing, detector, quiet)
        crops = [
            runner.crop(as_rgb(image), face[None])[0][0] for image, face in zip(images, points, strict=True)
        ]
        return np.stack(crops), found, failures, np.array(used)
    crops, seen, used, failures = [], [], [], []
    for row, image in samples.each(failures, rows.tolist(), quiet, "finding faces"):
        face, was_found = points_of(as_rgb(image), samples.framing, detector)
        crops.append(runner.crop(as_rgb(image), face[None])[0][0])
        seen.append(was_found)
        used.append(row)
    if not crops:
        raise none_readable(failures)
    return np.stack(crops), np.array(seen), failures, np.array(used)
