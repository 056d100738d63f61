"""Ids on made clips: IDF1 and id switches of mien's tracker beside plain matching of boxes, on the same detections.

    python benchmarks/tracking.py [--data DIR] [--seeds N] [--clips DIR] [--identity]

Two casts, for each scene of `made_clips.scenes` and each seed: photographs of muxspace's held-out people (mostly grey;
two photographs a person, so that a cut may show another one), and filmed faces of the clips in photos/. Ground truth: a
person is there while half of the face's box is in sight. Plain matching: boxes of neighbouring frames at an overlap of
0.3 and more, paired exactly; once with a track ending where it is not found, once kept for a second at its last place.
"""

from __future__ import annotations

import csv
import hashlib
import io
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from machine import arguments, save, table
from made_clips import Strip, Truth, make, scenes
from PIL import Image

from mien.faces.boxes import iou
from mien.faces.sface import SFace
from mien.faces.yunet import YuNet
from mien.methods.runner import ExpressionRunner
from mien.metrics.assignment import assignment
from mien.metrics.tracking import Moment, id_switches, identity_scores
from mien.pipeline.clips import ClipFrame, Span, read_clip
from mien.pipeline.tracking import Tracker
from mien.types.faces import Faces
from mien.weights.store import load_weights

FILMED = (
    ("pyfeat/WolfgangLanger_Pexels.mp4", 3.0),
    ("pyfeat/single_face.mp4", 0.0),
    ("pyfeat/face_noface.mov", 0.0),
    ("intel_gif/head-pose-face-detection-female.gif", 0.0),
    ("intel_gif/head-pose-face-detection-male.gif", 0.0),
)
"""Clips of one person each, and where to begin; five people."""
STRIP_FRAMES = 40


class Plain:
    """Boxes of neighbouring frames by overlap alone."""

    def __init__(self, keep_s: float) -> None:
        self.keep_s, self.tracks, self.ids = keep_s, [], 0

    def update(self, frame: ClipFrame, faces: Faces) -> list[int]:
        """The ids of a frame's faces; a track is its box, its id and when it was last found."""
        boxes = np.array([track[0] for track in self.tracks]).reshape(-1, 4)
        owner = {column: row for row, column in assignment(1 - iou(boxes, faces.box_xyxy_px), 0.7)}
        found = []
        for index, box in enumerate(faces.box_xyxy_px):
            if index in owner:
                number = self.tracks[owner[index]][1]
            else:
                number, self.ids = self.ids, self.ids + 1
            found.append((box, number, frame.time_s))
        left = [track for row, track in enumerate(self.tracks) if row not in set(owner.values())]
        self.tracks = found + [track for track in left if frame.time_s - track[2] < self.keep_s]
        return [number for _, number, _ in found]


def stills(root: Path, detector: YuNet, people: int) -> list[list[Strip]]:
    """Two photographs of each of so many held-out people of muxspace, the same ones each time."""
    with (root / "muxspace" / "labels.csv").open() as listing:
        rows = [row for row in csv.DictReader(listing) if row["split"] == "val"]
    of: dict[str, list[str]] = {}
    for row in rows:
        of.setdefault(row["identity"], []).append(row["file"])
    names = sorted(name for name, files in of.items() if len(files) >= 2)
    cast: list[list[Strip]] = []
    with zipfile.ZipFile(root / "muxspace" / "images_112.zip") as archive:
        members = {Path(name).name: name for name in archive.namelist()}
        for name in np.random.default_rng(0).permutation(names).tolist():
            pictures = [
                np.asarray(
                    Image.open(io.BytesIO(archive.read(members[file]))).convert("RGB").resize((224, 224))
                )
                for file in sorted(of[name])[:2]
            ]
            boxes = [faces.box_xyxy_px for faces in detector.detect(pictures)]
            if all(len(found) == 1 for found in boxes):
                cast.append([Strip([picture], box) for picture, box in zip(pictures, boxes, strict=True)])
            if len(cast) == people:
                break
    return cast


def filmed(root: Path, detector: YuNet) -> list[list[Strip]]:
    """Of each filmed person two stretches of frames, cut to the head."""
    cast = []
    for name, start_s in FILMED:
        frames, boxes = [], []
        for frame in read_clip(root / "photos" / name, Span(start_s or None)):
            (faces,) = detector.detect([frame.image])
            if len(faces):
                frames.append(frame.image)
                boxes.append(faces.box_xyxy_px[0])
            if len(frames) == 2 * STRIP_FRAMES:
                break
        half = len(frames) // 2
        cast.append([_head(frames[:half], boxes[:half]), _head(frames[half:], boxes[half:])])
    return cast


def _head(frames: list[np.ndarray], boxes: list[np.ndarray]) -> Strip:
    """The same part of all frames, around the middle face."""
    middle = np.median(boxes, 0)
    side = 2.2 * (middle[3] - middle[1])
    left, top = np.maximum(0, middle.reshape(2, 2).mean(0) - side / 2).astype(int)
    cut = [frame[top : top + int(side), left : left + int(side)] for frame in frames]
    return Strip(cut, np.array(boxes) - [left, top, left, top])


