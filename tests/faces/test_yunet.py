from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mien.demo import PICTURES
from mien.faces.boxes import iou
from mien.faces.yunet import YuNet
from mien.pipeline.pictures import read_picture
from mien.types.faces import Faces
from mien.weights.store import load_weights

ONE_FACE = ("astronaut.jpg", "grace_hopper.jpg")


def resized(image: np.ndarray, factor: float) -> np.ndarray:
    size = round(image.shape[1] * factor), round(image.shape[0] * factor)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def assert_same(first: Faces, second: Faces, tolerance: float = 1e-3) -> None:
    assert len(first) == len(second)
    assert np.allclose(first.box_xyxy_px, second.box_xyxy_px, atol=tolerance)
    assert np.allclose(first.landmarks_xy_px, second.landmarks_xy_px, atol=tolerance)
    assert np.allclose(first.detection_score, second.detection_score, atol=1e-5)


@pytest.mark.parametrize("name", ONE_FACE)
def test_one_face_in_a_portrait(name: str, detector: YuNet) -> None:
    image = read_picture(PICTURES / name)
    faces = detector.detect([image])[0]
    assert len(faces) == 1
    assert faces.detection_score[0] > 0.8
    left, top, right, bottom = faces.box_xyxy_px[0]
    assert np.all((faces.landmarks_xy_px[0] > [left, top]) & (faces.landmarks_xy_px[0] < [right, bottom]))


def test_the_astronauts_eyes_are_where_they_are(detector: YuNet, astronaut: np.ndarray) -> None:
    points = detector.detect([astronaut])[0].landmarks_xy_px[0]
    by_eye = [[203, 107], [245, 106], [221, 127], [204, 146], [242, 146]]
    assert np.abs(points - by_eye).max() < 5


@pytest.mark.parametrize("name", ["no_face_landscape.png", "no_face_shapes.png"])
def test_no_face_in_a_drawing(name: str, detector: YuNet) -> None:
    assert len(detector.detect([read_picture(PICTURES / name)])[0]) == 0


def test_all_faces_of_the_page_down_to_22_px(detector: YuNet, page: np.ndarray) -> None:
    faces = detector.detect([page])[0]
    assert len(faces) == 8
    sides = (faces.box_xyxy_px[:, 2:] - faces.box_xyxy_px[:, :2]).min(1)
    assert 18 < sides.min() < 26
    apart = iou(faces.box_xyxy_px, faces.box_xyxy_px)
    assert (apart - np.eye(8)).max() < 0.05


def test_best_score_first(detector: YuNet, page: np.ndarray) -> None:
    scores = detector.detect([page])[0].detection_score
    assert np.all(np.diff(scores) <= 0)
    assert scores.min() >= detector.score_threshold


def test_types_and_shapes(detector: YuNet, page: np.ndarray) -> None:
    faces = detector.detect([page])[0]
    for array in (faces.box_xyxy_px, faces.detection_score, faces.landmarks_xy_px):
        assert array.dtype == np.float32
    assert faces.landmarks_xy_px.shape == (8, 5, 2)
    assert faces.expression is None


def test_a_batch_equals_single_pictures(detector: YuNet, astronaut: np.ndarray, page: np.ndarray) -> None:
    blank = np.zeros_like(astronaut)
    images = [astronaut, page, np.ascontiguousarray(astronaut[:, ::-1]), blank]
    batch = detector.detect(images)
    for image, faces in zip(images, batch, strict=True):
        assert_same(faces, detector.detect([image])[0])
    assert [len(faces) for faces in batch] == [1, 8, 1, 0]


def test_no_pictures_give_no_results(detector: YuNet) -> None:
    assert detector.detect([]) == []


@pytest.mark.parametrize("factor", [0.4, 0.75, 1.5, 3.0])
@pytest.mark.parametrize("name", ONE_FACE)
def test_boxes_scale_with_the_picture(name: str, factor: float, detector: YuNet) -> None:
    image = read_picture(PICTURES / name)
    small, large = (detector.detect([picture])[0] for picture in (image, resized(image, factor)))
    assert len(large) == 1
    assert iou(large.box_xyxy_px, small.box_xyxy_px * factor)[0, 0] > 0.85
    side = (small.box_xyxy_px[0, 2:] - small.box_xyxy_px[0, :2]).max()
    off = np.abs(large.landmarks_xy_px / factor - small.landmarks_xy_px).max()
    assert off < 0.05 * side


