"""Drawn faces whose brows, eyes and mouth differ by expression, for look-alikes of data sets.

They are cartoons, made so that a small network learns them within seconds; nothing measured on them says
anything about people.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mien.errors import UnknownNameError
from mien.labels.expressions import COMPOUND_PARTS, EXPRESSIONS

LOOKS = {
    # brow height, inner brow up, eyes open, mouth width, corners up, mouth open, one corner up, nose wrinkled
    "neutral": (0.0, 0.0, 0.5, 0.5, 0.0, 0.05, 0.0, 0.0),
    "happy": (0.1, 0.0, 0.35, 0.8, 0.8, 0.3, 0.0, 0.0),
    "surprise": (1.0, 0.0, 1.0, 0.3, 0.0, 1.0, 0.0, 0.0),
    "sad": (0.2, 0.9, 0.4, 0.45, -0.7, 0.05, 0.0, 0.0),
    "angry": (-0.5, -1.0, 0.6, 0.55, -0.3, 0.15, 0.0, 0.0),
    "disgust": (-0.3, -0.4, 0.15, 0.5, -0.5, 0.3, 0.0, 1.0),
    "fear": (0.8, 0.7, 0.9, 0.8, -0.3, 0.5, 0.0, 0.0),
    "contempt": (0.0, 0.0, 0.4, 0.5, 0.0, 0.05, 1.0, 0.0),
}
"""How each expression is drawn; a compound one lies half way between its two."""

DRAWN_UNITS: Mapping[str, frozenset[int]] = {
    "neutral": frozenset(),
    "happy": frozenset({6, 12, 25}),
    "surprise": frozenset({1, 2, 5, 25, 26}),
    "sad": frozenset({1, 15, 17}),
    "angry": frozenset({4, 7, 23, 24}),
    "disgust": frozenset({4, 9, 10, 17}),
    "fear": frozenset({1, 2, 4, 5, 20, 25, 26}),
    "contempt": frozenset({14}),
}
"""Action units that a drawn expression is said to show; made up after the looks above."""

Part = tuple[str, tuple[int, int, int], int]
Points = list[tuple[float, float]]
Place = Callable[[Points], Points]


def drawn_face(expression: str, size: int, seed: int = 0) -> np.ndarray:
    """A drawn face that fills the picture: RGB uint8 (size, size, 3).

    Args:
        expression: one of `EXPRESSIONS` or of `COMPOUND_RAFDB`.
        size: side, pixels.
        seed: place, size, colours and noise; the same seed gives the same picture.

    Raises:
        UnknownNameError: no such expression.
    """
    return drawn_photo(size, size, [(expression, (0, 0, size), seed)], seed)


def grey_faces(side_px: int, seed: int) -> Callable[[str], np.ndarray]:
    """A function that draws a new grey face (side, side) of an expression each time it is called."""
    numbers = count(1000 * seed)

    def draw(expression: str) -> np.ndarray:
        return np.asarray(Image.fromarray(drawn_face(expression, side_px, next(numbers))).convert("L"))

    return draw


def drawn_photo(width: int, height: int, faces: Sequence[Part], seed: int = 0) -> np.ndarray:
    """A plain picture with drawn faces in it: RGB uint8 (height, width, 3).

    Args:
        width, height: pixels.
        faces: of each the expression, its square (left, top, side) in pixels, and its seed.
        seed: of the ground and the noise.
    """
    random = np.random.default_rng(seed)
    ground = tuple(int(value) for value in random.integers(40, 160, 3))
    # Drawn at twice the size and made smaller, because PIL draws hard edges.
    canvas = Image.new("RGB", (2 * width, 2 * height), ground)
    for expression, (left, top, side), own in faces:
        _draw(ImageDraw.Draw(canvas), expression, (2 * left, 2 * top, 2 * side), np.random.default_rng(own))
    small = np.asarray(canvas.resize((width, height), Image.Resampling.BOX), np.float32)
    return np.clip(small + random.normal(0, 4, small.shape), 0, 255).astype(np.uint8)


def save_clip(path: Path, frames: Sequence[np.ndarray]) -> None:
    """Write frames as a video file, or where the name has no ending as a folder of pictures 00001.jpg, ..."""
    if not path.suffix:
        for number, frame in enumerate(frames, 1):
            save(path / f"{number:05d}.jpg", frame)
        return
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25, options={"qscale": "3"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode())


def drawn_clip(expression: str, seed: int, whole: bool = False, frames: int = 6) -> list[np.ndarray]:
    """Frames of one drawn face that is neutral at first: RGB uint8, of 64 px, or of 160 x 122 around the face.

    Args:
        expression: one of `EXPRESSIONS`; shown from the second frame on.
        seed: of the face.
        whole: a picture with a face in it, instead of a face that fills it.
        frames: how many.
    """
    shown = ["neutral"] + [expression] * (frames - 1)
    if whole:
        return [drawn_photo(160, 122, [(name, (35, 10, 100), seed)], seed) for name in shown]
    return [drawn_face(name, 64, seed) for name in shown]


def stable_seed(seed: int, name: str) -> int:
    """A seed for one picture, from the look-alike's seed and the picture's name."""
    return zlib.crc32(f"{seed} {name}".encode())


def save(path: Path, picture: np.ndarray) -> None:
    """Write a picture in the format that the file's name says, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


