"""The table of units: whole, scaled as it says, and with sides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mien.errors import ShapeError
from mien.faces.mesh_units import (
    DISTANCES,
    PRESENT,
    RULES,
    Rule,
    evidence,
    is_two_sided,
    neutral_of,
    units_from_mesh,
)
from mien.labels.action_units import ACTION_UNITS
from mien.types.mesh import BLENDSHAPES, Mesh

from .test_mesh_geometry import drawn_face, mesh_of

PAGE = Path(__file__).parents[2] / "docs" / "mesh.md"


def rule_of(unit: int) -> Rule:
    return next(rule for rule in RULES if rule.unit == unit)


def face(yaw: float = 0.0, points: np.ndarray | None = None, **shapes: float) -> Mesh:
    """One face that looks ahead, whose pose is only said to be another; blendshapes by name."""
    values = np.zeros((1, 52), np.float32)
    for name, value in shapes.items():
        values[0, BLENDSHAPES.index(name)] = value
    points = drawn_face() if points is None else points
    return mesh_of(points[None], np.array([[yaw, 0, 0]], np.float32), values)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"AU{rule.unit}")
def test_each_rule_is_whole(rule: Rule) -> None:
    assert rule.unit in ACTION_UNITS
    assert rule.neutral < rule.trace < rule.full
    if rule.evidence not in DISTANCES:
        for side in ("Left", "Right"):
            assert rule.evidence.replace("*", side) in BLENDSHAPES


def test_units_are_distinct_and_in_order() -> None:
    units = [rule.unit for rule in RULES]
    assert units == sorted(set(units))


def test_the_page_shows_the_table_as_it_is() -> None:
    page = PAGE.read_text()
    for rule in RULES:
        sides = "yes" if is_two_sided(rule) else "no"
        less = f" - {rule.less[1]:g} `{rule.less[0]}`" if rule.less else ""
        scale = f"{rule.neutral:g} | {rule.trace:g} | {rule.full:g}"
        line = f"| {rule.unit} | {ACTION_UNITS[rule.unit]} | `{rule.evidence}`{less} | {sides} | {scale} |"
        assert line in page, line


def test_a_smile_alone_raises_no_lip() -> None:
    smile = {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8}
    lifted = {"mouthUpperUpLeft": 0.6, "mouthUpperUpRight": 0.6}
    assert units_from_mesh(face(**smile, **lifted))[10][0] < 0.1
    assert units_from_mesh(face(**lifted))[10][0] == 5


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_scale_is_two_straight_lines(share: float) -> None:
    rule = rule_of(12)
    low = rule.neutral + share * (rule.trace - rule.neutral)
    high = rule.trace + share * (rule.full - rule.trace)
    assert units_from_mesh(face(mouthSmileLeft=low))[12][0] == pytest.approx(share * PRESENT, abs=1e-4)
    assert units_from_mesh(face(mouthSmileLeft=high))[12][0] == pytest.approx(1 + 4 * share, abs=1e-4)


def test_sides_are_the_subjects_and_the_value_is_the_larger() -> None:
    units = units_from_mesh(face(mouthSmileLeft=rule_of(12).full))
    column = units.units.index(12)
    assert (units.left[0, column], units.right[0, column], units[12][0]) == pytest.approx((5, 0, 5))
    assert (units.scale, units.source) == ("intensity", "mesh")


def test_a_distance_is_told_by_side_too() -> None:
    points = drawn_face()
    points[291, 1] += 25  # the subject's left mouth corner, lower
    units = units_from_mesh(face(points=points))
    column = units.units.index(15)
    assert units.left[0, column] > 4 and units.right[0, column] < 1


def test_units_without_sides_say_so_with_nan() -> None:
    units = units_from_mesh(face(jawOpen=rule_of(26).full))
    column = units.units.index(26)
    assert np.isnan(units.left[0, column]) and np.isnan(units.right[0, column]) and units[26][0] == 5


@pytest.mark.parametrize(
    ("yaw", "left_told", "right_told"), [(0.4, True, True), (0.6, False, True), (-0.6, True, False)]
)
def test_the_hidden_side_of_a_turned_face_is_nan(yaw: float, left_told: bool, right_told: bool) -> None:
    """With yaw over 0 the nose points to the picture's right, and the subject's right cheek is seen."""
    units = units_from_mesh(face(yaw, mouthSmileLeft=0.9, mouthSmileRight=0.9))
    column = units.units.index(12)
    assert (np.isfinite(units.left[0, column]), np.isfinite(units.right[0, column])) == (
        left_told,
        right_told,
    )
    assert units[12][0] > 1


def test_a_face_that_was_not_read_is_nan() -> None:
    mesh = mesh_of(
        np.full((1, 478, 3), np.nan),
        np.full((1, 3), np.nan, np.float32),
        np.full((1, 52), np.nan, np.float32),
    )
    units = units_from_mesh(mesh)
    assert np.isnan(units.values).all() and np.isnan(units.left).all() and np.isnan(units.right).all()


def test_a_persons_own_neutral_face_is_taken_off() -> None:
    at_rest = rule_of(4).full
    frowning_by_nature = face(browDownLeft=at_rest, browDownRight=at_rest)
    assert units_from_mesh(frowning_by_nature)[4][0] == pytest.approx(5)
    own = neutral_of(frowning_by_nature)
    assert np.abs(units_from_mesh(frowning_by_nature, own).values).max() == pytest.approx(0, abs=1e-6)
    raised = face(browDownLeft=at_rest, browDownRight=at_rest, browInnerUp=rule_of(1).full)
    assert units_from_mesh(raised, own)[1][0] == pytest.approx(5, abs=0.2)


def test_a_neutral_face_needs_a_face_and_its_shape() -> None:
    untold = mesh_of(np.full((1, 478, 3), np.nan), np.zeros((1, 3), np.float32))
    with pytest.raises(ShapeError, match="at least one neutral face"):
        neutral_of(untold)
    with pytest.raises(ShapeError, match="expected a neutral face of shape"):
        units_from_mesh(face(), np.zeros(3))


def test_no_face_gives_no_rows() -> None:
    none = mesh_of(np.zeros((0, 478, 3)), np.zeros((0, 3), np.float32))
    assert evidence(none).shape == (0, len(RULES), 2)
    assert units_from_mesh(none).values.shape == (0, len(RULES))
