"""Action units from the mesh by an explicit table: one piece of evidence a unit, and three numbers that scale it.

Evidence is a blendshape or a distance in the face turned to look ahead. Its scale, from 0 to 5, is set on
photographs, not by FACS coders: 0 is the middle of neutral faces (`neutral`), 1 is what one neutral face in twenty
passes (`trace`), 5 is what one face in two hundred of all expressions passes (`full`); straight lines between. So a
value of at least 1 is "there, as mien counts it", and the numbers are NOT those of a certified coder. AU27 is the one
exception: it goes on from AU26 on the same blendshape, with its 0 at AU26's 1 and its 1 at AU26's 3.

Source of the units: Ekman, Friesen and Hager, "Facial Action Coding System", 2002. Which blendshape stands for which
unit is ours, from the blendshapes' names; where the network leaves one near 0 on every face (cheekSquint, noseSneer,
cheekPuff) a distance stands in. See docs/mesh.md for how well each works.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from mien.errors import ShapeError
from mien.faces.mesh_geometry import in_head_frame
from mien.types.mesh import Mesh
from mien.types.units import ActionUnits

PRESENT = 1.0
"""A unit of at least this intensity counts as there."""
SIDE_YAW_RAD = 0.5
"""Turned further than this, the far side of the face is hidden too much to be told."""
PRESSED, DIMPLED = 24, 14
"""Two units with the same evidence, `mouthPress*`: one number in two columns."""


@dataclass(frozen=True)
class Rule:
    """One row of the table.

    Attributes:
        unit: FACS number.
        evidence: a blendshape, with `*` for Left and Right, or a name of `DISTANCES`.
        neutral, trace, full: evidence at intensity 0, 1 and 5.
        note: what to know about it.
        less: another blendshape and its share, which is taken off: what moves the same place but is not the unit.
    """

    unit: int
    evidence: str
    neutral: float
    trace: float
    full: float
    note: str = ""
    less: tuple[str, float] | None = None


def _cheek_height(face: np.ndarray) -> np.ndarray:
    return -face[:, (117, 346), 1]


def _corner_drop(face: np.ndarray) -> np.ndarray:
    return face[:, (61, 291), 1] - face[:, (13, 14), 1].mean(1, keepdims=True)


def _nose_shortness(face: np.ndarray) -> np.ndarray:
    return -np.linalg.norm(face[:, (168,)] - face[:, (4,)], axis=2).repeat(2, 1)


def _lip_gap(face: np.ndarray) -> np.ndarray:
    return np.linalg.norm(face[:, (13,)] - face[:, (14,)], axis=2).repeat(2, 1)


DISTANCES: Mapping[str, tuple[Callable[[np.ndarray], np.ndarray], bool, str]] = MappingProxyType(
    {
        "cheek_height": (
            _cheek_height,
            True,
            "the cheek (points 117, 346) over the line of the eyes, negative",
        ),
        "corner_drop": (
            _corner_drop,
            True,
            "mouth corner (61, 291) under the middle between the lips (13, 14)",
        ),
        "nose_shortness": (_nose_shortness, False, "root (168) to tip (4) of the nose, negative"),
        "lip_gap": (_lip_gap, False, "between the inner edges of the lips (13, 14)"),
    }
)
"""Name -> how it is measured, (N, 478, 3) of `in_head_frame` to (N, 2) right and left; whether sides can be told;
what it is. Unit: the distance of the eyes' outer corners."""

RULES = (
    Rule(1, "browInnerUp", 0.00683, 0.526, 0.922),
    Rule(2, "browOuterUp*", 0.0302, 0.502, 0.912),
    Rule(4, "browDown*", 0.0841, 0.642, 0.841),
    Rule(5, "eyeWide*", 0.00699, 0.0454, 0.225),
    Rule(6, "cheek_height", -0.195, -0.164, -0.107, "cheekSquint is near 0 on every face"),
    Rule(7, "eyeSquint*", 0.349, 0.684, 0.803),
    Rule(
        9,
        "nose_shortness",
        -0.484,
        -0.43,
        -0.374,
        "noseSneer is near 0 on every face; a nose that is short by nature needs a baseline",
    ),
    Rule(
        10,
        "mouthUpperUp*",
        -3.97e-05,
        0.0921,
        0.561,
        "without the share that a smile raises; at chance on the 15 posed ones of CK+",
        less=("mouthSmile*", 0.75),
    ),
    Rule(12, "mouthSmile*", 0.00169, 0.239, 0.94),
    Rule(
        14,
        "mouthPress*",
        0.0327,
        0.304,
        0.542,
        "the same evidence as 24: not to be told apart; mouthDimple was at chance",
    ),
    Rule(15, "corner_drop", 0.00468, 0.0329, 0.0514),
    Rule(16, "mouthLowerDown*", 0.00243, 0.18, 0.889, "open mouths lower the lip too"),
    Rule(17, "mouthShrugLower", 0.00626, 0.203, 0.941),
    Rule(18, "mouthPucker", 0.00525, 0.537, 0.972),
    Rule(20, "mouthStretch*", 0.00393, 0.15, 0.668),
    Rule(22, "mouthFunnel", 0.00115, 0.0289, 0.15, "not measured"),
    Rule(23, "mouthRollLower", 0.0182, 0.259, 0.505),
    Rule(24, "mouthPress*", 0.0327, 0.304, 0.542, "the same evidence as 14"),
    Rule(25, "lip_gap", 0.0419, 0.168, 0.417),
    Rule(26, "jawOpen", 0.0199, 0.26, 0.767, "also where the jaw is so low that FACS codes 27 instead"),
    Rule(27, "jawOpen", 0.26, 0.514, 0.767, "a wider 26: 0 up to 26's 1, 1 where 26 is at 3, 5 at 26's 5"),
    Rule(28, "mouthRollUpper", 0.0253, 0.273, 0.476, "not measured"),
    Rule(
        43,
        "eyeBlink*",
        0.0998,
        0.453,
        0.804,
        "45, the blink, is 43 for less than half a second: take it over time",
    ),
)
"""The table, in order of the units."""


