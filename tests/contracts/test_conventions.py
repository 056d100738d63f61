"""Each convention of the package, asserted once on what ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import mien
from mien.demo import PICTURES
from mien.labels.expressions import EXPRESSIONS
from mien.methods.runner import ExpressionRunner
from mien.pipeline.analyzer import Analyzer
from mien.pipeline.pictures import read_picture
from mien.pipeline.table import rows_of
from mien.types.faces import LANDMARKS_5, Faces

PORTRAITS = ("astronaut.jpg", "grace_hopper.jpg")


@pytest.fixture(scope="module")
def found(analyzer: Analyzer) -> dict[str, Faces]:
    return {name: analyzer.analyze_image(read_picture(PICTURES / name)) for name in PORTRAITS}


def test_the_happy_astronaut_is_happy(found: dict[str, Faces]) -> None:
    assert found["astronaut.jpg"].expression.top == ("happy",)


def test_colours_are_rgb(astronaut: np.ndarray) -> None:
    """The suit is orange: more red than blue."""
    red, _, blue = astronaut[300:, 100:400].reshape(-1, 3).mean(0)
    assert red > blue + 20


def test_an_rgb_array_and_its_file_give_the_same(analyzer: Analyzer, astronaut_path: Path, astronaut) -> None:
    (from_file,) = analyzer.stream(astronaut_path)
    faces = analyzer.analyze_image(astronaut)
    assert np.array_equal(from_file.faces.expression.values, faces.expression.values)
    assert np.array_equal(from_file.faces.box_xyxy_px, faces.box_xyxy_px)


def test_channels_in_the_wrong_order_change_the_logits(
    runner: ExpressionRunner, astronaut: np.ndarray, found: dict[str, Faces]
) -> None:
    crops, _ = runner.crop(astronaut, found["astronaut.jpg"].landmarks_xy_px)
    right, wrong = runner.logits(crops), runner.logits(np.ascontiguousarray(crops[..., ::-1]))
    # The network hardly looks at colour, so the change is small; rounding alone stays under 1e-4.
    assert np.abs(right - wrong).max() > 0.01


@pytest.mark.parametrize("name", PORTRAITS)
def test_the_detector_is_surer_with_channels_in_the_right_order(name: str, analyzer: Analyzer) -> None:
    image = read_picture(PICTURES / name)
    right, swapped = analyzer.detector.detect([image, np.ascontiguousarray(image[..., ::-1])])
    assert right.detection_score[0] > swapped.detection_score.max(initial=0) + 0.005


def test_scores_are_in_miens_order_everywhere(found: dict[str, Faces]) -> None:
    for faces in found.values():
        assert faces.expression.names == mien.EXPRESSIONS == EXPRESSIONS
    assert mien.load_weights("expression").labels == EXPRESSIONS


def test_columns_follow_miens_order(analyzer: Analyzer, astronaut_path: Path) -> None:
    (result,) = analyzer.stream(astronaut_path)
    (row,) = rows_of(result)
    named = [name.removeprefix("p_") for name in row if name.startswith("p_")]
    assert tuple(named) == EXPRESSIONS
    values = [row[f"p_{name}"] for name in EXPRESSIONS]
    assert values == pytest.approx(result.faces.expression.values[0], abs=1e-5)


@pytest.mark.parametrize("name", PORTRAITS)
def test_left_is_the_subjects_left(name: str, found: dict[str, Faces]) -> None:
    points = dict(zip(LANDMARKS_5, found[name].landmarks_xy_px[0], strict=True))
    assert points["right_eye"][0] < points["nose_tip"][0] < points["left_eye"][0]
    assert points["right_mouth_corner"][0] < points["left_mouth_corner"][0]


@pytest.mark.parametrize("name", PORTRAITS)
def test_y_runs_down(name: str, found: dict[str, Faces]) -> None:
    faces = found[name]
    points = dict(zip(LANDMARKS_5, faces.landmarks_xy_px[0], strict=True))
    assert points["right_eye"][1] < points["nose_tip"][1] < points["left_mouth_corner"][1]
    left, top, right, bottom = faces.box_xyxy_px[0]
    assert left < right
    assert top < bottom


def test_pixels_count_from_the_top_left_corner(analyzer: Analyzer, portrait: np.ndarray) -> None:
    """32 pixels of black to the left and above (a whole cell of the network) move all by 32."""
    wide = np.pad(portrait, ((32, 0), (32, 0), (0, 0)))
    plain, moved = analyzer.analyze_image(portrait), analyzer.analyze_image(wide)
    off = moved.landmarks_xy_px - plain.landmarks_xy_px - 32
    assert np.abs(off).max() < 3
    assert abs(float(off.mean())) < 1.5


def test_angles_are_radians_and_small_for_upright_portraits(found: dict[str, Faces]) -> None:
    for faces in found.values():
        assert np.abs(faces.pose_ypr_rad).max() < 0.3


def test_probabilities_are_calibrated_by_the_contract(
    runner: ExpressionRunner, astronaut: np.ndarray, found: dict[str, Faces]
) -> None:
    crops, _ = runner.crop(astronaut, found["astronaut.jpg"].landmarks_xy_px)
    calibration = mien.load_weights("expression").calibration
    scaled = runner.logits(crops)[0] / calibration["temperature"] + np.array(calibration.get("bias", 0))
    expected = np.exp(scaled - scaled.max()) / np.exp(scaled - scaled.max()).sum()
    assert found["astronaut.jpg"].expression.values[0] == pytest.approx(expected, abs=1e-4)


def test_missing_is_none_and_no_face_is_length_zero() -> None:
    assert len(mien.Faces.empty()) == 0
    assert mien.Faces.empty().expression is None
