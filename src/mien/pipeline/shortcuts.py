"""One call for one job."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image

from mien.pipeline.analyzer import Analyzer
from mien.pipeline.table import Results
from mien.types.media import FrameResult


def analyze(inputs: Any, *, every_s: float | None = None, **options: Any) -> Results:
    """Find the faces in pictures and clips and read their expressions.

    Makes an `Analyzer` for this one call; for many calls make one yourself and keep it.

    Args:
        inputs: a path, folder or pattern, an RGB uint8 array (H, W, 3), a Pillow image, or a list of these.
        every_s: of clips, one frame in so many seconds; `None` for every frame.
        options: as for `Analyzer`.

    Returns:
        a list of `FrameResult` (one a picture, one a frame) and `Failure` (one a file that could not be
        read), with `rows()`, `to_frame()` and `save(path)`. Arrays have the path `array:0`, `array:1`, ...

    Raises:
        ShapeError: an input is neither a path nor an image.
        OptionError: an option is out of range.
    """
    analyzer = Analyzer(**options)
    single = isinstance(inputs, str | os.PathLike | np.ndarray | Image.Image) or not isinstance(
        inputs, Iterable
    )
    results = Results()
    for index, item in enumerate([inputs] if single else inputs):
        if isinstance(item, str | os.PathLike):
            results.extend(analyzer.stream(item, every_s=every_s))
        else:
            faces = analyzer.analyze_image(item)
            size = item.size if isinstance(item, Image.Image) else (item.shape[1], item.shape[0])
            results.append(FrameResult(f"array:{index}", 0, None, faces, size))
    return results
