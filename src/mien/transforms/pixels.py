"""Pillow pictures of any mode and orientation as upright RGB: one way for analysis and for data sets."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

PICTURE_SUFFIXES = frozenset(
    (
        ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".pnm",
        ".jp2", ".avif", ".ico", ".tga", ".heic", ".heif",
    )
)  # fmt: skip
"""Endings, in small letters, of files that are taken for pictures when a folder is listed."""
CAMERA_SUFFIXES = frozenset((".cr2", ".cr3", ".nef", ".arw", ".dng", ".rw2", ".orf", ".insv", ".braw"))
"""Of cameras, raw, and not read; where a folder holds them they become failures that say so."""
DNG_VERSION, KIND_OF_IMAGE, PREVIEW = 50706, 254, 1
"""Tags of a TIFF (DNG 1.4, TIFF 6.0): what only DNG has, and the bit that says "a smaller copy of another image"."""


def opened(source: Path | IO[bytes], formats: tuple[str, ...] | None = None) -> Image.Image:
    """`PIL.Image.open`, by default of HEIC too where the extra `mien[heic]` is installed.

    Args:
        source: what is opened.
        formats: of Pillow, that may be read; by default all, and HEIC.

    Raises:
        UnidentifiedImageError: it is no picture.
    """
    try:
        return Image.open(source, formats=formats)
    except UnidentifiedImageError:
        if formats is not None or not _learned_heic():
            raise
        return Image.open(source)


@functools.cache
def _learned_heic() -> bool:
    """Teach Pillow HEIC; false where the extra is not installed."""
    try:
        import pi_heif
    except ImportError:
        return False
    pi_heif.register_heif_opener()
    return True


def to_rgb(picture: Image.Image) -> np.ndarray:
    """Any Pillow picture as RGB uint8 (H, W, 3)."""
    if picture.mode.startswith("I") or picture.mode == "F":
        values = np.asarray(picture, np.float32)
        top = values.max(initial=0)
        # Integers hold 16 bits, whatever this picture's brightest pixel; floats go to 1 or to 255.
        scale = 255 / 65535 if picture.mode != "F" else 255 if top <= 1 else 1
        grey = np.clip(np.nan_to_num(values) * scale, 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, 2)
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        layered = picture.convert("RGBA")
        paper = Image.new("RGBA", layered.size, "white")
        return np.asarray(Image.alpha_composite(paper, layered).convert("RGB"))
    return np.asarray(picture.convert("RGB"))


def upright(picture: Image.Image) -> Image.Image:
    """The picture turned as its EXIF data say; as it is stored where these are damaged, for its pixels may be fine."""
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # Pillow raises whatever it stumbles over in them
        return picture


def is_raw_preview(picture: Image.Image) -> bool:
    """Whether a picture, opened and not yet loaded, is the preview (often 160 x 120) of a camera's raw file that is a TIFF."""
    if picture.format != "TIFF":
        return False
    tags, stream = picture.tag_v2, picture.fp  # type: ignore[attr-defined]
    place = stream.tell()
    stream.seek(8)
    canon = stream.read(2) == b"CR"
    stream.seek(place)
    return canon or DNG_VERSION in tags or bool(int(tags.get(KIND_OF_IMAGE, 0)) & PREVIEW)
