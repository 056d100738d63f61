"""Action units of CK+ from the network that ships: a light linear head, measured by person. Nothing is stored but figures.

    python -m mien.recipes.units_ckplus --data DIR --out DIR [--mesh]

DIR of the data is that of the set `ckplus48`. The head is logistic, on the 1,024 pooled features that go into the last
layer of the shipped expression network; one row a sequence, the mean over its last three frames (`--frames last` for
the last alone). Ten folds by person, as `ckplus48_au` deals them out. Ridge and the threshold of each unit are chosen
on the training people of a fold, by three inner folds by person; F1 and AUROC are of all ten test folds pooled.

`--mesh` reads the face mesh of each picture too (`pip install 'mien[mesh]'`, `mien weights fetch face_landmarker`). Then
"table" (units by the explicit table, nothing learned but the threshold), "learned", "features" (a head on the 52
blendshapes) and "both" (a head on the network's features, the blendshapes and the table's intensities) come out of one run,
on the same folds. NaN where no mesh could be read. Writes `units.json`, `units.md`.

CK+ is for research: the weights that are learned here are thrown away.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from mien import __version__
from mien.datasets.dataset import DATASETS
from mien.datasets.protocol import Protocol, load_protocol, name_share, people_of_split
from mien.engine.checkpoint import code_version
from mien.engine.linear import best_thresholds, fit_units
from mien.errors import DataError
from mien.evaluate.model import crops_of
from mien.evaluate.units import mean_of_defined, measure_units, units_to_markdown
from mien.faces.crops import crop_detector, landmarks_of_pictures
from mien.faces.mesh import FaceMesh
from mien.faces.mesh_units import units_from_mesh
from mien.files import write_whole
from mien.labels.action_units import unit_numbers
from mien.methods.onnx import last_features
from mien.methods.runner import ExpressionRunner
from mien.metrics.multilabel import known_f1_scores
from mien.types.units import ActionUnits
from mien.weights.store import load_weights, open_session

PROTOCOL = "ckplus48_au"
RIDGES = (0.03, 0.1, 0.3, 1.0)
INNER_FOLDS = 3


@dataclass(frozen=True, eq=False)
class UnitFeatures:
    """Features and labels of pictures, or of sequences.

    Attributes:
        ids: names. people: persons.
        truth: (N, K) of 1 and 0. labels: "AU1", ...
        values: (N, D) features, NaN where missing.
        facts: what they are from.
    """

    ids: tuple[str, ...]
    people: tuple[str, ...]
    truth: np.ndarray
    labels: tuple[str, ...]
    values: np.ndarray
    facts: Mapping[str, Any]


def read_features(root: str | Path, check: bool = True) -> UnitFeatures:
    """Pooled features (N, 1024) of the shipped expression network for all pictures of `ckplus48`.

    Args:
        root: folder of the data set.
        check: hold the data to the frozen counts.
    """
    samples = DATASETS["ckplus48"].samples(root, PROTOCOL, "all", check=check)
    runner = ExpressionRunner(load_weights("expression"))
    crops, found, failures, _ = crops_of(samples, np.arange(len(samples)), runner)
    if failures:
        raise DataError(f"expected to read every picture, got {len(failures)} failures: {failures[0]}")
    session = open_session(replace(runner.weights, content=last_features(runner.weights.content)))
    values = [session.run(None, {runner.input_name: faces})[0] for faces in runner.inputs(crops)]
    facts = {
        "data": f"ckplus48, {len(samples)} pictures, sha256 {samples.sha256}",
        "crops_sha256": hashlib.sha256(crops.tobytes()).hexdigest(),
        "face_found": round(float(found.mean()), 4),
        "network": f"expression, sha256 {runner.weights.sha256}",
    }
    people = samples.subjects or ()
    truth = samples.extras["action_units"]
    return UnitFeatures(samples.ids, people, truth, samples.labels, np.concatenate(values), facts)


def sequences_of(ids: Sequence[str]) -> list[list[int]]:
    """Rows of each sequence, its frames in order, from names such as "S010_004_00000017"."""
    rows: dict[str, list[int]] = {}
    for row in np.argsort(ids, kind="stable"):
        rows.setdefault(ids[row][:8], []).append(int(row))
    return list(rows.values())


def of_sequences(rows: Sequence[Sequence[int]], values: np.ndarray, frames: str = "mean") -> np.ndarray:
    """One row a sequence (M, D): the mean of its frames' values (N, D), or the "last".

    NaN is left out of a mean, and stays where a sequence has nothing else.
    """
    if frames == "last":
        return values[[own[-1] for own in rows]]
    parts = [values[own] for own in rows]
    counts = np.stack([np.isfinite(part).sum(0) for part in parts])
    sums = np.stack([np.nansum(part, 0) for part in parts])
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def read_mesh(root: str | Path) -> tuple[np.ndarray, ActionUnits]:
    """Blendshapes (N, 52) and the table's action units of all pictures of `ckplus48`, in the order of `read_features`.

    Raises:
        MissingExtraError, WeightsError: the mesh cannot be read on this machine; the message says what to do.
    """
    reader = FaceMesh(threads=1)
    samples = DATASETS["ckplus48"].samples(root, PROTOCOL, "all", check=False)
    images, _, failures = samples.readable()
    if failures:
        raise DataError(f"expected to read every picture, got {len(failures)} failures: {failures[0]}")
    points, _ = landmarks_of_pictures(images, samples.framing, crop_detector())
    mesh = reader.read_each(images, points, quiet=False)
    return mesh.blendshapes, units_from_mesh(mesh)


@dataclass(frozen=True, eq=False)
class Pooled:
    """Answers on all test folds: scores (M, K), thresholded ones, and the ridge that each fold chose."""

    scores: np.ndarray
    predicted: np.ndarray
    ridges: tuple[float, ...] = ()


def across_folds(protocol: Protocol, people: np.ndarray, truth: np.ndarray, values: np.ndarray) -> Pooled:
    """Fit and choose on the training people of each fold, answer for the others.

    Args:
        protocol: deals out people.
        people: (M,). truth: (M, K). values: (M, D) features.
    """
    scores, predicted, ridges = np.zeros(truth.shape), np.zeros(truth.shape), []
    for fold in range(protocol.folds):
        tested = np.isin(people, sorted(people_of_split(protocol, set(people), protocol.test, fold)))
        inner = {
            ridge: _inner_scores(people[~tested], truth[~tested], values[~tested], ridge) for ridge in RIDGES
        }
        ridge = min(RIDGES, key=lambda one: _mean_nll(truth[~tested], inner[one]))
        thresholds = best_thresholds(truth[~tested], inner[ridge])
        scores[tested] = _sigmoid(fit_units(values[~tested], truth[~tested], ridge).logits(values[tested]))
        predicted[tested] = scores[tested] >= thresholds
        ridges.append(ridge)
    return Pooled(scores, predicted, tuple(ridges))


def thresholded(protocol: Protocol, people: np.ndarray, truth: np.ndarray, scores: np.ndarray) -> Pooled:
    """Scores that need no learning, with the thresholds of the training people of each fold."""
    predicted = np.zeros(truth.shape)
    for fold in range(protocol.folds):
        tested = np.isin(people, sorted(people_of_split(protocol, set(people), protocol.test, fold)))
        predicted[tested] = scores[tested] >= best_thresholds(truth[~tested], scores[~tested])
    return Pooled(scores, predicted)


def _inner_scores(people: np.ndarray, truth: np.ndarray, values: np.ndarray, ridge: float) -> np.ndarray:
    """Probabilities (M, K) of training rows, each from people other than its own."""
    dealt = sorted(set(people), key=lambda name: name_share(f"inner:{name}"))
    number = {person: place % INNER_FOLDS for place, person in enumerate(dealt)}
    fold, scores = np.array([number[person] for person in people]), np.zeros(truth.shape)
    for one in range(INNER_FOLDS):
        head = fit_units(values[fold != one], truth[fold != one], ridge)
        scores[fold == one] = _sigmoid(head.logits(values[fold == one]))
    return scores


def _mean_nll(truth: np.ndarray, scores: np.ndarray) -> float:
    likely = np.where(truth == 1, scores, 1 - scores)
    return float(-np.log(np.clip(likely, 1e-9, 1)).mean())


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(logits, -60, 60)))


def measure_systems(
    pictures: UnitFeatures,
    features: np.ndarray | None = None,
    table: ActionUnits | None = None,
    frames: str = "mean",
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Figures of each system, and what they belong to.

    Args:
        pictures: of `read_features`.
        features: (N, D) further features, in the order of the pictures.
        table: units that need no learning.
        frames: see `of_sequences`.

    Returns:
        "learned", and with further values "table", "features", "both" -> figures of `measure_units` and
        `mean_f1_at_half`; a unit that the table lacks is not measured for it. And facts.
    """
    protocol = load_protocol(PROTOCOL)
    rows = sequences_of(pictures.ids)
    truth = of_sequences(rows, pictures.truth, "last")
    people = of_sequences(rows, np.array(pictures.people), "last")
    parts = {"learned": of_sequences(rows, pictures.values, frames)}
    if features is not None:
        parts["features"] = of_sequences(rows, features, frames)
    if table is not None:
        parts["table"] = of_sequences(rows, table.values, frames)
    systems: dict[str, Pooled] = {
        name: across_folds(protocol, people, truth, values)
        for name, values in parts.items()
        if name != "table"
    }
    if len(parts) > 1:
        systems["both"] = across_folds(protocol, people, truth, np.concatenate(list(parts.values()), 1))
    figures: dict[str, dict[str, Any]] = {}
    if table is not None:
        wanted = unit_numbers(pictures.labels)
        scores = np.full(truth.shape, np.nan)
        for column, unit in enumerate(wanted):
            if unit in table.units:
                scores[:, column] = parts["table"][:, table.units.index(unit)]
        figures["table"] = _figures(
            thresholded(protocol, people, truth, scores), truth, pictures.labels, people
        )
    figures |= {name: _figures(found, truth, pictures.labels, people) for name, found in systems.items()}
    facts = {
        "protocol": f"{PROTOCOL}: {protocol.folds} folds by person, salt {protocol.fold_salt!r}, pooled",
        "rows": f"{len(truth)} sequences of {len(set(people))} people, "
        + ("mean over the last three frames" if frames == "mean" else "last frame"),
        "head": f"logistic, ridge of {RIDGES} and thresholds by {INNER_FOLDS} inner folds of the training people",
        "ridges": {name: list(found.ridges) for name, found in systems.items()},
        **pictures.facts,
        "commit": code_version(),
        "mien": __version__,
        "machine": platform.machine(),
        "date": date.today().isoformat(),
    }
    return figures, facts


