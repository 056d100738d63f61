"""Random views of aligned faces, in whole batches on tensors: what real photographs do to a face.

Grey 48 px crops are what there is to learn from; photographs are in colour, turned, lit from one side,
blurred, compressed and covered. Each function takes and gives float32 (B, 3, H, W) in 0..255 and draws
from a `torch.Generator`, so that a seed repeats the views.
"""

from __future__ import annotations

import io
import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from mien.types.media import LUMA


def jittered_crops(
    images: Tensor,
    matrices: Tensor,
    size: int,
    random: torch.Generator | None,
    rotate_rad: float = 0.2,
    zoom: float = 0.13,
    shift: float = 0.05,
    shear: float = 0.08,
    mirror: bool = True,
    sideways: tuple[int, ...] = (),
) -> Tensor:
    """Aligned crops, each with its own jitter of rotation, zoom, shift, shear and a mirror half the time.

    Args:
        images: uint8 (B, C, H, W), C 1 or 3, or that of motion pictures.
        matrices: float (B, 2, 3), crop coordinates in units of the side -> image pixels.
        size: side of the crops in pixels.
        random: source of the jitter, `None` for the plain aligned crops.
        rotate_rad, zoom, shift, shear: half widths (uniform rotation, log zoom, shift as a share of the
            side, shear).
        mirror: whether half of the faces are mirrored.
        sideways: channels of sideways motion; in a mirrored picture x becomes 255 - x there.

    Returns:
        float32 (B, C, size, size) in 0..255, one channel three times; border pixels are repeated beyond an image.
    """
    count, channels, height, width = images.shape
    side = torch.ones(count)
    axis = (torch.arange(size) + 0.5) / size - 0.5
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1).expand(count, size, size, 2)
    if random is not None:

        def uniform(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=random) * 2 - 1

        angle, scale = rotate_rad * uniform(count), torch.exp(zoom * uniform(count))
        side = torch.where(torch.rand(count, generator=random) < (0.5 if mirror else 0.0), -1.0, 1.0)
        cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
        skew = shear * uniform(count)
        linear = torch.stack(
            [torch.stack([cos * side, -sin + skew], -1), torch.stack([sin * side, cos], -1)], -2
        )
        grid = torch.einsum("bij,bhwj->bhwi", linear, grid) + shift * uniform(count, 1, 1, 2)
    points = torch.einsum("bij,bhwj->bhwi", matrices[:, :, :2], grid + 0.5) + matrices[:, None, None, :, 2]
    points = points / torch.tensor([width, height]) * 2 - 1
    crops = functional.grid_sample(
        images.float(), points, mode="bilinear", padding_mode="border", align_corners=False
    )
    for channel in sideways:
        crops[:, channel] = torch.where(side[:, None, None] < 0, 255 - crops[:, channel], crops[:, channel])
    return crops.expand(-1, 3, -1, -1) if channels == 1 else crops


def degrade(images: Tensor, random: torch.Generator) -> Tensor:
    """Lighting, colour, low resolution, blur, noise, compression and occlusion, each for some of a batch."""
    images = _light(images, random)
    images = _colour(images, random)
    images = _low_resolution(images, random)
    images = _noise(images, random)
    images = _compress(images, random)
    return _occlude(images.clamp(0, 255), random)


def _chosen(count: int, share: float, random: torch.Generator) -> Tensor:
    return torch.nonzero(torch.rand(count, generator=random) < share)[:, 0]


def _light(images: Tensor, random: torch.Generator) -> Tensor:
    """Brightness, contrast, gamma, and a ramp of light across the face."""
    count, size = len(images), images.shape[-1]
    one = (count, 1, 1, 1)
    gamma = torch.exp((torch.rand(one, generator=random) * 2 - 1) * 0.4)
    images = 255 * (images / 255).clamp(1e-4, 1) ** gamma
    gain = torch.exp((torch.rand(one, generator=random) * 2 - 1) * 0.35)
    mean = images.mean((1, 2, 3), keepdim=True)
    images = (images - mean) * gain + mean + (torch.rand(one, generator=random) * 2 - 1) * 35
    ramp = torch.linspace(-1, 1, size)
    side = (torch.rand(count, 2, 1, 1, 1, generator=random) * 2 - 1) * 0.35
    side = side * (torch.rand(count, 1, 1, 1, 1, generator=random) < 0.3)
    return images * (1 + side[:, 0] * ramp[None, None, None, :] + side[:, 1] * ramp[None, None, :, None])


