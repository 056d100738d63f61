from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mien.faces.crops import MEAN_POINTS, landmarks_of_crops
from mien.faces.yunet import YuNet


@pytest.fixture(scope="module")
def tight(hopper: np.ndarray, detector: YuNet) -> np.ndarray:
    """A face that fills a square picture, 96 px."""
    left, top, right, bottom = detector.detect([hopper])[0].box_xyxy_px[0]
    middle, half = (left + right) / 2, (bottom - top) / 2
    box = (middle - half, top, middle + half, bottom)
    return np.asarray(Image.fromarray(hopper).crop([round(float(side)) for side in box]).resize((96, 96)))


def test_the_points_are_in_the_crops_own_pixels(tight: np.ndarray, detector: YuNet) -> None:
    points, found = landmarks_of_crops(tight[None], detector)
    assert found.tolist() == [True]
    assert points.shape == (1, 5, 2)
    assert points.dtype == np.float32
    assert np.abs(points[0] / 96 - MEAN_POINTS).max() < 0.2
    shifted, _ = landmarks_of_crops(np.roll(tight, 5, axis=1)[None], detector)
    assert (shifted - points)[..., 0].mean() == pytest.approx(5, abs=1.5)


def test_grey_and_colour_give_nearly_the_same(tight: np.ndarray, detector: YuNet) -> None:
    grey = np.asarray(Image.fromarray(tight).convert("L"))
    colour, _ = landmarks_of_crops(tight[None], detector)
    plain, found = landmarks_of_crops(grey[None], detector)
    assert found.all()
    assert np.abs(colour - plain).max() < 3


def test_mean_points_stand_in_where_no_face_is(tight: np.ndarray, detector: YuNet) -> None:
    images = np.stack([np.zeros_like(tight), tight, np.full_like(tight, 200)])
    points, found = landmarks_of_crops(images, detector)
    assert found.tolist() == [False, True, False]
    for row in (0, 2):
        assert np.allclose(points[row], MEAN_POINTS * 96)


def test_many_crops_equal_each_alone(tight: np.ndarray, detector: YuNet) -> None:
    images = np.stack([np.roll(tight, shift, axis=1) for shift in range(-3, 4)] * 10)
    points, found = landmarks_of_crops(images, detector)
    assert found.all()
    for row in (6, 63, 64):
        assert np.allclose(points[row], landmarks_of_crops(images[row : row + 1], detector)[0][0], atol=1e-2)
