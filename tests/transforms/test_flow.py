from __future__ import annotations

import sys

import numpy as np
import pytest

from mien.errors import MissingExtraError, ShapeError
from mien.transforms.flow import (
    flow_picture,
    motion_of,
    motion_steps,
    optical_flow,
    optical_strain,
    stretched,
)


def texture(shift_xy: tuple[float, float] = (0, 0), side: int = 96) -> np.ndarray:
    """A smooth pattern, moved to the right and down by so many pixels."""
    y, x = np.mgrid[0:side, 0:side].astype(float)
    x, y = x - shift_xy[0], y - shift_xy[1]
    waves = np.sin(x / 3.1) + np.cos(y / 3.7) + np.sin((x + y) / 5.3) + np.cos((x - 2 * y) / 7.9)
    return np.rint(127 + 30 * waves).astype(np.uint8)


@pytest.fixture
def opencv() -> None:
    pytest.importorskip("cv2", reason="optical flow needs OpenCV: pip install 'mien[flow]'")


@pytest.mark.parametrize("shift", [(0.5, 0.0), (0.0, -0.5), (1.5, 1.0), (-2.0, 0.3)])
def test_a_shift_is_found_to_a_fraction_of_a_pixel(shift: tuple[float, float], opencv: None) -> None:
    flow = optical_flow(texture(), texture(shift))[16:-16, 16:-16]
    assert np.median(flow, (0, 1)) == pytest.approx(shift, abs=0.12)
    assert flow == pytest.approx(np.broadcast_to(shift, flow.shape), abs=0.6)


def test_nothing_moved_is_nothing(opencv: None) -> None:
    motion = motion_of(texture(), texture())
    assert np.abs(motion).max() < 1e-3


def test_strain_by_hand() -> None:
    """u = a x + b y, v = c x + d y: sqrt(a^2 + d^2 + (b + c)^2 / 2) everywhere; a turn and a shift give none."""
    y, x = np.mgrid[0:20, 0:20].astype(float)
    flow = np.stack([0.3 * x + 0.1 * y, 0.2 * x - 0.4 * y], -1)
    assert optical_strain(flow) == pytest.approx(np.sqrt(0.09 + 0.16 + 0.09 / 2))
    turn = np.stack([2 - 0.05 * y, 0.05 * x - 1], -1)
    assert optical_strain(turn) == pytest.approx(0, abs=1e-12)


def test_a_flow_picture_spans_all_levels_and_keeps_the_place(opencv: None) -> None:
    """A patch that moves down makes a bright place in v there."""
    side = 112
    before = texture(side=side)
    after = before.copy()
    after[60:100, 20:50] = texture((0, 1.5), side)[60:100, 20:50]
    picture = flow_picture(motion_of(before, after))
    assert picture.shape == (28, 28, 3) and picture.dtype == np.uint8
    assert picture.min((0, 1)).tolist() == [0, 0, 0] and picture.max((0, 1)).tolist() == [255, 255, 255]
    row, column = np.unravel_index(picture[..., 1].argmax(), (28, 28))
    assert 14 < row < 26 and 4 < column < 13


def test_stretching() -> None:
    assert stretched(np.array([-1.0, 0, 3])).tolist() == [0, 64, 255]
    assert stretched(np.full(3, 7.0)).tolist() == [0, 0, 0]


def test_steps_of_a_clip(opencv: None) -> None:
    """The pattern moves right by a tenth of a pixel a frame: u grows step by step, and nothing is 128."""
    frames = [texture((0.1 * number, 0)) for number in range(11)]
    maps = motion_steps(frames, 32)
    assert maps.shape == (32, 32, 50)
    u = np.median(maps[8:-8, 8:-8], (0, 1))[0::5]
    assert (np.diff(u) > 0).all() and u[0] > 128 and u[-1] > 200
    still = motion_steps([texture(), texture()], 32)
    assert still[..., 3::5].min() == still[..., 3::5].max() == 128
    assert motion_steps(frames[:2], 32).shape == (32, 32, 50)


def test_bad_input_is_refused(opencv: None) -> None:
    with pytest.raises(ShapeError, match=r"got \(96, 96\) and \(50, 50\)\. Align them first"):
        optical_flow(texture(), texture(side=50))
    with pytest.raises(ShapeError, match="expected pictures of uint8"):
        optical_flow(texture().astype(float), texture())
    with pytest.raises(ShapeError, match="at least one frame after it, got 1 frames"):
        motion_steps([texture()], 32)


def test_without_opencv_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtraError, match=r"mien\[flow\]"):
        optical_flow(texture(), texture())
