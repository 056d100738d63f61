"""Run a network of clips over a split, clip by clip, so that memory does not grow with the set."""

from __future__ import annotations

import hashlib

import numpy as np
from tqdm import tqdm

from mien.datasets.clips import middles
from mien.datasets.samples import Samples
from mien.errors import DataError, OptionError
from mien.faces.crops import as_rgb, crop_detector, points_of_clip
from mien.methods.runner import FaceRunner


def outputs_of_clips(
    samples: Samples, rows: np.ndarray, runner: FaceRunner, quiet: bool = True
) -> tuple[np.ndarray, np.ndarray, list[str], np.ndarray, str]:
    """Outputs of a network on the middle frames of equal parts of each clip, each frame aligned by itself.

    Args:
        samples: clips.
        rows: which of them.
        runner: a network of clips.
        quiet: no progress bar.

    Returns:
        float32 (M, K); bool (M,), where a face was found in any frame (a clip without one is kept, with the mean
        places of the points); what could not be read and why; the rows that are left, (M,); sha256 of all crops.

    Raises:
        OptionError: the samples are single pictures.
        DataError: nothing could be read.
    """
    frames = runner.preprocess.frames
    if samples.clip is None or frames is None:
        raise OptionError(
            f"expected clips and a network for them, got {runner.weights.name!r} for {frames or 'no'} frames and "
            f"samples such as {samples.ids[0]!r}. Choose a protocol of a set of clips (docs/datasets.md)."
        )
    detector, pixels = crop_detector(), hashlib.sha256()
    outputs, found, failures, used = [], [], [], []
    for row in tqdm(rows.tolist(), "clips", disable=quiet, unit="clip", leave=False):
        try:
            clip = samples.clip(row)
            images = [as_rgb(image) for image in clip.read(middles(clip.count, frames))]
        except DataError as error:
            failures.append(str(error))
            continue
        points, seen = points_of_clip(images, samples.framing, detector)
        crops = np.stack(
            [runner.crop(image, five[None])[0][0] for image, five in zip(images, points, strict=True)]
        )
        pixels.update(crops.tobytes())
        outputs.append(runner.outputs(crops[None])[0])
        found.append(bool(seen.any()))
        used.append(row)
    if not outputs:
        raise DataError(f"expected clips, got none that can be read: {'; '.join(failures[:3])}")
    return np.stack(outputs), np.array(found), failures, np.array(used), pixels.hexdigest()