def _figures(found: Pooled, truth: np.ndarray, labels: tuple[str, ...], people: np.ndarray) -> dict[str, Any]:
    told = np.where(np.isfinite(found.scores), truth, np.nan)
    scores = np.nan_to_num(found.scores)
    figures = measure_units(told, scores, labels, found.predicted, people.tolist())
    if found.ridges:
        figures["mean_f1_at_half"] = round(mean_of_defined(known_f1_scores(told, scores >= 0.5)), 4)
    return figures


def write(figures: Mapping[str, Any], facts: Mapping[str, Any], folder: Path) -> str:
    """Write `units.json` and `units.md`, each whole; gives the page."""
    page = units_to_markdown(figures, "Action units of CK+ from the shipped network", facts)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "units.json", json.dumps({"facts": facts, "systems": figures}, indent=1) + "\n")
    write_whole(folder / "units.md", page)
    return page


def main() -> None:
    """The command in the module's text."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--mesh", action="store_true")
    parser.add_argument("--frames", choices=("mean", "last"), default="mean")
    options = parser.parse_args()
    pictures = read_features(options.data)
    features, table = read_mesh(options.data) if options.mesh else (None, None)
    print(write(*measure_systems(pictures, features, table, options.frames), options.out))


if __name__ == "__main__":
    main()
