"""From a split's samples to tensors: faces found once, kept small in memory, cut into views batch by batch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from mien.datasets.samples import Samples
from mien.engine.blendshapes import mirrored, read_blendshapes
from mien.engine.cut_outs import cut_out, cut_out_clips, cut_out_photos, unit_to_cut
from mien.engine.recipe import Recipe, Views
from mien.errors import DataError, OptionError
from mien.faces.crops import as_rgb, crop_detector, landmarks_of_pictures, one_small_size
from mien.methods.task import Batch
from mien.transforms.align import template_to_image
from mien.transforms.augment import degrade, erased, jittered_crops
from mien.types.media import LUMA, MESH, SIDEWAYS, Preprocess


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

    Pictures that all have one small size stay as they are; others are cut around the face with a margin. Motion
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
    elif samples.framing == "photo":
        tensor, placed, kept, failures = cut_out_photos(samples, template, size_px, quiet)
    elif samples.framing == "ready":
        images, kept, failures = samples.readable(quiet=quiet)
        tensor, whole = _whole(images)
        return tensor, whole, whole, np.ones(len(kept), bool), kept, failures
    else:
        return _read_crops(samples, template, size_px, quiet)
    matrices = np.tile(unit_to_cut(size_px), (len(kept), 1, 1))
    return tensor, matrices, None if template == MESH else placed, np.ones(len(kept), bool), kept, failures


def _read_crops(
    samples: Samples, template: str, size_px: int, quiet: bool
) -> tuple[Tensor, np.ndarray, np.ndarray, np.ndarray, list[int], list[str]]:
    """As `_read`, of pictures that a face fills."""
    images, kept, failures = samples.readable(quiet=quiet)
    if any(image.ndim == 3 for image in images):
        images = [as_rgb(image) for image in images]
    points, found = landmarks_of_pictures(images, samples.framing, crop_detector(), quiet)
    placed = np.stack([template_to_image(template, face) for face in points])
    if one_small_size(images):
        stack, matrices = np.stack(images), placed
    else:
        stack, matrices = cut_out(images, placed, size_px)
    stack = stack[:, None] if stack.ndim == 3 else stack.transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(stack)), matrices, placed, found, kept, failures


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


def network_input(crops: Tensor, preprocess: Preprocess) -> Tensor:
    """Crops in 0..255 as a network wants them: channels and normalisation.

    Args:
        crops: RGB or grey, (B, 3 or 1, S, S), or of clips (B, 3 or 1, T, S, S); motion pictures (B, C, S, S); or
            blendshapes in 0..1.
        preprocess: the network's.

    Raises:
        OptionError: the network wants several views of a clip, of which the engine makes the face alone.
    """
    if preprocess.of_mesh:
        return (crops - torch.tensor(preprocess.mean)) / torch.tensor(preprocess.std)
    if len(preprocess.mean) > 3 and not preprocess.of_motion:
        raise OptionError(
            f"expected a network of one view, 3 channels, got one of {len(preprocess.mean)}. Only the face's view is made "
            "here: take the method's variant of one view, or train it on batches of your own."
        )
    one = (1, -1, *[1] * (crops.ndim - 2))
    if preprocess.channel_order == "GREY" and crops.shape[1] == 3:
        crops = (crops * torch.tensor(LUMA).view(one)).sum(1, keepdim=True)
    elif preprocess.channel_order == "BGR":
        crops = crops.flip(1)
    inputs = (crops - torch.tensor(preprocess.mean).view(one)) / torch.tensor(preprocess.std).view(one)
    return inputs.contiguous(memory_format=torch.channels_last) if inputs.ndim == 4 else inputs.contiguous()


def epoch_order(pictures: Pictures, balanced: bool, seed: int, epoch: int) -> Tensor:
    """Rows of an epoch: each picture that teaches once, or as many drawn with classes equally likely."""
    random = torch.Generator().manual_seed(seed_of(seed, epoch))
    teaching = torch.nonzero(pictures.teaching)[:, 0]
    if not balanced:
        return teaching[torch.randperm(len(teaching), generator=random)]
    classes = pictures.targets[teaching].argmax(1)
    weights = 1.0 / torch.bincount(classes)[classes]
    return teaching[torch.multinomial(weights, len(teaching), replacement=True, generator=random)]


def batches(
    pictures: Pictures,
    recipe: Recipe,
    preprocess: Preprocess,
    epoch: int,
    skip: int = 0,
    rank: int = 0,
    world: int = 1,
) -> Iterator[Batch]:
    """The batches of one epoch, from the `skip`-th on; of several processes, each gets its share of each.

    Every batch is drawn from a seed of its own (seed, epoch, step, process), so that a run that was killed
    goes on with the very same views.
    """
    order = epoch_order(pictures, recipe.targets.balanced, recipe.seed, epoch)
    steps = steps_an_epoch(pictures, recipe)
    weights = _class_weights(pictures) if recipe.targets.weighted else None
    if pictures.cues is not None and recipe.views.mixup > 0:
        raise OptionError(
            "expected views.mixup of 0 with cues, which belong to one face, got two faces in one"
        )
    for step in range(skip, steps):
        rows = order[step * recipe.batch_size : (step + 1) * recipe.batch_size][rank::world]
        random = torch.Generator().manual_seed(seed_of(recipe.seed, epoch, step, rank))
        cues = cue_views(pictures, rows, preprocess.size_px, recipe.views, random)
        crops = _views(pictures, rows, preprocess, recipe.views, random)
        targets = _learned(pictures, rows, recipe)
        extras = {name: values[rows] for name, values in pictures.extras.items()} | cues
        if recipe.views.mixup > 0:
            crops, targets, extras = _mixed(crops, targets, extras, recipe.views.mixup, random)
        yield Batch(network_input(crops, preprocess), targets, extras, weights)


def steps_an_epoch(pictures: Pictures, recipe: Recipe) -> int:
    """Whole batches in an epoch: the recipe's number, or those of a pass over the pictures; at least one."""
    whole = max(1, int(pictures.teaching.sum()) // recipe.batch_size)
    return min(whole, recipe.steps or whole)


def plain_views(pictures: Pictures, rows: Tensor, size: int) -> Tensor:
    """The plain aligned crops of some pictures, (B, 3, size, size) in 0..255; of clips (B, 3, T, size, size).

    Blendshapes stay as they are, (B, 52) or (B, T, 52).
    """

    def view(images: Tensor) -> Tensor:
        if pictures.of_mesh:
            return images
        return jittered_crops(images, pictures.matrices[rows], size, None)

    return _frame_by_frame(pictures, rows, view, None)


def _views(
    pictures: Pictures, rows: Tensor, preprocess: Preprocess, views: Views, random: torch.Generator
) -> Tensor:
    """Jittered, partly degraded crops (B, 3, size, size) in 0..255; of clips (B, 3, T, size, size).

    Of blendshapes (B, 52) or (B, T, 52), half are mirrored where the views say so; nothing else is varied.
    """
    sideways = SIDEWAYS.get(preprocess.channel_order, ())

    def view(images: Tensor) -> Tensor:
        if pictures.of_mesh:
            turned = torch.rand(len(images), 1, generator=random) < (0.5 if views.mirror else 0.0)
            return torch.where(turned, mirrored(images), images)
        crops = _moved(images, pictures.matrices[rows], preprocess.size_px, views, random, sideways)
        if views.degraded > 0:
            some = torch.rand(len(crops), 1, 1, 1, generator=random) < views.degraded
            crops = torch.where(some, degrade(crops, random), crops)
        if views.erase > 0:
            crops = erased(crops, views.erase, views.erase_least, views.erase_most, random)
        return crops

    return _frame_by_frame(pictures, rows, view, random)


def _frame_by_frame(
    pictures: Pictures, rows: Tensor, view: Callable[[Tensor], Tensor], random: torch.Generator | None
) -> Tensor:
    """What a view gives of some pictures; of clips, of each frame, from the same random state: all vary alike.

    Args:
        pictures, rows: what is seen.
        view: (B, C, H, W) -> (B, 3, S, S), or (B, 52) -> (B, 52); draws from `random`.
        random: also draws the frame of each segment; `None` for the middle ones.
    """
    if pictures.frames is None:
        return view(pictures.images[rows])
    shape = len(rows), pictures.frames
    drawn = (
        torch.full(shape, pictures.spare // 2)
        if random is None
        else torch.randint(pictures.spare, shape, generator=random)
    )
    places = pictures.spare * torch.arange(pictures.frames) + drawn
    state = None if random is None else random.get_state()
    frames = []
    for place in places.T:
        if random is not None and state is not None:
            random.set_state(state)
        frames.append(view(pictures.images[rows, place]))
    return torch.stack(frames, 1 if pictures.of_mesh else 2)


def _moved(
    images: Tensor,
    matrices: Tensor,
    size: int,
    views: Views,
    random: torch.Generator | None,
    sideways: tuple[int, ...] = (),
) -> Tensor:
    """Crops with the jitter of the views, which depends on the random state alone."""
    return jittered_crops(
        images,
        matrices,
        size,
        random,
        rotate_rad=views.rotate_rad,
        zoom=views.zoom,
        shift=views.shift,
        shear=views.shear,
        mirror=views.mirror,
        sideways=sideways,
    )


def cue_views(
    pictures: Pictures, rows: Tensor, size: int, views: Views, random: torch.Generator | None
) -> dict[str, Tensor]:
    """The extra "au_cue" of some pictures, seen as their next views will be; nothing where there are no cues.

    Args:
        pictures, rows, size, views: as for the pictures' own views.
        random: which is about to draw the views, and is left as it is; `None` for the plain aligned crops.

    Returns:
        float32 (B, size, size) in [0, 1]; NaN for a picture without a cue.
    """
    if pictures.cues is None:
        return {}
    twin = None
    if random is not None:
        twin = torch.Generator()
        twin.set_state(random.get_state())
    which = pictures.cues.rows[rows]
    maps = pictures.cues.maps[which.clamp(min=0)]
    moved = (
        _moved(maps, pictures.cues.place.expand(len(rows), 2, 3), size, views, twin)[:, 0].clamp(0, 255) / 255
    )
    # A view may leave the whole cue outside: then there is none.
    there = (which >= 0) & (moved.amax((1, 2)) > 0)
    return {"au_cue": torch.where(there[:, None, None], moved, torch.nan)}


def _learned(pictures: Pictures, rows: Tensor, recipe: Recipe) -> Tensor:
    """Targets (B, K) after hardening and smoothing."""
    targets = pictures.targets[rows]
    if not recipe.targets.soft:
        single = pictures.truth[rows]
        best = torch.where(single >= 0, single, targets.argmax(1))
        targets = torch.nn.functional.one_hot(best, targets.shape[1]).float() * (
            targets.sum(1, keepdim=True) > 0
        )
    spread = recipe.targets.smoothing
    return targets * (1 - spread) + spread / targets.shape[1] if spread else targets


def _mixed(
    crops: Tensor, targets: Tensor, extras: Mapping[str, Tensor], alpha: float, random: torch.Generator
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Mixup: each face with another of the batch, one share a batch.

    Further labels that are quantities are mixed too (NaN stays); of classes, two that differ leave none (-1).
    """
    seed = int(torch.randint(2**31, (1,), generator=random))
    share = float(np.random.default_rng(seed).beta(alpha, alpha))
    other = torch.randperm(len(crops), generator=random)

    def mix(values: Tensor) -> Tensor:
        if values.is_floating_point():
            return share * values + (1 - share) * values[other]
        return torch.where(values == values[other], values, -1)

    return mix(crops), mix(targets), {name: mix(values) for name, values in extras.items()}


def _class_weights(pictures: Pictures) -> Tensor:
    """Inverse class frequencies; the most frequent class has 1, an absent one 0. Of units, see `unit_weights`."""
    if pictures.task == "action_units":
        return unit_weights(pictures.extras["action_units"])
    counts = pictures.targets.sum(0)
    return torch.where(counts > 0, counts.max() / counts.clamp(min=1e-9), torch.zeros(()))


def unit_weights(units: Tensor) -> Tensor:
    """Weights (K,) with mean 1 over the units that occur: w_k = K (1 / r_k) / sum_j (1 / r_j); 0 for others.

    r_k is the share of the pictures in which unit k is there, among those where it is known.
    Source: Luo et al., IJCAI 2022, the weights of its asymmetric loss.

    Args:
        units: (N, K) of 1 and 0, NaN where not known.
    """
    rates = torch.nan_to_num(units.nanmean(0))
    inverse = torch.where(rates > 0, 1 / rates.clamp(min=1e-12), torch.zeros(()))
    return inverse * (rates > 0).sum() / inverse.sum().clamp(min=1e-12)


def seed_of(*parts: int) -> int:
    """One seed from several numbers."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:7], "big")
