"""Maps by taking parts of the picture away and asking again: they need logits alone.

| map | what is taken away | source |
| --- | --- | --- |
| `occlusion` | one square after the other | Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014 |
| `rise` | random halves, in soft cells | Petsiuk et al., "RISE", BMVC 2018, equations 4 to 6 |

Both ask for the class's log-odds, its logit less the log of the summed exponentials of the others. The papers ask for its
probability, which hardly moves where a network is sure: what little is left then comes from anywhere. Where something is taken away, a baseline of `mien.explain.maps` stands.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from mien.errors import OptionError
from mien.explain.maps import (
    Logits,
    answering,
    answers_each,
    explained_classes,
    in_batches,
    register,
    stretched,
    without_content,
)
from mien.methods.task import Task


@register
def occlusion(
    task: Task | Logits,
    images: Tensor,
    classes: Tensor | None = None,
    patch: int | None = None,
    stride: int | None = None,
    baseline: str = "mean",
    batch_size: int = 64,
    quiet: bool = True,
) -> Tensor:
    """How much the class's log-odds fall where a square covers the face; see `mien.explain.maps`.

    A pixel's value is the mean fall over the squares that cover it, where it is positive.

    Args:
        patch: side of the square in pixels; a sixth of the shorter side of the picture, where left out.
        stride: from one square to the next; half of the side, where left out.
        baseline: what stands in the square; see `without_content`.
        batch_size: pictures in one call of the network.
        quiet: no progress bar.

    Raises:
        OptionError: a side or stride under 1, or a side larger than the picture.
    """
    height, width = images.shape[-2:]
    patch = max(1, round(min(height, width) / 6)) if patch is None else patch
    stride = max(1, patch // 2) if stride is None else stride
    if not (1 <= patch <= min(height, width) and stride >= 1):
        raise OptionError(
            f"expected patch from 1 to {min(height, width)} and stride from 1, got {patch} and {stride}"
        )
    # The last square of a row ends at the border, so that each pixel is covered.
    starts = [sorted({*range(0, side - patch + 1, stride), side - patch}) for side in (height, width)]
    masks = torch.ones(len(starts[0]) * len(starts[1]), 1, height, width, device=images.device)
    for mask, (top, left) in zip(masks, itertools.product(*starts), strict=True):
        mask[:, top : top + patch, left : left + patch] = 0
    scores, whole = _asked(task, images, classes, masks, baseline, batch_size, quiet, "occlusion")
    covered = (1 - masks[:, 0]).flatten(1)  # (M, H W)
    falls = ((whole[:, None] - scores) @ covered) / covered.sum(0)
    return stretched(falls.unflatten(1, (height, width)), images.shape[-2:])


@register
def rise(
    task: Task | Logits,
    images: Tensor,
    classes: Tensor | None = None,
    masks: int = 1000,
    cells: int = 7,
    kept: float = 0.5,
    baseline: str = "mean",
    seed: int = 0,
    batch_size: int = 64,
    quiet: bool = True,
) -> Tensor:
    """Mean of random soft masks, each weighed by the class's log-odds behind it; see `mien.explain.maps`.

    All pictures are seen through the same masks.

    Args:
        masks: how many; a map of few is rough.
        cells: of a mask's grid, along each side.
        kept: share of the cells that are kept.
        baseline: what shows where a mask covers; see `without_content`. The paper shows black.
        seed: of the masks.
        batch_size: pictures in one call of the network.
        quiet: no progress bar.

    Raises:
        OptionError: no masks or cells, or a share that keeps nothing or all.
    """
    if masks < 1 or cells < 1 or not 0 < kept < 1:
        raise OptionError(
            f"expected masks and cells of at least 1 and kept between 0 and 1, got {masks}, {cells}, {kept}"
        )
    random = torch.Generator().manual_seed(seed)
    drawn = soft_masks(masks, cells, kept, images.shape[-2:], random).to(images.device)
    scores, _ = _asked(task, images, classes, drawn, baseline, batch_size, quiet, "rise")
    weighed = scores @ drawn[:, 0].flatten(1) / drawn[:, 0].flatten(1).sum(0).clamp(min=1e-6)
    weighed = weighed.unflatten(1, images.shape[-2:])
    return stretched(weighed - weighed.amin((1, 2), keepdim=True), images.shape[-2:])


def soft_masks(
    count: int, cells: int, kept: float, size: tuple[int, int] | torch.Size, random: torch.Generator
) -> Tensor:
    """Grids of zeros and ones, enlarged smoothly to a cell more than the picture, each cut out at random.

    Returns:
        float32 (count, 1, *size) in [0, 1].
    """
    grids = (torch.rand(count, 1, cells, cells, generator=random) < kept).float()
    steps = [-(-side // cells) for side in size]
    whole = [side + step for side, step in zip(size, steps, strict=True)]
    masks = torch.empty(count, 1, *size)
    tops, lefts = (torch.randint(step + 1, (count,), generator=random).tolist() for step in steps)
    for start in range(0, count, 256):
        large = functional.interpolate(
            grids[start : start + 256], whole, mode="bilinear", align_corners=False
        )
        for row, mask in enumerate(large, start):
            masks[row] = mask[:, tops[row] : tops[row] + size[0], lefts[row] : lefts[row] + size[1]]
    return masks


def log_odds(logits: Tensor, classes: Tensor, each: bool = False) -> Tensor:
    """log(p / (1 - p)) of each row's class: (B, K) and (B,) -> (B,).

    p is its softmax, K at least 2; or its sigmoid, where `each` output answers for itself, as of action units.
    """
    if each:
        return logits.gather(1, classes[:, None])[:, 0]
    others = logits.scatter(1, classes[:, None], -torch.inf)
    return logits.gather(1, classes[:, None])[:, 0] - others.logsumexp(1)


def _asked(
    task: Task | Logits,
    images: Tensor,
    classes: Tensor | None,
    masks: Tensor,
    baseline: str,
    batch_size: int,
    quiet: bool,
    name: str,
) -> tuple[Tensor, Tensor]:
    """The class's log-odds (B, M) of each picture behind each of M masks, and of the whole picture (B,)."""
    empty = without_content(images, baseline)
    scores = torch.empty(len(images), len(masks), device=images.device)
    with answering(task) as logits, tqdm(total=len(images), desc=name, disable=quiet, leave=False) as bar:
        answers = in_batches(logits, images, batch_size)
        chosen, each = explained_classes(classes, answers), answers_each(task)
        for row, image in enumerate(images):
            covered = (image * part + empty[row] * (1 - part) for part in masks.split(batch_size))
            found = torch.cat([torch.as_tensor(logits(part)).float() for part in covered]).to(images.device)
            scores[row] = log_odds(found, chosen[row].expand(len(found)), each)
            bar.update()
    return scores, log_odds(answers, chosen, each)
