from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from mien.errors import ShapeError
from mien.transforms.align import fit_similarity, template_points
from mien.transforms.shape68 import MEAN_FACE, MIRRORED, expect_points, face_side, five_points


def test_the_mean_face_is_symmetric_and_lies_in_the_template() -> None:
    assert MEAN_FACE.shape == (68, 2)
    assert MEAN_FACE[MIRRORED] * [-1, 1] + [1, 0] == pytest.approx(MEAN_FACE, abs=1e-4)
    assert five_points(MEAN_FACE) == pytest.approx(template_points("mien_face_v1"), abs=0.012)
    assert face_side(MEAN_FACE) == pytest.approx(1, abs=0.07)
    assert MEAN_FACE[19, 1] < MEAN_FACE[37, 1] < MEAN_FACE[30, 1] < MEAN_FACE[57, 1] < MEAN_FACE[8, 1]
    assert MEAN_FACE[36, 0] < MEAN_FACE[45, 0]  # the subject's right comes first


def test_mirroring_twice_changes_nothing() -> None:
    assert sorted(MIRRORED) == list(range(68))
    assert np.array_equal(MIRRORED[MIRRORED], np.arange(68))


@pytest.mark.data
def test_it_is_the_mean_over_the_annotated_faces(data_folder: Path) -> None:
    path = data_folder / "landmarks68_helen_afw" / "landmarks68.npz"
    if not path.is_file():
        pytest.skip("the 68-point annotations are not in the data folder (MIEN_DATA)")
    assert zipfile.is_zipfile(path)
    points = np.load(path)["points"].astype(float)
    assert len(points) == 1537
    aligned = []
    for face in points:
        matrix = fit_similarity(five_points(face), template_points("mien_face_v1"))
        aligned.append(face @ matrix[:, :2].T + matrix[:, 2])
    mean = np.mean(aligned, 0)
    assert (mean + mean[MIRRORED] * [-1, 1] + [1, 0]) / 2 == pytest.approx(MEAN_FACE, abs=6e-5)
    spread = np.std(aligned, 0).mean(0)
    assert spread == pytest.approx([0.035, 0.029], abs=6e-4)


def test_other_points_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"68 finite points \(68, 2\), got \(5, 2\)"):
        expect_points(np.zeros((5, 2)))
    with pytest.raises(ShapeError, match="68 finite points"):
        expect_points(np.full((68, 2), np.nan))
    with pytest.raises(ShapeError, match="two eyes apart"):
        face_side(np.zeros((68, 2)))
