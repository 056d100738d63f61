from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import ShapeError, UnknownNameError
from mien.transforms.align import TEMPLATES, fit_similarity, template_points, warp

angles = st.floats(-3.1, 3.1)
scales = st.floats(0.05, 20)
shifts = st.tuples(st.floats(-500, 500), st.floats(-500, 500))
IDENTITY = np.array([[1.0, 0, 0], [0, 1, 0]])


def similarity(angle: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]]])


def moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


def noise_picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@given(angles, scales, shifts, st.integers(2, 9), st.integers(0, 2**32 - 1))
def test_a_similarity_is_found_again(angle, scale, shift, count, seed) -> None:
    points = np.random.default_rng(seed).uniform(-100, 100, (count, 2))
    matrix = similarity(angle, scale, shift)
    assert np.allclose(fit_similarity(points, moved(points, matrix)), matrix, atol=1e-6 * max(1, scale))


@given(st.integers(0, 2**32 - 1))
def test_the_fit_is_the_least_squares_solution(seed: int) -> None:
    source, target = np.random.default_rng(seed).uniform(-10, 10, (2, 5, 2))
    rows = [[x, -y, 1, 0] for x, y in source] + [[y, x, 0, 1] for x, y in source]
    a, b, left, down = np.linalg.lstsq(np.array(rows), target.T.reshape(-1), rcond=None)[0]
    assert np.allclose(fit_similarity(source, target), [[a, -b, left], [b, a, down]], atol=1e-8)


@given(st.integers(0, 2**32 - 1))
def test_never_a_reflection(seed: int) -> None:
    random = np.random.default_rng(seed)
    source = random.uniform(-10, 10, (5, 2))
    mirrored = source * [-1, 1] + random.normal(0, 0.1, (5, 2))
    linear = fit_similarity(source, mirrored)[:, :2]
    assert np.linalg.det(linear) >= 0
    assert linear[0, 0] == pytest.approx(linear[1, 1])
    assert linear[0, 1] == pytest.approx(-linear[1, 0])


@pytest.mark.parametrize("points", [np.ones((5, 2)), np.full((5, 2), np.nan), np.full((5, 2), np.inf)])
def test_points_at_one_place_or_nowhere_are_refused(points: np.ndarray) -> None:
    with pytest.raises(ShapeError, match="finite and not all at one place"), np.errstate(invalid="ignore"):
        fit_similarity(points, template_points("mien_face_v1"))


@pytest.mark.parametrize("shape", [(5, 3), (10,), (4, 2)])
def test_wrong_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"expected two arrays of shape \(K, 2\)"):
        fit_similarity(np.zeros(shape), np.zeros((5, 2)))


def test_an_unknown_template_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'mien_face_v1'"):
        template_points("mien_face_v2")


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_are_upright_symmetric_and_inside(name: str) -> None:
    right_eye, left_eye, nose, right_mouth, left_mouth = points = template_points(name)
    assert points.min() > 0
    assert points.max() < 1
    assert right_eye[0] < nose[0] < left_eye[0]
    assert right_eye[1] < nose[1] < right_mouth[1]
    assert np.allclose(right_eye * [-1, 1] + [1, 0], left_eye)
    assert np.allclose(right_mouth * [-1, 1] + [1, 0], left_mouth)


def test_warp_identity() -> None:
    image = noise_picture(32, 32)
    crop, inside = warp(image, IDENTITY, 32)
    assert np.array_equal(crop, image)
    assert inside == 1


def test_warp_by_whole_pixels() -> None:
    image = noise_picture(40, 50)
    crop, inside = warp(image, np.array([[1.0, 0, -7], [0, 1, -3]]), 20)
    assert np.array_equal(crop, image[3:23, 7:27])
    assert inside == 1


def test_warp_by_half_a_pixel_is_the_mean_of_two() -> None:
    image = noise_picture(20, 20)
    crop, _ = warp(image, np.array([[1.0, 0, -4.5], [0, 1, -4]]), 10)
    wide = image.astype(float)
    assert np.abs(crop - (wide[4:14, 4:14] + wide[4:14, 5:15]) / 2).max() <= 0.5


