"""The face mesh: landmark error, agreement with the mirrored picture, time a face, and action units.

    python benchmarks/mesh.py [--data DIR] [--quick]

Needs `pip install 'mien[mesh]'` and `mien weights fetch face_landmarker`. In DIR: `landmarks68_helen_afw/` (1,537
crops with 68 points of the 300-W mark-up; HELEN's train part chose the mesh points of the 68-point view, so the
figures that count are those of HELEN's test part and AFW) and `ckplus48_au/` (the peak frames of 327 posed
sequences at 48 px, with FACS codes). `--scale` prints instead the three numbers of each unit's scale, from `muxspace/`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from machine import arguments, save, table
from PIL import Image

from mien.errors import DataNotFoundError
from mien.faces.crops import crop_detector, landmarks_of_crops
from mien.faces.mesh import FaceMesh
from mien.faces.mesh_geometry import mirrored_points, points_68
from mien.faces.mesh_units import PRESENT, RULES, evidence, units_from_mesh
from mien.metrics.landmarks import area_under_errors, failure_rate, interocular, normalised_errors
from mien.metrics.multilabel import label_f1_scores
from mien.metrics.open_set import auroc
from mien.types.mesh import BLENDSHAPES, Mesh

PARTS = ("helen/trainset", "helen/testset", "afw")
THRESHOLD = 0.08
LEAST_POSITIVES = 30
SWAPPED = [
    BLENDSHAPES.index(name.replace("Left", "?").replace("Right", "Left").replace("?", "Right"))
    for name in BLENDSHAPES
]


def faces_of_crops(root: Path, quick: bool) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, RGB picture and annotated points (68, 2) of each face."""
    folder = root / "landmarks68_helen_afw"
    if not folder.is_dir():
        raise DataNotFoundError(f"expected {folder}, got nothing there; name the data folder with --data")
    with (
        np.load(folder / "landmarks68.npz") as stored,
        zipfile.ZipFile(folder / "images_256.zip") as pictures,
    ):
        for name, points in list(zip(stored["name"], stored["points"], strict=True))[:: 20 if quick else 1]:
            yield (
                str(name),
                np.asarray(Image.open(io.BytesIO(pictures.read(str(name)))).convert("RGB")),
                points,
            )


def five_points(detector: Any, image: np.ndarray) -> np.ndarray:
    """Points (5, 2) of the found face nearest the middle; NaN if there is none."""
    found = detector.detect([image])[0]
    if not len(found):
        return np.full((5, 2), np.nan)
    away = np.abs(found.box_xyxy_px.reshape(-1, 2, 2).mean(1) - np.array(image.shape[1::-1]) / 2).max(1)
    return found.landmarks_xy_px[away.argmin()]


def landmarks(root: Path, reader: FaceMesh, quick: bool) -> dict[str, Any]:
    """Landmark error by part, and milliseconds a face (both passes, blendshapes and pose, detector not counted)."""
    detector = crop_detector(1)
    names, found, true, seconds = [], [], [], []
    for name, image, points in faces_of_crops(root, quick):
        five = five_points(detector, image)
        start = time.perf_counter()
        mesh = reader.read(image, five[None])
        seconds.append(time.perf_counter() - start)
        names.append(name), found.append(points_68(mesh)[0]), true.append(points)
    found, true = np.array(found), np.array(true)
    told = np.isfinite(found[:, 0, 0])
    figures: dict[str, Any] = {"milliseconds": round(1e3 * float(np.median(seconds)), 2)}
    parts = {part: np.array([name.startswith(part) for name in names]) for part in PARTS}
    for part, rows in {**parts, "test and afw": ~parts[PARTS[0]], "all": np.ones(len(names), bool)}.items():
        errors = np.full(len(names), np.inf)
        errors[told] = normalised_errors(found[told], true[told], interocular(true[told]))
        inner = normalised_errors(
            found[told & rows][:, 17:], true[told & rows][:, 17:], interocular(true[told & rows])
        )
        figures[part] = {
            "faces": int(rows.sum()),
            "not_read": int((~told & rows).sum()),
            "nme_percent": round(100 * float(errors[told & rows].mean()), 3),
            "nme_without_jaw_percent": round(100 * float(inner.mean()), 3),
            "failure_rate": round(failure_rate(errors[rows], THRESHOLD), 4),
            "auc": round(area_under_errors(errors[rows], THRESHOLD), 4),
        }
    return figures


def mirror(root: Path, reader: FaceMesh, quick: bool) -> dict[str, Any]:
    """How far the mirrored picture's answer is, 60 faces of HELEN's test part drawn with seed 0."""
    detector, other = crop_detector(1), mirrored_points(reader.head)
    faces = [face for face in faces_of_crops(root, quick) if face[0].startswith(PARTS[1])]
    away, shapes, angles = [], [], []
    for index in np.random.default_rng(0).permutation(len(faces))[:60]:
        image, width = faces[index][1], faces[index][1].shape[1]
        five = five_points(detector, image)
        mesh = reader.read(image, five[None])
        back = reader.read(
            np.ascontiguousarray(image[:, ::-1]), (five[[1, 0, 2, 4, 3]] * [-1, 1] + [width, 0])[None]
        )
        points = mesh.points_xyz_px[0, :, :2]
        again = back.points_xyz_px[0, other, :2] * [-1, 1] + [width, 0]
        away.append(np.linalg.norm(points - again, axis=1).mean() / np.linalg.norm(points[33] - points[263]))
        shapes.append(np.abs(mesh.blendshapes[0] - back.blendshapes[0, SWAPPED]))
        angles.append(np.abs(mesh.pose_ypr_rad[0] - back.pose_ypr_rad[0] * [-1, 1, -1]))
    worst = np.argsort(-np.mean(shapes, 0))[:5]
    return {
        "faces": len(away),
        "mean_distance_over_interocular": round(float(np.mean(away)), 4),
        "largest": round(float(np.max(away)), 4),
        "blendshapes_mean_difference": round(float(np.mean(shapes)), 4),
        "worst_blendshapes": {
            BLENDSHAPES[index]: round(float(np.mean(shapes, 0)[index]), 3) for index in worst
        },
        "pose_mean_difference_deg": np.rad2deg(np.mean(angles, 0)).round(2).tolist(),
    }


