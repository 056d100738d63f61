from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mien
from mien.errors import OptionError, ShapeError


def test_one_path(portrait_file: Path) -> None:
    results = mien.analyze(portrait_file, threads=1)
    assert len(results) == 1
    assert results[0].path == str(portrait_file)
    assert len(results[0].faces) == 1
    assert not results.failures


def test_arrays_images_and_paths_in_one_list(portrait: np.ndarray, portrait_file: Path) -> None:
    inputs = [portrait, str(portrait_file), Image.fromarray(portrait[:200])]
    results = mien.analyze(inputs, threads=1)
    assert [result.path for result in results] == ["array:0", str(portrait_file), "array:2"]
    assert [result.size_wh_px for result in results] == [(256, 256), (256, 256), (256, 200)]
    first, second, _ = (result.faces.expression.values for result in results)
    assert np.allclose(first, second, atol=1e-4)


def test_the_size_of_a_turned_pillow_image_is_the_upright_one(portrait: np.ndarray, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(portrait[:200])).save(tmp_path / "phone.png", exif=exif)
    (from_file,) = mien.analyze(tmp_path / "phone.png", threads=1)
    (from_image,) = mien.analyze(Image.open(tmp_path / "phone.png"), threads=1)
    assert from_file.size_wh_px == from_image.size_wh_px == (256, 200)


def test_a_file_named_twice_in_a_list_is_analysed_as_stream_does(portrait_file: Path) -> None:
    analyzer = mien.Analyzer(threads=1)
    twice = [portrait_file, portrait_file]
    assert len(mien.analyze(twice, threads=1)) == len(list(analyzer.stream(twice)))


def test_a_failure_is_recorded_and_the_rest_goes_on(portrait_file: Path) -> None:
    results = mien.analyze([portrait_file.with_name("gone.jpg"), portrait_file], threads=1)
    assert [failure.path for failure in results.failures] == [str(portrait_file.with_name("gone.jpg"))]
    assert len(results) == 2


@pytest.mark.parametrize("inputs", [3, None, [3], [np.zeros((4, 4))]])
def test_what_is_no_picture_is_refused(inputs: object) -> None:
    with pytest.raises(ShapeError, match="expected"):
        mien.analyze(inputs, threads=1)


def test_options_reach_the_analyzer_and_the_stream(
    portrait_file: Path, tmp_path: Path, moving, make_clip
) -> None:
    with pytest.raises(OptionError, match="min_face_px"):
        mien.analyze(portrait_file, min_face_px=1)
    with pytest.raises(TypeError):
        mien.analyze(portrait_file, batchsize=1)
    clip = make_clip(tmp_path / "a.mp4", moving(10))
    assert [result.frame for result in mien.analyze(clip, every_s=0.2, threads=1)] == [0, 5]


def test_a_part_of_a_clip(tmp_path: Path, moving, make_clip) -> None:
    clip = make_clip(tmp_path / "a.mp4", moving(10))
    results = mien.analyze(clip, start_s=0.2, end_s=0.32, threads=1)
    assert [result.frame for result in results] == [5, 6, 7]
    assert "dropped" not in results.columns
