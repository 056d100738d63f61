"""What goes wrong with a picture before a face is looked for: blur, noise, compression, darkness, cover, small size.

Each corruption has three levels, from mild to severe, and takes a whole picture with the five points of its face as they
were in the picture without it. What belongs to a face (blur, bars) is measured in its side, so that it means the same on a
portrait and on a thumbnail; noise and JPEG are of the picture's own pixels. The levels are judgements, and frozen: figures
at a level can be compared as long as this table stands. The idea of few kinds at steps of severity is that of Hendrycks and
Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIDE = 2.5
"""Side of a face over the larger of the distance of the eyes and that from eyes to mouth, about that of a tight box."""
READ_NOISE = 0.1
"""Share of the noise's variance that does not depend on the light; the rest grows with it, as the count of photons does."""

Apply = Callable[[np.ndarray, np.ndarray, float, np.random.Generator], np.ndarray]
"""From RGB uint8 (H, W, 3), points (5, 2), level and source of chance to RGB uint8."""


@dataclass(frozen=True)
class Corruption:
    """One way in which a picture is made worse.

    Attributes:
        what: in words.
        level: what the three numbers mean.
        levels: from mild to severe.
        apply: see `Apply`. Only the size of "small" differs from the picture's.
    """

    what: str
    level: str
    levels: tuple[float, float, float]
    apply: Apply


def corrupted(
    image: np.ndarray, points_xy_px: np.ndarray, name: str, severity: int, seed: Sequence[int]
) -> np.ndarray:
    """A picture made worse; the same arguments always give the same pixels.

    Args:
        image: RGB uint8 (H, W, 3).
        points_xy_px: (5, 2), the face in it.
        name: of `CORRUPTIONS`.
        severity: 1, 2 or 3.
        seed: whole numbers, such as of the run and of the picture: of noise, of the side and of the grey of bars.

    Returns:
        RGB uint8, (H, W, 3); smaller for "small".
    """
    kind = CORRUPTIONS[name]
    random = np.random.default_rng([*seed, list(CORRUPTIONS).index(name), severity])
    return kind.apply(image, np.asarray(points_xy_px, float), kind.levels[severity - 1], random)


def face_side_px(points_xy_px: np.ndarray) -> float:
    """Side of a face from its five points, pixels; at least 1."""
    right_eye, left_eye, _, right_mouth, left_mouth = np.asarray(points_xy_px, float)
    across = np.linalg.norm(left_eye - right_eye)
    down = np.linalg.norm((right_mouth + left_mouth - right_eye - left_eye) / 2)
    return max(1.0, SIDE * float(max(across, down)))


def _blur(image: np.ndarray, points: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    radius = level * face_side_px(points)
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))


def _noise(image: np.ndarray, points: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    light = image.astype(np.float32)
    spread = level * np.sqrt(READ_NOISE + (1 - READ_NOISE) * light / 128)
    return _pixels(light + spread * random.standard_normal(image.shape, np.float32))


def _jpeg(image: np.ndarray, points: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    stored = io.BytesIO()
    Image.fromarray(image).save(stored, "JPEG", quality=int(level))
    return np.asarray(Image.open(stored))


def _dark(image: np.ndarray, points: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """Less light by so many stops, through the curve of sRGB (IEC 61966-2-1), with its rounding to 256 steps."""
    grey = np.arange(256) / 255
    light = np.where(grey <= 0.04045, grey / 12.92, ((grey + 0.055) / 1.055) ** 2.4) / 2**level
    return _pixels(255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055))[
        image
    ]


def _eyes(image: np.ndarray, points: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    return _bar(image, points, points[:2].mean(0), 1.0, level, random)


def _mouth(image: np.ndarray, points: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    return _bar(image, points, points[3:].mean(0), 1.0, level, random)


def _half(image: np.ndarray, points: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """One side, drawn by chance, to a share of the face's width."""
    across, _ = _axes(points)
    side = 1 if random.random() < 0.5 else -1
    middle = points.mean(0) + side * (1 - level) / 2 * face_side_px(points) * across
    return _bar(image, points, middle, level, 1.4, random)


def _bar(
    image: np.ndarray,
    points: np.ndarray,
    middle: np.ndarray,
    width: float,
    height: float,
    random: np.random.Generator,
) -> np.ndarray:
    """A rectangle of one grey, along the line of the eyes; width and height in sides of the face."""
    across, down = (half * face_side_px(points) / 2 for half in _axes(points))
    corners = [
        middle + x * width * across + y * height * down for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    ]
    picture = Image.fromarray(image)
    grey = int(random.integers(0, 256))
    ImageDraw.Draw(picture).polygon([(float(x), float(y)) for x, y in corners], fill=(grey, grey, grey))
    return np.asarray(picture)


def _axes(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors along the line of the eyes and across it, down the face."""
    line = points[1] - points[0]
    length = float(np.linalg.norm(line))
    across = line / length if length else np.array([1.0, 0.0])
    return across, np.array([-across[1], across[0]])


def _small(image: np.ndarray, points: np.ndarray, level: float, random: np.random.Generator) -> np.ndarray:
    """The picture at a size at which the face has a side of so many pixels; never enlarged."""
    scale = min(1.0, level / face_side_px(points))
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))


def _pixels(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


CORRUPTIONS: Mapping[str, Corruption] = MappingProxyType(
    {
        "blur": Corruption(
            "Gaussian blur", "standard deviation, sides of the face", (0.02, 0.04, 0.08), _blur
        ),
        "noise": Corruption(
            "sensor noise", "standard deviation at mid-grey, of 255", (10.0, 25.0, 50.0), _noise
        ),
        "jpeg": Corruption("JPEG compression", "quality", (30.0, 15.0, 5.0), _jpeg),
        "dark": Corruption("too little light", "stops", (2.0, 4.0, 6.0), _dark),
        "eyes": Corruption(
            "a bar over the eyes", "height of the bar, sides of the face", (0.12, 0.2, 0.3), _eyes
        ),
        "mouth": Corruption(
            "a bar over the mouth", "height of the bar, sides of the face", (0.15, 0.25, 0.4), _mouth
        ),
        "half": Corruption("one side covered", "share of the face's width", (0.3, 0.5, 0.7), _half),
        "small": Corruption("small", "side of the face, pixels", (32.0, 20.0, 12.0), _small),
    }
)
"""Name -> corruption."""
