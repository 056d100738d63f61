"""Blendshapes of the face mesh as what a network reads, instead of pixels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from mien.datasets.clips import middles
from mien.datasets.samples import Samples
from mien.errors import DataError, OptionError
from mien.faces.crops import as_rgb, crop_detector
from mien.faces.mesh import FaceMesh, blendshapes_of_frames
from mien.types.mesh import BLENDSHAPES

_SIDES = {"Left": "Right", "Right": "Left"}


def _other_side(name: str) -> str:
    """The blendshape of the other side of the face; its own where it has no side."""
    for side, other in _SIDES.items():
        if name.endswith(side):
            return name.removesuffix(side) + other
    return name


MIRROR = tuple(BLENDSHAPES.index(_other_side(name)) for name in BLENDSHAPES)
"""Column that each blendshape has in the mirrored face; jawLeft and jawRight, mouthLeft and mouthRight too."""


def mirrored(blendshapes: Tensor) -> Tensor:
    """The blendshapes (..., 52) of the mirrored face."""
    return blendshapes[..., list(MIRROR)]


def read_blendshapes(
    samples: Samples, frames: int | None, quiet: bool = True
) -> tuple[Tensor, list[int], list[str]]:
    """Blendshapes of each picture, or of the middle frames of so many equal parts of each clip.

    A frame whose mesh cannot be read takes the values of the nearest one of its clip that can; a picture, or a clip,
    of which nothing can be read is left out and named.

    Args:
        samples: pictures or clips.
        frames: F; `None` for pictures.
        quiet: no progress bar.

    Returns:
        float32 (M, 52) or (M, F, 52) in 0..1; the rows; failures.

    Raises:
        OptionError: frames are asked for, and the samples are single pictures.
        DataError: nothing could be read.
    """
    if frames is not None and samples.clip is None:
        raise OptionError(
            f"expected clips for {frames} frames, got single pictures such as {samples.ids[0]!r}."
        )
    detector, mesh = crop_detector(), FaceMesh()
    values, kept, failures = [], [], []
    for row in tqdm(range(len(samples)), "reading meshes", disable=quiet, leave=False):
        try:
            if frames is None or samples.clip is None:
                images = [samples.read(row)]
            else:
                clip = samples.clip(row)
                images = clip.read(middles(clip.count, frames))
        except DataError as error:
            failures.append(str(error))
            continue
        found = blendshapes_of_frames([as_rgb(image) for image in images], samples.framing, detector, mesh)
        if found is None:
            failures.append(f"{samples.ids[row]}: no mesh could be read")
            continue
        values.append(found)
        kept.append(row)
    if not values:
        raise DataError(f"expected faces with a mesh, got none: {'; '.join(failures[:3])}")
    stack = torch.from_numpy(np.stack(values))
    return stack[:, 0] if frames is None else stack, kept, failures
