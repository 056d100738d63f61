"""Clips end to end: frames a second beside detection alone and beside the plain frame-wise path, and memory over length.

    python benchmarks/video.py [--data DIR] [--seconds 6] [--minutes 1 30]

Clips are made of photographs of muxspace's held-out people that sway over a drawn ground, one and five at a time, at
854 x 480 and 1920 x 1080, 25 frames a second. In one run, each on one core and on all:

- detection: decode, and search each frame; the floor.
- plain: decode, and each frame as a picture by itself: no tracks.
- mien: `Analyzer.stream`, with tracks; "smooth": held back and smoothed too; "every 5": whole frames searched after 5.

What `detect_every` costs is counted on the made clips of `benchmarks/tracking.py` and on the clips of photos/: faces found
beside those of every frame searched, and the same answer for them. Memory is the peak of a process of its own that
streams one clip with `smooth`, a frame a second left out of nothing.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from machine import arguments, cores, save, table
from made_clips import Strip, make, scenes
from PIL import Image
from tracking import stills

from mien.faces.boxes import iou
from mien.faces.yunet import YuNet
from mien.pipeline.analyzer import Analyzer
from mien.pipeline.clips import read_clip
from mien.weights.store import load_weights

SIZES = ((854, 480), (1920, 1080))
PEOPLE = (1, 5)
RATE = 25
FILMED = (
    "intel_gif/classroom.gif",
    "intel_gif/face-demographics-walking.gif",
    "intel_gif/head-pose-face-detection-female-and-male.gif",
    "pyfeat/WolfgangLanger_Pexels.mp4",
)
PEAK = """
import resource, sys
from mien.pipeline.analyzer import Analyzer
frames = sum(1 for _ in Analyzer(threads=1).stream(sys.argv[1], smooth=True))
print(frames, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def swaying(
    cast: list[list[Strip]], size_wh: tuple[int, int], people: int, frames: int
) -> Iterator[np.ndarray]:
    """Frames of some people who sway in place."""
    width, height = size_wh
    ground = np.random.default_rng(0).integers(30, 200, (6, 10, 3), np.uint8)
    still = Image.fromarray(ground).resize(size_wh, Image.Resampling.BICUBIC)
    side = round(0.5 * height if people == 1 else 0.32 * height)
    heads = [Image.fromarray(person[0].frames[0]).resize((side, side)) for person in cast[:people]]
    for index in range(frames):
        canvas = still.copy()
        for number, head in enumerate(heads):
            turn = 2 * math.pi * (index / 50 + number / max(people, 1))
            x = width * (number + 0.5) / people + 0.03 * width * math.sin(turn) - side / 2
            y = height * 0.5 + 0.05 * height * math.cos(turn) - side / 2
            canvas.paste(head, (round(x), round(y)))
        yield np.asarray(canvas)


def write(path: Path, frames: Iterator[np.ndarray], size_wh: tuple[int, int]) -> None:
    """An H.264 clip."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "23", "preset": "veryfast"})
        stream.width, stream.height = size_wh
        stream.pix_fmt, stream.codec_context.time_base = "yuv420p", Fraction(1, RATE)
        for index, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _detect(detector: YuNet, path: Path) -> int:
    batch, count = [], 0
    for frame in read_clip(path):
        batch.append(frame.image)
        count += 1
        if len(batch) == 8:
            detector.detect(batch)
            batch = []
    if batch:
        detector.detect(batch)
    return count


def _plain(analyzer: Analyzer, path: Path) -> int:
    return sum(1 for frame in read_clip(path) if analyzer.analyze_image(frame.image) is not None)


def ways(threads: int) -> dict[str, Callable[[Path], int]]:
    """What is timed: name -> reads a clip, gives the frames."""
    detector, analyzer = YuNet(load_weights("yunet"), threads), Analyzer(threads=threads)
    rarely = Analyzer(threads=threads, detect_every=5)
    return {
        "detection": lambda path: _detect(detector, path),
        "plain": lambda path: _plain(analyzer, path),
        "mien": lambda path: sum(1 for _ in analyzer.stream(path)),
        "mien, smooth": lambda path: sum(1 for _ in analyzer.stream(path, smooth=True)),
        "mien, every 5": lambda path: sum(1 for _ in rarely.stream(path)),
    }


def speed(cast: list[list[Strip]], seconds: float, folder: Path) -> list[dict[str, Any]]:
    """Frames a second of each way, the better of two runs in turn."""
    rows = []
    for size_wh in SIZES:
        for people in PEOPLE:
            path = folder / f"{size_wh[1]}-{people}.mp4"
            write(path, swaying(cast, size_wh, people, round(seconds * RATE)), size_wh)
            for threads in sorted({1, cores()}):
                named, best = ways(threads), {}
                for _ in range(2):
                    for name, way in named.items():
                        started = time.perf_counter()
                        frames = way(path)
                        best[name] = max(best.get(name, 0.0), frames / (time.perf_counter() - started))
                rows.append({"size": size_wh, "people": people, "threads": threads, "frames_a_second": best})
                print(rows[-1], flush=True)
    return rows


def loss(cast: list[list[Strip]], root: Path, folder: Path) -> list[dict[str, Any]]:
    """What searching whole frames rarely finds, beside searching each."""
    clips = {f"photos/{name}": root / "photos" / name for name in FILMED}
    for number, scene in enumerate(scenes()):
        clips[scene.name] = folder / f"scene-{number}.mp4"
        make(scene, cast[:5], clips[scene.name], number)
    each = Analyzer(threads=1)
    rows = []
    for name, path in clips.items():
        whole = [result.faces for result in each.stream(path)]
        for every in (3, 5, 10):
            rarely = [result.faces for result in Analyzer(threads=1, detect_every=every).stream(path)]
            count = there = same = more = 0
            for first, second in zip(whole, rarely, strict=True):
                overlap = iou(first.box_xyxy_px, second.box_xyxy_px)
                count += len(first)
                more += len(second) - int((overlap.max(0, initial=0) >= 0.5).sum())
                for row in np.flatnonzero(overlap.max(1, initial=0) >= 0.5):
                    there += 1
                    same += first.expression.top[row] == second.expression.top[int(overlap[row].argmax())]
            rows.append(
                {"clip": name, "every": every, "faces": count, "found": there, "same": same, "more": more}
            )
    return rows


def memory(cast: list[list[Strip]], minutes: list[float], folder: Path) -> list[dict[str, Any]]:
    """Peak memory of a process that streams a clip of so many minutes at 480p with one face."""
    rows = []
    for length in minutes:
        path = folder / f"long-{length:g}.mp4"
        write(path, swaying(cast, (320, 240), 1, round(length * 60 * RATE)), (320, 240))
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True
        )
        frames, peak = (int(part) for part in done.stdout.split())
        rows.append({"minutes": length, "frames": frames, "peak_mib": peak})
        print(rows[-1], flush=True)
        path.unlink()
    return rows


def report(figures: dict[str, Any]) -> str:
    """Markdown tables of what was measured."""
    tables = {"speed": speed_table, "loss": loss_table, "memory": memory_table}
    return "\n".join(tables[name](rows) for name, rows in figures.items())


def speed_table(rows: list[dict[str, Any]]) -> str:
    """Frames a second, and beside detection alone."""
    lines = []
    for row in rows:
        rates = row["frames_a_second"]
        shares = [f"{rates[name]:.1f} ({rates[name] / rates['detection']:.2f})" for name in rates]
        lines.append([f"{row['size'][1]}p", row["people"], row["threads"], *shares])
    return table(("size", "faces", "cores", *rates), lines)


def loss_table(rows: list[dict[str, Any]]) -> str:
    """What is found with `detect_every`, and the answers that stay the same."""
    lines = []
    for kind, chosen in (("clips of photos/", True), ("made clips", False)):
        for every in (3, 5, 10):
            some = [r for r in rows if r["every"] == every and r["clip"].startswith("photos/") == chosen]
            count, found, same, more = (
                sum(r[key] for r in some) for key in ("faces", "found", "same", "more")
            )
            lines.append([kind, every, count, f"{found / count:.4f}", f"{same / max(1, found):.4f}", more])
    return table(("clips", "every", "faces", "found of them", "same answer", "not found by every"), lines)


def memory_table(rows: list[dict[str, Any]]) -> str:
    """Peak memory over length."""
    lines = [[f"{row['minutes']:g}", row["frames"], row["peak_mib"]] for row in rows]
    return table(("minutes", "frames", "peak MiB"), lines)


def main() -> None:
    """The command in the module's text."""
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each timed clip")
    parser.add_argument("--minutes", type=float, nargs="+", default=[1.0, 30.0])
    parser.add_argument("--only", choices=("speed", "loss", "memory"))
    options = parser.parse_args()
    cast = stills(options.data, YuNet(load_weights("yunet"), 1), 5)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.only in (None, "speed"):
            figures["speed"] = speed(cast, 2.0 if options.quick else options.seconds, folder)
        if options.only in (None, "loss"):
            figures["loss"] = loss(cast, options.data, folder)
        if options.only in (None, "memory"):
            figures["memory"] = memory(cast, [0.2, 0.5] if options.quick else options.minutes, folder)
    print(report(figures))
    section = "video" if options.only is None else f"video_{options.only}"
    print("written:", save(options.results, section, figures).name)


if __name__ == "__main__":
    main()
