"""Made clips whose truth is known: cut-out faces of different people that move over drawn grounds.

A person is a strip of pictures: either one photograph that sways, nods and changes its light, or the frames of a
filmed face. Each shot of a scene may take another strip of the same person. Nothing is written but the clip itself,
into a temporary folder.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIZE_WH = (480, 270)
VISIBLE = 0.5
"""Share of a face's box that must be in sight for it to count as there."""


@dataclass(frozen=True, eq=False)
class Strip:
    """Pictures of one person's head.

    Attributes:
        frames: RGB uint8 (H, W, 3), all of one size; one for a photograph.
        boxes: (F, 4), where the detector found the face in each.
    """

    frames: list[np.ndarray]
    boxes: np.ndarray

    @property
    def still(self) -> bool:
        """Whether it is one photograph."""
        return len(self.frames) == 1


@dataclass(frozen=True)
class Part:
    """A person on their way through a shot.

    Attributes:
        person: index of the person.
        way: from the share of the shot, 0 to 1, to x, y (shares of the picture; outside is out of sight) and the
            height of the face's box in pixels.
        strip: which of the person's strips.
    """

    person: int
    way: Callable[[float], tuple[float, float, float]]
    strip: int = 0


@dataclass(frozen=True)
class Shot:
    """Frames without a cut: parts from back to front, pillars (left and right, shares of the width), and a ground."""

    frames: int
    parts: Sequence[Part]
    ground: int = 0
    pillars: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True)
class Scene:
    """Shots with cuts between them; times in seconds between frames, one for all or drawn at random."""

    name: str
    shots: Sequence[Shot]
    step_s: float = 0.04
    uneven: bool = False


@dataclass
class Truth:
    """What is to be seen in each frame of a clip: people and their boxes, and the time."""

    people: list[list[int]] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)


def straight(
    start: tuple[float, float], end: tuple[float, float], height: float
) -> Callable[[float], tuple[float, float, float]]:
    """From one place to another at an even speed."""
    return lambda share: (
        start[0] + (end[0] - start[0]) * share,
        start[1] + (end[1] - start[1]) * share,
        height,
    )


def wander(
    x: float, y: float, height: float, turns: float, phase: float
) -> Callable[[float], tuple[float, float, float]]:
    """Around a place."""
    return lambda share: (
        x + 0.16 * math.sin(2 * math.pi * (turns * share + phase)),
        y + 0.1 * math.cos(2 * math.pi * (1.3 * turns * share + phase)),
        height * (1 + 0.15 * math.sin(2 * math.pi * (0.7 * turns * share + phase))),
    )


