"""SFace on the pictures that come with mien; skipped where its file was not fetched."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mien.errors import WeightsError
from mien.faces.sface import SFace
from mien.faces.yunet import YuNet
from mien.pipeline.tracking import TrackLimits
from mien.weights.fetch import fetched_bytes


@pytest.fixture(scope="module")
def sface() -> SFace:
    pytest.importorskip("onnx", reason="needs onnx (extra identity)")
    try:
        fetched_bytes("sface")
    except WeightsError:
        pytest.skip("the file was not fetched: mien weights fetch sface")
    return SFace(threads=1)


def test_without_its_file_it_says_how_to_get_it(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match="run `mien weights fetch sface`"):
        SFace()


@pytest.mark.data
def test_one_person_is_alike_in_changed_pictures_and_two_are_not(
    sface: SFace, detector: YuNet, astronaut: np.ndarray, hopper: np.ndarray
) -> None:
    turned = np.asarray(Image.fromarray(astronaut).rotate(12, Image.Resampling.BILINEAR))
    small = np.asarray(Image.fromarray(astronaut).resize((300, 300)))
    dark = (astronaut * 0.6).astype(np.uint8)
    vectors = []
    for image in (astronaut, turned, small, dark, hopper):
        faces = detector.detect([image])[0]
        vectors.append(sface.describe(image, faces.landmarks_xy_px[:1])[0])
    alike = np.stack(vectors) @ np.stack(vectors).T
    assert np.diag(alike) == pytest.approx(np.ones(5), abs=1e-4)
    assert alike[0, 1:4].min() > 0.8
    assert alike[4, :4].max() < TrackLimits().found_again_by
    assert sface.describe(astronaut, np.zeros((0, 5, 2), np.float32)).shape == (0, 128)
