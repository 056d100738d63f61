"""Picture files of data sets as arrays."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from mien.errors import DataError
from mien.transforms import pixels


def decode(source: Path | bytes, name: object, upright: bool = True) -> np.ndarray:
    """A picture file as uint8, grey (H, W) where it is stored grey, else RGB (H, W, 3), as analysis reads it: 16 bits are
    scaled, and what is transparent lies on white.

    Args:
        source: its path, or its bytes.
        name: what it is called in the message.
        upright: turn it as its EXIF data say; false where boxes or points count stored pixels.

    Raises:
        DataError: it is missing, empty, damaged or no picture.
    """
    try:
        with pixels.opened(io.BytesIO(source) if isinstance(source, bytes) else source) as picture:
            if pixels.is_raw_preview(picture):
                raise ValueError("a camera's raw file, of which only a small preview could be read")
            picture.load()
            turned = pixels.upright(picture) if upright else picture
            if turned.mode in ("1", "L") and "transparency" not in turned.info:
                return np.asarray(turned.convert("L"))
            rgb = pixels.to_rgb(turned)
            return rgb[..., 0] if turned.mode == "F" or turned.mode.startswith(("1", "I", "L")) else rgb
    except FileNotFoundError:
        raise DataError(
            f"expected a picture, got no file {name}. Unpack every archive of the set, or correct the path."
        ) from None
    # Pillow's decoders raise whatever they stumble over in damaged bytes.
    except Exception as error:
        raise DataError(
            f"expected a picture, got a damaged or other file {name} ({error}). Unpack it again."
        ) from error