def scenes(frames: int = 100) -> list[Scene]:
    """All scenes; at most five people each. A way longer than the picture is a walk out of it."""
    here, there = straight((0.28, 0.5), (0.3, 0.5), 90), straight((0.72, 0.5), (0.7, 0.5), 90)
    cross = [Part(0, straight((0.1, 0.5), (0.9, 0.52), 80)), Part(1, straight((0.9, 0.55), (0.1, 0.5), 90))]
    three = [*cross, Part(2, straight((0.5, 0.35), (0.45, 0.75), 70))]
    away = Part(0, lambda share: (0.25 - 1.2 * min(share, 0.3) + 1.2 * max(share - 0.75, 0), 0.5, 85))
    late = Part(2, lambda share: (0.22 if share > 0.5 else -0.3, 0.5, 85))
    walk = [
        Part(0, straight((0.05, 0.45), (0.95, 0.45), 80)),
        Part(1, straight((1.1, 0.55), (-0.1, 0.5), 85)),
    ]
    crowd = [Part(index, wander(0.2 + 0.15 * index, 0.5, 62, 1.5, index / 5)) for index in range(5)]
    fast = [Part(index, wander(0.3 + 0.2 * index, 0.5, 70, 2, index / 3)) for index in range(3)]
    other = [Part(1, here, 1), Part(2, there)]
    back = [Part(0, there, 1), Part(1, here)]
    third = frames // 3
    return [
        Scene("two cross", [Shot(frames, cross)]),
        Scene("three cross", [Shot(frames, three, 1)]),
        Scene("leaves, another takes the place, comes back", [Shot(frames, [Part(1, there), late, away], 2)]),
        Scene("behind pillars", [Shot(frames, walk, 3, ((0.3, 0.42), (0.6, 0.8)))]),
        Scene(
            "cuts, places swapped",
            [
                Shot(third, [Part(0, here), Part(1, there)], 4),
                Shot(third, other, 5),
                Shot(third, back, 4),
            ],
        ),
        Scene(
            "cuts, another at the same place",
            [
                Shot(frames // 5, [Part(index % 2, straight((0.5, 0.5), (0.5, 0.5), 110))], 6 + index % 2)
                for index in range(5)
            ],
        ),
        Scene("five wander, uneven times", [Shot(frames, crowd, 0)], uneven=True),
        Scene("three fast, 5 frames a second", [Shot(frames // 2, fast, 1)], step_s=0.2),
    ]


def make(scene: Scene, people: Sequence[Sequence[Strip]], path: Path, seed: int) -> Truth:
    """Write a scene as an H.264 clip.

    Args:
        scene: who goes where.
        people: of each person the strips.
        path: ends in .mp4.
        seed: of grounds, swaying, light, noise and uneven times.
    """
    random = np.random.default_rng(seed)
    truth, unit = Truth(), Fraction(1, 1000)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "23", "preset": "veryfast"})
        stream.width, stream.height = SIZE_WH
        stream.pix_fmt, stream.codec_context.time_base = "yuv420p", unit
        time_ms = 0
        for picture in _pictures(scene, people, truth, seed, random):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = time_ms, unit
            truth.times_s.append(time_ms / 1000)
            step = scene.step_s * (random.uniform(0.3, 2.5) if scene.uneven else 1)
            time_ms += max(1, round(1000 * step))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return truth


def _pictures(
    scene: Scene, people: Sequence[Sequence[Strip]], truth: Truth, seed: int, random: np.random.Generator
) -> Iterator[np.ndarray]:
    count = 0
    for number, shot in enumerate(scene.shots):
        ground = _ground(1000 * seed + shot.ground)
        if number:
            truth.cuts.append(count)
        phase = {part.person: random.uniform(0, 1, 3) for part in shot.parts}
        for index in range(shot.frames):
            canvas, shown = ground.copy(), []
            for part in shot.parts:
                strips = people[part.person]
                strip = strips[part.strip % len(strips)]
                box, cover = _paste(
                    canvas, strip, part.way(index / max(shot.frames - 1, 1)), index, phase[part.person]
                )
                shown = [(person, other, hidden | cover) for person, other, hidden in shown]
                shown.append((part.person, box, np.zeros(SIZE_WH[::-1], bool)))
            for left, right in shot.pillars:
                span = (round(left * SIZE_WH[0]), 0, round(right * SIZE_WH[0]), SIZE_WH[1])
                ImageDraw.Draw(canvas).rectangle(span, fill="#6b5a4c")
                for _, _, hidden in shown:
                    hidden[:, span[0] : span[2]] = True
            there = [(person, box) for person, box, hidden in shown if _visible(box, hidden) >= VISIBLE]
            truth.people.append([person for person, _ in there])
            truth.boxes.append(np.array([box for _, box in there], float).reshape(-1, 4))
            noisy = np.asarray(canvas, np.float32) + random.normal(0, 3, (*SIZE_WH[::-1], 1))
            yield np.clip(noisy, 0, 255).astype(np.uint8)
            count += 1


def _paste(
    canvas: Image.Image, strip: Strip, place: tuple[float, float, float], index: int, phase: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Put a head onto the canvas; gives the face's box and which pixels the head covers."""
    frame = index % (2 * len(strip.frames))  # forth and back
    frame = min(frame, 2 * len(strip.frames) - 1 - frame)
    image, box = Image.fromarray(strip.frames[frame]), strip.boxes[frame]
    sway = np.sin(2 * np.pi * (index / np.array([31, 43, 57]) + phase)) if strip.still else np.zeros(3)
    scale = place[2] / (box[3] - box[1]) * (1 + 0.05 * sway[0])
    turn, light = 7 * sway[1], 1 + 0.15 * sway[2]
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    image = image.resize(size, Image.Resampling.BICUBIC).point(lambda value: min(255, int(value * light)))
    middle = (box.reshape(2, 2).mean(0) * scale).tolist()
    half = ((box[2:] - box[:2]) * scale / 2).tolist()
    mask = Image.new("L", size)
    rim = (1.22 * half[0], 1.28 * half[1])
    ImageDraw.Draw(mask).ellipse(
        (middle[0] - rim[0], middle[1] - rim[1], middle[0] + rim[0], middle[1] + rim[1]), fill=255
    )
    mask = mask.filter(ImageFilter.GaussianBlur(max(1.0, size[0] / 60)))
    image, mask = (
        part.rotate(turn, Image.Resampling.BILINEAR, center=tuple(middle)) for part in (image, mask)
    )
    x, y = round(place[0] * SIZE_WH[0] - middle[0]), round(place[1] * SIZE_WH[1] - middle[1])
    canvas.paste(image, (x, y), mask)
    cover = Image.new("L", SIZE_WH)
    cover.paste(mask, (x, y))
    centre = np.array([x + middle[0], y + middle[1]])
    return np.concatenate([centre - half, centre + half]), np.asarray(cover) > 127


def _visible(box: np.ndarray, hidden: np.ndarray) -> float:
    """Share of a box that lies in the picture and behind nothing."""
    low, high = np.floor(box[:2]).astype(int), np.ceil(box[2:]).astype(int)
    inside = np.clip([low[0], low[1], high[0], high[1]], 0, [*SIZE_WH, *SIZE_WH])
    part = ~hidden[inside[1] : inside[3], inside[0] : inside[2]]
    return float(part.sum() / max(1, (high - low).prod()))


def _ground(seed: int) -> Image.Image:
    """A drawn ground without a face: blocks of colour, softened."""
    random = np.random.default_rng(seed)
    blocks = random.integers(30, 200, (6, 10, 3), np.uint8)
    return Image.fromarray(blocks).resize(SIZE_WH, Image.Resampling.BICUBIC)
