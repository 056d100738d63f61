"""From a split's samples to tensors: faces found once, kept small in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from mien.datasets.samples import Samples
from mien.engine.blendshapes import read_blendshapes
from mien.engine.cut_outs import cut_out, cut_out_clips, cut_out_pictures, unit_to_cut
from mien.errors import DataError
from mien.faces.crops import as_rgb, crop_detector, landmarks_of_pictures, one_small_size
from mien.transforms.align import template_to_image
from mien.types.media import MESH


@dataclass(frozen=True, eq=False)
class Cues:
    """Heat maps that go through the same views as the pictures; see `mien.engine.cues`.

    Attributes:
        maps: uint8 (M, 1, S, S).
        rows: int64 (N,), the map of each picture, -1 where it has none.
        place: float32 (2, 3), coordinates of the aligned crop in units of its side -> pixels of a map.
        sha256: of maps and rows.
    """

    maps: Tensor
    rows: Tensor
    place: Tensor
    sha256: str


@dataclass(frozen=True, eq=False)
class Pictures:
    """A split in memory.

    Attributes:
        images: uint8 (N, C, H, W), C 1, 3 or that of motion pictures; of clips (N, F, C, H, W), F stored frames in
            their order. For networks that read the mesh, float32 blendshapes (N, 52) or (N, F, 52).
        matrices: float32 (N, 2, 3), coordinates of the aligned crop in units of its side -> image pixels.
        targets: float32 (N, K) shares of the classes; a row of zeros teaches nothing.
        truth: int64 (N,) the class that is measured, -1 where there is none.
        extras: further labels by name, (N, ...); "identity" is the number of the person among the split's, -1
            for nobody, and there only where the set knows people.
        ids: the samples' names.
        subjects: persons, or `None`.
        found: bool (N,), where the detector found the face.
        failures: what could not be used, and why.
        framing: the samples', see `mien.datasets.samples.Samples`.
        sha256: of the samples.
        task: the protocol's, "expression" or "action_units"; the labels of the latter are in
            `extras["action_units"]`, and `targets` and `truth` say nothing.
        placed: float64 (N, 2, 3), as `matrices`, but to the picture as it was read, before it was cut out; `None`
            where that is not known.
        cues: heat maps for the batches' extra "au_cue", or `None`.
        spare: of clips, how many frames of each segment are stored: training draws one of them, and the middle
            one is measured. F is `spare` times the network's frames.
    """

    images: Tensor
    matrices: Tensor
    targets: Tensor
    truth: Tensor
    ids: tuple[str, ...]
    sha256: str
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    subjects: tuple[str, ...] | None = None
    found: Tensor | None = None
    failures: tuple[str, ...] = ()
    framing: str = "crop"
    task: str = "expression"
    placed: np.ndarray | None = None
    cues: Cues | None = None
    spare: int = 1

    def __len__(self) -> int:
        return len(self.images)

    @property
    def frames(self) -> int | None:
        """T, the frames of a clip that a network sees; `None` for single pictures."""
        return self.images.shape[1] // self.spare if self.images.ndim in (3, 5) else None

    @property
    def of_mesh(self) -> bool:
        """`images` are blendshapes."""
        return self.images.ndim < 4

    @property
    def teaching(self) -> Tensor:
        """Bool (N,): there is a label to learn from."""
        if self.task == "action_units":
            return torch.isfinite(self.extras["action_units"]).any(1)
        return self.targets.sum(1) > 0

    @property
    def judged(self) -> Tensor:
        """Bool (N,): there is a label to measure by."""
        return self.teaching if self.task == "action_units" else self.truth >= 0


def prepare(
    samples: Samples,
    template: str,
    size_px: int,
    quiet: bool = True,
    frames: int | None = None,
    spare: int = 1,
) -> Pictures:
    """Read a split, find the faces, and keep what views need.

    Pictures that all have one small size stay as they are, unless the network's crops are half as large or smaller; others are
    cut around the face with a margin, one after the other. Motion
    pictures ("ready") stay whole. Of clips, frames from equal parts are kept; without `frames`, the middle one.
    Where no face is found, a "crop" keeps its picture with the mean places of the points, and a "photo" is
    left out. A picture that cannot be read is left out. Both are named in `failures`.

    Args:
        samples: one split.
        template: alignment template of the network, or `MESH`.
        size_px: side of its crops.
        quiet: no progress bar.
        frames: T that the network sees of a clip; `None` for a network of single pictures.
        spare: frames kept for each of these, an odd number; see `Pictures`.

    Raises:
        DataError: more than half of the pictures could not be used.
        OptionError: frames are asked for, and the samples are single pictures.
    """
    tensor, matrices, placed, found, kept, failures = _read(
        samples, template, size_px, quiet, None if frames is None else frames * spare
    )
    if len(kept) * 2 < len(samples):
        raise DataError(
            f"expected to use most of {len(samples)} pictures, could use {len(kept)}. First: "
            + "; ".join(failures[:3])
        )
    single = np.eye(len(samples.labels), dtype=np.float32)[samples.target] * (samples.target >= 0)[:, None]
    targets = single if samples.soft is None else samples.soft
    return Pictures(
        images=tensor,
        matrices=torch.from_numpy(matrices.astype(np.float32)),
        targets=torch.from_numpy(targets[kept].astype(np.float32)),
        truth=torch.from_numpy(samples.target[kept]),
        ids=tuple(samples.ids[index] for index in kept),
        sha256=samples.sha256,
        extras={
            name: torch.from_numpy(np.asarray(values)[kept])
            for name, values in {**samples.extras, **_identities(samples)}.items()
        },
        subjects=None if samples.subjects is None else tuple(samples.subjects[index] for index in kept),
        found=torch.from_numpy(found),
        failures=tuple(failures),
        framing=samples.framing,
        task=samples.task,
        placed=placed,
        spare=spare,
    )


def _read(
    samples: Samples, template: str, size_px: int, quiet: bool, frames: int | None
) -> tuple[Tensor, np.ndarray, np.ndarray | None, np.ndarray, list[int], list[str]]:
    """`images`, `matrices`, `placed` and `found` as in `Pictures`; the rows they are of; failures.

    Args:
        samples, template, size_px, quiet: see `prepare`.
        frames: stored of a clip, F.
    """
    if template == MESH:
        tensor, kept, failures = read_blendshapes(samples, frames, quiet)
    elif frames is not None:
        tensor, seen, kept, failures = cut_out_clips(samples, template, size_px, frames, quiet)
        return tensor, np.tile(unit_to_cut(size_px), (len(kept), 1, 1)), None, seen, kept, failures
    elif samples.framing == "ready":
        images, kept, failures = samples.readable(quiet=quiet)
        tensor, whole = _whole(images)
        return tensor, whole, whole, np.ones(len(kept), bool), kept, failures
    elif samples.framing == "crop" and (small := samples.alike(one_small_size, quiet=quiet)) is not None:
        return *_small_crops(small[0], template, size_px, quiet), *small[1:]
    else:
        tensor, placed, seen, kept, failures = cut_out_pictures(samples, template, size_px, quiet)
        return tensor, np.tile(unit_to_cut(size_px), (len(kept), 1, 1)), placed, seen, kept, failures
    matrices = np.tile(unit_to_cut(size_px), (len(kept), 1, 1))
    return tensor, matrices, None, np.ones(len(kept), bool), kept, failures


def _small_crops(
    images: list[np.ndarray], template: str, size_px: int, quiet: bool
) -> tuple[Tensor, np.ndarray, np.ndarray, np.ndarray]:
    """`images`, `matrices`, `placed` and `found` as in `Pictures`, of pictures of one small size that a face fills."""
    if any(image.ndim == 3 for image in images):
        images = [as_rgb(image) for image in images]
    points, found = landmarks_of_pictures(images, "crop", crop_detector(), quiet)
    placed = np.stack([template_to_image(template, face) for face in points])
    face_px = np.sqrt(np.abs(np.linalg.det(placed[:, :, :2])))
    if face_px.max() < 2 * size_px:
        stack, matrices = np.stack(images), placed
    else:  # views sample bilinearly, and would skip pixels that analysis averages
        stack, matrices = cut_out(images, placed, size_px)
    stack = stack[:, None] if stack.ndim == 3 else stack.transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(stack)), matrices, placed, found


def _whole(images: list[np.ndarray]) -> tuple[Tensor, np.ndarray]:
    """Motion pictures of one shape (H, W, C) as uint8 (N, C, H, W), and matrices (N, 2, 3) that take them whole."""
    shapes = sorted({image.shape for image in images})
    if len(shapes) > 1 or len(shapes[0]) != 3:
        raise DataError(f"expected motion pictures of one shape (H, W, C), got {shapes[:3]}")
    height, width, _ = shapes[0]
    whole = np.array([[width, 0, 0], [0, height, 0]], float)
    stack = np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2))
    return torch.from_numpy(stack), np.tile(whole, (len(images), 1, 1))


def _identities(samples: Samples) -> dict[str, np.ndarray]:
    """The number of each person (N,) among the split's in sorted order, -1 for nobody; empty without people."""
    if samples.subjects is None:
        return {}
    number = {name: index for index, name in enumerate(sorted(set(samples.subjects) - {""}))}
    return {"identity": np.array([number.get(name, -1) for name in samples.subjects], np.int64)}
