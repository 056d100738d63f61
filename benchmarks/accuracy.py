"""Accuracy of the whole command, detector included, beside peers behind the same detector.

    python benchmarks/accuracy.py [--data DIR] [--peers DIR]             muxspace, split val
    python benchmarks/accuracy.py --csv FILE --root DIR [--peers DIR]    any table with columns path,label

Pictures go through `mien.Analyzer.stream` as files. The largest face of a picture is judged; the answer is
the most probable of all labels of a network. A picture without a face, or one that cannot be read, counts as
wrong. Classes with fewer than 50 pictures are left out of the truth, never out of the answers.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from machine import arguments, cores, save, table
from peers import Peer, aligned_crop, load_peers

import mien
from mien.datasets import muxspace
from mien.labels.expressions import EXPRESSIONS, canonical
from mien.metrics.bootstrap import bootstrap_interval
from mien.metrics.classification import accuracy, confusion, recalls, uar
from mien.weights.store import load_weights

TRIAL_PICTURES = 200
NO_FACE = len(EXPRESSIONS)
ANSWERS = (*EXPRESSIONS, "none")

Labelled = list[tuple[Path, str]]
"""Files with their classes, in mien's names."""


def from_muxspace(root: Path, folder: Path) -> Labelled:
    """Write the pictures of muxspace's val split into a folder, bytes as they are."""
    labelled = []
    with zipfile.ZipFile(root / "images_112.zip") as archive:
        for index, row in enumerate(muxspace.rows(root, "val")):
            path = folder / f"{index:05d}{Path(row.member).suffix}"
            path.write_bytes(archive.read(row.member))
            labelled.append((path, row.expression))
    return labelled


def from_csv(listing: Path, root: Path) -> Labelled:
    """Files and classes of a table with columns `path` (under `root`) and `label` (any known spelling)."""
    with listing.open(newline="") as stored:
        rows = list(csv.DictReader(stored))
    if not rows or not {"path", "label"} <= rows[0].keys():
        raise SystemExit(f"expected columns path,label and at least one row in {listing.name}")
    return [(root / row["path"], canonical(row["label"])) for row in rows]


def enough(labelled: Labelled, least: int) -> Labelled:
    """Only the pictures of classes that have at least so many."""
    counts = Counter(label for _, label in labelled)
    kept = [(path, label) for path, label in labelled if counts[label] >= least]
    if not kept:
        raise SystemExit(f"expected a class with at least {least} pictures, got {dict(counts)}")
    return kept


class Answers:
    """What mien and every peer say about each file; as `observer`, it sees the pictures that mien sees."""

    def __init__(self, peers: list[Peer]) -> None:
        self.peers = peers
        self.by_reader: dict[str, dict[str, int]] = {"mien": {}}
        for peer in peers:
            self.by_reader[f"{peer.name}, its own crop"] = {}
            self.by_reader[f"{peer.name}, mien's crop"] = {}

    def __call__(self, result: mien.FrameResult, image: np.ndarray) -> None:
        """Judge the largest face of one picture."""
        faces = result.faces
        if not len(faces):
            return
        size = faces.box_xyxy_px[:, 2:] - faces.box_xyxy_px[:, :2]
        face = int(size.prod(1).argmax())
        self.by_reader["mien"][result.path] = EXPRESSIONS.index(faces.expression.top[face])
        for peer in self.peers:
            own = peer.crop(image, faces.box_xyxy_px[face])
            aligned = aligned_crop(image, faces.landmarks_xy_px[face], peer.size_px)
            for crop, kind in ((own, "its own crop"), (aligned, "mien's crop")):
                name = peer.labels[int(peer.scores(crop[None])[0].argmax())]
                self.by_reader[f"{peer.name}, {kind}"][result.path] = EXPRESSIONS.index(name)


def run(labelled: Labelled, peers: list[Peer], model: str, threads: int) -> tuple[Answers, list[str]]:
    """Stream all files; the answers and the errors of files that could not be read."""
    answers = Answers(peers)
    stream = mien.Analyzer(model, threads=threads).stream([path for path, _ in labelled], observer=answers)
    errors = [result.error for result in stream if isinstance(result, mien.Failure)]
    return answers, errors


