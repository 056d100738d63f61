"""Read pictures of any kind as upright RGB, or say what is wrong with them."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, UnidentifiedImageError

from mien.errors import InputError, ShapeError, TooManyPixelsError
from mien.transforms.pixels import is_raw_preview, opened, to_rgb, upright

HEIC_BRANDS, RAW_BRAND = (b"hei", b"hev", b"mif"), b"crx"
PICTURE_BRANDS = (*HEIC_BRANDS, b"avi", RAW_BRAND)
"""Begin of the brand of pictures that are stored as MP4 files are: HEIC, AVIF, Canon's raw files."""
HEIC = "a HEIC picture"
LARGEST_TILE_PX = 1024
"""By so much the tiles of a TIFF may be larger than it is."""
MAX_PIXELS = 150_000_000


def read_picture(path: Path) -> np.ndarray:
    """A picture as RGB uint8 (H, W, 3): turned upright by its EXIF, alpha laid on white, 16 bit scaled.

    Raises:
        InputError: the file is empty, no picture, damaged, or has more than `MAX_PIXELS` pixels.
    """
    with path.open("rb") as stored:
        return _decoded(stored)


def decode_picture(content: bytes, formats: tuple[str, ...] | None = None) -> np.ndarray:
    """As `read_picture`, of bytes in memory.

    Args:
        content: the whole file.
        formats: of Pillow, that may be read; by default all.
    """
    return _decoded(io.BytesIO(content), formats)


def picture_size(content: bytes, formats: tuple[str, ...] | None = None) -> tuple[int, int]:
    """Width and height as a picture's header says, before it is turned upright; nothing is decoded.

    Raises:
        InputError: as `read_picture`.
    """
    with _opened(io.BytesIO(content), formats) as picture:
        return picture.size


def _decoded(stored: IO[bytes], formats: tuple[str, ...] | None = None) -> np.ndarray:
    with _opened(stored, formats) as picture:
        picture.load()
        return to_rgb(upright(picture))


@contextlib.contextmanager
def _opened(stored: IO[bytes], formats: tuple[str, ...] | None) -> Iterator[Image.Image]:
    """A picture whose header was read; what goes wrong with it becomes an `InputError`."""
    head = stored.read(64)
    if not head:
        raise InputError("expected a picture, got a file of zero bytes. Copy or export it again.")
    stored.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit decides
            with opened(stored, formats) as picture:
                _refuse_huge(picture.size)
                _refuse_raw(picture)
                _refuse_tiles(picture)
                yield picture
    except UnidentifiedImageError:
        kind = describe(head)
        heic = " Install what reads it, pip install 'mien[heic]', or convert" if kind == HEIC else " Convert"
        raise InputError(
            f"expected a picture (JPEG, PNG, WebP, TIFF, BMP, GIF, ...), got {kind}.{heic} it to JPEG or PNG."
        ) from None
    except Image.DecompressionBombError:
        raise TooManyPixelsError(
            f"expected at most {MAX_PIXELS / 1e6:.0f} million pixels, got a picture with more. Make it smaller first."
        ) from None
    except InputError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever they stumble over in damaged bytes
        raise InputError(
            f"expected a whole picture, got one that breaks off or is damaged ({error}). Copy or export it again."
        ) from None


def _refuse_raw(picture: Image.Image) -> None:
    if is_raw_preview(picture):
        raise InputError(
            "expected a picture, got a camera's raw file, of which only a small preview could be read. Convert it to JPEG."
        )


def _refuse_tiles(picture: Image.Image) -> None:
    """Refuse a TIFF whose tiles are far larger than the picture: each is decoded whole, whatever the picture's size."""
    tags = getattr(picture, "tag_v2", {})
    tile = tags.get(322, 0), tags.get(323, 0)
    if any(one > side + LARGEST_TILE_PX for one, side in zip(tile, picture.size, strict=True)):
        raise InputError(
            f"expected tiles about as large as the picture, got {tile[0]} x {tile[1]} for one of {picture.size[0]} x "
            f"{picture.size[1]}. Convert it to PNG."
        )


def _refuse_huge(size_wh: tuple[int, int]) -> None:
    if size_wh[0] * size_wh[1] > MAX_PIXELS:
        raise TooManyPixelsError(
            f"expected at most {MAX_PIXELS / 1e6:.0f} million pixels, got {size_wh[0]} x {size_wh[1]}. "
            "Make it smaller first."
        )


def check_array(image: object) -> np.ndarray:
    """An array given by a caller as RGB uint8 (H, W, 3); grey (H, W) is repeated.

    Raises:
        ShapeError: anything else, with what to do.
    """
    if isinstance(image, Image.Image):
        return to_rgb(upright(image))
    if not isinstance(image, np.ndarray):
        path = " This takes pixels; for a path, call mien.analyze." if isinstance(image, str | Path) else ""
        raise ShapeError(
            f"expected a Pillow image or an RGB uint8 array (H, W, 3), got {type(image).__name__}.{path}"
        )
    grey = image.ndim == 2
    if image.dtype != np.uint8 or not (grey or (image.ndim == 3 and image.shape[2] == 3)) or not image.size:
        raise ShapeError(
            f"expected an RGB uint8 array (H, W, 3) with values 0 to 255, got {image.dtype} {image.shape}. "
            "Scale floats by 255, drop alpha, and turn OpenCV's BGR into RGB with image[..., ::-1]."
        )
    return np.repeat(image[..., None], 3, 2) if grey else image


def describe(head: bytes) -> str:
    """What a file looks like from its first bytes, for an error message."""
    known = (
        (b"%PDF", "a PDF"),
        (b"PK\x03\x04", "a zip archive"),
        (b"\x1aE\xdf\xa3", "a Matroska or WebM clip"),
        (b"<svg", "an SVG drawing"),
        (b"<!DOCTYPE", "a web page"),
        (b"<html", "a web page"),
    )
    for magic, text in known:
        if head.lstrip()[: len(magic)].lower() == magic.lower():
            return text
    if head[4:8] == b"ftyp":
        if head[8:11] == RAW_BRAND:
            return "a camera's raw file"
        return HEIC if head[8:11] in HEIC_BRANDS else f"an MP4-like file ({head[8:12].decode('latin1')})"
    if head and all(32 <= byte < 127 or byte in b"\r\n\t" for byte in head):
        return f"text that begins {head[:24].decode()!r}"
    return f"unknown content that begins {head[:8].hex(' ')!r}"
