"""Weights by their authors' names: rename tensors, and load them whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from mien.errors import WeightsError


def renamed(name: str, patterns: Iterable[tuple[str, str]]) -> str:
    """A tensor's name after each (pattern, replacement) in turn."""
    for pattern, replacement in patterns:
        name = re.sub(pattern, replacement, name)
    return name


def by_layer(
    state_dict: Mapping[str, Tensor], known: Mapping[str, str], source: str, advice: str
) -> dict[str, Tensor]:
    """Tensors whose first part, the layer's name, is looked up: "conv1.weight" -> "blocks.0.conv.weight".

    Args:
        state_dict: by the authors' names.
        known: their layer -> ours.
        source: whose layout it is, for the error.
        advice: what to give instead.

    Raises:
        WeightsError: a name is not of this layout.
    """
    ours = {}
    for name, value in state_dict.items():
        layer, _, tensor = name.partition(".")
        if layer not in known or not tensor:
            raise WeightsError(
                f"expected layers {', '.join(sorted(known))} of {source}, got {name!r}. {advice}"
            )
        ours[f"{known[layer]}.{tensor}"] = value
    return ours


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], expected: str) -> None:
    """Put tensors into a module, all of them and no other.

    Raises:
        WeightsError: one is missing, left over or of another shape; begins with `expected`.
    """
    try:
        module.load_state_dict(dict(state), strict=True)
    except RuntimeError as error:
        raise WeightsError(f"{expected}: {error}") from error
