"""Corruptions against what is known of them: sizes, means, spreads, and that a seed repeats them."""

from __future__ import annotations

import numpy as np
import pytest

from mien.transforms.corruptions import CORRUPTIONS, corrupted, face_side_px

POINTS = np.array([[40, 50], [80, 50], [60, 70], [45, 90], [75, 90]], float)
"""Eyes 40 apart and 40 over the mouth: a side of 100."""


@pytest.fixture(scope="module")
def grey() -> np.ndarray:
    return np.full((128, 128, 3), 128, np.uint8)


def test_the_side_of_a_face() -> None:
    assert face_side_px(POINTS) == pytest.approx(100)
    turned = POINTS * [0.2, 1]  # in profile the eyes are near each other, eyes and mouth are not
    assert face_side_px(turned) == pytest.approx(100)
    assert face_side_px(np.zeros((5, 2))) == 1


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_pixels_are_pixels_and_a_seed_repeats_them(name: str, portrait: np.ndarray) -> None:
    for severity in (1, 2, 3):
        worse = corrupted(portrait, POINTS, name, severity, (3, 7))
        assert worse.dtype == np.uint8 and worse.ndim == 3 and worse.shape[2] == 3
        assert np.array_equal(worse, corrupted(portrait, POINTS, name, severity, (3, 7)))
        assert worse.shape != portrait.shape or not np.array_equal(worse, portrait)


def test_noise_has_the_spread_that_is_stated(grey: np.ndarray) -> None:
    for severity, level in enumerate(CORRUPTIONS["noise"].levels[:2], 1):
        assert corrupted(grey, POINTS, "noise", severity, (0,)).std() == pytest.approx(level, rel=0.03)
    other = corrupted(grey, POINTS, "noise", 1, (1,))
    assert not np.array_equal(other, corrupted(grey, POINTS, "noise", 1, (0,)))
    dark = corrupted(np.full_like(grey, 32), POINTS, "noise", 1, (0,))
    assert dark.std() == pytest.approx(10 * np.sqrt(0.1 + 0.9 / 4), rel=0.03)


def test_two_stops_are_a_quarter_of_the_light() -> None:
    white = np.full((8, 8, 3), 255, np.uint8)
    # sRGB: 1.055 * 0.25 ** (1 / 2.4) - 0.055 = 0.5371
    assert (corrupted(white, POINTS, "dark", 1, (0,)) == 137).all()
    assert (corrupted(np.zeros_like(white), POINTS, "dark", 1, (0,)) == 0).all()


def test_small_is_the_size_of_the_face_and_never_larger(grey: np.ndarray) -> None:
    assert [corrupted(grey, POINTS, "small", severity, (0,)).shape[0] for severity in (1, 2, 3)] == [
        41,
        26,
        15,
    ]
    assert corrupted(grey, POINTS / 10, "small", 1, (0,)).shape == grey.shape


def test_blur_is_that_wide(grey: np.ndarray) -> None:
    """A line of light spreads to the standard deviation that is stated: 0.04 sides of 100 pixels."""
    line = np.zeros_like(grey)
    line[:, 64] = 255
    row = corrupted(line, POINTS, "blur", 2, (0,))[64, :, 0].astype(float)
    place = np.arange(128) - 64
    assert np.sqrt((row * place**2).sum() / row.sum()) == pytest.approx(4, rel=0.1)


def test_bars_cover_what_they_are_named_after(portrait: np.ndarray) -> None:
    for name, inside, outside in (("eyes", POINTS[0], POINTS[4]), ("mouth", POINTS[3], POINTS[1])):
        worse = corrupted(portrait, POINTS, name, 3, (0,))
        x, y = inside.astype(int)
        assert len(np.unique(worse[y - 5 : y + 5, x - 5 : x + 5].reshape(-1, 3), axis=0)) == 1
        x, y = outside.astype(int)
        assert np.array_equal(worse[y - 5 : y + 5, x - 5 : x + 5], portrait[y - 5 : y + 5, x - 5 : x + 5])


def test_a_side_is_drawn_by_chance_and_covers_its_share(grey: np.ndarray) -> None:
    middles = set()
    for seed in range(8):
        worse = corrupted(grey, POINTS, "half", 2, (seed,))
        covered = np.flatnonzero(worse[60, :, 0] != 128)
        if covered.size:  # its grey may be the picture's
            assert covered.size == pytest.approx(50, abs=2)
            middles.add("left" if covered.mean() < 60 else "right")
    assert middles == {"left", "right"}