def figures_of(truth: np.ndarray, answer: np.ndarray) -> dict[str, Any]:
    """Accuracy, balanced accuracy with 95 % intervals over pictures, recalls and counts of one reader."""
    counts = confusion(truth, answer, len(ANSWERS))
    classes = len(ANSWERS)
    return {
        "accuracy": accuracy(counts),
        "accuracy_95": bootstrap_interval(lambda at: float((truth[at] == answer[at]).mean()), len(truth)),
        "balanced_accuracy": uar(counts),
        "balanced_accuracy_95": bootstrap_interval(
            lambda at: uar(confusion(truth[at], answer[at], classes)), len(truth)
        ),
        "recall": {
            ANSWERS[index]: float(value) for index, value in enumerate(recalls(counts)) if not np.isnan(value)
        },
        "confusion": {ANSWERS[index]: counts[index].tolist() for index in np.unique(truth)},
    }


def measure(labelled: Labelled, answers: Answers) -> dict[str, Any]:
    """The figures of every reader; all see the same faces, so a missed face is missed by all."""
    truth = np.array([EXPRESSIONS.index(label) for _, label in labelled])
    figures: dict[str, Any] = {
        "pictures": dict(Counter(label for _, label in labelled)),
        "columns": ANSWERS,
        "readers": {},
    }
    for reader, said in answers.by_reader.items():
        answer = np.array([said.get(str(path), NO_FACE) for path, _ in labelled])
        figures["no_face_or_unreadable"] = float((answer == NO_FACE).mean())
        figures["readers"][reader] = figures_of(truth, answer)
    return figures


def report(figures: dict[str, Any]) -> str:
    """The figures as Markdown."""
    readers = figures["readers"]
    classes = list(readers["mien"]["recall"])
    counts = ", ".join(f"{figures['pictures'][name]} {name}" for name in classes)
    rows = [
        (
            reader,
            _with_interval(part["accuracy"], part["accuracy_95"]),
            _with_interval(part["balanced_accuracy"], part["balanced_accuracy_95"]),
            *(part["recall"][name] for name in classes),
        )
        for reader, part in readers.items()
    ]
    lines = [
        f"{sum(figures['pictures'].values())} pictures: {counts}.",
        f"No face, or no readable picture, in {figures['no_face_or_unreadable']:.2%}.",
        "",
        table(("reader", "accuracy", "balanced accuracy", *(f"recall {name}" for name in classes)), rows),
    ]
    for reader, part in readers.items():
        lines += [f"{reader}: true class down, answer across", ""]
        lines.append(table(("", *ANSWERS), [(name, *row) for name, row in part["confusion"].items()]))
    return "\n".join(lines)


def _with_interval(value: float, interval: tuple[float, float]) -> str:
    return f"{value:.3f} ({interval[0]:.3f}-{interval[1]:.3f})"


def main() -> None:
    """The command in the module's text."""
    parser = arguments(__doc__)
    parser.add_argument("--csv", type=Path, help="table with columns path,label instead of muxspace")
    parser.add_argument("--root", type=Path, help="folder that the table's paths start from")
    parser.add_argument("--model", default="expression", help="mien's network: name or ONNX file")
    parser.add_argument("--min-pictures", type=int, default=50, help="classes with fewer are left out")
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        labelled = enough(_labelled(options, Path(folder)), options.min_pictures)
        if options.quick:
            labelled = labelled[:: max(1, len(labelled) // TRIAL_PICTURES)]
        peers = load_peers(options.peers, options.threads or cores())
        answers, errors = run(labelled, peers, options.model, options.threads)
        figures = {
            "set": options.csv.name if options.csv else "muxspace val",
            "model": Path(options.model).name,
            "trained_on": load_weights(options.model).trained_on,
            "quick": options.quick,
            "unreadable": len(errors),
            **measure(labelled, answers),
        }
    print(report(figures))
    for error in errors[:5]:
        print("unreadable:", error)
    section = f"accuracy {options.csv.stem}" if options.csv else "accuracy"
    print("written:", save(options.results, section, figures).name)


def _labelled(options: argparse.Namespace, folder: Path) -> Labelled:
    if options.csv is None:
        return from_muxspace(options.data / "muxspace", folder)
    return from_csv(options.csv, options.root or options.csv.parent)


if __name__ == "__main__":
    main()
