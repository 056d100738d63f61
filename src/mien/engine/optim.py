"""Optimisers, learning rates and SAM."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mien.engine.recipe import Optim, Schedule
from mien.errors import OptionError, TrainingError


def optimiser(network: nn.Module, settings: Optim) -> torch.optim.Optimizer:
    """The optimiser of a recipe, over the parameters that are trained; decay on weights, not on biases.

    Each group has a `scale`, by which the learning rate of a step is multiplied: 1, or that of its layer or name.

    Raises:
        OptionError: `layer_decay` for a network that does not say its layers, or a name in `scales` that fits nothing.
    """
    if settings.layer_decay == 1:
        parts = _by_name(network, settings.scales)
    else:
        parts = _by_layer(network, settings.layer_decay)
    groups = [
        {"params": chosen, "weight_decay": decay, "scale": scale, "lr": settings.lr * scale}
        for scale, trained in parts
        for chosen, decay in (
            ([p for p in trained if p.ndim > 1], settings.weight_decay),
            ([p for p in trained if p.ndim <= 1], 0.0),
        )
    ]
    if settings.name == "sgd":
        momentum, nesterov = settings.momentum, settings.nesterov
        return torch.optim.SGD(groups, lr=settings.lr, momentum=momentum, nesterov=nesterov, fused=True)
    # Fused: one pass over the weights, about a tenth of a step of a large network on a CPU.
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.name]
    return kind(groups, lr=settings.lr, fused=True)


def _by_layer(network: nn.Module, decay: float) -> list[tuple[float, list[Tensor]]]:
    """Scale and parameters of each layer, the lowest first: decay^(L + 1 - i) for layer i of 0..L + 1."""
    layers, layer_of = getattr(network, "layers", None), getattr(network, "layer_of", None)
    if layers is None or layer_of is None:
        raise OptionError(
            f"expected a network with `layers` and `layer_of` for optim.layer_decay, got {type(network).__name__}. "
            "Set optim.layer_decay=1."
        )
    groups: list[list[Tensor]] = [[] for _ in range(layers + 2)]
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups[layer_of(name)].append(parameter)
    return [(decay ** (layers + 1 - layer), group) for layer, group in enumerate(groups)]


def _by_name(network: nn.Module, scales: Mapping[str, float]) -> list[tuple[float, list[Tensor]]]:
    """Scale and parameters: 1 for the rest, then those of each begin of a name, the longest that fits."""
    groups: dict[str, list[Tensor]] = {"": [], **{begin: [] for begin in scales}}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups[max((begin for begin in groups if name.startswith(begin)), key=len)].append(parameter)
    empty = [begin for begin in scales if not groups[begin]]
    if empty:
        raise OptionError(
            f"expected begins of names of {type(network).__name__}'s trained parameters in optim.scales, got {empty[0]!r}"
        )
    return [(scales.get(begin, 1.0), group) for begin, group in groups.items() if group]


def learning_rate(
    schedule: Schedule, peak: float, step: int, steps_an_epoch: int, epochs: int, drops: int = 0
) -> float:
    """The learning rate of a step, counted from 0.

    Args:
        schedule: of the recipe.
        peak: the recipe's learning rate.
        step, steps_an_epoch, epochs: where the run stands and how long it is.
        drops: how often "plateau" has acted so far.
    """
    warmup = schedule.warmup_epochs * steps_an_epoch
    if step < warmup:
        longest = max(1.0, warmup)  # a warm-up that is not whole ends at the peak, not over it
        return peak * min(step + 1, longest) / longest
    epoch = step / steps_an_epoch
    if schedule.name == "cosine":
        done = min(1.0, (step - warmup) / max(1.0, epochs * steps_an_epoch - warmup))
        return peak * (schedule.floor + (1 - schedule.floor) * 0.5 * (1 + math.cos(math.pi * done)))
    if schedule.name == "step":
        return peak * schedule.gamma ** int(epoch // schedule.every)
    if schedule.name == "exponential":
        return peak * schedule.gamma ** int(epoch)
    if schedule.name == "plateau":
        return peak * schedule.gamma**drops
    return peak


class Sam:
    """Sharpness-aware minimisation: the gradient is taken at the worst point near the weights.

    `perturb` moves the weights by rho * g / ||g|| (norm over all parameters), `restore` copies the stored
    weights back, bit for bit. Adaptive: the step is scaled by the squared size of each weight.
    Source: Foret et al., "Sharpness-Aware Minimization", ICLR 2021, eq. 2; Kwon et al., "ASAM", ICML 2021.

    Args:
        parameters: those that are trained.
        rho: radius.
        adaptive: whether it is ASAM.
    """

    def __init__(self, parameters: Iterable[Tensor], rho: float = 0.05, adaptive: bool = False) -> None:
        self.parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self.rho, self.adaptive = rho, adaptive
        self._stored: list[Tensor] = []

    @torch.no_grad()
    def perturb(self) -> None:
        """Go uphill from the gradients at hand; they are cleared."""
        moved = [(parameter, parameter.grad) for parameter in self.parameters if parameter.grad is not None]
        if not moved:
            raise TrainingError(
                "expected gradients before SAM's first step, got none. Call backward() first."
            )
        scales = [parameter.abs() if self.adaptive else torch.ones(()) for parameter, _ in moved]
        parts = [(scale * gradient).norm() for scale, (_, gradient) in zip(scales, moved, strict=True)]
        norm = torch.stack(parts).norm() + 1e-12
        self._stored = [parameter.detach().clone() for parameter in self.parameters]
        for scale, (parameter, gradient) in zip(scales, moved, strict=True):
            parameter.add_(scale**2 * gradient * (self.rho / norm))
        self._clear()

    @torch.no_grad()
    def restore(self) -> None:
        """Put the weights back; the gradients of the second pass stay."""
        for parameter, stored in zip(self.parameters, self._stored, strict=True):
            parameter.copy_(stored)
        self._stored = []

    def _clear(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None


@contextmanager
def held_statistics(network: nn.Module) -> Iterator[None]:
    """Whatever a network learns in its buffers is put back afterwards, as in SAM's second pass.

    Batch norms use the batch's statistics and keep their own; prototypes that follow the batches stay.
    """
    before = [buffer.detach().clone() for buffer in network.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, stored in zip(network.buffers(), before, strict=True):
                if not torch.equal(buffer, stored):
                    buffer.copy_(stored)
