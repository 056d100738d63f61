"""Speed and memory, beside peers in the same run: networks, whole pictures, cold start, a long clip.

    python benchmarks/speed.py [--data DIR] [--peers DIR] [--quick]

What is compared runs in turns (A, B, A, B, ...); each figure is the median over the turns, and a ratio is the
median of the ratios within a turn, so that a busy moment of the machine hits both sides. `mien` must be
importable by new processes too: installed, or with `src` in PYTHONPATH.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
from machine import arguments, cores, facts, save, table
from peers import Peer, load_peers

import mien
from mien.demo import demo_pictures
from mien.faces.yunet import YuNet
from mien.methods.runner import ExpressionRunner
from mien.pipeline.pictures import read_picture
from mien.weights.store import load_weights

THREADS = (1, 2)
BATCHES = (1, 32)
CLIP = "WolfgangLanger_Pexels.mp4"
EVERY_S = 1.0
CLIP_LOOPS = (3, 31)
"""How often the clip of 19.7 s is repeated: about one minute and just over ten."""
PEAK = (
    "import sys, pathlib; from mien.cli.main import main; code = main(sys.argv[1:]);"
    "lines = pathlib.Path('/proc/self/status').read_text().splitlines();"
    "print('peak_kib', next(line.split()[1] for line in lines if line.startswith('VmHWM')));"
    "sys.exit(code)"
)
"""Runs the command and prints its own peak: `ru_maxrss` of a child would include its parent's memory."""

Job = Callable[[], int]
"""Does some work and says how many items it did."""


def rate(job: Job, least_s: float) -> float:
    """Items a second, repeated until the time is long enough."""
    start, items = time.perf_counter(), 0
    while True:
        items += job()
        passed = time.perf_counter() - start
        if passed >= least_s:
            return items / passed


def in_turns(jobs: dict[str, Job], turns: int, least_s: float) -> dict[str, dict[str, Any]]:
    """Rates of several jobs that take turns, mien's first.

    `mien_to_this` is mien's rate over each one's: under 1 mien is slower.
    """
    for job in jobs.values():
        job()
    rates = np.array([[rate(job, least_s) for job in jobs.values()] for _ in range(turns)])
    ratios = rates[:, :1] / rates
    return {
        name: {
            "per_second": float(np.median(rates[:, column])),
            "lowest": float(rates[:, column].min()),
            "highest": float(rates[:, column].max()),
            "mien_to_this": float(np.median(ratios[:, column])),
        }
        for column, name in enumerate(jobs)
    }


def pictures_of(folder: Path) -> dict[str, list[Path]]:
    """The two sets of pictures: those shipped with mien, and dlib's photographs."""
    return {
        "demo pictures": demo_pictures(),
        "dlib photographs": sorted((folder / "photos" / "dlib_faces").glob("*.jpg")),
    }


def faces_of(paths: list[Path], count: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """So many faces, repeated as needed: picture, box, landmarks."""
    detector = YuNet(load_weights("yunet"))
    found = []
    for image in (read_picture(path) for path in paths):
        faces = detector.detect([image])[0]
        found += [
            (image, box, points) for box, points in zip(faces.box_xyxy_px, faces.landmarks_xy_px, strict=True)
        ]
    return [found[index % len(found)] for index in range(count)]


def networks(options: Any, turns: int, least_s: float) -> list[dict[str, Any]]:
    """Faces a second of the networks alone, from ready uint8 crops to scores, normalisation included."""
    rows = []
    faces = faces_of(pictures_of(options.data)["dlib photographs"], max(BATCHES))
    for threads in THREADS:
        runner = ExpressionRunner(load_weights("expression"), threads)
        mine = np.concatenate([runner.crop(image, points[None])[0] for image, _, points in faces])
        peers = load_peers(options.peers, threads)
        theirs = [np.stack([peer.crop(image, box) for image, box, _ in faces]) for peer in peers]
        for batch in BATCHES:
            jobs: dict[str, Job] = {"mien": _scored(runner.logits, mine[:batch])}
            for peer, crops in zip(peers, theirs, strict=True):
                jobs[peer.name] = _scored(peer.scores, crops[:batch])
            for name, figures in in_turns(jobs, turns, least_s).items():
                rows.append({"network": name, "threads": threads, "batch": batch, **figures})
    return rows


def _scored(network: Callable[[np.ndarray], np.ndarray], crops: np.ndarray) -> Job:
    return lambda: len(network(crops))


def end_to_end(options: Any, turns: int, least_s: float) -> list[dict[str, Any]]:
    """Pictures a second: detector, crop and network, all cores; peers behind mien's detector."""
    analyzer = mien.Analyzer()
    peers = load_peers(options.peers, cores())
    rows = []
    for name, paths in pictures_of(options.data).items():
        images = [read_picture(path) for path in paths]
        jobs: dict[str, Job] = {
            "mien": lambda images=images: sum(
                1 for image in images if analyzer.analyze_image(image) is not None
            )
        }
        for peer in peers:
            jobs[f"mien's detector + {peer.name}"] = _behind(analyzer.detector, peer, images)
        jobs["mien's detector alone"] = lambda images=images: sum(
            len(analyzer.detector.detect([image])) for image in images
        )
        jobs["mien, from files"] = lambda paths=paths: sum(1 for _ in analyzer.stream(paths))
        for system, figures in in_turns(jobs, turns, least_s).items():
            rows.append({"set": name, "pictures": len(paths), "system": system, **figures})
    return rows


def _behind(detector: YuNet, peer: Peer, images: list[np.ndarray]) -> Job:
    """A peer's network on its own crops of the faces that mien's detector finds."""

    def job() -> int:
        for image in images:
            boxes = detector.detect([image])[0].box_xyxy_px
            if len(boxes):
                peer.scores(np.stack([peer.crop(image, box) for box in boxes]))
        return len(images)

    return job


def cold_starts(environment: dict[str, str], turns: int) -> dict[str, dict[str, float]]:
    """Seconds of whole processes, in turns, after one warm-up each that fills the caches."""
    picture = str(demo_pictures()[0])
    commands = {
        "python -c pass": ["-c", "pass"],
        'python -c "import mien"': ["-c", "import mien"],
        "mien --version": ["-m", "mien.cli", "--version"],
        "mien analyze one picture": ["-m", "mien.cli", "analyze", picture],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(turns + 1):
        for name, words in commands.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *words], env=environment, check=True, capture_output=True)
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {
        name: {"seconds": float(np.median(taken)), "lowest": min(taken), "highest": max(taken)}
        for name, taken in seconds.items()
    }


