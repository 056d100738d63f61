"""Heat maps of faces: where a network found the evidence for a class. One signature, one registry.

Each map is a function `name(task, images, classes=None, **options) -> maps`, registered in `MAPS` under its own name:

    task: a `Task`, or, for `occlusion` and `rise`, any function from images to logits, as `onnx_logits` gives.
    images: float32 (B, C, H, W), normalised as the method's contract says, on the network's device.
    classes: int (B,), the class that each map explains; the most probable one where it is left out.
    maps: float32 (B, H, W) in [0, 1], each stretched to its own range; all zero where nothing speaks for the class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional

from mien.errors import OptionError, ShapeError
from mien.methods.layers import evaluating
from mien.methods.runner import ExpressionRunner
from mien.methods.task import Task
from mien.registry import Registry

Logits = Callable[[Tensor], Tensor]
"""Normalised images (B, C, H, W) -> logits (B, K)."""

MapFunction = Callable[..., Tensor]

MAPS: Registry[MapFunction] = Registry("map", "mien.explain")


def register(function: MapFunction) -> MapFunction:
    """Register a map under its function's name."""
    MAPS.add(function.__name__, function)
    return function


def network_task(task: Task | Logits, name: str) -> Task:
    """The task, for a map that needs gradients or layers.

    Raises:
        OptionError: a plain function was given.
    """
    if not isinstance(task, Task):
        raise OptionError(
            f"expected a Task with its network for the map {name!r}, which needs gradients or layers, got a "
            "function that gives logits. Use 'occlusion' or 'rise'."
        )
    return task


@contextmanager
def answering(task: Task | Logits) -> Iterator[Logits]:
    """What gives logits, in evaluation mode and without gradients; the network is left as it was."""
    if not isinstance(task, Task):
        yield task
        return
    with torch.no_grad(), evaluating(task.network):
        yield task.logits


def answers_each(task: Task | Logits) -> bool:
    """Whether each output has a probability of its own, as of action units, and not all outputs one together."""
    return isinstance(task, Task) and task.answers == "action_units"


def in_batches(logits: Logits, images: Tensor, size: int) -> Tensor:
    """Logits (N, K) of many images, so many at a time."""
    return torch.cat([torch.as_tensor(logits(part)).float() for part in images.split(size)])


def onnx_logits(runner: ExpressionRunner) -> Logits:
    """Logits of an ONNX file for normalised images, so that `occlusion` and `rise` explain it.

    Args:
        runner: the file's runner: `ExpressionRunner(load_weights("model.onnx"))`.
    """

    def logits(images: Tensor) -> Tensor:
        (found,) = runner.session.run(None, {runner.input_name: images.contiguous().cpu().numpy()})
        return torch.from_numpy(found)

    return logits


def explained_classes(classes: Tensor | None, logits: Tensor) -> Tensor:
    """The classes asked for, or the most probable ones: int64 (B,).

    Raises:
        ShapeError: not a class of the network for each picture.
    """
    if classes is None:
        return logits.argmax(1)
    count, known = logits.shape
    classes = classes.to(logits.device)
    if (
        classes.shape != (count,)
        or classes.is_floating_point()
        or bool(((classes < 0) | (classes >= known)).any())
    ):
        raise ShapeError(
            f"expected a class from 0 to {known - 1} for each of {count} pictures, got {classes.dtype} "
            f"{tuple(classes.shape)}"
        )
    return classes.long()


def stretched(maps: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """The positive part of maps (B, h, w), each stretched to [0, 1], then resized: float32 (B, *size)."""
    maps = functional.relu(maps)[:, None].float()
    low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
    span = high - low
    # A map without any range says nothing; dividing by it would give NaN.
    maps = torch.where(span > 0, (maps - low) / torch.where(span > 0, span, 1.0), 0.0)
    if tuple(size) != tuple(maps.shape[2:]):
        maps = functional.interpolate(maps, tuple(size), mode="bilinear", align_corners=False)
    return maps[:, 0].clamp(0, 1)


BASELINES = ("mean", "blur")


def without_content(images: Tensor, baseline: str = "mean") -> Tensor:
    """What stands where something is taken away: (B, C, H, W).

    Args:
        images: (B, C, H, W).
        baseline: "mean", each picture's mean of each channel; or "blur", the picture through a Gaussian of a
            deviation of an eighth of its side.

    Raises:
        OptionError: another baseline.
    """
    if baseline == "mean":
        return images.mean((2, 3), keepdim=True).expand_as(images)
    if baseline != "blur":
        raise OptionError(f"expected baseline to be one of {', '.join(BASELINES)}, got {baseline!r}")
    for axis in (2, 3):
        deviation = images.shape[axis] / 8
        place = torch.arange(images.shape[axis], dtype=images.dtype, device=images.device)
        weights = torch.exp(-((place[:, None] - place) ** 2) / (2 * deviation**2))
        weights = weights / weights.sum(1, keepdim=True)  # the border's lost part is given to the rest
        images = torch.tensordot(images, weights, dims=([axis], [1])).movedim(-1, axis)
    return images
