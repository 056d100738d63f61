from __future__ import annotations

import numpy as np
import pytest

from mien.errors import OptionError
from mien.faces.boxes import iou
from mien.faces.following import Follower
from mien.faces.yunet import YuNet


class Counting:
    """The detector, with the number of whole frames that it searched."""

    def __init__(self, detector: YuNet) -> None:
        self.detector, self.whole = detector, 0

    def __getattr__(self, name: str):
        return getattr(self.detector, name)

    def detect(self, images):
        self.whole += len(images)
        return self.detector.detect(images)


def shifted(picture: np.ndarray, by: int) -> np.ndarray:
    """The picture on a wide canvas, some pixels to the right."""
    height, width = picture.shape[:2]
    canvas = np.full((height, width + 300, 3), 90, np.uint8)
    canvas[:, by : by + width] = picture
    return canvas


def test_it_finds_what_a_whole_search_finds_and_searches_rarely(
    detector: YuNet, astronaut: np.ndarray
) -> None:
    frames = [shifted(astronaut, 12 * step) for step in range(12)]
    counting = Counting(detector)
    followed = Follower(counting, every=5).detect(frames)
    assert counting.whole == 3
    for found, whole in zip(followed, detector.detect(frames), strict=True):
        assert len(found) == len(whole) == 1
        assert iou(found.box_xyxy_px, whole.box_xyxy_px)[0, 0] > 0.85
        side = whole.box_xyxy_px[0, 2] - whole.box_xyxy_px[0, 0]
        assert np.abs(found.landmarks_xy_px - whole.landmarks_xy_px).max() < 0.06 * side


def test_every_frame_searched_is_the_detector_itself(detector: YuNet, astronaut: np.ndarray) -> None:
    frames = [shifted(astronaut, step) for step in range(3)]
    for found, whole in zip(Follower(detector).detect(frames), detector.detect(frames), strict=True):
        np.testing.assert_array_equal(found.box_xyxy_px, whole.box_xyxy_px)


def test_a_face_that_is_gone_has_the_whole_frame_searched_at_once(
    detector: YuNet, astronaut: np.ndarray
) -> None:
    counting = Counting(detector)
    there, elsewhere = shifted(astronaut, 0), shifted(astronaut, 300)
    found = Follower(counting, every=100).detect([there, there, elsewhere, np.zeros_like(there)])
    assert counting.whole == 3
    assert [len(faces) for faces in found] == [1, 1, 1, 0]
    assert found[2].box_xyxy_px[0, 0] - found[1].box_xyxy_px[0, 0] == pytest.approx(300, abs=8)


def test_a_new_face_comes_late_by_less_than_a_round(detector: YuNet, astronaut: np.ndarray) -> None:
    empty, there = np.full_like(shifted(astronaut, 0), 90), shifted(astronaut, 0)
    found = Follower(detector, every=4).detect([empty, there, there, there, there, there])
    assert [len(faces) for faces in found] == [0, 0, 0, 0, 1, 1]


def test_many_faces_do_not_pay(detector: YuNet, page: np.ndarray) -> None:
    counting = Counting(detector)
    found = Follower(counting, every=100).detect([page] * 3)
    pays = 2 * len(found[0]) * 128**2 < detector.pixels(*page.shape[:2])
    assert counting.whole == (1 if pays else 3) and len({len(faces) for faces in found}) == 1


def test_a_wrong_number_is_refused(detector: YuNet) -> None:
    with pytest.raises(OptionError, match="expected a whole frame searched every 1 or more, got 0"):
        Follower(detector, every=0)
