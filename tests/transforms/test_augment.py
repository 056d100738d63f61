from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="augmentation needs torch: pip install 'mien[train]'")

from mien.transforms.align import fit_similarity, template_points, warp  # noqa: E402
from mien.transforms.augment import degrade, jittered_crops  # noqa: E402


def seeded(seed: int):
    return torch.Generator().manual_seed(seed)


def smooth_pictures(count: int, channels: int, side: int = 60):
    random = torch.rand(count, channels, 8, 8, generator=seeded(1))
    large = torch.nn.functional.interpolate(random, (side, side), mode="bicubic", align_corners=False)
    return (large * 255).clamp(0, 255).byte()


def unit_matrices(count: int, side: int = 60):
    """Crop coordinates in units of the side -> picture pixels, each face turned and placed its own way."""
    matrices = []
    for index in range(count):
        angle, scale = 0.1 * index - 0.2, 0.55 * side
        cos, sin = scale * np.cos(angle), scale * np.sin(angle)
        matrices.append([[cos, -sin, 15 + index], [sin, cos, 12]])
    return torch.tensor(matrices, dtype=torch.float32)


def test_the_same_seed_gives_the_same_views() -> None:
    images, matrices = smooth_pictures(6, 3), unit_matrices(6)
    first, second, other = (
        degrade(jittered_crops(images, matrices, 48, random), random)
        for random in (seeded(3), seeded(3), seeded(4))
    )
    assert torch.equal(first, second)
    assert (first - other).abs().mean() > 1


@pytest.mark.parametrize("channels", [1, 3])
def test_plain_crops_are_those_of_the_analysis(channels: int) -> None:
    images, matrices = smooth_pictures(5, channels), unit_matrices(5)
    crops = jittered_crops(images, matrices, 48, None)
    assert crops.shape == (5, 3, 48, 48)
    for image, matrix, crop in zip(images, matrices.double().numpy(), crops, strict=True):
        corners = np.array([[0, 0], [1, 0], [0, 1]])
        to_crop = fit_similarity(corners @ matrix[:, :2].T + matrix[:, 2], corners * 48.0)
        pixels = image.expand(3, -1, -1).permute(1, 2, 0).numpy()
        expected, _ = warp(np.ascontiguousarray(pixels), to_crop, 48)
        assert np.abs(crop.permute(1, 2, 0).numpy() - expected).max() <= 2


def test_plain_crops_put_landmarks_on_the_template() -> None:
    side, size = 60, 48
    face = template_points("mien_face_v1") * 30 + [17, 11]
    spot = np.zeros((side, side), np.uint8)
    spot[int(face[2, 1]) - 1 : int(face[2, 1]) + 1, int(face[2, 0]) - 1 : int(face[2, 0]) + 1] = 255
    matrix = torch.tensor(fit_similarity(template_points("mien_face_v1"), face), dtype=torch.float32)
    crop = jittered_crops(torch.from_numpy(spot)[None, None], matrix[None], size, None)[0, 0].numpy()
    y, x = (np.indices(crop.shape) + 0.5).reshape(2, -1) @ crop.reshape(-1) / crop.sum()
    assert np.abs(np.array([x, y]) - template_points("mien_face_v1")[2] * size).max() < 1


def test_jitter_without_any_width_is_the_plain_crop_or_its_mirror() -> None:
    images, matrices = smooth_pictures(16, 3), unit_matrices(16)
    plain = jittered_crops(images, matrices, 32, None)
    crops = jittered_crops(images, matrices, 32, seeded(0), rotate_rad=0, zoom=0, shift=0, shear=0)
    same = (crops - plain).abs().amax((1, 2, 3)) < 0.1
    mirrored = (crops - plain.flip(-1)).abs().amax((1, 2, 3)) < 0.1
    assert bool((same ^ mirrored).all())
    assert 2 <= int(same.sum()) <= 14


def test_jitter_stays_near_the_face() -> None:
    x = torch.linspace(0, 255, 64).expand(200, 1, 64, 64).byte()
    centred = torch.tensor([[[64.0, 0, 0], [0, 64, 0]]]).expand(200, 2, 3)
    middle = jittered_crops(x, centred, 33, seeded(2))[:, 0, 16, 16]
    assert float((middle - 127.5).abs().max()) <= 0.05 * 255 + 3
    assert float(middle.std()) > 3


def test_degraded_views_stay_in_range_and_in_shape() -> None:
    for shade in (0.0, 127.0, 255.0):
        images = torch.full((64, 3, 40, 40), shade)
        views = degrade(images, seeded(5))
        assert views.shape == images.shape
        assert torch.isfinite(views).all()
        assert float(views.min()) >= 0
        assert float(views.max()) <= 255


def test_degrade_leaves_its_input_alone() -> None:
    images = smooth_pictures(32, 3, 40).float()
    before = images.clone()
    degrade(images, seeded(1))
    assert torch.equal(images, before)


def test_degraded_views_differ_from_each_other() -> None:
    one = smooth_pictures(1, 3, 40).float().expand(12, -1, -1, -1)
    views = degrade(one, seeded(6))
    for first in range(12):
        for second in range(first):
            assert (views[first] - views[second]).abs().mean() > 0.5
