"""One call for one job."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import groupby
from typing import Any

import numpy as np
from PIL import Image

from mien.pipeline.analyzer import Analyzer
from mien.pipeline.live import live_source
from mien.pipeline.pictures import check_array
from mien.pipeline.table import Results, columns_of
from mien.types.media import FrameResult


def analyze(
    inputs: Any,
    *,
    every_s: float | None = None,
    start_s: float | None = None,
    end_s: float | None = None,
    smooth: bool = False,
    baseline: str | os.PathLike[str] | tuple[float, float] | None = None,
    **options: Any,
) -> Results:
    """Find the faces in pictures and clips and read their expressions.

    Makes an `Analyzer` for this one call; for many calls make one yourself and keep it.

    Args:
        inputs: a path, folder or pattern, an RGB uint8 array (H, W, 3), a Pillow image, or a list of these. `camera:0`
            and addresses (`rtsp://...`) are live sources, which go on until `end_s`.
        every_s: of clips, one frame in so many seconds; `None` for every frame.
        start_s, end_s: of clips, the part from start to before end, in presentation times.
        smooth, baseline: of clips, values over time and relative to the face at rest, see `Analyzer.stream`.
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
    labels, mesh = analyzer.runner.weights.labels, analyzer.mesh is not None
    results.columns = columns_of(labels, mesh, False, smooth, baseline is not None)
    items = enumerate([inputs] if single else inputs)
    # Paths that follow one another go together, so that a file named twice is read once.
    for are_paths, group in groupby(items, key=lambda item: isinstance(item[1], str | os.PathLike)):
        if are_paths:
            paths = [path for _, path in group]
            if any(live_source(os.fspath(path)) for path in paths):
                results.columns = columns_of(labels, mesh, True, smooth, baseline is not None)
            results.extend(
                analyzer.stream(
                    paths, every_s=every_s, start_s=start_s, end_s=end_s, smooth=smooth, baseline=baseline
                )
            )
            continue
        for index, image in group:
            pixels = check_array(image)
            size = pixels.shape[1], pixels.shape[0]
            results.append(FrameResult(f"array:{index}", 0, None, analyzer.analyze_image(pixels), size))
    return results
