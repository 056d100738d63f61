"""Class activation maps: a layer's maps, weighed by what they mean to a class.

| map | weight of channel k | source |
| --- | --- | --- |
| `cam` | the last layer's weight | Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016 |
| `grad_cam` | mean of the gradient | Selvaraju et al., "Grad-CAM", ICCV 2017, equations 1 and 2 |
| `grad_cam_pp` | weighted mean of the positive gradient | Chattopadhay et al., "Grad-CAM++", WACV 2018, eq. 5 and 19 |
| `layer_cam` | the positive gradient, place by place | Jiang et al., "LayerCAM", TIP 2021, equations 5 and 6 |
| `eigen_cam` | first right singular vector of the maps | Muhammad and Yeasin, "Eigen-CAM", IJCNN 2020 |
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mien.errors import ShapeError
from mien.explain.maps import Logits, answering, explained_classes, network_task, register, stretched
from mien.methods.layers import as_maps, evaluating, layer_of, outputs
from mien.methods.task import Task

CAM_TOLERANCE = 1e-3
"""How far, relative to the largest, pooled maps times the head may be from the logits for `cam` to hold."""


@register
def cam(
    task: Task | Logits, images: Tensor, classes: Tensor | None = None, layer: str | None = None
) -> Tensor:
    """The maps that are averaged into the last linear layer, weighed by that layer; see `mien.explain.maps`.

    Args:
        layer: module whose maps are averaged; left out, the network's attribute `cam_layer`.

    Raises:
        OptionError: no layer was named and the network names none, as where it does not end so.
        ShapeError: the network's logits are not its `head` of the averaged maps.
    """
    task = network_task(task, "cam")
    network = task.network
    module = layer_of(network, layer, "cam_layer")
    with answering(task) as logits_of, outputs(module) as seen:
        logits = logits_of(images)
        maps = as_maps(network, seen[-1] if seen else None, len(images))
    head = getattr(network, "head", None)
    if not isinstance(head, nn.Linear) or not _averaged(head, maps, logits):
        raise ShapeError(
            f"expected a network that averages one map and applies its linear `head`, got {type(network).__name__}, "
            "whose logits are not that of this layer. Use 'grad_cam', which needs no such end."
        )
    weights = head.weight.detach()[explained_classes(classes, logits)]
    return stretched(torch.einsum("bk,bkhw->bhw", weights, maps), images.shape[-2:])


def _averaged(head: nn.Linear, maps: Tensor, logits: Tensor) -> bool:
    """Whether the logits are the head's of the averaged maps."""
    if head.in_features != maps.shape[1]:
        return False
    with torch.no_grad():
        away = (head(maps.mean((2, 3))) - logits).abs().max()
    return bool(away <= CAM_TOLERANCE * logits.abs().max())


@register
def grad_cam(
    task: Task | Logits, images: Tensor, classes: Tensor | None = None, layer: str | None = None
) -> Tensor:
    """Maps weighed by the mean of the class logit's gradient; see `mien.explain.maps`.

    The network answers in evaluation mode, and is left as it was: modes, gradients and hooks.

    Args:
        layer: dotted name of a module of the network that gives a map (B, K, h, w). If the network calls it
            more than once, its last call counts. Left out: the network's attribute `explain_layer`.

    Raises:
        OptionError: no layer was named and the network names none.
        UnknownNameError: the network has no module of that name.
        ShapeError: the module gives no map for each picture, does not take part in the answer, or
            `classes` does not fit.
    """
    maps, slope = _maps_and_slope(network_task(task, "grad_cam"), images, classes, layer)
    return heat_maps(maps, slope, images.shape[-2:])


def heat_maps(features: Tensor, slope: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Grad-CAM from a layer's maps and the class logit's gradient in them.

    Args:
        features, slope: (B, K, h, w).
        size: height and width wanted.

    Returns:
        float32 (B, *size) in [0, 1].
    """
    weights = slope.mean((2, 3), keepdim=True)  # equation 1: (B, K, 1, 1)
    return stretched((weights * features).sum(1), size)  # equation 2


@register
def grad_cam_pp(
    task: Task | Logits, images: Tensor, classes: Tensor | None = None, layer: str | None = None
) -> Tensor:
    """Grad-CAM++, for the exponential of the logit; arguments and errors as `grad_cam`.

    Of exp(score) all derivatives are powers of the score's gradient times exp(score), as the network is piecewise
    linear; that common factor goes when the map is stretched.
    """
    maps, slope = _maps_and_slope(network_task(task, "grad_cam_pp"), images, classes, layer)
    below = 2 + slope * maps.sum((2, 3), keepdim=True)  # equation 19, divided by the gradient's square
    alpha = torch.where(below != 0, 1 / torch.where(below != 0, below, 1.0), 0.0)
    weights = (alpha * functional.relu(slope)).sum((2, 3), keepdim=True)  # equation 5
    return stretched((weights * maps).sum(1), images.shape[-2:])


@register
def layer_cam(
    task: Task | Logits, images: Tensor, classes: Tensor | None = None, layer: str | None = None
) -> Tensor:
    """Maps weighed place by place by the positive gradient; arguments and errors as `grad_cam`."""
    maps, slope = _maps_and_slope(network_task(task, "layer_cam"), images, classes, layer)
    return stretched((functional.relu(slope) * maps).sum(1), images.shape[-2:])


@register
def eigen_cam(
    task: Task | Logits, images: Tensor, classes: Tensor | None = None, layer: str | None = None
) -> Tensor:
    """The maps' first principal component, not centred; arguments and errors as `grad_cam`.

    It knows no class: `classes` is checked, and changes nothing. A component's sign is free; it is taken so that
    the map's sum is positive.
    """
    task = network_task(task, "eigen_cam")
    module = layer_of(task.network, layer)
    with answering(task) as logits_of, outputs(module) as seen:
        explained_classes(classes, logits_of(images))
        maps = as_maps(task.network, seen[-1] if seen else None, len(images))
    rows = maps.flatten(2).transpose(1, 2).double()  # (B, h w, K)
    first = torch.linalg.svd(rows, full_matrices=False)[2][:, :1]  # (B, 1, K)
    found = (rows * first).sum(2)
    found = found * torch.where(found.sum(1, keepdim=True) < 0, -1.0, 1.0)
    return stretched(found.unflatten(1, maps.shape[2:]), images.shape[-2:])


def _maps_and_slope(
    task: Task, images: Tensor, classes: Tensor | None, layer: str | None
) -> tuple[Tensor, Tensor]:
    """A layer's maps and the class logit's gradient in them, both (B, K, h, w)."""
    network = task.network
    module = layer_of(network, layer)
    # Gradients are taken even where the caller has switched them off, or froze all weights.
    with torch.inference_mode(False), torch.enable_grad(), evaluating(network):
        faces = images.detach().clone().requires_grad_(True)
        with outputs(module) as seen:
            logits = task.logits(faces)
        maps = as_maps(network, seen[-1] if seen else None, len(faces))
        score = logits.gather(1, explained_classes(classes, logits)[:, None]).sum()
        (slope,) = torch.autograd.grad(score, seen[-1], allow_unused=True)
    if slope is None:
        raise ShapeError("expected a layer that the logits depend on, got one that they do not. Name another")
    return maps.detach(), as_maps(network, slope, len(faces))
