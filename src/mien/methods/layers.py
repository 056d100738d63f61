"""Look into a layer of a network: what it gives, as maps (B, K, h, w), whatever the network's kind.

A network names the layer that explains it in its attribute `explain_layer`. Where that layer gives no maps, as in a
transformer, the network's method `explain_maps(output)` turns its output into maps: tokens go back to their places.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from mien.errors import OptionError, ShapeError, UnknownNameError


def layer_of(network: nn.Module, layer: str | None = None, attribute: str = "explain_layer") -> nn.Module:
    """The module of that dotted name; the one that the network's attribute names where it is left out.

    Raises:
        OptionError: no layer was named, and the network names none.
        UnknownNameError: the network has no module of that name.
    """
    name = layer or getattr(network, attribute, None)
    if name is None:
        raise OptionError(
            f"expected a layer to explain, got none, and {type(network).__name__} has no `{attribute}`. "
            "Name a module that gives a map (B, K, h, w)."
        )
    modules = dict(network.named_modules())
    if name not in modules:
        raise UnknownNameError(f"layer of {type(network).__name__}", name, filter(None, modules))
    return modules[name]


@contextmanager
def outputs(module: nn.Module) -> Iterator[list[Tensor]]:
    """What a module gives while the block runs, call by call."""
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


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; each module's own mode again afterwards."""
    before = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


def as_maps(network: nn.Module, output: Tensor | None, count: int) -> Tensor:
    """A layer's output as maps (B, K, h, w).

    Args:
        network: asked for `explain_maps` where the output has no four axes, or four with channels last.
        output: of the layer, `None` where it was not run.
        count: B, the number of pictures.

    Raises:
        ShapeError: the layer gives no map for each picture.
    """
    turn = getattr(network, "explain_maps", None)
    if output is not None and turn is not None:
        output = turn(output)
    shape = None if output is None else tuple(output.shape)
    if output is None or output.ndim != 4 or len(output) != count:
        raise ShapeError(
            f"expected a layer that gives one map a picture ({count}, K, h, w), got {shape}. Name another "
            "layer, or, where the network cuts each picture into crops, give it single crops."
        )
    return output
