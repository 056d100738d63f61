"""Refuse an input that a network was not made for, with our own error."""

from __future__ import annotations

from torch import Tensor

from mien.errors import ShapeError


def expect_faces(
    images: Tensor,
    channels: int,
    size: int | None = None,
    least: int | None = None,
    frames: int | None = None,
) -> None:
    """Check a batch of faces (B, C, H, W), or of clips of faces (B, C, T, H, W), at the door of a network.

    Args:
        images: what came in.
        channels: C that the network wants.
        size: the one side it can take, pixels; `None` where it takes several.
        least: the smallest side it can take.
        frames: T of clips; `None` for single pictures.

    Raises:
        ShapeError: the batch has another number of axes, channels or pixels.
    """
    clip = () if frames is None else (frames,)
    wanted = f"(B, {', '.join(map(str, (channels, *clip, size or 'H', size or 'W')))})"
    if least:
        wanted += f" with H and W of at least {least}"
    shape = tuple(images.shape)
    fits = len(shape) == 4 + len(clip) and shape[1:-2] == (channels, *clip)
    fits = fits and (size is None or shape[-2:] == (size, size))
    fits = fits and (least is None or min(shape[-2:]) >= least)
    if not fits:
        raise ShapeError(
            f"expected faces {wanted}, got {shape}. Crop and resize as the method's contract says."
        )