def evidence(mesh: Mesh) -> np.ndarray:
    """What speaks for each unit of `RULES`, float64 (N, K, 2): the subject's right side, then the left.

    Where sides cannot be told both are the same. Rows that were not told are NaN.
    """
    face = in_head_frame(mesh)
    sides = np.empty((len(mesh), len(RULES), 2))
    for column, rule in enumerate(RULES):
        if rule.evidence in DISTANCES:
            sides[:, column] = DISTANCES[rule.evidence][0](face)
        else:
            for index, side in enumerate(("Right", "Left")):
                sides[:, column, index] = mesh[rule.evidence.replace("*", side)]
                if rule.less is not None:
                    sides[:, column, index] -= rule.less[1] * mesh[rule.less[0].replace("*", side)]
    return sides


def neutral_of(mesh: Mesh) -> np.ndarray:
    """A person's own neutral face: the median evidence over neutral pictures of that one person, (K, 2).

    Raises:
        ShapeError: none of the faces could be read.
    """
    if not mesh.told.any():
        raise ShapeError(
            f"expected at least one neutral face that could be read, got {len(mesh)} that could not"
        )
    return np.median(evidence(mesh)[mesh.told], 0)


def units_from_mesh(mesh: Mesh, neutral: np.ndarray | None = None) -> ActionUnits:
    """Intensities, 0 to 5, of the units of `RULES`; see the head of this module for what the scale means.

    Args:
        mesh: of the faces of one image, or of many frames.
        neutral: (K, 2) of `neutral_of`, of the one person in `mesh`: what that face shows at rest is taken off.

    Returns:
        the larger side of each two-sided unit, with both sides; the hidden side of a turned face is NaN, and both
        sides are where they cannot be told. NaN rows stay NaN.

    Raises:
        ShapeError: `neutral` is not (K, 2).
    """
    return units_from_evidence(evidence(mesh), mesh.pose_ypr_rad[:, 0], neutral)


def units_from_evidence(
    sides: np.ndarray, yaw_rad: np.ndarray, neutral: np.ndarray | None = None
) -> ActionUnits:
    """The same from the evidence (N, K, 2) of `evidence` and the faces' yaw (N,)."""
    if neutral is not None:
        if neutral.shape != sides.shape[1:]:
            raise ShapeError(f"expected a neutral face of shape {sides.shape[1:]}, got {neutral.shape}")
        sides = sides - neutral + np.array([[rule.neutral] for rule in RULES])
    scaled = np.stack([_scaled(sides[:, column], rule) for column, rule in enumerate(RULES)], 1).astype(
        np.float32
    )
    two_sided = np.array([is_two_sided(rule) for rule in RULES])
    for side, hidden in ((0, yaw_rad < -SIDE_YAW_RAD), (1, yaw_rad > SIDE_YAW_RAD)):
        scaled[hidden[:, None] & two_sided, side] = np.nan
    values = np.fmax(scaled[..., 0], scaled[..., 1])
    scaled[:, ~two_sided] = np.nan
    return ActionUnits(
        tuple(rule.unit for rule in RULES),
        values,
        "intensity",
        "mesh",
        left=scaled[..., 1],
        right=scaled[..., 0],
    )


def pressed_once(units: ActionUnits) -> ActionUnits:
    """The same units, but what AU14 and AU24 share counts once, as AU24: AU14 is NaN in faces that press the lips.

    Where the shared evidence is at most a trace neither is there, and AU14 keeps its value. Units that no mesh measured
    are given back as they are.
    """
    if units.source != "mesh" or not {PRESSED, DIMPLED} <= set(units.units):
        return units
    column = units.units.index(DIMPLED)
    pressed = units.values[:, column] > PRESENT
    changed: dict[str, Any] = {}
    for name in ("values", "left", "right"):
        array = getattr(units, name)
        if array is not None:
            changed[name] = array.copy()
            changed[name][pressed, column] = np.nan
    return replace(units, **changed)


def is_two_sided(rule: Rule) -> bool:
    """Whether left and right can be told apart."""
    return "*" in rule.evidence or (rule.evidence in DISTANCES and DISTANCES[rule.evidence][1])


def _scaled(values: np.ndarray, rule: Rule) -> np.ndarray:
    """Intensity 0 to 5: straight lines through (neutral, 0), (trace, 1), (full, 5); NaN stays."""
    scaled = np.interp(values, [rule.neutral, rule.trace, rule.full], [0, PRESENT, 5])
    return np.where(np.isnan(values), np.nan, scaled)
