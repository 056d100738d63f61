"""The network of a recipe: its input, its options, its start, and what it answers."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mien.engine.checkpoint import load_start
from mien.engine.pictures import Pictures
from mien.engine.recipe import Recipe
from mien.engine.views import network_input, plain_views
from mien.errors import OptionError
from mien.methods.method import METHODS, create, reset_head
from mien.methods.rule import RULES
from mien.methods.task import Task
from mien.types.media import Preprocess


def preprocess_of(recipe: Recipe) -> Preprocess:
    """The method's crop, at the recipe's size and number of frames.

    Raises:
        OptionError: the recipe sets frames for a method that takes single pictures.
    """
    preprocess = METHODS[recipe.method].preprocess
    if recipe.frames and preprocess.frames is None:
        raise OptionError(
            f"expected no frames for {recipe.method!r}, which takes pictures, got {recipe.frames}"
        )
    return dataclasses.replace(
        preprocess,
        size_px=recipe.size_px or preprocess.size_px,
        frames=recipe.frames or preprocess.frames,
    )


def options_of(recipe: Recipe) -> dict[str, Any]:
    """The builder's options; one that is built for a side, `size`, or for `frames`, gets the recipe's."""
    known = inspect.signature(METHODS[recipe.method].build).parameters
    own = {"size": recipe.size_px, "frames": recipe.frames}
    return {**recipe.options, **{name: value for name, value in own.items() if value and name in known}}


@contextlib.contextmanager
def named_options(function: Callable[..., Any], name: str) -> Iterator[None]:
    """Where a function is called with options that it does not have, say which it has.

    Raises:
        OptionError: see above.
    """
    try:
        yield
    except TypeError as error:
        if "argument '" not in str(error):  # unexpected, or given twice
            raise
        known = [
            ("others" if option.kind is option.VAR_KEYWORD else option.name)
            for option in inspect.signature(function).parameters.values()
            if option.name not in ("classes", "task")
        ]
        raise OptionError(
            f"expected options of {name!r} ({', '.join(known) or 'it has none'}), got: {error}"
        ) from None


def build(recipe: Recipe, classes: int) -> nn.Module:
    """The recipe's network with its start.

    Raises:
        OptionError: the method has no such option, or no network that is shipped.
    """
    with named_options(METHODS[recipe.method].build, recipe.method):
        network = create(recipe.method, classes, **options_of(recipe))
    if recipe.start == "shipped":
        from mien.methods.static.mobile_expression import MobileExpression, load_shipped

        if not isinstance(network, MobileExpression):
            raise OptionError(
                f"expected method 'mobile_expression' for start 'shipped', got {recipe.method!r}"
            )
        load_shipped(network, head=False)
        reset_head(network, classes)
    return network


def start(network: nn.Module, recipe: Recipe, labels: Sequence[str]) -> dict[str, Any] | None:
    """Load the weights that the recipe starts from, where it names another run or a file; says what was taken."""
    return None if recipe.start in ("fresh", "shipped") else load_start(network, Path(recipe.start), labels)


@torch.no_grad()
def predict(
    task: Task, pictures: Pictures, preprocess: Preprocess, device: torch.device | None = None
) -> Tensor:
    """Logits (N, K) of the plain aligned crops, one view, on the CPU."""
    task.network.eval()
    answers = []
    for rows in torch.arange(len(pictures)).split(max(1, 128 // (pictures.frames or 1))):
        crops = network_input(plain_views(pictures, rows, preprocess.size_px), preprocess)
        answers.append(task.answer(crops.to(device or "cpu")).float().cpu())
    return torch.cat(answers)


def task_of(recipe: Recipe, network: nn.Module) -> Task:
    """How the network learns: its method's task, in the recipe's rule where there is one."""
    task = METHODS[recipe.method].task(network)
    if recipe.rule is None:
        return task
    with named_options(RULES[recipe.rule].wrap, recipe.rule):
        return RULES[recipe.rule].wrap(task, **recipe.rule_options)