def meshes_of_crops(images: np.ndarray, reader: FaceMesh, detector: Any) -> Mesh:
    """One mesh of the face that each of equally large crops, RGB (N, S, S, 3), is about."""
    return reader.read_each(images, landmarks_of_crops(images, detector)[0])


def units(root: Path, reader: FaceMesh, quick: bool) -> dict[str, Any]:
    """AUROC of the evidence and F1 of "at least 1", on all people and on the half nobody looked at before."""
    with np.load(root / "ckplus48_au" / "ckplus48_au.npz") as stored:
        peak = np.flatnonzero(np.append(stored["sequence"][1:] != stored["sequence"][:-1], True))
        peak = peak[:: 10 if quick else 1]
        images, codes, columns = stored["images"][peak], stored["au"][peak], stored["au_ids"].tolist()
        people = stored["subject"][peak]
    mesh = meshes_of_crops(np.repeat(images[..., None], 3, 3), reader, crop_detector(1))
    strength, values = np.nanmax(evidence(mesh), 2), units_from_mesh(mesh).values
    held = np.array([int(hashlib.sha256(str(person).encode()).hexdigest(), 16) % 2 == 1 for person in people])
    figures: dict[str, Any] = {
        "sequences": len(peak),
        "not_read": int((~mesh.told).sum()),
        "held": int(held.sum()),
    }
    for column, rule in enumerate(RULES):
        if rule.unit not in columns or codes[:, columns.index(rule.unit)].sum() < LEAST_POSITIVES:
            continue
        for name, rows in (("all", mesh.told), ("held half", mesh.told & held)):
            true, seen = codes[rows, columns.index(rule.unit)] == 1, strength[rows, column]
            there = values[rows, column] >= PRESENT
            f1 = label_f1_scores(true[:, None].astype(int), there[:, None].astype(int))[0]
            figures.setdefault(name, {})[f"AU{rule.unit}"] = {
                "positives": int(true.sum()),
                "auroc": round(auroc(seen[true], seen[~true]), 3),
                "f1": round(float(f1), 3),
                "said_there": int(there.sum()),
            }
    return figures


def scale(root: Path, reader: FaceMesh) -> None:
    """Print neutral, trace and full of each rule: muxspace's train part, seed 0, 400 neutral and 120 a class else."""
    with (root / "muxspace" / "labels.csv").open(newline="") as stored:
        rows = [row for row in csv.DictReader(stored) if row["split"] == "train"]
    draw, chosen = np.random.default_rng(0), []
    for label in ("neutral", *sorted({row["label"] for row in rows} - {"neutral"})):
        of_label = [row for row in rows if row["label"] == label]
        count = 400 if label == "neutral" else 120
        chosen += [of_label[index] for index in draw.permutation(len(of_label))[:count]]
    with zipfile.ZipFile(root / "muxspace" / "images_112.zip") as pictures:
        paths = {Path(name).name: name for name in pictures.namelist()}
        images = [Image.open(io.BytesIO(pictures.read(paths[row["file"]]))).convert("RGB") for row in chosen]
    detector = crop_detector(1)
    detector.coarse_side_px = 320  # the crops are small: a quarter of the time
    mesh = meshes_of_crops(np.stack([np.asarray(image) for image in images]), reader, detector)
    neutral = np.array([row["label"] == "neutral" for row in chosen]) & mesh.told
    print(f"{mesh.told.sum()} of {len(chosen)} read, {neutral.sum()} neutral")
    for column, rule in enumerate(RULES):
        sides = evidence(mesh)[:, column]
        low, trace = np.quantile(sides[neutral], [0.5, 0.95])
        print(
            f"AU{rule.unit}: {rule.evidence} {low:.3g} {trace:.3g} {np.quantile(sides[mesh.told], 0.995):.3g}"
        )


def main() -> None:
    """Measure, print, save."""
    parser = arguments(__doc__)
    parser.add_argument(
        "--scale", action="store_true", help="print the units' scales from muxspace, save nothing"
    )
    options = parser.parse_args()
    reader = FaceMesh(threads=1)
    if options.scale:
        return scale(options.data, reader)
    figures = {
        "landmarks": landmarks(options.data, reader, options.quick),
        "mirror": mirror(options.data, reader, options.quick),
        "units": units(options.data, reader, options.quick),
        "quick": options.quick,
    }
    parts = [(part, *figures["landmarks"][part].values()) for part in (*PARTS, "test and afw", "all")]
    print(table(("part", *figures["landmarks"]["all"]), parts))
    for half in ("all", "held half"):
        rows = [(unit, *found.values()) for unit, found in figures["units"].get(half, {}).items()]
        print(table((f"CK+ {half}", "positives", "AUROC", "F1", "said there"), rows))
    print(figures["mirror"], f"\n{figures['landmarks']['milliseconds']} ms a face")
    print(save(options.results, "mesh", figures))


if __name__ == "__main__":
    main()
