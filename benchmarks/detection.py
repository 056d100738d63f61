"""Recall and false faces of mien's detector on annotated photographs, also shrunk and inside a large picture.

    python benchmarks/detection.py [--data DIR] [--crops DIR]

Boxes are those of dlib's two example files: square ones around eyes, nose and mouth, while mien's go from
forehead to chin. So both IoU 0.5 and IoU 0.35 are given. A found box without an annotated one counts as a
false face, also where it is a real face that nobody annotated: `--crops` writes these out to be looked at.
"""

from __future__ import annotations

import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from machine import arguments, save, table
from PIL import Image

import mien
from mien.faces.boxes import iou
from mien.faces.yunet import YuNet
from mien.pipeline.pictures import read_picture

ANNOTATIONS = ("training_with_face_landmarks.xml", "testing_with_face_landmarks.xml")
COUNTED_ONLY = {"pyfeat/multi_face.jpg": 5}
"""Pictures without boxes whose number of faces is known."""
IOUS = (0.5, 0.35)
SIZES_PX = ((0, 24), (24, 48), (48, 96), (96, 10_000))
CANVAS_WH = (4000, 3000)


@dataclass(frozen=True, eq=False)
class Photograph:
    """A picture, RGB uint8 (H, W, 3), and its annotated boxes, (N, 4) in pixels; `None` if there are none."""

    name: str
    image: np.ndarray
    boxes: np.ndarray | None
    faces: int


@dataclass(frozen=True, eq=False)
class Search:
    """What the detector found in one photograph."""

    photograph: Photograph
    found: np.ndarray
    seconds: float


def photographs(root: Path) -> Iterator[Photograph]:
    """Every annotated picture, then those with a known number of faces."""
    folder = root / "photos" / "dlib_faces"
    for listing in ANNOTATIONS:
        for entry in ElementTree.parse(folder / listing).getroot().iter("image"):
            boxes = [_box(element) for element in entry.iter("box")]
            name = entry.get("file", "")
            yield Photograph(name, read_picture(folder / name), np.array(boxes, float), len(boxes))
    for name, count in COUNTED_ONLY.items():
        path = root / "photos" / name
        yield Photograph(path.name, read_picture(path), None, count)


def _box(element: ElementTree.Element) -> list[float]:
    left, top, width, height = (float(element.get(key, "")) for key in ("left", "top", "width", "height"))
    return [left, top, left + width, top + height]


def shrunk(photograph: Photograph, factor: int) -> Photograph:
    """The photograph with its sides divided by a factor, averaged over the pixels."""
    height, width = photograph.image.shape[:2]
    size = round(width / factor), round(height / factor)
    image = np.asarray(Image.fromarray(photograph.image).resize(size, Image.Resampling.BICUBIC))
    ratio = np.tile([size[0] / width, size[1] / height], 2)
    boxes = None if photograph.boxes is None else photograph.boxes * ratio
    return Photograph(photograph.name, image, boxes, photograph.faces)


def on_canvas(photograph: Photograph) -> Photograph:
    """The photograph at its own size, somewhere off the middle of a large grey picture."""
    width, height = CANVAS_WH
    canvas = np.full((height, width, 3), 128, np.uint8)
    rows, columns = photograph.image.shape[:2]
    top, left = (height - rows) * 2 // 3, (width - columns) // 3
    canvas[top : top + rows, left : left + columns] = photograph.image
    boxes = None if photograph.boxes is None else photograph.boxes + np.array([left, top, left, top])
    return Photograph(photograph.name, canvas, boxes, photograph.faces)


VARIANTS: dict[str, Callable[[Photograph], Photograph]] = {
    "as it is": lambda photograph: photograph,
    "half": lambda photograph: shrunk(photograph, 2),
    "quarter": lambda photograph: shrunk(photograph, 4),
    f"on {CANVAS_WH[0]} x {CANVAS_WH[1]}": on_canvas,
}


def matches(truth: np.ndarray, found: np.ndarray, least_iou: float) -> np.ndarray:
    """For each annotated box the index of the found box that is its own, or -1: best overlap first."""
    overlap = iou(truth, found)
    owner = np.full(len(truth), -1)
    while overlap.size and overlap.max() >= least_iou:
        row, column = np.unravel_index(overlap.argmax(), overlap.shape)
        owner[row] = column
        overlap[row], overlap[:, column] = -1, -1
    return owner


def sides(boxes: np.ndarray) -> np.ndarray:
    """The geometric mean of width and height, pixels."""
    return np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))


def search(detector: YuNet, photograph: Photograph) -> Search:
    """Run the detector once and take the time."""
    start = time.perf_counter()
    found = detector.detect([photograph.image])[0].box_xyxy_px
    return Search(photograph, found, time.perf_counter() - start)


