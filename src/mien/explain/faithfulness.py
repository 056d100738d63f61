"""Whether a heat map says what the network does: four questions, each a number, for all maps on one network.

| question | figure | source |
| --- | --- | --- |
| does the class go when the map's places go? | area under the deletion curve, low | Petsiuk et al., "RISE", BMVC 2018 |
| does it come when they come? | area under the insertion curve, high | the same |
| does the map change when the network's weights are random? | mean rank correlation, low | Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018 |
| does it stay when the face moves by two pixels? | mean rank correlation, high | our choice of shifts |

Two maps that ask no network stand beside the others: `random` (smooth noise) and `centre` (a bump in the middle).
A map that is no better than these explains nothing by that figure. RISE deletes to a constant and inserts into a blurred
picture, a few pixels a step; here both use the blurred picture, in few steps (16, in the recipe 8): curves of one network can be
compared with each other, not with RISE's figures.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from mien.errors import ShapeError
from mien.explain.maps import (
    MAPS,
    Logits,
    MapFunction,
    answering,
    answers_each,
    explained_classes,
    in_batches,
    stretched,
    without_content,
)
from mien.methods.task import Task
from mien.metrics.bootstrap import bootstrap_mean
from mien.metrics.ranks import average_ranks

SURVIVES = 0.5
"""A map whose mean rank correlation with that of a random network is at least this is said to survive."""


@dataclass(frozen=True)
class Faithfulness:
    """One map's figures; NaN where no picture's map could be compared.

    Attributes:
        name: of the map.
        deletion, insertion: mean areas under the curves of the class's probability, 0 to 1.
        deletion_apart, insertion_apart: 95 % intervals, over pictures, of how much these areas are over those of the map
            `centre`, the blob in the middle of the same picture; NaN for that map itself, or for one picture.
        randomised: mean rank correlation, -1 to 1, with the map of the randomised network; NaN for the controls.
        stability: mean rank correlation of the maps of shifted pictures with the shifted map.
        flat: share of the pictures whose map is the same everywhere; they do not count in the correlations.
    """

    name: str
    deletion: float
    insertion: float
    randomised: float
    stability: float
    flat: float
    deletion_apart: tuple[float, float] = (math.nan, math.nan)
    insertion_apart: tuple[float, float] = (math.nan, math.nan)

    @property
    def survives(self) -> bool:
        """Whether the map hardly depends on the weights, by `SURVIVES`."""
        return self.randomised >= SURVIVES


@dataclass(frozen=True)
class FaithfulnessTable:
    """All maps' figures, and how they came to be."""

    rows: tuple[Faithfulness, ...]
    facts: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """For JSON; `None` for what could not be measured."""
        maps = []
        for row in self.rows:
            figures = {
                name: value if isinstance(value, str) or np.isfinite(value).all() else None
                for name, value in asdict(row).items()
            }
            maps.append({**figures, "survives": row.survives})
        return {**self.facts, "maps": maps}

    def to_markdown(self) -> str:
        """For people."""
        lines = [
            "| map | deletion (low) | less the blob's | insertion (high) | less the blob's | random weights (low) | "
            "shifted (high) | flat | |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for row in self.rows:
            cells = [
                f"{row.deletion:.3f}", _interval(row.deletion_apart), f"{row.insertion:.3f}", _interval(row.insertion_apart),
                *("-" if np.isnan(value) else f"{value:.3f}" for value in (row.randomised, row.stability, row.flat)),
            ]  # fmt: skip
            remark = "survives random weights" if row.survives else ""
            lines.append(f"| `{row.name}` | {' | '.join(cells)} | {remark} |")
        facts = ", ".join(f"{name} {value}" for name, value in self.facts.items() if name != "options")
        return "\n".join([*lines, "", f"{facts}; a map survives from a correlation of {SURVIVES:g} on."])


def curves(
    task: Task | Logits,
    images: Tensor,
    maps: Tensor,
    classes: Tensor | None = None,
    steps: int = 16,
    baseline: str = "blur",
    batch_size: int = 64,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """The class's probability as places go (deletion) and come (insertion), the map's highest first.

    Args:
        task, images, classes: see `mien.explain.maps`.
        maps: (B, H, W).
        steps: equal shares of the pixels, one after the other.
        baseline: what stands where nothing of the picture is; see `without_content`.
        batch_size: pictures in one call of the network.
        seed: of the order among places of equal value.

    Returns:
        float32 (B, steps + 1) twice: at shares 0, 1 / steps, ..., 1.

    Raises:
        ShapeError: the maps are not the pictures'.
    """
    if maps.shape != (len(images), *images.shape[2:]):
        raise ShapeError(f"expected maps {(len(images), *images.shape[2:])}, got {tuple(maps.shape)}")
    random = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(maps[0].numel(), generator=random).to(maps.device)
    order = shuffled[maps.flatten(1)[:, shuffled].argsort(dim=1, descending=True, stable=True)]
    rank = order.argsort(1).unflatten(1, maps.shape[1:])[:, None]
    empty, pixels = without_content(images, baseline), maps[0].numel()
    with answering(task) as logits:
        classes = explained_classes(classes, in_batches(logits, images, batch_size))

        def probability(shown: Tensor) -> Tensor:
            found = in_batches(logits, shown, batch_size)
            shares = found.sigmoid() if answers_each(task) else found.softmax(1)
            return shares.gather(1, classes[:, None])[:, 0]

        whole, nothing = probability(images), probability(empty)
        gone, come = [whole], [nothing]
        for step in range(1, steps):
            first = rank < round(pixels * step / steps)
            gone.append(probability(torch.where(first, empty, images)))
            come.append(probability(torch.where(first, images, empty)))
    return torch.stack([*gone, nothing], 1), torch.stack([*come, whole], 1)


def area(curve: Tensor) -> Tensor:
    """Area under curves (B, steps + 1) over shares from 0 to 1, by trapezoids: (B,)."""
    return (curve[:, 1:] + curve[:, :-1]).mean(1) / 2


def randomised(task: Task, images: Tensor, seed: int = 0) -> Task:
    """The same task with a copy of its network in which all that was learned is drawn afresh, all at once.

    Layers start as they do; what is no layer's own (tokens, tables of positions) is drawn from a normal of deviation 0.02.
    Batch norms then take their statistics from the pictures, so that signals keep their size.

    Args:
        task: is left as it is.
        images: (B, C, H, W), at least two.
        seed: of the weights.
    """
    fresh = copy.deepcopy(task)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for module in fresh.network.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()  # type: ignore[operator]
            else:
                for parameter in module.parameters(recurse=False):
                    nn.init.normal_(parameter, std=0.02)
        norms = [one for one in fresh.network.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
        fresh.network.eval()
        for norm in norms:
            norm.train()
            norm.momentum = None  # the plain mean over what is seen
        if norms:
            fresh.logits(images)
    fresh.network.eval()
    return fresh


def rank_correlations(first: Tensor, second: Tensor) -> np.ndarray:
    """Spearman's correlation of each pair of maps (B, H, W), ties shared: (B,), NaN where a map is flat."""
    found = []
    for one, other in zip(first.flatten(1).cpu().numpy(), second.flatten(1).cpu().numpy(), strict=True):
        ranks = [average_ranks(values) - (len(values) + 1) / 2 for values in (one, other)]
        size = np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum())
        found.append((ranks[0] * ranks[1]).sum() / size if size > 0 else np.nan)
    return np.array(found)


def shifted(images: Tensor, down: int, right: int) -> Tensor:
    """Pictures (B, ..., H, W) moved by whole pixels; the border is repeated."""
    height, width = images.shape[-2:]
    rows = (torch.arange(height) - down).clamp(0, height - 1)
    columns = (torch.arange(width) - right).clamp(0, width - 1)
    return images[..., rows, :][..., columns]


SHIFTS = ((0, 2), (2, 0))
"""Pixels down and to the right by which pictures are moved."""


def faithfulness(
    task: Task,
    images: Tensor,
    classes: Tensor | None = None,
    names: Sequence[str] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    steps: int = 16,
    baseline: str = "blur",
    compared: int | None = None,
    seed: int = 0,
    quiet: bool = True,
) -> FaithfulnessTable:
    """The table of several maps on one network.

    Args:
        task, images, classes: see `mien.explain.maps`; the class of a picture stays the same throughout.
        names: of maps; all of `MAPS` that this network has, where left out (`cam` needs a certain end).
        options: map -> its own options, such as `{"rise": {"masks": 200}}`.
        steps, baseline: of the curves.
        compared: pictures, the first so many, for the two correlations, which ask for each map four times; all, if left out.
        seed: of the random network, of ties, and of the map `random`.
        quiet: no progress bar.
    """
    given, some = options or {}, slice(0, compared or len(images))
    with answering(task) as logits:
        classes = explained_classes(classes, in_batches(logits, images, 64))
    wanted = [name for name in MAPS if name != "cam" or hasattr(task.network, "cam_layer")]
    wanted = list(wanted if names is None else names)
    fresh = randomised(task, images[:64], seed)
    makers: dict[str, MapFunction] = {name: MAPS[name] for name in wanted}
    makers |= {"random": _noise(seed), "centre": centre_map}
    rows, areas = [], {}
    for name, make in tqdm(makers.items(), "faithfulness", disable=quiet, unit="map", leave=False):
        make = functools.partial(make, **given.get(name, {}))
        maps = make(task, images, classes)
        gone, come = curves(task, images, maps, classes, steps, baseline, seed=seed)
        areas[name] = [area(curve).double().cpu().numpy() for curve in (gone, come)]
        other = make(fresh, images[some], classes[some]) if name in wanted else None
        rows.append(
            Faithfulness(
                name=name,
                deletion=float(areas[name][0].mean()),
                insertion=float(areas[name][1].mean()),
                randomised=float("nan") if other is None else _mean(rank_correlations(maps[some], other)),
                stability=_stability(make, task, images[some], maps[some], classes[some]),
                flat=float((maps.amax((1, 2)) == maps.amin((1, 2))).float().mean()),
            )
        )
    for index, row in enumerate(rows):
        if row.name != "centre":
            deletion, insertion = (
                bootstrap_mean(own - blob, seed=seed)
                for own, blob in zip(areas[row.name], areas["centre"], strict=True)
            )
            rows[index] = replace(row, deletion_apart=deletion, insertion_apart=insertion)
    facts = {
        "pictures": len(images), "compared": len(images[some]), "steps": steps, "baseline": baseline, "seed": seed,
        "options": {name: dict(value) for name, value in given.items()},
    }  # fmt: skip
    return FaithfulnessTable(tuple(rows), facts)


def _stability(make: MapFunction, task: Task, images: Tensor, maps: Tensor, classes: Tensor) -> float:
    """Mean rank correlation of the moved pictures' maps with the moved maps, where both have the picture."""
    found = []
    for down, right in SHIFTS:
        after = make(task, shifted(images, down, right), classes)[:, down:, right:]
        found.append(rank_correlations(after, shifted(maps, down, right)[:, down:, right:]))
    return _mean(np.concatenate(found))


def _interval(apart: tuple[float, float]) -> str:
    return "-" if np.isnan(apart).any() else f"{apart[0]:+.3f} to {apart[1]:+.3f}"


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _noise(seed: int) -> MapFunction:
    """Smooth noise, another for each picture; the same picture, moved, has another."""
    random = torch.Generator().manual_seed(seed)

    def make(_task: object, images: Tensor, _classes: object) -> Tensor:
        grids = torch.rand(len(images), 1, 7, 7, generator=random).to(images.device)
        large = functional.interpolate(grids, tuple(images.shape[2:]), mode="bilinear", align_corners=False)
        return stretched(large[:, 0], images.shape[-2:])

    return make


def centre_map(_task: object, images: Tensor, _classes: object) -> Tensor:
    """A Gaussian in the middle, its deviation a quarter of the side; the same for all pictures."""
    y, x = (torch.linspace(-1, 1, side, device=images.device) for side in images.shape[2:])
    bump = torch.exp(-2 * (y[:, None] ** 2 + x**2))
    return stretched(bump.expand(len(images), -1, -1), images.shape[-2:])
