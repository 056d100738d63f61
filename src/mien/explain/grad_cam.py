"""Grad-CAM: where in the picture a network found the evidence for a class.

Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV
2017, equations 1 and 2: a channel's weight is the mean over the map of the class logit's gradient, and the
heat map is the positive part of the weighted sum of channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.errors import OptionError, ShapeError, UnknownNameError
from mien.methods.task import Task


def grad_cam(task: Task, images: Tensor, classes: Tensor | None = None, layer: str | None = None) -> Tensor:
    """Heat maps of a batch of faces.

    The network answers in evaluation mode, and is left as it was: modes, gradients and hooks.

    Args:
        task: the network and how it answers.
        images: float32 (B, C, H, W), normalised as the method's contract says.
        classes: int (B,), the class that each map explains; the most probable one where it is left out.
        layer: dotted name of a module of the network that gives a map (B, K, h, w). If the network calls
            it more than once, its last call counts. Left out: the network's attribute `explain_layer`.

    Returns:
        float32 (B, H, W) in [0, 1]: each map stretched to its own range, then resized to its picture. All
        zero where nothing speaks for the class, or where the map is the same everywhere.

    Raises:
        OptionError: no layer was named and the network names none.
        UnknownNameError: the network has no module of that name.
        ShapeError: the module gives no map for each picture, does not take part in the answer, or
            `classes` does not fit.
    """
    module = _module(task.network, layer)
    # Gradients are taken even where the caller has switched them off, or froze all weights.
    with torch.inference_mode(False), torch.enable_grad(), _evaluating(task.network):
        faces = images.detach().clone().requires_grad_(True)
        with _outputs(module) as outputs:
            logits = task.logits(faces)
        features = _features(outputs, faces)
        classes = _classes(classes, logits)
        score = logits.gather(1, classes[:, None]).sum()
        (slope,) = torch.autograd.grad(score, features, allow_unused=True)
    if slope is None:
        raise ShapeError("expected a layer that the logits depend on, got one that they do not. Name another")
    return heat_maps(features.detach(), slope, faces.shape[-2:])


def heat_maps(features: Tensor, slope: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Maps from a layer's output and the class logit's gradient in it.

    Args:
        features, slope: (B, K, h, w).
        size: height and width wanted.

    Returns:
        float32 (B, *size) in [0, 1].
    """
    weights = slope.mean((2, 3), keepdim=True)  # equation 1: (B, K, 1, 1)
    maps = functional.relu((weights * features).sum(1, keepdim=True)).float()  # equation 2: (B, 1, h, w)
    low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
    span = high - low
    # A map without any range says nothing; dividing by it would give NaN.
    maps = torch.where(span > 0, (maps - low) / torch.where(span > 0, span, 1.0), 0.0)
    maps = functional.interpolate(maps, tuple(size), mode="bilinear", align_corners=False)
    return maps[:, 0].clamp(0, 1)


def _module(network: nn.Module, layer: str | None) -> nn.Module:
    name = layer or getattr(network, "explain_layer", None)
    if name is None:
        raise OptionError(
            f"expected a layer to explain, got none, and {type(network).__name__} has no `explain_layer`. "
            "Name a module that gives a map (B, K, h, w)."
        )
    modules = dict(network.named_modules())
    if name not in modules:
        raise UnknownNameError(f"layer of {type(network).__name__}", name, filter(None, modules))
    return modules[name]


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; each module's own mode again afterwards."""
    before = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


@contextmanager
def _outputs(module: nn.Module) -> Iterator[list[Tensor]]:
    """What a module gives while the block runs."""
    seen: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: object) -> object:
        if not isinstance(output, Tensor):
            return output
        seen.append(output)
        return output.clone()  # a ReLU that works in place then changes the copy, not what was kept

    handle = module.register_forward_hook(keep)
    try:
        yield seen
    finally:
        handle.remove()


def _features(outputs: list[Tensor], faces: Tensor) -> Tensor:
    shape = tuple(outputs[-1].shape) if outputs else None
    if shape is None or len(shape) != 4 or shape[0] != len(faces):
        raise ShapeError(
            f"expected a layer that gives one map a picture ({len(faces)}, K, h, w), got {shape}. Name another "
            "layer, or, where the network cuts each picture into crops, give it single crops."
        )
    return outputs[-1]


def _classes(classes: Tensor | None, logits: Tensor) -> Tensor:
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