def test_warp_by_a_quarter_turn() -> None:
    image = noise_picture(24, 24)
    # (x, y) -> (24 - y, x): clockwise in the picture, as y runs down.
    crop, inside = warp(image, np.array([[0.0, -1, 24], [1, 0, 0]]), 24)
    assert np.array_equal(crop, np.rot90(image, -1))
    assert inside == 1


def test_shrinking_averages_and_does_not_skip() -> None:
    board = np.indices((256, 256)).sum(0) % 2 * 255
    image = np.repeat(board[..., None], 3, 2).astype(np.uint8)
    crop, _ = warp(image, similarity(0, 1 / 8, (0, 0)), 32)
    assert np.abs(crop.astype(int) - 127.5).max() <= 2


@pytest.mark.parametrize("scale", [1 / 2.5, 1 / 3, 1 / 7.5, 1 / 20])
@pytest.mark.parametrize("angle", [0.0, 0.4])
def test_shrinking_keeps_the_places_of_a_smooth_picture(scale: float, angle: float) -> None:
    side = 640
    x, y = np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5)
    image = np.rint(np.stack([x, y, (x + y) / 2], -1) / side * 255).astype(np.uint8)
    size = 16
    centre = np.array([side, side]) / 2
    matrix = similarity(angle, scale, (0, 0))
    matrix[:, 2] = size / 2 - matrix[:, :2] @ centre
    crop, inside = warp(image, matrix, size)
    grid = np.stack(np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5), -1)
    points = (grid - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    expected = np.stack([points[..., 0], points[..., 1], points.mean(-1)], -1) / side * 255
    assert inside == 1
    assert np.abs(crop - expected).max() <= 1.5


@pytest.mark.parametrize(("left", "share"), [(0, 1.0), (10, 0.5), (15, 0.25), (20, 0.0), (100, 0.0)])
def test_share_inside_the_picture(left: int, share: float) -> None:
    image = noise_picture(20, 20)
    crop, inside = warp(image, np.array([[1.0, 0, -left], [0, 1, 0]]), 20)
    assert inside == pytest.approx(share)
    assert crop.shape == (20, 20, 3)
    if left:
        assert np.array_equal(crop[:, -1], image[:, -1])


def test_warp_of_a_picture_of_one_pixel() -> None:
    image = np.full((1, 1, 3), 77, np.uint8)
    crop, inside = warp(image, similarity(0.3, 4, (10, 10)), 24)
    assert np.all(crop == 77)
    assert 0 < inside < 0.2


def blob_at(points: np.ndarray, side: int, channel_sigma: float) -> np.ndarray:
    """White picture with a dark Gaussian spot at one point."""
    x, y = np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5)
    spot = np.exp(-((x - points[0]) ** 2 + (y - points[1]) ** 2) / (2 * channel_sigma**2))
    return np.repeat(np.rint(spot * 255)[..., None], 3, 2).astype(np.uint8)


@pytest.mark.parametrize("row", range(5))
@pytest.mark.parametrize("angle", [-0.5, 0.2])
def test_landmarks_land_on_the_template(row: int, angle: float) -> None:
    size = 64
    target = template_points("mien_face_v1") * size
    face = moved(target, similarity(angle, 3.3, (40, 90)))
    crop, _ = warp(blob_at(face[row], 400, 6.0), fit_similarity(face, target), size)
    weight = crop[..., 0].astype(float)
    x, y = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    place = np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()
    assert np.abs(place - target[row]).max() < 0.25


def test_landmarks_of_a_noisy_face_land_within_a_pixel() -> None:
    random = np.random.default_rng(5)
    target = template_points("mien_face_v1") * 48
    for _ in range(50):
        matrix = similarity(random.uniform(-1, 1), random.uniform(0.5, 8), (100, 50))
        face = moved(target + random.normal(0, 0.3, (5, 2)), matrix)
        assert np.abs(moved(face, fit_similarity(face, target)) - target).max() < 1