def _colour(images: Tensor, random: torch.Generator) -> Tensor:
    """Half of the pictures grey; a tint, often towards skin, on part of them."""
    count = len(images)
    grey = torch.tensor(LUMA).view(1, 3, 1, 1)
    make_grey = torch.rand(count, 1, 1, 1, generator=random) < 0.4
    images = torch.where(make_grey, (images * grey).sum(1, keepdim=True).expand_as(images), images)
    warm = torch.tensor([0.22, 0.0, -0.18]).view(1, 3, 1, 1) * torch.rand(count, 1, 1, 1, generator=random)
    cast = (torch.rand(count, 3, 1, 1, generator=random) * 2 - 1) * 0.12
    tint = (warm + cast) * (torch.rand(count, 1, 1, 1, generator=random) < 0.6)
    return images * (1 + tint)


def _low_resolution(images: Tensor, random: torch.Generator) -> Tensor:
    """A quarter of the pictures drawn small and enlarged again; some softened."""
    images = images.clone()
    size = images.shape[-1]
    for side in (18, 24, 32):
        rows = _chosen(len(images), 0.08, random)
        if len(rows):
            small = functional.interpolate(images[rows], (side, side), mode="area")
            images[rows] = functional.interpolate(small, (size, size), mode="bilinear", align_corners=False)
    rows = _chosen(len(images), 0.12, random)
    if len(rows):
        padded = functional.pad(images[rows], (1, 1, 1, 1), mode="replicate")
        images[rows] = functional.avg_pool2d(padded, 3, 1)
    return images


def _noise(images: Tensor, random: torch.Generator) -> Tensor:
    strength = 10 * torch.rand(len(images), 1, 1, 1, generator=random)
    strength = strength * (torch.rand(len(images), 1, 1, 1, generator=random) < 0.3)
    return images + strength * torch.randn(images.shape, generator=random)


def _compress(images: Tensor, random: torch.Generator) -> Tensor:
    """A real JPEG round trip at quality 20 to 70 for a sixth of the pictures."""
    images = images.clone()
    for row in _chosen(len(images), 0.16, random).tolist():
        pixels = images[row].clamp(0, 255).byte().permute(1, 2, 0).numpy()
        stored = io.BytesIO()
        quality = int(torch.randint(20, 71, (1,), generator=random))
        Image.fromarray(np.ascontiguousarray(pixels)).save(stored, "JPEG", quality=quality)
        images[row] = torch.from_numpy(np.array(Image.open(stored))).permute(2, 0, 1).float()
    return images


def _occlude(images: Tensor, random: torch.Generator) -> Tensor:
    """A rectangle of one grey over up to a fifth of a third of the pictures."""
    return erased(images, 0.3, 0.03, 0.2, random)


def erased(images: Tensor, share: float, least: float, most: float, random: torch.Generator) -> Tensor:
    """Blank a rectangle of some pictures with one random grey.

    Args:
        images: (B, C, H, W) in 0..255, H = W.
        share: of the pictures.
        least, most: area of the rectangle, as a share of the picture's.
        random: where and how.
    """
    images = images.clone()
    size = images.shape[-1]
    for row in _chosen(len(images), share, random).tolist():
        area, aspect, left, top, shade = torch.rand(5, generator=random).tolist()
        area = size * size * (least + (most - least) * area)
        ratio = math.exp((aspect * 2 - 1) * 0.9)
        width = min(size - 1, max(2, int(math.sqrt(area * ratio))))
        height = min(size - 1, max(2, int(math.sqrt(area / ratio))))
        x, y = int(left * (size - width)), int(top * (size - height))
        images[row, :, y : y + height, x : x + width] = shade * 255
    return images
