"""How like human knowledge a network's explanations are: mean heat maps of each class against the places of action units.

Source: Gaya-Morey, Ramis-Guarinos, Manresa-Yee and Buades-Rubio, "Unveiling the Human-like Similarities of Automatic Facial
Expression Recognition: An Empirical Exploration through Explainable AI", 2024 (page and abstract were read; steps that the
sheet could not confirm are from memory). The authors report over 12 networks a mean IoU of 0.2702, the best 0.3269, the worst
0.2066.

Differs from the paper: any map of `mien.explain.maps` takes LIME's place; the mask of a class is the union of its units'
ellipses (`mien.transforms.au_cues`) on mien's mean face. Needs scipy (extra `explain`) to warp and to cluster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from mien.errors import LabelError, MissingExtraError, ShapeError
from mien.explain.placed import sampled
from mien.files import whole
from mien.transforms.au_cues import unit_map
from mien.transforms.shape68 import MEAN_FACE, expect_points

EXPECTED_UNITS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "angry": (4, 5, 7, 23),
        "disgust": (9, 15, 16),
        "fear": (1, 2, 4, 5, 7, 20, 26),
        "happy": (6, 12),
        "sad": (1, 4, 15),
        "surprise": (1, 2, 5, 26),
    }
)
"""Expression -> units that make its mask (Friesen and Ekman, as the paper takes them; from memory)."""


@dataclass(frozen=True)
class Likeness:
    """A class's mean map against its mask, both on the mean face.

    Attributes:
        network, expression: which.
        pictures: that the mean map is of.
        iou, precision, recall, f1: after keeping as many pixels as the mask has, the highest; the last three are then equal.
        ncc: correlation of the map's values with the mask, -1 to 1.

    All five are NaN for a map that is the same everywhere: it has no highest pixels.
    """

    network: str
    expression: str
    pictures: int
    iou: float
    precision: float
    recall: float
    f1: float
    ncc: float


def expected_mask(expression: str, side_px: int) -> np.ndarray:
    """Where the units of an expression show on the mean face: bool (S, S).

    Raises:
        LabelError: the expression has no mask, as neutral.
    """
    if expression not in EXPECTED_UNITS:
        raise LabelError(f"expected an expression of {', '.join(EXPECTED_UNITS)}, got {expression!r}")
    units = EXPECTED_UNITS[expression]
    maps = [unit_map(unit, MEAN_FACE * side_px, (side_px, side_px)) for unit in units]
    return np.logical_or.reduce([one > 0 for one in maps if one is not None])


def to_mean_face(heat: np.ndarray, points_xy_px: np.ndarray, side_px: int) -> np.ndarray:
    """A map moved so that the face's points lie on the mean face's, piece by piece (affine in each triangle).

    Args:
        heat: (H, W) of a picture or crop.
        points_xy_px: (68, 2) in its pixels.
        side_px: side of the result, which is an aligned crop.

    Returns:
        float32 (S, S). Beyond the points, the triangles reach to the corners of the aligned crop, which go where
        the affine map that fits all points best (least squares) puts them.

    Raises:
        MissingExtraError: scipy is not there.
        ShapeError: not 68 points.
    """
    try:
        from scipy.spatial import Delaunay
    except ImportError:
        raise MissingExtraError("to_mean_face needs scipy: pip install 'mien[explain]'") from None
    points = expect_points(points_xy_px)
    corners = np.array([[0.0, 0], [0.5, 0], [1, 0], [1, 0.5], [1, 1], [0, 1], [0, 0.5]])
    target = np.concatenate([MEAN_FACE, corners]) * side_px
    spread = np.column_stack([MEAN_FACE, np.ones(len(MEAN_FACE))])
    onto = np.linalg.lstsq(spread, points, rcond=None)[
        0
    ]  # the affine map that takes the mean face to this one
    source = np.concatenate([points, np.column_stack([corners, np.ones(len(corners))]) @ onto])
    mesh = Delaunay(target)
    places = np.stack(np.meshgrid(np.arange(side_px) + 0.5, np.arange(side_px) + 0.5), -1).reshape(-1, 2)
    triangle = mesh.find_simplex(places)
    edges, last = mesh.transform[triangle, :2], mesh.transform[triangle, 2]
    two = np.einsum("nij,nj->ni", edges, places - last)
    weights = np.column_stack([two, 1 - two.sum(1)])
    moved = np.einsum("ni,nij->nj", weights, source[mesh.simplices[triangle]])
    return sampled(np.asarray(heat, np.float32), moved).reshape(side_px, side_px)


def class_maps(
    heats: np.ndarray,
    truth: Sequence[str],
    predicted: Sequence[str] | None,
    points_xy_px: np.ndarray | None = None,
    side_px: int = 64,
) -> dict[str, tuple[np.ndarray, int]]:
    """The mean map of each class that has a mask, over the pictures that the network got right, from 0 to 1.

    Args:
        heats: (N, S, S), maps of aligned crops.
        truth: N expressions, in mien's names.
        predicted: N expressions; `None` counts all pictures, as for a network of random weights.
        points_xy_px: (N, 68, 2) in the crops' pixels; left out, the aligned crop is taken for the mean face.
        side_px: side of the mean maps.

    Returns:
        expression -> (float32 (side, side), number of pictures). A class without a picture is not there.
    """
    found = {}
    for expression in EXPECTED_UNITS:
        rows = [
            row
            for row, name in enumerate(truth)
            if name == expression and (predicted is None or predicted[row] == name)
        ]
        if not rows:
            continue
        if points_xy_px is None:
            moved = [_resized(heats[row], side_px) for row in rows]
        else:
            moved = [to_mean_face(heats[row], points_xy_px[row], side_px) for row in rows]
        mean = np.mean(moved, 0)
        span = mean.max() - mean.min()
        found[expression] = ((mean - mean.min()) / span if span > 0 else np.zeros_like(mean), len(rows))
    return found


def likeness(network: str, maps: Mapping[str, tuple[np.ndarray, int]]) -> list[Likeness]:
    """Each class's mean map against its mask.

    Args:
        network: its name, for the table.
        maps: as `class_maps` gives them.
    """
    rows = []
    for expression, (heat, pictures) in maps.items():
        mask = expected_mask(expression, len(heat))
        kept = highest(heat, int(mask.sum()))
        both = int((kept & mask).sum())
        precision, recall = both / max(1, int(kept.sum())), both / max(1, int(mask.sum()))
        f1 = 2 * precision * recall / (precision + recall) if both else 0.0
        iou = both / int((kept | mask).sum())
        figures = [iou, precision, recall, f1, ncc(heat, mask)]
        if np.ptp(heat) == 0:
            figures = [float("nan")] * 5
        rows.append(Likeness(network, expression, pictures, *figures))
    return rows


def highest(heat: np.ndarray, count: int) -> np.ndarray:
    """The `count` highest places of a map, bool of its shape; among equal values the first, row by row."""
    kept = np.zeros(heat.size, bool)
    kept[np.argsort(-heat, axis=None, kind="stable")[:count]] = True
    return kept.reshape(heat.shape)


def ncc(first: np.ndarray, second: np.ndarray) -> float:
    """Normalised correlation: mean((A - mA)(B - mB)) / (sA sB), in [-1, 1]; NaN where one has no range.

    Raises:
        ShapeError: other shapes.
    """
    one, other = np.asarray(first, float), np.asarray(second, float)
    if one.shape != other.shape or not one.size:
        raise ShapeError(f"expected two maps of one shape, got {one.shape} and {other.shape}")
    one, other = one - one.mean(), other - other.mean()
    size = np.sqrt((one**2).mean() * (other**2).mean())
    return float((one * other).mean() / size) if size > 0 else float("nan")


def distances(networks: Mapping[str, Mapping[str, tuple[np.ndarray, int]]]) -> np.ndarray:
    """1 - NCC between networks, mean over the classes that both have: (M, M), 0 to 2.

    Raises:
        ShapeError: two networks have no class in common whose maps can be compared.
    """
    names = list(networks)
    found = np.zeros((len(names), len(names)))
    for row, one in enumerate(names):
        for column in range(row):
            other = names[column]
            shared = [
                ncc(networks[one][c][0], networks[other][c][0]) for c in networks[one] if c in networks[other]
            ]
            if not shared or np.isnan(shared).all():
                raise ShapeError(f"expected classes that {one!r} and {other!r} both have a map for, got none")
            found[row, column] = found[column, row] = 1 - np.nanmean(shared)
    return found


def joined(distance: np.ndarray) -> np.ndarray:
    """Average-linkage clustering: scipy's table of joins (M - 1, 4), the nearest first.

    Raises:
        MissingExtraError: scipy is not there.
        ShapeError: fewer than two networks.
    """
    try:
        from scipy.cluster.hierarchy import linkage
        from scipy.spatial.distance import squareform
    except ImportError:
        raise MissingExtraError("clustering needs scipy: pip install 'mien[explain]'") from None
    if len(distance) < 2:
        raise ShapeError(f"expected at least 2 networks to cluster, got {len(distance)}")
    return linkage(squareform(distance, checks=False), "average")


def draw_dendrogram(distance: np.ndarray, names: Sequence[str], path: str | Path) -> None:
    """The clustering as a tree, PNG. Needs scipy and matplotlib (extra `explain`)."""
    tree = joined(distance)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from scipy.cluster.hierarchy import dendrogram

    layout = dendrogram(tree, no_plot=True)
    figure = Figure(figsize=(7, 1.2 + 0.4 * len(names)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for heights, places in zip(layout["dcoord"], layout["icoord"], strict=True):
        axes.plot(heights, places, color="#0072b2")
    axes.set_yticks([5 + 10 * row for row in range(len(names))], [names[leaf] for leaf in layout["leaves"]])
    axes.set(xlabel="1 - NCC of mean maps, mean over classes", xlim=(0, None))
    axes.spines[["top", "right", "left"]].set_visible(False)
    with whole(path) as file:
        figure.savefig(file, format="png", dpi=110)


def to_markdown(rows: Sequence[Likeness]) -> str:
    """One line a network and class, and each network's mean over the classes that have a figure."""
    lines = ["| network | expression | pictures | IoU | P = R = F1 | NCC |", "|---|---|---|---|---|---|"]
    for network in dict.fromkeys(row.network for row in rows):
        own = [row for row in rows if row.network == network]
        for row in own:
            figures = f"{row.iou:.3f} | {row.f1:.3f} | {row.ncc:.3f}"
            lines.append(f"| {network} | {row.expression} | {row.pictures} | {figures} |")
        told = [row for row in own if not np.isnan(row.iou)]
        means = " | ".join(
            f"**{np.mean([getattr(row, name) for row in told]) if told else np.nan:.3f}**"
            for name in ("iou", "f1", "ncc")
        )
        lines.append(f"| {network} | **mean** | {sum(row.pictures for row in own)} | {means} |")
    return "\n".join(lines)


def to_dicts(rows: Sequence[Likeness]) -> list[dict[str, Any]]:
    """For JSON; a figure that is NaN is `None`."""
    return [
        {
            name: None if isinstance(value, float) and np.isnan(value) else value
            for name, value in asdict(row).items()
        }
        for row in rows
    ]


def _resized(heat: np.ndarray, side_px: int) -> np.ndarray:
    """A map at another side."""
    places = np.stack(np.meshgrid(np.arange(side_px) + 0.5, np.arange(side_px) + 0.5), -1)
    return sampled(np.asarray(heat, np.float32), places * (len(heat) / side_px))
