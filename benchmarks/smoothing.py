"""Smoothing over time: how many frames are right, how late an expression is seen, how many events are made up.

    python benchmarks/smoothing.py [--data DIR] [--minutes 60]

No clip at hand has the truth of every frame, so courses are made from real answers of the shipped network: a face
shows neutral and other expressions by turns (each of 0.5 to 4 s, rests of 1 to 6 s), and at each moment the network says
what it says of some FER+ public-test picture of that class; what it says changes to that of another picture after
an exponential time (`held_s` on average), since a network repeats its mistakes from frame to frame. 25 frames a second.
Beside: each frame by itself; a centred mean of half a second and of one; an exponential mean (causal, 0.3 s).
An event counts as found if one of its label overlaps the true one by half of their union.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from machine import arguments, save, table

from mien.datasets.dataset import DATASETS
from mien.datasets.protocol import load_protocol
from mien.faces.crops import crop_detector, landmarks_of_pictures
from mien.methods.runner import ExpressionRunner
from mien.pipeline.events import events_of
from mien.pipeline.smoothing import smoothed
from mien.weights.store import load_weights

RATE = 25.0
HELD_S = (0.1, 0.2, 0.5)
SEED = 0


def answers(root: Any) -> tuple[dict[int, np.ndarray], tuple[str, ...], str]:
    """The network's probabilities (N, K) for the pictures of each class, the classes, and the hash of the data."""
    protocol = load_protocol("ferplus_majority_8")
    samples = DATASETS[protocol.dataset].samples(root / "fer2013_ferplus", protocol, protocol.select)
    runner = ExpressionRunner(load_weights("expression"), 1)
    images, kept, _ = samples.readable()
    points, _ = landmarks_of_pictures(images, samples.framing, crop_detector(1))
    scores = []
    for image, five in zip(images, points, strict=True):
        picture = image if image.ndim == 3 else np.repeat(image[..., None], 3, 2)
        crops, _ = runner.crop(picture, five[None])
        scores.append(runner.probabilities(runner.logits(crops)).values[0])
    truth = np.asarray(samples.target)[kept]
    order = [runner.weights.labels.index(name) for name in protocol.labels]
    found = np.array(scores)[:, order]
    return {label: found[truth == label] for label in range(len(order))}, protocol.labels, samples.sha256


def course(
    said: dict[int, np.ndarray],
    labels: tuple[str, ...],
    seconds: float,
    held_s: float,
    random: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times (T,), truth (T,) and what the network says (T, K)."""
    neutral = labels.index("neutral")
    shown = [label for label, values in said.items() if label != neutral and len(values) >= 50]
    truth: list[int] = []
    while len(truth) < seconds * RATE:
        truth += [neutral] * round(random.uniform(1, 6) * RATE)
        truth += [int(random.choice(shown))] * round(random.uniform(0.5, 4) * RATE)
    values, picture, left = [], 0, 0.0
    for row, label in enumerate(truth):
        if left <= 0 or label != truth[row - 1]:
            picture, left = int(random.integers(len(said[label]))), random.exponential(held_s)
        values.append(said[label][picture])
        left -= 1 / RATE
    return np.arange(len(truth)) / RATE, np.array(truth), np.array(values)


def averaged(values: np.ndarray, seconds: float) -> np.ndarray:
    """A centred mean."""
    width = int(seconds * RATE) | 1
    padded = np.pad(values, ((width // 2, width // 2), (0, 0)), mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, width, 0).mean(-1)


def exponential(values: np.ndarray, seconds: float) -> np.ndarray:
    """A causal exponential mean."""
    share, found = 1 - np.exp(-1 / RATE / seconds), [values[0]]
    for row in values[1:]:
        found.append(found[-1] + share * (row - found[-1]))
    return np.array(found)


def measure(
    truth: np.ndarray, values: np.ndarray, times: np.ndarray, labels: tuple[str, ...]
) -> dict[str, float]:
    """Frames right, how much later than the truth found events begin, events found and made up."""
    neutral = labels.index("neutral")
    edges = np.flatnonzero(np.diff(truth)) + 1
    parts = [part for part in np.split(np.arange(len(truth)), edges) if truth[part[0]] != neutral]
    real = [(labels[truth[part[0]]], times[part[0]], times[part[-1]]) for part in parts]
    events = events_of(values, times, labels)
    late, met = [], 0
    for label, start, end in real:
        for event in events:
            common = min(end, event.offset_s) - max(start, event.onset_s)
            union = max(end, event.offset_s) - min(start, event.onset_s)
            if event.label == label and common > 0.5 * union:
                late.append(event.onset_s - start)
                met += 1
                break
    return {
        "accuracy": float((values.argmax(1) == truth).mean()),
        "recall": met / len(real),
        "precision": met / max(1, len(events)),
        "onset_late_s": float(np.median(late)) if late else float("nan"),
    }


def main() -> None:
    """The command in the module's text."""
    parser = arguments(__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--sweep", action="store_true", help="other time constants of the chain too")
    options = parser.parse_args()
    minutes = 5.0 if options.quick else options.minutes
    said, labels, sha256 = answers(options.data)
    ways: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
        "each frame by itself": lambda values, times: values,
        "centred mean, 0.5 s": lambda values, times: averaged(values, 0.5),
        "centred mean, 1 s": lambda values, times: averaged(values, 1.0),
        "exponential mean, 0.3 s (causal)": lambda values, times: exponential(values, 0.3),
        "mien, causal": lambda values, times: smoothed(values, times, causal=True),
        "mien": smoothed,
    }
    if options.sweep:
        for dwell_s in (0.5, 1.0, 2.0, 4.0):
            for memory_s in (0.05, 0.1, 0.2, 0.4):
                ways[f"dwell {dwell_s:g}, memory {memory_s:g}"] = (
                    lambda values, times, dwell_s=dwell_s, memory_s=memory_s: smoothed(
                        values, times, dwell_s=dwell_s, memory_s=memory_s
                    )
                )
    rows = []
    for held_s in HELD_S:
        times, truth, values = course(said, labels, minutes * 60, held_s, np.random.default_rng(SEED))
        for name, way in ways.items():
            rows.append({"held_s": held_s, "way": name, **measure(truth, way(values, times), times, labels)})
    lines = [
        [
            f"{row['held_s']:g}",
            row["way"],
            *(f"{row[key]:.3f}" for key in ("accuracy", "recall", "precision", "onset_late_s")),
        ]
        for row in rows
    ]
    head = ("answers held, s", "way", "frames right", "events found", "of its events right", "onset late, s")
    print(table(head, lines))
    figures = {"minutes": minutes, "seed": SEED, "data_sha256": sha256, "rows": rows}
    print("written:", save(options.results, "smoothing", figures).name)


if __name__ == "__main__":
    main()
