"""Run a network of clips, or of blendshapes, over a split, one by one, so that memory does not grow with the set."""

from __future__ import annotations

import hashlib

import numpy as np
from tqdm import tqdm

from mien.datasets.clips import middles
from mien.datasets.samples import Samples
from mien.errors import DataError, OptionError
from mien.faces.crops import as_rgb, crop_detector, points_of_clip
from mien.faces.mesh import FaceMesh, blendshapes_of_frames
from mien.methods.runner import FaceRunner


def outputs_of_clips(
    samples: Samples, rows: np.ndarray, runner: FaceRunner, quiet: bool = True
) -> tuple[np.ndarray, np.ndarray, list[str], np.ndarray, str]:
    """Outputs of a network on the middle frames of equal parts of each clip, each frame aligned by itself.

    A network that reads the mesh gets blendshapes, of single pictures too; where none can be read, that is a failure.

    Args:
        samples: clips.
        rows: which of them.
        runner: a network of clips.
        quiet: no progress bar.

    Returns:
        float32 (M, K); bool (M,), where a face was found in any frame (a clip without one is kept, with the mean
        places of the points); what could not be read and why; the rows that are left, (M,); sha256 of all inputs.

    Raises:
        OptionError: the samples are single pictures.
        DataError: nothing could be read.
    """
    frames = runner.preprocess.frames
    if (samples.clip is None) and frames is not None:
        raise OptionError(
            f"expected clips for {runner.weights.name!r}, which takes {frames} frames, got single pictures such as "
            f"{samples.ids[0]!r}. Choose a protocol of a set of clips (docs/datasets.md)."
        )
    see, pixels = _Eye(samples, runner), hashlib.sha256()
    outputs, found, failures, used = [], [], [], []
    for row in tqdm(rows.tolist(), "clips", disable=quiet, unit="clip", leave=False):
        try:
            values, seen = see(row)
        except DataError as error:
            failures.append(str(error))
            continue
        pixels.update(values.tobytes())
        outputs.append(runner.outputs(values[None])[0])
        found.append(seen)
        used.append(row)
    if not outputs:
        raise DataError(f"expected clips, got none that can be read: {'; '.join(failures[:3])}")
    return np.stack(outputs), np.array(found), failures, np.array(used), pixels.hexdigest()


class _Eye:
    """Turns row i of a split into what a runner takes, without its batch, and whether a face was found."""

    def __init__(self, samples: Samples, runner: FaceRunner) -> None:
        self.samples, self.runner, self.detector = samples, runner, crop_detector()
        self.mesh = FaceMesh() if runner.preprocess.of_mesh else None

    def frames(self, row: int) -> list[np.ndarray]:
        """The RGB frames that are looked at; one of a picture."""
        if self.runner.preprocess.frames is None or self.samples.clip is None:
            return [as_rgb(self.samples.read(row))]
        clip = self.samples.clip(row)
        return [as_rgb(image) for image in clip.read(middles(clip.count, self.runner.preprocess.frames))]

    def __call__(self, row: int) -> tuple[np.ndarray, bool]:
        images, framing = self.frames(row), self.samples.framing
        if self.mesh is not None:
            values = blendshapes_of_frames(images, framing, self.detector, self.mesh)
            if values is None:
                raise DataError(f"{self.samples.ids[row]}: no mesh could be read")
            return (values[0] if self.runner.preprocess.frames is None else values), True
        points, seen = points_of_clip(images, framing, self.detector)
        crops = [
            self.runner.crop(image, five[None])[0][0] for image, five in zip(images, points, strict=True)
        ]
        return np.stack(crops), bool(seen.any())
