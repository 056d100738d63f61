from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mien.errors import ShapeError
from mien.types.faces import LANDMARKS_5, Faces, Quality
from mien.types.scores import Scores


def faces_of(count: int) -> Faces:
    return Faces(np.zeros((count, 4)), np.zeros(count), np.zeros((count, 5, 2)))


def quality_of(reasons: tuple[str, ...]) -> Quality:
    none = np.zeros(len(reasons))
    return Quality(none, none, none, none, none, reasons)


def test_no_face_is_length_zero_and_unknown_is_none() -> None:
    faces = Faces.empty()
    assert len(faces) == 0
    assert faces.box_xyxy_px.shape == (0, 4)
    assert faces.detection_score.shape == (0,)
    assert faces.landmarks_xy_px.shape == (0, 5, 2)
    for name in ("expression", "uncertain", "pose_ypr_rad", "quality", "track_id"):
        assert getattr(faces, name) is None


def test_landmark_order() -> None:
    assert LANDMARKS_5 == ("right_eye", "left_eye", "nose_tip", "right_mouth_corner", "left_mouth_corner")


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("box_xyxy_px", (2, 5)),
        ("box_xyxy_px", (2,)),
        ("detection_score", (3,)),
        ("detection_score", (2, 1)),
        ("landmarks_xy_px", (2, 10)),
        ("landmarks_xy_px", (2, 68, 2)),
        ("uncertain", (1,)),
        ("pose_ypr_rad", (2, 2)),
        ("track_id", (2, 1)),
    ],
)
def test_faces_refuse_arrays_that_are_not_parallel(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=rf"expected {name} of shape"):
        replace(faces_of(2), **{name: np.zeros(shape)})


def test_faces_refuse_scores_or_quality_of_another_number() -> None:
    with pytest.raises(ShapeError, match="expected expression for 2 faces, got 1"):
        replace(faces_of(2), expression=Scores(("a", "b"), np.full((1, 2), 0.5)))
    with pytest.raises(ShapeError, match="expected quality for 2 faces, got 3"):
        replace(faces_of(2), quality=quality_of(("", "", "")))


def test_reliable_is_the_absence_of_a_reason() -> None:
    quality = quality_of(("", "blurred (0.01, limit 0.02)"))
    assert quality.reliable.tolist() == [True, False]
    assert quality.reliable.dtype == bool
    assert quality_of(()).reliable.shape == (0,)


def test_faces_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        faces_of(1).track_id = np.zeros(1)  # type: ignore[misc]