def _look(expression: str) -> np.ndarray:
    if expression in LOOKS:
        return np.array(LOOKS[expression])
    if expression not in COMPOUND_PARTS:
        raise UnknownNameError("expression to draw", expression, (*EXPRESSIONS, *COMPOUND_PARTS))
    return np.mean([LOOKS[part] for part in COMPOUND_PARTS[expression]], 0)


def _draw(
    pen: ImageDraw.ImageDraw, expression: str, square: tuple[int, int, int], random: np.random.Generator
) -> None:
    """One face; inside, x and y run from -1 to 1 over the square."""
    look = _look(expression) + random.normal(0, 0.06, 8)
    left, top, side = square
    centre = random.normal(0, 0.03, 2)
    scale = random.uniform(0.9, 1.05)
    shade = random.uniform(0.55, 1.0)
    skin = tuple(int(shade * value) for value in (240, 205, 175))

    def place(points: Points) -> Points:
        return [
            (
                left + side * (0.5 + 0.5 * (scale * x + centre[0])),
                top + side * (0.5 + 0.5 * (scale * y + centre[1])),
            )
            for x, y in points
        ]

    line = max(1, round(side / 32))
    pen.ellipse(_ends(place([(-0.72, -0.92), (0.72, 0.92)])), fill=skin)
    _eyes(pen, place, look, line)
    pen.line(place([(0, -0.15), (-0.08, 0.18), (0.06, 0.2)]), fill=(90, 60, 50), width=line)
    if look[7] > 0.3:
        for height in (-0.22, -0.12, -0.02):
            pen.line(
                place([(-0.16, height - 0.06), (0, height), (0.16, height - 0.06)]),
                fill=(70, 40, 35),
                width=line,
            )
    _mouth(pen, place, look, line)


def _eyes(pen: ImageDraw.ImageDraw, place: Place, look: np.ndarray, line: int) -> None:
    raised, inner, opened = look[0], look[1], max(look[2], 0.05)
    for side in (-1, 1):
        x, y, half = 0.32 * side, -0.2, 0.05 + 0.13 * opened
        pen.ellipse(_ends(place([(x - 0.17, y - half), (x + 0.17, y + half)])), fill=(250, 250, 250))
        pen.ellipse(
            _ends(place([(x - 0.07, y - min(half, 0.1)), (x + 0.07, y + min(half, 0.1))])), fill=(40, 30, 30)
        )
        brow = -0.45 - 0.16 * raised
        ends = [(0.12 * side, brow - 0.14 * inner), (0.55 * side, brow + 0.1 * inner)]
        pen.line(place(ends), fill=(50, 35, 30), width=2 * line)


def _mouth(pen: ImageDraw.ImageDraw, place: Place, look: np.ndarray, line: int) -> None:
    wide, corners, opened, skew = 0.45 * max(look[3], 0.1), look[4], max(look[5], 0.0), look[6]
    across = np.linspace(-1, 1, 15)
    bow = 0.55 - 0.2 * corners * across**2 - 0.22 * skew * np.clip(across, 0, 1)
    lips = 0.3 * opened * np.sqrt(1 - across**2)
    xs = (wide * across).tolist()
    upper = list(zip(xs, (bow - lips).tolist(), strict=True))
    lower = list(zip(xs, (bow + lips).tolist(), strict=True))
    pen.polygon(place(upper + lower[::-1]), fill=(120, 30, 40))
    pen.line(place(upper), fill=(110, 25, 35), width=2 * line)
    pen.line(place(lower), fill=(110, 25, 35), width=2 * line)


def _ends(points: Points) -> tuple[float, float, float, float]:
    (x0, y0), (x1, y1) = points
    return x0, y0, x1, y1