def row_of(done: Search) -> dict[str, Any]:
    """The figures of one picture."""
    row: dict[str, Any] = {
        "picture": done.photograph.name,
        "faces": done.photograph.faces,
        "found": len(done.found),
        "seconds": round(done.seconds, 4),
    }
    for level in IOUS:
        if done.photograph.boxes is None:
            row[f"right_{level}"] = row[f"false_{level}"] = None
            continue
        right = int((matches(done.photograph.boxes, done.found, level) >= 0).sum())
        row[f"right_{level}"], row[f"false_{level}"] = right, len(done.found) - right
    return row


def totals(searches: list[Search]) -> dict[str, Any]:
    """Recall over all annotated faces, over those of 24 px and more, and by size; false faces."""
    annotated = [done for done in searches if done.photograph.boxes is not None]
    side = np.concatenate([sides(done.photograph.boxes) for done in annotated])
    figures: dict[str, Any] = {
        "pictures": len(annotated),
        "faces": len(side),
        "median_seconds": round(float(np.median([done.seconds for done in searches])), 4),
    }
    for level in IOUS:
        owners = [matches(done.photograph.boxes, done.found, level) for done in annotated]
        hit = np.concatenate(owners) >= 0
        figures[f"iou_{level}"] = {
            "recall": share(hit),
            "recall_24_px_and_more": share(hit[side >= SIZES_PX[1][0]]),
            "false_faces": int(sum(len(done.found) for done in annotated) - hit.sum()),
            "by_size_px": {
                f"{low}-{high}" if high < 1000 else f">{low}": share(hit[(side >= low) & (side < high)])
                for low, high in SIZES_PX
            },
        }
    return figures


def share(hit: np.ndarray) -> str | None:
    """`right/all` as text, which keeps the count beside the share; `None` without faces."""
    return f"{hit.mean():.3f} ({int(hit.sum())}/{len(hit)})" if len(hit) else None


def write_false_faces(folder: Path, variant: str, searches: list[Search]) -> None:
    """Write every found box that no annotation overlaps by 0.35, with some of its surroundings."""
    folder.mkdir(parents=True, exist_ok=True)
    for done in searches:
        if done.photograph.boxes is None:
            continue
        kept = set(matches(done.photograph.boxes, done.found, min(IOUS)).tolist())
        for index in sorted(set(range(len(done.found))) - kept):
            left, top, right, bottom = done.found[index]
            margin = max(right - left, bottom - top) * 0.6
            around = (left - margin, top - margin, right + margin, bottom + margin)
            box = tuple(round(side) for side in around)
            crop = Image.fromarray(done.photograph.image).crop(box).resize((256, 256))
            name = f"{variant}-{Path(done.photograph.name).stem}-{index}.png"
            crop.save(folder / name.replace(" ", "_"))


def report(variant: str, rows: list[dict[str, Any]], total: dict[str, Any]) -> str:
    """One variant as Markdown."""
    head = ("picture", "faces", "found", "right 0.5", "right 0.35", "false 0.5", "false 0.35", "seconds")
    keys = ("picture", "faces", "found", "right_0.5", "right_0.35", "false_0.5", "false_0.35", "seconds")
    lines = [f"### {variant}", "", table(head, [[row[key] for key in keys] for row in rows])]
    sizes = list(total["iou_0.5"]["by_size_px"])
    lines.append(
        table(
            ("IoU", "recall", "recall, 24 px and more", *(f"{size} px" for size in sizes), "false faces"),
            [_recall_row(level, total[f"iou_{level}"]) for level in IOUS],
        )
    )
    return "\n".join(lines)


def _recall_row(level: float, part: dict[str, Any]) -> list[Any]:
    whole = [level, part["recall"], part["recall_24_px_and_more"]]
    return [*whole, *part["by_size_px"].values(), part["false_faces"]]


def main() -> None:
    """The command in the module's text."""
    parser = arguments(__doc__)
    parser.add_argument("--crops", type=Path, help="write the false faces here")
    parser.add_argument("--min-face-px", type=float, default=24.0)
    parser.add_argument("--detection-threshold", type=float, default=0.6)
    options = parser.parse_args()
    detector = mien.Analyzer(
        min_face_px=options.min_face_px, detection_threshold=options.detection_threshold
    ).detector
    figures: dict[str, Any] = {
        "min_face_px": options.min_face_px,
        "detection_threshold": options.detection_threshold,
        "variants": {},
    }
    originals = list(photographs(options.data))
    search(detector, originals[0])  # the first run of a session is slower
    for variant, change in VARIANTS.items():
        searches = [search(detector, change(photograph)) for photograph in originals]
        rows, total = [row_of(done) for done in searches], totals(searches)
        figures["variants"][variant] = {"totals": total, "pictures": rows}
        print(report(variant, rows, total), flush=True)
        if options.crops:
            write_false_faces(options.crops, variant, searches)
    print("written:", save(options.results, "detection", figures).name)


if __name__ == "__main__":
    main()
