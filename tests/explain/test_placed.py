from __future__ import annotations

import numpy as np
import pytest

from mien.errors import ShapeError
from mien.explain.placed import COLOURS, coloured, draw_map, on_picture
from mien.transforms.align import inverted, template_points, template_to_image, warp


def test_a_map_comes_back_to_where_its_crop_was() -> None:
    points = template_points("mien_face_v1") * 60 @ np.array([[0.96, 0.28], [-0.28, 0.96]]) + [70, 20]
    matrix = template_to_image("mien_face_v1", points)
    heat = np.zeros((30, 30), np.float32)
    heat[16:18, 14:16] = 1  # about the nose's tip (0.5, 0.567)
    found = on_picture(heat, matrix, (120, 160))
    assert found.shape == (120, 160)
    y, x = np.unravel_index(np.nanargmax(found), found.shape)
    assert np.hypot(x + 0.5 - points[2, 0], y + 0.5 - points[2, 1]) < 2.5
    assert np.isnan(found[0, 0])
    assert np.isfinite(found).mean() == pytest.approx(60 * 60 / (120 * 160), rel=0.05)


def test_it_undoes_the_crop() -> None:
    """A smooth picture, cropped and put back, is itself inside the crop."""
    y, x = np.mgrid[:80, :90]
    picture = np.repeat(np.rint(120 + 60 * np.sin(x / 15) + 50 * np.cos(y / 12))[..., None], 3, 2).astype(
        np.uint8
    )
    matrix = np.array([[48.0, 9, 20], [-9, 48, 22]])
    crop, _ = warp(picture, 64 * inverted(matrix), 64)
    back = on_picture(crop[..., 0], matrix, (80, 90))
    inside = np.isfinite(back)
    assert inside.sum() > 2000
    assert np.abs(back[inside] - picture[..., 0][inside]).mean() < 1.5


def test_colours_run_evenly_from_dark_to_light() -> None:
    colours = coloured(np.linspace(0, 1, 51)).astype(float) / 255
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    lightness = 116 * np.cbrt(np.maximum(luminance, 0.008856)) - 16
    steps = np.diff(lightness)
    assert steps.min() > 0
    assert steps.max() < 2.2 * steps.mean()
    assert np.array_equal(coloured(np.array([0.0, 1.0, np.nan])), [COLOURS[0], COLOURS[-1], [0, 0, 0]])


def test_drawing_leaves_the_rest_of_the_picture_and_adds_a_legend() -> None:
    picture = np.full((300, 260, 3), (200, 30, 30), np.uint8)
    heat = np.full((300, 260), np.nan, np.float32)
    heat[100:200, 80:180] = np.linspace(0, 1, 100)
    drawn = np.asarray(draw_map(picture, heat, "grad_cam, happy"))
    assert drawn.shape[1] == 260
    assert drawn.shape[0] > 300
    assert (drawn[:100] == picture[:100]).all()
    left, right = drawn[150, 82].astype(int), drawn[150, 177].astype(int)
    assert right[0] > left[0] + 60  # yellow against violet
    assert (drawn[300:] != 255).any()
    small = draw_map(picture[:48, :48], heat[:48, :48])
    assert small.width == 240


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"a map \(S, S\) and a matrix"):
        on_picture(np.zeros((4, 5)), np.eye(2, 3), (9, 9))
    with pytest.raises(ShapeError, match=r"expected a map in \[0, 1\], got 0 to 2"):
        draw_map(np.zeros((2, 2, 3), np.uint8), np.array([[0.0, 2], [1, 1]]))
    with pytest.raises(ShapeError, match="expected a picture uint8"):
        draw_map(np.zeros((2, 2, 3)), np.zeros((2, 2)))
