"""What training sees is what analysis sees, and large sets do not have to fit into memory."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="needs torch: pip install 'mien[train]'")

from mien.datasets.samples import Samples  # noqa: E402
from mien.engine import cut_outs  # noqa: E402
from mien.engine.pictures import prepare  # noqa: E402
from mien.engine.views import plain_views  # noqa: E402
from mien.errors import DataError  # noqa: E402
from mien.evaluate.model import crops_of  # noqa: E402
from mien.faces.crops import crop_detector, one_small_size, points_of  # noqa: E402
from mien.methods.runner import ExpressionRunner  # noqa: E402


def samples_of(images: list[np.ndarray]) -> Samples:
    ids = tuple(f"{row}.png" for row in range(len(images)))
    return Samples(ids, ("happy", "sad"), np.zeros(len(images), np.int64), images.__getitem__, "crop", "0")


def face(portrait: np.ndarray, side: int) -> np.ndarray:
    """The portrait's face, so large."""
    points, _ = points_of(portrait, "photo", crop_detector(1))
    (x, y), half = points.mean(0).astype(int), int(2.2 * np.ptp(points[:, 0]))
    cut = Image.fromarray(portrait[max(0, y - half) : y + half, max(0, x - half) : x + half])
    return np.asarray(cut.resize((side, side), Image.Resampling.LANCZOS))


@pytest.mark.parametrize("sides", [(112, 112), (144, 144), (160, 160), (160, 180), (640, 640)])
def test_training_and_measuring_see_the_crops_of_analysis(
    sides: tuple[int, ...], portrait: np.ndarray, runner: ExpressionRunner
) -> None:
    """Of pictures that stay as they are, and of those that are cut out with a margin first."""
    samples = samples_of([face(portrait, side) for side in sides])
    learned = prepare(samples, "mien_face_v1", 64)
    assert learned.found is not None and learned.found.all()
    views = plain_views(learned, torch.arange(len(sides)), 64).permute(0, 2, 3, 1).numpy()
    measured, found, failures, rows = crops_of(samples, np.arange(len(sides)), runner)
    assert found.all() and not failures and rows.tolist() == [0, 1]
    assert np.abs(views - measured.astype(float)).mean() < 2
    for row, side in enumerate(sides):
        image = face(portrait, side)
        crop, _ = runner.crop(image, points_of(image, "crop", crop_detector(1))[0][None])
        assert np.abs(crop[0].astype(float) - measured[row]).mean() < 2


def test_a_large_crop_has_its_points_where_a_small_one_has_them(portrait: np.ndarray) -> None:
    small, large = (points_of(face(portrait, side), "crop", crop_detector(1)) for side in (256, 1024))
    assert small[1] and large[1]
    assert np.abs(large[0] / 4 - small[0]).max() < 5  # 2 % of the side


def test_only_square_pictures_of_one_small_size_go_to_the_detector_together() -> None:
    sizes = [
        ((48, 48), (48, 48), True),
        ((48, 48), (48, 50), False),
        ((48, 100), (48, 100), False),
        ((161, 161),) * 2 + (False,),
    ]
    for first, second, alike in sizes:
        assert one_small_size([np.zeros(first), np.zeros(second)]) is alike


def test_a_picture_that_cannot_be_read_is_told_and_the_rest_is_used(portrait: np.ndarray) -> None:
    images = [face(portrait, side) for side in (200, 210, 220)]

    def read(row: int) -> np.ndarray:
        if row == 1:
            raise DataError("1.png is damaged")
        return images[row]

    found = prepare(replace(samples_of(images), read=read), "mien_face_v1", 64)
    assert found.ids == ("0.png", "2.png") and found.failures == ("1.png is damaged",)


def test_a_disk_without_room_for_the_cut_outs_is_told(
    portrait: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cut_outs, "IN_MEMORY", 1000)
    monkeypatch.setattr(cut_outs.shutil, "disk_usage", lambda folder: namedtuple("Usage", "free")(10_000))
    with pytest.raises(DataError, match=r"expected 0 GB of room.*TMPDIR"):
        prepare(samples_of([face(portrait, 200), face(portrait, 240)]), "mien_face_v1", 64)
