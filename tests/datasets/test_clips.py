"""Clips of folders and videos, read at a few chosen frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.datasets.clips import middles, open_clip
from mien.errors import DataError


def flat(value: int) -> np.ndarray:
    return np.full((32, 48, 3), value, np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in (1, 2, 10):  # names are padded, as data sets have them
        Image.fromarray(flat(20 * number)).save(tmp_path / f"{number:05d}.png")
    (tmp_path / ".hidden.png").write_bytes(b"x")
    (tmp_path / "list.txt").write_text("x")
    return tmp_path


def test_middles_of_equal_parts() -> None:
    assert middles(16, 4) == [2, 6, 10, 14]
    assert middles(10, 3) == [1, 5, 8]
    assert middles(2, 4) == [0, 0, 1, 1]
    assert middles(1, 3) == [0, 0, 0]
    assert middles(7, 1) == [3]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 16, 100])
def test_the_middle_of_three_stored_frames_is_the_segments_middle(count: int) -> None:
    assert middles(count, 3 * 8)[1::3] == middles(count, 8)
    assert max(middles(count, 24)) < count


def test_a_folder_of_frames(folder: Path) -> None:
    clip = open_clip(folder)
    assert clip.count == 3
    assert [int(frame[0, 0, 0]) for frame in clip.read([0, 2, 2])] == [20, 200, 200]


def test_a_video(tmp_path: Path, make_clip: Callable[..., Path]) -> None:
    path = make_clip(tmp_path / "clip.mp4", [flat(20 * index) for index in range(10)])
    clip = open_clip(path)
    assert clip.count == 10
    found = clip.read([1, 5, 5, 9])
    assert [frame.shape for frame in found] == [(32, 48, 3)] * 4
    assert [frame.mean() for frame in found] == pytest.approx([20, 100, 100, 180], abs=4)


def test_what_is_no_clip_is_named(tmp_path: Path, make_clip: Callable[..., Path]) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"got no picture in .*empty"):
        open_clip(tmp_path / "empty")
    with pytest.raises(DataError, match="got no file"):
        open_clip(tmp_path / "absent.mp4")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(DataError, match=r"damaged or other file .*text\.mp4"):
        open_clip(tmp_path / "text.mp4")
    random = np.random.default_rng(0)
    frames = [random.integers(0, 256, (64, 64, 3)).astype(np.uint8) for _ in range(60)]
    whole = make_clip(tmp_path / "whole.avi", frames, codec="mjpeg")
    broken = tmp_path / "broken.avi"
    content = bytearray(whole.read_bytes())
    content[len(content) // 3 : -2000] = bytes(len(content) - 2000 - len(content) // 3)
    broken.write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.avi"):
        open_clip(broken)