@pytest.mark.parametrize("name", [*ONE_FACE, "page.jpg"])
def test_a_mirrored_picture_has_mirrored_faces(name: str, detector: YuNet) -> None:
    image = read_picture(PICTURES / name)
    plain, mirrored = detector.detect([image, np.ascontiguousarray(image[:, ::-1])])
    assert len(plain) == len(mirrored)
    back = image.shape[1] - mirrored.box_xyxy_px[:, [2, 1, 0, 3]] * [1, -1, 1, -1]
    back[:, [1, 3]] = mirrored.box_xyxy_px[:, [1, 3]]
    overlap = iou(plain.box_xyxy_px, back)
    assert overlap.max(1).min() > 0.75
    points = mirrored.landmarks_xy_px[:, [1, 0, 2, 4, 3]] * [-1, 1] + [image.shape[1], 0]
    side = (plain.box_xyxy_px[:, 2:] - plain.box_xyxy_px[:, :2]).max(1)
    off = np.abs(plain.landmarks_xy_px - points[overlap.argmax(1)]).max((1, 2))
    # An eighth of the face, or for the smallest ones a cell of half the finest stride.
    assert np.all(off < np.maximum(side / 8, 4.5))


def test_black_to_the_right_and_below_moves_nothing(detector: YuNet, portrait: np.ndarray) -> None:
    wide = np.pad(portrait, ((0, 64), (0, 64), (0, 0)))
    plain, padded = detector.detect([portrait])[0], detector.detect([wide])[0]
    assert iou(plain.box_xyxy_px, padded.box_xyxy_px).max() > 0.85


def test_a_face_that_fills_its_picture_is_found(detector: YuNet, astronaut: np.ndarray) -> None:
    left, top, right, bottom = detector.detect([astronaut])[0].box_xyxy_px[0].round().astype(int)
    tight = np.ascontiguousarray(astronaut[top:bottom, left:right])
    faces = detector.detect([tight])[0]
    assert len(faces) == 1
    whole = np.array([[0, 0, right - left, bottom - top]])
    assert iou(faces.box_xyxy_px, whole)[0, 0] > 0.6


def test_a_face_found_in_the_frame_has_the_pictures_pixels(detector: YuNet, astronaut: np.ndarray) -> None:
    direct, framed = detector.detect([astronaut])[0], detector._in_frame(astronaut)
    assert iou(direct.box_xyxy_px, framed.box_xyxy_px)[0, 0] > 0.75
    assert np.abs(direct.landmarks_xy_px - framed.landmarks_xy_px).max() < 8


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (1, 500), (20, 20_000), (20_000, 20), (31, 33)])
def test_odd_sizes_are_searched_and_hold_nothing(shape: tuple[int, int], detector: YuNet) -> None:
    assert len(detector.detect([np.full((*shape, 3), 90, np.uint8)])[0]) == 0


def test_a_small_picture_is_searched_once_and_not_blown_up(detector: YuNet) -> None:
    assert detector.scales(100, 100) == (2.0,)
    assert detector.scales(320, 240) == (2.0,)
    assert detector.scales(400, 640) == (1.0,)


def test_a_large_picture_is_searched_twice_as_fine_as_the_smallest_face_needs(detector: YuNet) -> None:
    coarse, fine = detector.scales(3000, 4000)
    assert coarse == pytest.approx(640 / 4000)
    assert fine == pytest.approx(14 / 24)


@pytest.mark.parametrize(("height", "width"), [(20_000, 20_000), (12_000, 9_000), (30, 100_000), (1, 10**6)])
def test_huge_and_thin_pictures_stay_within_memory(height: int, width: int, detector: YuNet) -> None:
    scales = detector.scales(height, width)
    assert scales[0] <= 1
    assert scales == tuple(sorted(scales))
    for scale in scales:
        assert max(1, height * scale) * max(1, width * scale) <= detector.max_fine_pixels * 1.01


def test_a_large_least_face_saves_the_fine_search(astronaut: np.ndarray) -> None:
    weights = load_weights("yunet")
    assert len(YuNet(weights, 1, min_face_px=200.0).scales(1500, 2000)) == 1
    assert len(YuNet(weights, 1, min_face_px=24.0).scales(1500, 2000)) == 2


def test_a_higher_threshold_finds_fewer(page: np.ndarray) -> None:
    weights = load_weights("yunet")
    strict = YuNet(weights, 1, score_threshold=0.9).detect([page])[0]
    assert 0 < len(strict) < 8
    assert strict.detection_score.min() >= 0.9
