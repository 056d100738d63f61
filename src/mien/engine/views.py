"""From a split in memory to batches: views drawn anew each epoch, each batch from a seed of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from mien.engine.blendshapes import mirrored
from mien.engine.pictures import Pictures
from mien.engine.recipe import Recipe, Views
from mien.errors import OptionError
from mien.methods.task import Batch
from mien.transforms.augment import degrade, erased, jittered_crops
from mien.types.media import LUMA, SIDEWAYS, Preprocess


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
    weights = _class_weights(pictures, recipe) if recipe.targets.weighted else None
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


def _single(truth: Tensor, targets: Tensor) -> Tensor:
    """Targets (B, K) of 1 at the single label, or where there is none at the largest share."""
    best = torch.where(truth >= 0, truth, targets.argmax(1))
    return torch.nn.functional.one_hot(best, targets.shape[1]).float() * (targets.sum(1, keepdim=True) > 0)


def _learned(pictures: Pictures, rows: Tensor, recipe: Recipe) -> Tensor:
    """Targets (B, K) after hardening and smoothing."""
    targets = pictures.targets[rows]
    if not recipe.targets.soft:
        targets = _single(pictures.truth[rows], targets)
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


def _class_weights(pictures: Pictures, recipe: Recipe) -> Tensor:
    """Inverse frequencies of the classes as they are learned, by votes or by single labels; of units, `unit_weights`.

    The most frequent class has 1, an absent one 0.
    """
    if pictures.task == "action_units":
        return unit_weights(pictures.extras["action_units"])
    targets = pictures.targets if recipe.targets.soft else _single(pictures.truth, pictures.targets)
    counts = targets.sum(0)
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
