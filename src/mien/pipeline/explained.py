"""Why a face is read as it is: words, action units, and where the network looked, for the faces of one picture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mien.explain.explanation import Explanation
from mien.explain.placed import on_picture
from mien.explain.words import explain_face
from mien.faces.mesh_geometry import points_68
from mien.pipeline.analyzer import Analyzer
from mien.pipeline.pictures import check_array
from mien.transforms.align import template_to_image
from mien.transforms.regions import ELSEWHERE, RegionScore, face_regions, region_scores
from mien.transforms.shape68 import MEAN_FACE
from mien.types.faces import Faces
from mien.types.media import Preprocess
from mien.weights.store import SHIPPED

NO_TORCH = "no heat map: it needs torch (pip install 'mien[train]')"
ROOM = 0.25
"""What is shown around a face's box, as a share of its longer side."""


@dataclass(frozen=True, eq=False)
class ExplainedFace:
    """One face with its reasons.

    Attributes:
        face: index among the faces of the picture.
        explanation: words and the facts behind them.
        region_xyxy_px: the part of the picture around the face that is shown, whole pixels.
        points_xy_px: (68, 2) of the mesh, or of a mean face put on the five points where there is no mesh.
        heat: float32 (h, w) of that region in [0, 1], where the network found its answer, NaN outside the aligned
            crop; `None` without a map.
        notes: what is missing, and why.
    """

    face: int
    explanation: Explanation
    region_xyxy_px: tuple[int, int, int, int]
    points_xy_px: np.ndarray
    heat: np.ndarray | None
    notes: tuple[str, ...]


class Explainer:
    """Explains the answers of one `Analyzer`.

    Args:
        analyzer: with `mesh=True` for action units; without it the words say that none were given.
        map_name: of `mien.explain.maps.MAPS`; `None` for no heat map. An ONNX file takes "occlusion" and "rise"; the
            network that ships takes all.
        language: of the words.
    """

    def __init__(self, analyzer: Analyzer, map_name: str | None = "occlusion", language: str = "en") -> None:
        self.analyzer, self.map_name, self.language = analyzer, map_name, language

    def explain(self, image: Any) -> tuple[Faces, list[ExplainedFace]]:
        """The faces of one picture, and the reasons of each.

        Args:
            image: RGB uint8 (H, W, 3), grey (H, W) or a Pillow image.

        Raises:
            ShapeError: it is none of these.
            UnknownNameError: no such map.
            OptionError: the map cannot explain this network.
        """
        picture = check_array(image)
        faces = self.analyzer.analyze_image(picture)
        maps, missing = self._maps(picture, faces)
        return faces, [self._face(picture, faces, index, maps, missing) for index in range(len(faces))]

    def _face(
        self, picture: np.ndarray, faces: Faces, index: int, maps: np.ndarray | None, missing: str
    ) -> ExplainedFace:
        assert faces.expression is not None and faces.uncertain is not None and faces.quality is not None
        five = faces.landmarks_xy_px[index]
        notes = [missing] if missing else []
        points = template_to_image(self._preprocess.template, five)
        points = MEAN_FACE @ points[:, :2].T + points[:, 2]
        if faces.mesh is not None and faces.mesh.told[index]:
            points = points_68(faces.mesh)[index]
        elif faces.mesh is not None:
            notes.append(f"no mesh, so no action units: {faces.mesh.reasons[index]}")
        region = _region(faces.box_xyxy_px[index], picture.shape[:2])
        heat = None if maps is None else self._placed(maps[index], five, region)
        parts = {} if heat is None else _parts(heat, points - np.array(region[:2]))
        explanation = explain_face(
            faces.expression,
            faces.action_units,
            row=index,
            uncertain=bool(faces.uncertain[index]),
            reasons=faces.quality.reasons[index],
            regions={name: one.share for name, one in parts.items() if one.share > 0},
            areas={name: one.area for name, one in parts.items()},
            language=self.language,
        )
        return ExplainedFace(index, explanation, region, points, heat, tuple(notes))

    def _placed(self, heat: np.ndarray, five: np.ndarray, region: tuple[int, int, int, int]) -> np.ndarray:
        """The map of an aligned crop in the pixels of a region of the picture."""
        matrix = template_to_image(self._preprocess.template, five)
        matrix[:, 2] -= region[:2]
        return on_picture(heat, matrix, (region[3] - region[1], region[2] - region[0]))

    def _maps(self, picture: np.ndarray, faces: Faces) -> tuple[np.ndarray | None, str]:
        """A map of each aligned crop, (N, S, S), or `None` and why there is none."""
        if self.map_name is None or not len(faces):
            return None, ""
        try:
            import torch

            from mien.engine.views import network_input
            from mien.explain.maps import MAPS
        except ModuleNotFoundError:
            return None, NO_TORCH
        crops, _ = self.analyzer.runner.crop(picture, faces.landmarks_xy_px)
        pixels = torch.from_numpy(crops).permute(0, 3, 1, 2).float()
        return MAPS[self.map_name](self._network, network_input(pixels, self._preprocess)).numpy(), ""

    @property
    def _preprocess(self) -> Preprocess:
        preprocess = self.analyzer.runner.weights.preprocess
        assert preprocess is not None  # networks for expressions have one
        return preprocess

    @cached_property
    def _network(self) -> Any:
        """What the map asks: the shipped network itself where the map needs layers, else the ONNX file."""
        from mien.explain.maps import onnx_logits

        _, shipped = SHIPPED["expression"]
        if self.map_name in ("occlusion", "rise") or self.analyzer.runner.weights.sha256 != shipped:
            return onnx_logits(self.analyzer.runner)
        from mien.methods.static.mobile_expression import MobileExpression, load_shipped
        from mien.methods.task import Task

        network = MobileExpression()
        load_shipped(network)
        return Task(network.eval())


def _region(box_xyxy_px: np.ndarray, size_hw: tuple[int, ...]) -> tuple[int, int, int, int]:
    """The square around a box with some room, cut to the picture: left, top, right, bottom in whole pixels."""
    left, top, right, bottom = (float(side) for side in box_xyxy_px)
    half = max(right - left, bottom - top) * (0.5 + ROOM)
    x, y = (left + right) / 2, (top + bottom) / 2
    return (
        max(0, int(x - half)),
        max(0, int(y - half)),
        min(size_hw[1], int(np.ceil(x + half))),
        min(size_hw[0], int(np.ceil(y + half))),
    )


def _parts(heat: np.ndarray, points_xy_px: np.ndarray) -> dict[str, RegionScore]:
    """How much of the map lies in each part of the face, without what lies off the face."""
    scores = region_scores(heat, face_regions(points_xy_px, (heat.shape[0], heat.shape[1])))
    return {name.replace("_", " "): one for name, one in scores.items() if name != ELSEWHERE}