def moments(truth: Truth, found: list[tuple[np.ndarray, list[int]]]) -> list[Moment]:
    """True and found faces of each frame."""
    return [
        Moment(np.array(people, int), np.array(ids, int), iou(boxes, seen))
        for people, boxes, (seen, ids) in zip(truth.people, truth.boxes, found, strict=True)
    ]


def track(path: Path, detector: YuNet, runner: ExpressionRunner, identity: SFace | None) -> dict[str, Any]:
    """Boxes and ids of each frame of a clip, a list a tracker; all see the same detections."""
    plain, kept = Plain(1e-9), Plain(1.0)
    ours, by_name = Tracker(), Tracker(None if identity is None else identity.describe)
    trackers: dict[str, Callable[[ClipFrame, Faces, np.ndarray], Any]] = {
        "overlap": lambda frame, faces, _: plain.update(frame, faces),
        "overlap, kept 1 s": lambda frame, faces, _: kept.update(frame, faces),
        "mien": lambda frame, faces, crops: ours.update(frame.image, faces, crops, frame.time_s),
    }
    if identity is not None:
        trackers["mien --identity"] = lambda frame, faces, crops: by_name.update(
            frame.image, faces, crops, frame.time_s
        )
    found: dict[str, Any] = {name: [] for name in trackers}
    for frame in read_clip(path):
        (faces,) = detector.detect([frame.image])
        crops, _ = runner.crop(frame.image, faces.landmarks_xy_px)
        for name, update in trackers.items():
            found[name].append((faces.box_xyxy_px, list(update(frame, faces, crops))))
    return found


def main() -> None:
    """The command in the module's text."""
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--frames", type=int, default=100, help="a clip")
    parser.add_argument("--clips", type=Path, help="keep the made clips here; never publish them")
    parser.add_argument("--identity", action="store_true", help="also with SFace (mien weights fetch sface)")
    options = parser.parse_args()
    seeds = 1 if options.quick else options.seeds
    detector = YuNet(load_weights("yunet"), 1)
    runner = ExpressionRunner(load_weights("expression"), 1)
    identity = SFace(1) if options.identity else None
    casts = {
        "photographs": stills(options.data, detector, 5 * seeds),
        "filmed": filmed(options.data, detector),
    }
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for cast, people in casts.items():
            for seed in range(seeds):
                own = (
                    people[5 * seed : 5 * seed + 5]
                    if cast == "photographs"
                    else people[seed:] + people[:seed]
                )
                for number, scene in enumerate(scenes(options.frames)):
                    path = (options.clips or Path(folder)) / f"{cast}-{seed}-{number}.mp4"
                    truth = make(scene, own, path, 100 * seed + number)
                    for name, found in track(path, detector, runner, identity).items():
                        told = moments(truth, found)
                        scores = identity_scores(told)
                        rows.append(
                            {"cast": cast, "seed": seed, "scene": scene.name, "tracker": name}
                            | scores._asdict()
                            | {
                                "switches": id_switches(told),
                                "ids": len({i for _, ids in found for i in ids}),
                            }
                        )
                    print(
                        cast,
                        seed,
                        scene.name,
                        {
                            row["tracker"]: (round(row["idf1"], 3), row["switches"])
                            for row in rows
                            if (row["cast"], row["seed"], row["scene"]) == (cast, seed, scene.name)
                        },
                        flush=True,
                    )
    figures = {"seeds": seeds, "frames": options.frames, "data": _hashes(options.data), "clips": rows}
    print(report(rows))
    print("written:", save(options.results, "tracking", figures).name)


def _hashes(root: Path) -> dict[str, str]:
    names = ["muxspace/images_112.zip", *(f"photos/{name}" for name, _ in FILMED)]
    return {name: hashlib.sha256((root / name).read_bytes()).hexdigest() for name in names}


def pooled(rows: list[dict[str, Any]]) -> list[Any]:
    """IDF1, IDP, IDR over all boxes of several clips, and their switches."""
    hits, there, found = (
        sum(row[key] for row in rows) for key in ("true_positives", "true_boxes", "found_boxes")
    )
    return [2 * hits / (there + found), hits / found, hits / there, sum(row["switches"] for row in rows)]


def report(rows: list[dict[str, Any]]) -> str:
    """Markdown: a line a scene with IDF1 and switches of each tracker, then all together a cast."""
    names = list(dict.fromkeys(row["tracker"] for row in rows))
    lines = []
    for scene in dict.fromkeys(row["scene"] for row in rows):
        line = [scene]
        for name in names:
            value = pooled([row for row in rows if row["scene"] == scene and row["tracker"] == name])
            line.append(f"{value[0]:.3f} / {value[3]}")
        lines.append(line)
    text = table(("scene: IDF1 / switches", *names), lines)
    lines = []
    for cast in (*dict.fromkeys(row["cast"] for row in rows), None):
        for name in names:
            chosen = [row for row in rows if row["tracker"] == name and cast in (None, row["cast"])]
            idf1, idp, idr, switches = pooled(chosen)
            lines.append([cast or "all", name, f"{idf1:.3f}", f"{idp:.3f}", f"{idr:.3f}", switches])
    return text + "\n" + table(("cast", "tracker", "IDF1", "IDP", "IDR", "switches"), lines)


if __name__ == "__main__":
    main()
