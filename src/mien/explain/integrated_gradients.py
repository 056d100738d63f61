"""Integrated gradients: Sundararajan et al., "Axiomatic Attribution for Deep Networks", ICML 2017, equation 1.

captum has it as well. These are a dozen lines, and captum would bring a dependency of its own for them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mien.errors import OptionError
from mien.explain.maps import (
    Logits,
    explained_classes,
    network_task,
    register,
    stretched,
    without_content,
)
from mien.methods.layers import evaluating
from mien.methods.task import Task


@register
def integrated_gradients(
    task: Task | Logits,
    images: Tensor,
    classes: Tensor | None = None,
    steps: int = 32,
    baseline: str = "mean",
) -> Tensor:
    """The positive part of the attributions, summed over channels; see `mien.explain.maps`.

    A part of a network that has no gradient is not seen, as VTFF's branch of local binary patterns.

    Args:
        steps, baseline: see `attributions`.
    """
    found = attributions(task, images, classes, steps, baseline)
    return stretched(found.sum(1), images.shape[-2:])


def attributions(
    task: Task | Logits,
    images: Tensor,
    classes: Tensor | None = None,
    steps: int = 32,
    baseline: str | Tensor = "mean",
) -> Tensor:
    """What each input adds to the class logit, against a baseline: they sum to the two logits' difference.

    Args:
        task, images, classes: see `mien.explain.maps`.
        steps: points on the straight line from baseline to picture, at the middle of equal parts.
        baseline: a name, see `without_content`, or (B, C, H, W) itself.

    Returns:
        float32 (B, C, H, W), of either sign.

    Raises:
        OptionError: no step.
    """
    task = network_task(task, "integrated_gradients")
    if steps < 1:
        raise OptionError(f"expected at least 1 step, got {steps}")
    start = without_content(images, baseline) if isinstance(baseline, str) else baseline
    with torch.inference_mode(False), torch.enable_grad(), evaluating(task.network):
        total = torch.zeros_like(images)
        with torch.no_grad():
            chosen = explained_classes(classes, task.logits(images))
        for step in range(steps):
            between = start + (images - start) * ((step + 0.5) / steps)
            between = between.detach().clone().requires_grad_(True)
            score = task.logits(between).gather(1, chosen[:, None]).sum()
            total += torch.autograd.grad(score, between)[0]
    return ((images - start) * total / steps).detach()
