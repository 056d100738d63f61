from __future__ import annotations

import numpy as np
import pytest

from mien.errors import ShapeError
from mien.transforms.regions import ELSEWHERE, face_regions, region_scores
from mien.transforms.shape68 import MEAN_FACE, MIRRORED

FACE = MEAN_FACE * 200
SIZE = (200, 200)


def test_each_pixel_belongs_to_one_part() -> None:
    regions = face_regions(FACE, SIZE)
    assert np.array_equal(np.sum(list(regions.values()), 0), np.ones(SIZE))
    for name, region in regions.items():
        assert region.dtype == bool
        assert region.mean() > 0.005, name


def test_parts_lie_where_they_are() -> None:
    regions = face_regions(FACE, SIZE)

    def centre(name: str) -> np.ndarray:
        return np.argwhere(regions[name]).mean(0)[::-1]

    assert centre("right_eye") == pytest.approx(FACE[36:42].mean(0) - [0, 6], abs=5)  # with its lid
    assert centre("mouth") == pytest.approx(FACE[48:60].mean(0), abs=5)
    assert centre("right_brow")[0] < 100 < centre("left_brow")[0]
    assert centre("forehead")[1] < centre("left_brow")[1] < centre("left_eye")[1] < centre("nose")[1]
    assert centre("nose")[1] < centre("upper_lip")[1] < centre("mouth")[1] < centre("chin")[1]
    assert centre("right_cheek")[0] < centre("nose")[0] < centre("left_cheek")[0]
    assert regions["nose"][int(FACE[30, 1]), int(FACE[30, 0])]
    assert regions[ELSEWHERE][0, 0]


def test_sides_change_places_in_a_mirror() -> None:
    regions = face_regions(FACE, SIZE)
    mirrored = face_regions((FACE * [-1, 1] + [200, 0])[MIRRORED], SIZE)
    away = np.mean(mirrored["right_cheek"][:, ::-1] != regions["left_cheek"])
    assert away < 0.002


def test_shares_add_up_and_follow_the_map() -> None:
    regions = face_regions(FACE, SIZE)
    even = region_scores(np.ones(SIZE), regions)
    assert sum(score.share for score in even.values()) == pytest.approx(1)
    for score in even.values():
        assert score.share == pytest.approx(score.area)
        assert score.mean == pytest.approx(1)
    at_mouth = region_scores(2.0 * regions["mouth"], regions)
    assert at_mouth["mouth"].share == 1
    assert at_mouth["mouth"].mean == 2
    assert at_mouth["chin"].share == 0


def test_pixels_outside_the_crop_do_not_count() -> None:
    regions = face_regions(FACE, SIZE)
    heat = np.ones(SIZE)
    heat[:, 100:] = np.nan
    scores = region_scores(heat, regions)
    assert scores["left_cheek"].area == 0
    assert np.isnan(scores["left_cheek"].mean)
    assert sum(score.share for score in scores.values()) == pytest.approx(1)


def test_an_empty_map_has_no_shares() -> None:
    scores = region_scores(np.zeros(SIZE), face_regions(FACE, SIZE))
    assert all(np.isnan(score.share) for score in scores.values())


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match="values from 0 on"):
        region_scores(-np.ones(SIZE), face_regions(FACE, SIZE))
    with pytest.raises(ShapeError, match=r"the region 'right_brow' of shape \(9, 9\)"):
        region_scores(np.ones((9, 9)), face_regions(FACE, SIZE))
