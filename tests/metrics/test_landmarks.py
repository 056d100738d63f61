from __future__ import annotations

import numpy as np
import pytest

from mien.errors import ShapeError
from mien.metrics.landmarks import (
    area_under_errors,
    box_size,
    failure_rate,
    interocular,
    interpupillary,
    normalised_errors,
)


def test_worked_values_of_failure_rate_and_area() -> None:
    errors = np.array([0.05, 0.10, 0.20])
    assert failure_rate(errors, 0.1) == pytest.approx(1 / 3)
    assert area_under_errors(errors, 0.1) == pytest.approx(0.5 / 3)


def test_the_area_is_the_integral_of_the_curve() -> None:
    errors = np.random.default_rng(0).gamma(4, 0.015, 400)
    at = (np.arange(20_000) + 0.5) / 20_000 * 0.08
    curve = (errors[None] <= at[:, None]).mean(1)
    assert area_under_errors(errors, 0.08) == pytest.approx(curve.mean(), abs=1e-4)


def test_a_face_not_found_is_a_failure() -> None:
    errors = np.array([0.0, np.inf])
    assert (failure_rate(errors, 0.08), area_under_errors(errors, 0.08)) == (0.5, 0.5)


def test_the_error_is_a_mean_distance_in_the_faces_own_unit() -> None:
    true = np.random.default_rng(1).uniform(0, 100, (3, 68, 2))
    moved = true + np.array([3.0, 4.0]) * np.array([0, 1, 2])[:, None, None]
    assert normalised_errors(moved, true, np.full(3, 50.0)) == pytest.approx([0, 0.1, 0.2])
    unit = interocular(true)
    assert normalised_errors(moved * 7, true * 7, unit * 7) == pytest.approx(
        normalised_errors(moved, true, unit)
    )


def test_units_of_length() -> None:
    true = np.zeros((1, 68, 2))
    true[0, 36], true[0, 45] = (10, 10), (40, 50)
    assert interocular(true) == pytest.approx([50])
    true[0, 36:42], true[0, 42:48] = (10, 0), (40, 0)
    assert interpupillary(true) == pytest.approx([30])
    true[0, 0], true[0, 1] = (0, 0), (90, 40)
    assert box_size(true) == pytest.approx([60])


def test_what_cannot_be_measured_is_refused() -> None:
    true = np.ones((2, 68, 2))
    with pytest.raises(ShapeError, match="units of length over 0"):
        normalised_errors(true, true, interocular(true))
    with pytest.raises(ShapeError, match="not found"):
        normalised_errors(true * np.nan, true, np.ones(2))
    with pytest.raises(ShapeError, match=r"expected two arrays \(N, L, 2\)"):
        normalised_errors(true[:, :5], true, np.ones(2))
    with pytest.raises(ShapeError, match="threshold over 0"):
        failure_rate(np.ones(1), 0)
    with pytest.raises(ShapeError, match="errors of at least 0"):
        area_under_errors(np.array([np.nan]), 0.1)
