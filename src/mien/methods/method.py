"""What is known of a published method, beside its code: paper, input, classes, published counts and results.

A method's file registers one function a variant:

    @register(paper=..., preprocess=..., labels=..., counts=..., reported=(...,))
    def vtff_base(classes: int = 8) -> nn.Module: ...

The function's name is the registry's name. The network takes normalised faces (B, C, H, W) and gives
logits (B, classes), or a dict of outputs with the key "expression", or "action_units" where its task is one
for units; see `mien.methods.task`. Its last layer is `network.head`, an `nn.Linear`, so that `reset_head` can
give it other classes; a network without one (units that are nodes of a graph) cannot be reset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from mien.errors import ShapeError
from mien.labels.expressions import EXPRESSIONS
from mien.methods.task import Task
from mien.registry import Registry
from mien.types.media import Preprocess


@dataclass(frozen=True)
class Paper:
    """Where a method was published.

    Attributes:
        title, authors, year: as printed.
        source: "arXiv 2103.16854", a DOI, or a venue.
        code: address of the authors' code, `None` where none was found.
        code_licence: licence of that code.
    """

    title: str
    authors: str
    year: int
    source: str
    code: str | None = None
    code_licence: str | None = None


@dataclass(frozen=True)
class Reported:
    """A result reported by the authors; never ours.

    Attributes:
        dataset: registry name of the data set and its variant, "ferplus", "rafdb", "affectnet_8".
        metric: "accuracy" in percent; "uar", "macro_f1", "ccc_valence" and all others in their own range, up to 1.
        value: the figure.
        where: "abstract", "table 3", "repository's README"; "from memory" where it was not seen.
    """

    dataset: str
    metric: str
    value: float
    where: str


@dataclass(frozen=True)
class Counts:
    """Size and cost that our network is held to by a test.

    Attributes:
        parameters: of the whole network, trained or not.
        macs: multiply-accumulates of one face.
        tolerance: relative, on the parameters, 0 for exact; operations are held to it too, but to 2 % at least.
        source: who counted, and how.
        without: module names that are left out of the parameter count, where the published figure does so.
    """

    parameters: int | None = None
    macs: int | None = None
    tolerance: float = 0.01
    source: str = ""
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class Method:
    """One registered variant of a method; see the module's text for how it comes to be."""

    name: str
    build: Callable[..., nn.Module]
    paper: Paper
    preprocess: Preprocess
    labels: tuple[str, ...]
    counts: Counts
    reported: tuple[Reported, ...]
    differs: tuple[str, ...]
    task: type[Task] = Task
    quick_options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def room(self) -> str:
        """Folder of the method, which is its place in the field: "static", "dynamic", ..."""
        return self.build.__module__.split(".")[-2]


METHODS: Registry[Method] = Registry("method", "mien.methods")


def register(
    *,
    paper: Paper,
    preprocess: Preprocess,
    counts: Counts,
    labels: tuple[str, ...] = EXPRESSIONS,
    reported: tuple[Reported, ...] = (),
    differs: tuple[str, ...] = (),
    task: type[Task] = Task,
    quick_options: Mapping[str, Any] | None = None,
) -> Callable[[Callable[..., nn.Module]], Callable[..., nn.Module]]:
    """Register a builder under its own name.

    Args:
        paper: where it was published.
        preprocess: the crop that the network wants.
        counts: published or measured size, held by `tests/contracts`.
        labels: default classes, in the order of the outputs.
        reported: results of the authors.
        differs: each point in which this network differs from the paper, in a sentence.
        task: how it learns, where that is not plain cross-entropy.
        quick_options: options that make it small enough to learn in a test, if it is not.
    """

    def add(build: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
        name = build.__name__
        METHODS.add(
            name,
            Method(
                name, build, paper, preprocess, labels, counts, reported, differs, task, quick_options or {}
            ),
        )
        return build

    return add


def list_methods() -> list[str]:
    """Names of all registered methods, for `create`."""
    return list(METHODS)


def create(name: str, classes: int | None = None, **options: Any) -> nn.Module:
    """Build a registered network with fresh weights.

    Args:
        name: registry name.
        classes: outputs; the method's own number of classes where it is left out.
        **options: the builder's own options.
    """
    method = METHODS[name]
    return method.build(classes=classes or len(method.labels), **options)


def reset_head(network: nn.Module, classes: int) -> None:
    """Give a network a fresh last layer for other classes, in place.

    Raises:
        ShapeError: the network's `head` is no linear layer.
    """
    head = getattr(network, "head", None)
    if not isinstance(head, nn.Linear):
        raise ShapeError(
            f"expected a linear layer `head` in {type(network).__name__}, got {type(head).__name__}"
        )
    network.head = nn.Linear(head.in_features, classes, bias=head.bias is not None)