def loop_clip(source: Path, target: Path, loops: int) -> float:
    """Write a clip that repeats another one of constant rate, packets copied; returns its seconds."""
    shift = 0
    with av.open(str(target), "w") as out:
        written = None
        for _ in range(loops):
            with av.open(str(source)) as container:
                stream = container.streams.video[0]
                written = written or out.add_stream_from_template(stream)
                packets = [packet for packet in container.demux(stream) if packet.pts is not None]
                length = len(packets) * packets[0].duration
                for packet in packets:
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = written
                    out.mux(packet)
                shift += length
                seconds = float(shift * stream.time_base)
    return seconds


def memory(options: Any, environment: dict[str, str], turns: int) -> dict[str, Any]:
    """Peak memory of the command on a short and on a long clip, in turns."""
    if not Path("/proc/self/status").is_file():
        return {"skipped": "the peak of a process is read from /proc, which this system lacks"}
    source = options.data / "photos" / "pyfeat" / CLIP
    clips: dict[str, Path] = {}
    with tempfile.TemporaryDirectory() as folder:
        for loops in CLIP_LOOPS:
            path = Path(folder) / f"{loops}.mp4"
            clips[f"{loop_clip(source, path, loops):.0f} s"] = path
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in clips}
        for _ in range(turns):
            for name, path in clips.items():
                runs[name].append(_peak(path, Path(folder) / "out.csv", environment))
    short, long = (np.array([run["peak_mib"] for run in taken]) for taken in runs.values())
    return {
        "every_s": EVERY_S,
        "clips": {
            name: {key: float(np.median([run[key] for run in taken])) for key in taken[0]}
            for name, taken in runs.items()
        },
        "long_to_short": float(np.median(long / short)),
    }


def _peak(clip: Path, out: Path, environment: dict[str, str]) -> dict[str, float]:
    """One run of the command in its own process."""
    words = ["analyze", str(clip), "--every", str(EVERY_S), "--quiet", "--out", str(out)]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *words], env=environment, check=False, capture_output=True, text=True
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(
            f"expected exit code 0 from mien {' '.join(words)}, got {done.returncode}:\n{done.stderr}"
        )
    peak_kib = float(done.stdout.split("peak_kib")[1].split()[0])
    rows = len(out.read_text().splitlines()) - 1
    return {"peak_mib": peak_kib / 1024, "seconds": seconds, "rows": rows}


def report(figures: dict[str, Any]) -> str:
    """All figures as Markdown."""
    machine = facts()
    parts = ["; ".join(f"{key}: {value}" for key, value in machine.items() if key != "networks_sha256"), ""]
    rate_keys = ("per_second", "lowest", "highest", "mien_to_this")
    rate_head = ("a second", "lowest", "highest", "mien : this")
    for title, keys in (
        ("networks", ("network", "threads", "batch")),
        ("end_to_end", ("set", "pictures", "system")),
    ):
        rows = [[row[key] for key in (*keys, *rate_keys)] for row in figures[title]]
        parts += [f"### {title.replace('_', ' ')}", "", table((*keys, *rate_head), rows)]
    rows = [(name, *taken.values()) for name, taken in figures["cold_start"].items()]
    parts += ["### cold start", "", table(("process", "seconds", "lowest", "highest"), rows)]
    stored = figures["memory"]
    if "clips" in stored:
        rows = [(name, *clip.values()) for name, clip in stored["clips"].items()]
        parts += ["### memory", "", table(("clip", "peak MiB", "seconds", "rows"), rows)]
        parts.append(
            f"long to short: {stored['long_to_short']:.3f}, one frame every {stored['every_s']:g} s\n"
        )
    return "\n".join(parts)


def main() -> None:
    """The command in the module's text."""
    options = arguments(__doc__).parse_args()
    turns, least_s = (2, 0.1) if options.quick else (9, 0.5)
    with tempfile.TemporaryDirectory() as caches:
        # Byte code is kept, as an installed package keeps it, but away from the sources.
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": caches}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        figures = {
            "quick": options.quick,
            "turns": turns,
            "cold_start": cold_starts(environment, turns),
            "memory": memory(options, environment, 1 if options.quick else 3),
            "networks": networks(options, turns, least_s),
            "end_to_end": end_to_end(options, turns, least_s),
        }
    print(report(figures))
    print("written:", save(options.results, "speed", figures).name)


if __name__ == "__main__":
    main()
