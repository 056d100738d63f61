"""Faces cut out of what data sets hold, aligned and with a margin: small enough to keep a whole split."""

from __future__ import annotations

import math
import shutil
import tempfile

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from mien.datasets.clips import middles
from mien.datasets.samples import Samples, none_readable
from mien.errors import DataError, OptionError
from mien.faces.crops import as_rgb, crop_detector, points_of, points_of_clip
from mien.transforms.align import inverted, template_to_image, warp

MARGIN = 0.25
"""Border kept around a cut-out face, as a share of the crop's side, so that views can move."""
IN_MEMORY = 4 * 2**30
"""Bytes of cut-outs of photographs or clips up to which they are kept in memory, and not in a temporary file."""


def cut_side(size_px: int) -> int:
    """Side of a cut-out with its margin, pixels."""
    return round(size_px * (1 + 2 * MARGIN))


def unit_to_cut(size_px: int) -> np.ndarray:
    """Unit coordinates of the aligned crop -> pixels of its cut-out, (2, 3)."""
    return np.array([[size_px, 0, size_px * MARGIN], [0, size_px, size_px * MARGIN]], float)


def cut_out(images: list[np.ndarray], placed: np.ndarray, size_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Aligned cut-outs with a margin, uint8 (N, S, S[, 3]), and their one matrix (N, 2, 3)."""
    side, to_cut = cut_side(size_px), unit_to_cut(size_px)
    cuts = []
    for image, to_image in zip(images, placed, strict=True):
        cut, _ = warp(as_rgb(image), _after(to_cut, inverted(to_image)), side)
        cuts.append(cut if image.ndim == 3 else cut[..., 0])
    return np.stack(cuts), np.tile(to_cut, (len(images), 1, 1))


def cut_out_pictures(
    samples: Samples, template: str, size_px: int, quiet: bool
) -> tuple[Tensor, np.ndarray, np.ndarray, list[int], list[str]]:
    """Cut-outs as `cut_out`, one picture at a time: large sets do not fit into memory.

    Even their cut-outs may not: those then lie in a temporary file without a name. A "photo" without a face is left
    out, a "crop" keeps its place with the mean places of the points.

    Returns:
        uint8 (M, C, S, S); where they lay, (M, 2, 3); bool (M,), where the face was found; the rows they are of;
        failures.
    """
    side, detector = cut_side(size_px), crop_detector()
    stack = _room_for(len(samples), 3, side, side)
    kept: list[int] = []
    found, placed = np.empty(len(samples), bool), np.empty((len(samples), 2, 3))
    unread: list[str] = []
    faceless, grey = [], True
    for row, image in samples.each(unread, quiet=quiet, doing="finding faces"):
        points, seen = points_of(as_rgb(image), samples.framing, detector)
        if samples.framing == "photo" and not seen:
            faceless.append(f"{samples.ids[row]}: no face found")
            continue
        found[len(kept)], placed[len(kept)] = seen, template_to_image(template, points)
        cut = cut_out([as_rgb(image)], placed[len(kept)][None], size_px)[0][0]
        stack[len(kept)] = cut.transpose(2, 0, 1)
        grey = grey and image.ndim == 2
        kept.append(row)
    if len(samples) and len(unread) == len(samples):
        raise none_readable(unread)
    whole = stack[: len(kept)]
    cuts = torch.from_numpy(whole[:, :1] if grey else whole)
    return cuts, placed[: len(kept)], found[: len(kept)], kept, unread + faceless


def cut_out_clips(
    samples: Samples, template: str, size_px: int, frames: int, quiet: bool
) -> tuple[Tensor, np.ndarray, list[int], list[str]]:
    """Cut-outs of the middle frames of so many equal parts of each clip, each aligned by itself, clip by clip.

    Of a "photo" in whose frames no face is found at all, the clip is left out; a "crop" keeps its frames with the
    mean places of the points. See `points_of_clip` for single frames without a face, and `cut_out_pictures` for
    where the cut-outs lie.

    Returns:
        uint8 (M, F, C, S, S); bool (M,), where the face was found in any frame; the rows; failures.

    Raises:
        OptionError: the samples are single pictures.
    """
    if samples.clip is None:
        raise OptionError(
            f"expected clips for a network of several frames, got single pictures such as {samples.ids[0]!r}. Choose a "
            "protocol of a set of clips (docs/datasets.md), or a method for pictures."
        )
    side, detector = cut_side(size_px), crop_detector()
    stack = _room_for(len(samples), frames, 3, side, side)
    kept: list[int] = []
    found, failures, grey = [], [], True
    for row in tqdm(range(len(samples)), "finding faces", disable=quiet, unit="clip", leave=False):
        try:
            clip = samples.clip(row)
            images = clip.read(middles(clip.count, frames))
        except DataError as error:
            failures.append(str(error))
            continue
        points, seen = points_of_clip([as_rgb(image) for image in images], samples.framing, detector)
        if samples.framing == "photo" and not seen.any():
            failures.append(f"{samples.ids[row]}: no face found in any of {frames} frames")
            continue
        placed = np.stack([template_to_image(template, five) for five in points])
        cuts, _ = cut_out([as_rgb(image) for image in images], placed, size_px)
        stack[len(kept)] = cuts.transpose(0, 3, 1, 2)
        grey = grey and all(image.ndim == 2 for image in images)
        found.append(bool(seen.any()))
        kept.append(row)
    whole = stack[: len(kept)]
    return torch.from_numpy(whole[:, :, :1] if grey else whole), np.array(found, bool), kept, failures


def _room_for(*shape: int) -> np.ndarray:
    """An empty uint8 array, in memory or, where it is large, in a temporary file without a name.

    Raises:
        DataError: the disk has no room for it.
    """
    size = math.prod(shape)
    if size <= IN_MEMORY:
        return np.empty(shape, np.uint8)
    # Such a file takes its room only as it is written to, and a disk that fills up then ends the process without a word.
    if (free := shutil.disk_usage(tempfile.gettempdir()).free) < size:
        raise DataError(
            f"expected {size / 1e9:.0f} GB of room for the faces in {tempfile.gettempdir()}, got {free / 1e9:.0f}. Name a folder "
            "with room in TMPDIR, or choose smaller crops by size_px."
        )
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, np.uint8, "w+", shape=shape)


def _after(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """The (2, 3) matrix that applies `inner`, then `outer`."""
    return np.column_stack([outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2] + outer[:, 2]])
